//! A lane: all requests of its customers go through it one after another, so that a hot customer is as fast as many
//! cold ones. It drains what waits, loads what it lacks, decides the whole batch in memory, commits it in one
//! transaction, and answers only then. No lock is held while a policy runs but the catalog's gate, for reading.

mod batch;
mod cache;

use crate::{
    command::{Command, Outcome, Reply, Request},
    decide::{Decider, Journal, Stop},
    error::EngineError,
    shared::Shared,
};
pub(crate) use batch::key_hash;
use batch::{Keyed, Work};
use cache::Cache;
use proviso_ledger::{
    ids::{CustomerId, Digest, Seq},
    journal::Entry,
};
use proviso_store::{Commit, KeyHash};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

/// A request with the place its reply goes to.
pub(crate) struct Job {
    pub request: Request,
    pub reply: oneshot::Sender<Result<Reply, EngineError>>,
}

/// The most requests that one transaction carries.
const LARGEST_BATCH: usize = 512;
/// How often a batch is decided again when other hosts were there first.
const MOST_ATTEMPTS: u32 = 8;

/// Runs until all senders are gone and what they sent is answered.
pub(crate) async fn run(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut lane = Lane { cache: Cache::new(shared.options.cached_customers_per_lane()), shared };
    let mut waiting = Vec::new();
    while jobs.recv_many(&mut waiting, LARGEST_BATCH).await > 0 {
        lane.process(std::mem::take(&mut waiting)).await;
    }
}

struct Lane {
    shared: Arc<Shared>,
    cache: Cache,
}

/// What a job came to, before its batch is durable.
enum Verdict {
    /// A reply of its own.
    Reply(Result<Reply, EngineError>),
    /// The same as an earlier job of this batch, which had the same key and request.
    SameAs(usize),
}

impl Lane {
    async fn process(&mut self, jobs: Vec<Job>) {
        for attempt in 1..=MOST_ATTEMPTS {
            match self.attempt(&jobs).await {
                Ok(Some(verdicts)) => return answer(jobs, verdicts),
                Ok(None) => warn!(attempt, "another host was first: deciding again"),
                Err(error) => {
                    error!(%error, "a batch could not be committed");
                    for job in jobs {
                        let _ = job.reply.send(Err(repeat(&error)));
                    }
                    return;
                }
            }
        }
        for job in jobs {
            let _ = job.reply.send(Err(EngineError::Contention));
        }
    }

