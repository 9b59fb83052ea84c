//! Who asks for a change of the catalog. It decides nothing, so it is carried beside the request, as a trace is, and not through
//! every function on the way.

use proviso_ledger::model::ids::Name;

tokio::task_local! {
    static ACTOR: Name;
}

/// Runs `work` so that the changes of plans, policies and API keys that it makes are recorded as this API key's.
pub async fn acting_as<T>(actor: Name, work: impl Future<Output = T>) -> T {
    ACTOR.scope(actor, work).await
}

/// Who asks for what is being done; none when nobody said so.
pub(crate) fn actor() -> Option<Name> {
    ACTOR.try_with(Name::clone).ok()
}

/// `work` as a task of its own, for the same one who asks here.
pub(crate) fn inherit<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let actor = actor();
    async move {
        match actor {
            Some(actor) => acting_as(actor, work).await,
            None => work.await,
        }
    }
}
