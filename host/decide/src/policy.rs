//! What a policy is to those who ask it. The policy crate implements it with wasmtime.

use proviso_ledger::model::{
    amounts::Credits,
    answers::{
        CloseOutcome, Manifest, Needs, OpenOutcome, Overage, Prepared, Rating, Refusal, SettingsProblem,
    },
    ids::Digest,
    view::{Closing, Context, Opening, UsageView},
};
use std::sync::Arc;

/// What a call came to, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided<T> {
    /// The result.
    pub value: T,
    /// Fuel burnt: the same for the same arguments, always.
    pub fuel: u64,
    /// What the policy logged.
    pub log: Vec<String>,
}

/// A call that ended without a result that the host accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// A stable name of the cause, such as `out_of_fuel`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// Fuel burnt until then.
    pub fuel: u64,
    /// What the policy logged until then.
    pub log: Vec<String>,
}

/// A call's result or its failure.
pub type Answer<T> = Result<Decided<T>, Failure>;

/// A policy, ready to be asked. `form` is what [`Policy::prepare`] made of the settings.
pub trait Policy: Send + Sync {
    /// What the policy says of itself.
    fn manifest(&self) -> &Manifest;

    /// The same policy, shown this of the context whatever it declares: to find out whether it reads what it has not declared. None
    /// where that can't be done.
    fn showing(&self, needs: Needs) -> Option<Arc<dyn Policy>> {
        let _ = needs;
        None
    }

    /// Checks settings (JSON text) and turns them into the policy's own form, or says what is wrong with them.
    ///
    /// # Errors
    /// A failure of the policy.
    fn prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>>;

    /// What a usage costs, or why it may not happen.
    ///
    /// # Errors
    /// A failure of the policy.
    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>>;

    /// What happens when the cost exceeds what is available by `shortfall`.
    ///
    /// # Errors
    /// A failure of the policy.
    fn overage(
        &self,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage>;

    /// What the end of a period does.
    ///
    /// # Errors
    /// A failure of the policy.
    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome>;

    /// What the beginning of a period does.
    ///
    /// # Errors
    /// A failure of the policy.
    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome>;
}

/// A policy around another one: whatever it is asked, it asks that one.
pub trait Around: Send + Sync {
    /// The policy that is asked.
    fn inner(&self) -> &dyn Policy;

    /// One call of the exported function of this name; `ask` may be called several times.
    ///
    /// # Errors
    /// Those of the call.
    fn around<T: PartialEq>(
        &self,
        export: &'static str,
        ask: impl Fn(&dyn Policy) -> Answer<T>,
    ) -> Answer<T> {
        let _ = export;
        ask(self.inner())
    }

    /// [`Policy::prepare`], which always comes to the same for the same settings.
    ///
    /// # Errors
    /// Those of the call.
    fn around_prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        self.around("prepare", |policy| policy.prepare(settings))
    }
}

impl<W: Around> Policy for W {
    fn manifest(&self) -> &Manifest {
        self.inner().manifest()
    }

    fn prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        self.around_prepare(settings)
    }

    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        self.around("rate", |policy| policy.rate(usage, context, form))
    }

    fn overage(
        &self,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        self.around("overage", |policy| policy.overage(usage, rating, shortfall, context, form))
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        self.around("close", |policy| policy.close(closing, context, form))
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        self.around("open", |policy| policy.open(opening, context, form))
    }
}

/// Whether a policy can be asked.
#[derive(Clone)]
pub enum Lookup {
    /// It can.
    Ready(Arc<dyn Policy>),
    /// Once it is loaded.
    NotLoaded,
    /// It can't be loaded, for this reason: a failure like others.
    Unavailable(String),
}

/// Gives policies by the digest of their module.
pub type Policies<'a> = &'a dyn Fn(&Digest) -> Lookup;