    /// Decides and commits; none when another host had written one of the customers or keys first.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Option<Vec<Verdict>>, EngineError> {
        self.load(jobs).await?;
        let replays = self.find_replays(jobs).await?;
        let mut work = Work::default();
        let verdicts = self.decide(jobs, replays, &mut work).await;
        let batch = work.finish(&mut self.cache);
        if batch.is_empty() {
            return Ok(Some(verdicts));
        }
        match self.shared.store.commit(batch).await {
            Ok(Commit::Durable) => {
                work.publish(&self.shared);
                Ok(Some(verdicts))
            }
            Ok(Commit::Conflict) => {
                work.forget(&mut self.cache);
                Ok(None)
            }
            Err(error) => {
                work.forget(&mut self.cache);
                Err(error.into())
            }
        }
    }

    async fn load(&mut self, jobs: &[Job]) -> Result<(), EngineError> {
        let mut missing: Vec<(CustomerId, Seq)> = Vec::new();
        for job in jobs {
            let customer = &job.request.customer;
            if !self.cache.touch(customer) && !missing.iter().any(|(other, _)| other == customer) {
                missing.push((customer.clone(), 0));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let loaded = self.shared.store.load(&missing).await?;
        for ((customer, _), rows) in missing.into_iter().zip(loaded) {
            self.cache.take_in(customer, rows)?;
        }
        Ok(())
    }

    /// The entries that answered the jobs' keys before, by the place of the job.
    async fn find_replays(&self, jobs: &[Job]) -> Result<HashMap<usize, Arc<Entry>>, EngineError> {
        let mut places = Vec::new();
        let mut keys: Vec<(CustomerId, KeyHash)> = Vec::new();
        for (place, job) in jobs.iter().enumerate() {
            if let Some((key, _)) = &job.request.idempotency {
                places.push(place);
                keys.push((job.request.customer.clone(), key_hash(key)));
            }
        }
        let mut replays = HashMap::new();
        if keys.is_empty() {
            return Ok(replays);
        }
        let found = self.shared.store.find_keys(&keys).await?;
        for ((place, (customer, _)), seq) in places.into_iter().zip(keys).zip(found) {
            if let Some(seq) = seq {
                replays.insert(place, self.shared.entry(&customer, seq).await?);
            }
        }
        Ok(replays)
    }

    async fn decide(
        &mut self,
        jobs: &[Job],
        replays: HashMap<usize, Arc<Entry>>,
        work: &mut Work,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        for (place, job) in jobs.iter().enumerate() {
            let verdict = match replays.get(&place) {
                Some(entry) => Verdict::Reply(replay(entry, &job.request)),
                None => match work.keyed(&job.request) {
                    Keyed::Fresh => Verdict::Reply(self.decide_one(&job.request, place, work).await),
                    Keyed::SameAs(earlier) => Verdict::SameAs(earlier),
                    Keyed::Reused => Verdict::Reply(Err(EngineError::IdempotencyKeyReused)),
                },
            };
            verdicts.push(verdict);
        }
        verdicts
    }

    async fn decide_one(
        &mut self,
        request: &Request,
        place: usize,
        work: &mut Work,
    ) -> Result<Reply, EngineError> {
        loop {
            let Some(cached) = self.cache.get_mut(&request.customer) else {
                return Err(EngineError::Internal("a customer fell out of the cache".to_owned()));
            };
            if work.is_broken(&request.customer) {
                return Err(EngineError::Internal(
                    "an earlier request of the batch broke the state".to_owned(),
                ));
            }
            let mut journal = Journal::default();
            let decided = {
                // Held for reading while this request is decided: a change of plan terms takes effect between two
                // decisions, never within one.
                let _gate = self.shared.gate.read().await;
                let catalog = self.shared.catalog.load();
                let decider = Decider {
                    catalog: &catalog,
                    modules: &|digest: &Digest| self.shared.runtime.loaded(digest),
                    now: self.shared.clock.now(),
                    late_window: self.shared.options.late_window_micros(),
                };
                decider.decide(&mut cached.state, request, &mut journal)
            };
            let swept = matches!(request.command, Command::Sweep);
            work.record(cached, &request.customer, journal, swept);
            match decided {
                Ok(reply) => {
                    if let (Reply::Entry(_), Some(idempotency)) = (&reply, &request.idempotency) {
                        work.remember(&request.customer, idempotency, place);
                    }
                    return Ok(reply);
                }
                Err(Stop::Need(digest)) => {
                    self.shared.load_module(digest).await?;
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Defect(error)) => {
                    error!(%error, "a defect: dropping the customer's state");
                    work.mark_broken(&request.customer);
                    return Err(error);
                }
            }
        }
    }
}

fn replay(entry: &Arc<Entry>, request: &Request) -> Result<Reply, EngineError> {
    let same = request.idempotency.as_ref().map(|(_, digest)| digest) == entry.request.as_ref();
    if same {
        Ok(Reply::Entry(Outcome { entry: entry.clone(), replayed: true }))
    } else {
        Err(EngineError::IdempotencyKeyReused)
    }
}

/// Sends every job its reply; the batch is durable now.
fn answer(jobs: Vec<Job>, verdicts: Vec<Verdict>) {
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(verdicts.len());
    for verdict in &verdicts {
        outcomes.push(match verdict {
            Verdict::Reply(Ok(Reply::Entry(outcome))) => Some(outcome.clone()),
            _ => None,
        });
    }
    for (job, verdict) in jobs.into_iter().zip(verdicts) {
        let reply = match verdict {
            Verdict::Reply(reply) => reply,
            Verdict::SameAs(earlier) => match outcomes.get(earlier) {
                Some(Some(outcome)) => Ok(Reply::Entry(Outcome { replayed: true, ..outcome.clone() })),
                _ => Err(EngineError::Internal("the first use of a key left no outcome".to_owned())),
            },
        };
        // The caller may have gone; what was asked is done all the same.
        let _ = job.reply.send(reply);
    }
}

/// The same error for every job of a batch.
fn repeat(error: &EngineError) -> EngineError {
    match error {
        EngineError::Store(error) => EngineError::Store(error.clone()),
        EngineError::Damaged(customer, error) => EngineError::Damaged(customer.clone(), error.clone()),
        other => EngineError::Internal(other.to_string()),
    }
}
