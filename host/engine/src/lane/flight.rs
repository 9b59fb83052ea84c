//! A batch on its way to the store, beside which the lane decides the next one. In goes a batch with its jobs; once it is
//! durable they are answered here. Nothing is decided here.

use super::work::{Keys, Verdict};
use crate::{
    command::{Idempotency, Outcome, Reply},
    error::EngineError,
    queue::Job,
    shared::Shared,
};
use futures_util::future::join_all;
use proviso_ledger::{
    ids::{CustomerId, Seq},
    journal::Entry,
};
use proviso_store::{Batch, Commit};
use std::{collections::HashSet, sync::Arc};
use tokio::task::JoinHandle;
use tracing::{debug, error};

/// A commit under way.
pub(crate) struct Flight {
    /// Ends when the jobs are answered, or are handed back.
    pub task: JoinHandle<Landed>,
    /// The customers of whom it holds something that is not durable yet.
    pub touched: HashSet<CustomerId>,
    /// Whether it holds many requests for few customers.
    pub is_hot: bool,
    /// The entries that answer its jobs' keys.
    pub keys: Keys,
}

/// How a flight ended.
pub(crate) enum Landed {
    /// All is durable and answered.
    Durable,
    /// Nothing was written, since another host was first; the jobs wait to be decided again.
    Conflict(Vec<Job>),
    /// It is not known what was written; the jobs were told.
    Failed,
}

/// Commits and answers.
pub(crate) async fn fly(shared: Arc<Shared>, batch: Batch, jobs: Vec<(Job, Verdict)>) -> Landed {
    let entries = batch.entries.len() as u64;
    let committed = if batch.is_empty() { Ok(Commit::Durable) } else { shared.store.commit(batch).await };
    match committed {
        Ok(Commit::Durable) => {
            shared.totals.committed(entries);
            answer(&shared, jobs).await;
            Landed::Durable
        }
        Ok(Commit::Conflict) => {
            shared.totals.conflicted();
            debug!(jobs = jobs.len(), "another host was first: deciding again");
            Landed::Conflict(jobs.into_iter().map(|(job, _)| job).collect())
        }
        Err(error) => {
            let error = EngineError::Store(error);
            error!(%error, jobs = jobs.len(), "a batch could not be committed");
            refuse(jobs.into_iter().map(|(job, _)| job), &error);
            Landed::Failed
        }
    }
}

/// Sends every job its reply. A caller may have gone; what was asked is done all the same.
async fn answer(shared: &Shared, jobs: Vec<(Job, Verdict)>) {
    let mut stored = Vec::new();
    for (job, verdict) in jobs {
        match verdict {
            Verdict::Reply(reply) => drop(job.reply.send(reply)),
            Verdict::Stored(seq) => stored.push((job, seq)),
        }
    }
    join_all(stored.into_iter().map(|(job, seq)| answer_again(shared, job, seq))).await;
}

async fn answer_again(shared: &Shared, job: Job, seq: Seq) {
    let entry = shared.entry(&job.request.customer, seq).await;
    let outcome = entry.and_then(|entry| replay(&entry, job.request.idempotency.as_ref()));
    let _ = job.reply.send(outcome.map(Reply::Entry));
}

/// The entry as the answer to a request with the key that it answered before.
pub(crate) fn replay(entry: &Arc<Entry>, asked: Option<&Idempotency>) -> Result<Outcome, EngineError> {
    if asked.map(|(_, request)| request) == entry.request.as_ref() {
        Ok(Outcome { entry: entry.clone(), replayed: true })
    } else {
        Err(EngineError::IdempotencyKeyReused)
    }
}

/// The same error for all.
pub(crate) fn refuse(jobs: impl IntoIterator<Item = Job>, error: &EngineError) {
    for job in jobs {
        let _ = job.reply.send(Err(match error {
            EngineError::Store(error) => EngineError::Store(error.clone()),
            EngineError::Contention => EngineError::Contention,
            other => EngineError::Internal(other.to_string()),
        }));
    }
}
