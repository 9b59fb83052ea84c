//! A commit in flight, beside which the lane decides the next batch. Once the batch is durable its jobs are answered here.

use super::{
    open_batch::{Answer, Keys},
    repeats::Repeat,
};
use crate::{
    error::EngineError,
    idempotency::replay,
    queue::{Job, refuse},
    rollup::news,
    shared::Shared,
};
use futures_util::future::join_all;
use proviso_decide::command::{Outcome, Reply};
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event},
    model::ids::{CustomerId, Seq},
};
use proviso_store::{Batch, Commit, KeyHash};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::{task::JoinHandle, time::Instant};
use tracing::{debug, error, warn};

/// A commit under way.
pub(super) struct InFlight {
    /// Ends when the jobs are answered, or are handed back.
    pub task: JoinHandle<Committed>,
    /// The customers of whom it holds something that is not durable yet.
    pub customers: HashSet<CustomerId>,
    /// Those of them for whom more is due.
    pub catching_up: HashSet<CustomerId>,
    /// Whether it holds many requests for few customers.
    pub is_hot: bool,
    /// The entries that answer its jobs' keys.
    pub keys: Keys,
    /// Those of its jobs that repeat a refusal...
    pub repeats: Vec<Repeat>,
    /// ...and their keys.
    pub repeat_keys: HashMap<(CustomerId, KeyHash), Seq>,
}

/// What is to be taken note of once the batch is durable.
pub(super) struct Noted {
    /// Entries in whose decision a policy failed, and alarms.
    pub faulted: Vec<(CustomerId, Arc<Entry>)>,
    /// Entries that canaries were to decide.
    pub by_canaries: Vec<Arc<Entry>>,
    /// All entries.
    pub written: Vec<news::Written>,
}

/// How a commit ended.
pub(super) enum Committed {
    /// All is durable and answered.
    Durable,
    /// Nothing was written, since another writer was first; the jobs wait to be decided again.
    Conflict(Vec<Job>),
    /// It is uncertain what was written; the jobs were told.
    Uncertain,
}

impl InFlight {
    /// Whether it holds something of the customer.
    pub fn touches(&self, customer: &CustomerId) -> bool {
        self.customers.contains(customer)
    }
}

/// Ends with the commit in flight; never, when there is none.
pub(super) async fn ended(in_flight: &mut Option<InFlight>) -> Committed {
    match in_flight {
        Some(in_flight) => (&mut in_flight.task).await.unwrap_or_else(|error| {
            error!(%error, "a commit ended in a defect");
            Committed::Uncertain
        }),
        None => std::future::pending().await,
    }
}

/// Commits and answers.
pub(super) async fn commit(
    shared: Arc<Shared>,
    batch: Batch,
    jobs: Vec<(Job, Answer)>,
    noted: Noted,
) -> Committed {
    let entries = batch.entries.len() as u64;
    let is_empty = batch.is_empty();
    let committed = if is_empty { Ok(Commit::Durable) } else { shared.store.commit(batch).await };
    match committed {
        Ok(Commit::Durable) => {
            if !is_empty {
                shared.write_succeeded();
            }
            shared.stats.committed(entries);
            shared.news.note(&noted.written);
            for (customer, entry) in &noted.faulted {
                note_fault(&shared, customer, entry);
            }
            if !noted.by_canaries.is_empty() {
                shared.rollouts.take(&shared.catalog.load(), &noted.by_canaries);
            }
            answer(&shared, jobs).await;
            Committed::Durable
        }
        Ok(Commit::Conflict) => {
            shared.stats.conflicted();
            debug!(jobs = jobs.len(), "another writer was first: deciding again");
            Committed::Conflict(jobs.into_iter().map(|(job, _)| job).collect())
        }
        Err(error) => {
            shared.write_failed();
            shared.news.note_uncertain(&noted.written);
            let error = EngineError::Store(error);
            error!(%error, jobs = jobs.len(), "a batch could not be committed");
            refuse(jobs.into_iter().map(|(job, _)| job), &error);
            Committed::Uncertain
        }
    }
}

/// Counts an alarm, or that a policy failed, and logs some of it, once the entry that says so is durable.
fn note_fault(shared: &Shared, customer: &CustomerId, entry: &Entry) {
    if let Event::TopUpsHalted(halted) = &entry.event {
        // At most one for each customer and window.
        shared.stats.top_ups_halted();
        warn!(%customer, entry = entry.seq, credit = %halted.credit, reason = ?halted.reason, "top-ups are halted");
        return;
    }
    shared.stats.policy_failed(entry);
    let Some(decision) = entry.decision() else { return };
    let (policy, version) = (&decision.policy.name, decision.policy.version);
    if let Some(fault) = &decision.fault
        && let Some(more) = shared.faults.admits(policy, &fault.code, Instant::now())
    {
        warn!(%customer, entry = entry.seq, code = %fault.code, detail = %fault.detail, answered_by = %policy, version,
            not_logged = more, "a policy failed");
    }
}

/// Sends every job its reply. A caller may have gone; what was asked is done all the same.
async fn answer(shared: &Shared, jobs: Vec<(Job, Answer)>) {
    let (mut stored, mut repeated) = (Vec::new(), Vec::new());
    for (job, answer) in jobs {
        match answer {
            Answer::Reply(reply) => job.answer(reply),
            Answer::Stored(seq) => stored.push((job, seq)),
            Answer::Repeat(of) => repeated.push((job, of)),
        }
    }
    join_all(stored.into_iter().map(|(job, seq)| answer_stored(shared, job, seq))).await;
    answer_repeated(shared, repeated).await;
}

/// Answers jobs with the refusals that they repeat, each of which is read once.
async fn answer_repeated(shared: &Shared, jobs: Vec<(Job, Seq)>) {
    let mut known: HashMap<(CustomerId, Seq), Arc<Entry>> = HashMap::new();
    for (job, of) in jobs {
        let place = (job.request.customer.clone(), of);
        let entry = match known.get(&place) {
            Some(entry) => Ok(entry.clone()),
            None => shared.entry(&place.0, of).await,
        };
        if let Ok(entry) = &entry {
            if entry.decision().is_some_and(DecisionRecord::is_degraded) {
                shared.stats.policy_failed(entry);
            }
            known.insert(place, entry.clone());
        }
        job.answer(entry.map(|entry| Reply::Entry(Outcome { entry, replayed: false })));
    }
}

async fn answer_stored(shared: &Shared, job: Job, seq: Seq) {
    let entry = shared.entry(&job.request.customer, seq).await;
    let outcome = entry.and_then(|entry| replay(&entry, job.request.origin.idempotency.as_ref()));
    job.answer(outcome.map(Reply::Entry));
}
