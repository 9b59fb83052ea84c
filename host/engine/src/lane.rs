//! A lane: all requests of its customers go through it one after another, so that a hot customer is as fast as many
//! cold ones. While one batch is being committed, the lane decides the next one in memory on top of it; that one is
//! committed next. So a batch is as large as what arrives during a commit, and waits for nothing when the lane is idle. No
//! lock is held while a policy runs but the catalog's gate, for reading.

mod cache;
mod contention;
mod in_flight;
mod known;
pub(crate) mod open_batch;
mod slow;
mod step;

use crate::{
    error::EngineError,
    idempotency::replay,
    queue::{Job, Queue, refuse},
    shared::Shared,
};
use contention::Contention;
use in_flight::{Committed, InFlight, Noted};
use known::{Known, Lookup};
use open_batch::{Answer, OpenBatch};
use proviso_decide::{
    Decider, Journal, Stop,
    command::{Command, Reply},
};
use proviso_ledger::{
    model::ids::{CustomerId, Digest},
    rules::rejection::Rejection,
};
use proviso_policy::fuel_burnt_on_this_thread;
use proviso_store::StoreError;
use slow::{SlowPolicies, SlowWork};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use step::{Decided, Evidence, Step};
use tokio::time::Instant;
use tracing::error;

/// A batch with so many keyed requests for each of its customers is a hot one.
const HOT: usize = 8;
/// The longest that a lane backs off for another host.
const MAX_BACK_OFF: Duration = Duration::from_millis(20);
/// The most entries for what is due of one customer that are written in one turn: some milliseconds, then others are served.
const MOST_DUE: usize = 256;
/// How often a request is decided again when other writers were first.
const MAX_ATTEMPTS: u32 = 40;

/// Runs a lane, and a new one in its place should it end in a defect: all that it knows it can read again.
pub(crate) async fn keep(shared: Arc<Shared>, queue: Arc<Queue>) {
    while let Err(error) = tokio::spawn(run(shared.clone(), queue.clone())).await {
        error!(%error, "a lane ended in a defect; its requests are not answered, and a new one goes on");
    }
}

/// Runs until the queue is closed and what waited is answered.
async fn run(shared: Arc<Shared>, queue: Arc<Queue>) {
    let mut lane = Lane::new(shared);
    let (mut open, mut taken, mut has_more) = (OpenBatch::default(), Vec::new(), true);
    while has_more || lane.in_flight.is_some() {
        if open.is_empty() && lane.in_flight.is_none() {
            // Questions leave no batch whose end would let further ones be asked.
            open.slow = SlowWork::default();
        }
        let free = lane.largest.saturating_sub(open.jobs.len());
        // In contention nothing is decided ahead: whoever does has its next batch ready before the other host can commit.
        let may_take = has_more
            && free > 0
            && (lane.in_flight.is_none() || !(lane.contention.is_likely() || open.slow.holds_back()));
        tokio::select! {
            biased;
            committed = in_flight::ended(&mut lane.in_flight), if lane.in_flight.is_some() => {
                if let Some(back_off) = lane.end_commit(committed, &mut open).await {
                    tokio::time::sleep(back_off).await;
                }
            }
            any = queue.take(free, lane.most_customers, &mut taken), if may_take => {
                has_more = any;
                lane.decide(std::mem::take(&mut taken), &mut open).await;
                has_more |= lane.give_back(&queue);
            }
        }
        while lane.in_flight.is_none() && !(open.is_empty() && lane.deferred.is_empty()) {
            let mut jobs = lane.take_deferred();
            // What came while the last batch was decided goes along: a commit costs the same for many as for one.
            let free = lane.largest.saturating_sub(open.jobs.len() + jobs.len());
            queue.take_waiting(free, lane.most_customers, &mut jobs);
            lane.decide(jobs, &mut open).await;
            has_more |= lane.give_back(&queue);
            if !open.is_empty() {
                lane.start_commit(std::mem::take(&mut open));
            }
        }
    }
}

struct Lane {
    shared: Arc<Shared>,
    known: Known,
    /// The batch that is being committed.
    in_flight: Option<InFlight>,
    /// Jobs that are to be decided once it has ended, the first ones first.
    deferred: Vec<Job>,
    /// Jobs of slow policies that are to wait in the queue again.
    held_back: Vec<Job>,
    slow: SlowPolicies,
    contention: Contention,
    /// When the open batch was begun.
    batch_began: Instant,
    /// The most jobs of a batch.
    largest: usize,
    /// The most customers of a batch: fewer after each conflict, since each may be the one that another host writes, and
    /// more after each success.
    most_customers: usize,
}

impl Lane {
    fn new(shared: Arc<Shared>) -> Self {
        let largest = shared.options.largest_batch.get();
        Self {
            known: Known::new(shared.clone()),
            shared,
            in_flight: None,
            deferred: Vec::new(),
            held_back: Vec::new(),
            slow: SlowPolicies::new(),
            contention: Contention::default(),
            batch_began: Instant::now(),
            largest,
            most_customers: largest,
        }
    }

    /// Gives jobs that wait for slow policies back to the queue; says whether there are any.
    fn give_back(&mut self, queue: &Queue) -> bool {
        let any = !self.held_back.is_empty();
        queue.give_back(std::mem::take(&mut self.held_back));
        any
    }

    /// Starts to commit a batch.
    fn start_commit(&mut self, mut batch: OpenBatch) {
        self.known.batch_decided();
        let rows = batch.rows(&mut self.known.cache);
        let (jobs, keys) = (std::mem::take(&mut batch.jobs), std::mem::take(&mut batch.keys));
        let noted = Noted {
            faulted: std::mem::take(&mut batch.faulted),
            by_canaries: std::mem::take(&mut batch.by_canaries),
        };
        let task = tokio::spawn(in_flight::commit(self.shared.clone(), rows, jobs, noted));
        let catching_up = batch.catching_up();
        let customers: HashSet<_> = batch.into_customers().collect();
        let is_hot = keys.len() >= customers.len().saturating_mul(HOT);
        self.in_flight = Some(InFlight { task, customers, catching_up, is_hot, keys });
    }

    /// Takes note of how the commit ended. Returns how long to back off now: another host needs about as long for its batch
    /// as this one did.
    async fn end_commit(&mut self, committed: Committed, open: &mut OpenBatch) -> Option<Duration> {
        let ended = self.in_flight.take()?;
        let jobs = match committed {
            Committed::Durable => {
                self.most_customers = self.most_customers.saturating_mul(2).min(self.largest);
                for (key, entry) in ended.keys {
                    self.known.remember(key, entry.seq);
                }
                let backs_off = self.contention.committed(ended.is_hot && self.shared.store.is_shared());
                return backs_off.then(|| self.batch_began.elapsed().min(MAX_BACK_OFF));
            }
            Committed::Conflict(jobs) => self.lost(jobs, &ended).await,
            Committed::Uncertain => {
                self.refuse_deferred(&ended);
                Vec::new()
            }
        };
        self.decide_again(jobs, &ended, open);
        None
    }

    /// Tells those who wait for what is due that it can't be written: they are in no batch that would tell them.
    fn refuse_deferred(&mut self, ended: &InFlight) {
        let (refused, kept) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|job| ended.catching_up.contains(&job.request.customer));
        self.deferred = kept;
        let detail = "what is due could not be written".to_owned();
        let refused: Vec<Job> = refused;
        refuse(refused, &EngineError::Store(StoreError::Unavailable { detail }));
    }

    /// Takes note of a conflict; returns the jobs that are to be decided again.
    async fn lost(&mut self, mut jobs: Vec<Job>, ended: &InFlight) -> Vec<Job> {
        self.known.conflicted();
        self.most_customers = (ended.customers.len() / 2).max(1);
        // Perhaps it was the catalog that had changed. If this fails, so will the commit.
        if let Err(error) = self.shared.reread_catalog().await {
            error!(%error, "the catalog can't be read");
        }
        jobs.iter_mut().for_each(|job| job.attempts += 1);
        let is_lost_again = ended.is_hot || jobs.iter().any(|job| job.attempts > 1);
        if is_lost_again && self.shared.store.is_shared() {
            self.contention.lost();
        }
        let (exhausted, jobs): (Vec<_>, _) = jobs.into_iter().partition(|job| job.attempts >= MAX_ATTEMPTS);
        if !exhausted.is_empty() {
            self.shared.write_failed();
            refuse(exhausted, &EngineError::Contention);
        }
        jobs
    }

    /// Defers the jobs of a batch that was not committed, and those of the open batch, which was built on it, and forgets
    /// the states of both.
    fn decide_again(&mut self, mut jobs: Vec<Job>, ended: &InFlight, open: &mut OpenBatch) {
        let mut built = std::mem::take(open);
        jobs.extend(std::mem::take(&mut built.jobs).into_iter().map(|(job, _)| job));
        jobs.append(&mut self.deferred);
        self.deferred = jobs;
        for customer in ended.customers.iter().cloned().chain(built.into_customers()) {
            self.known.cache.remove(&customer);
        }
    }

    /// Of the deferred jobs, those of as many customers as a batch may have.
    fn take_deferred(&mut self) -> Vec<Job> {
        let mut customers: HashSet<CustomerId> = HashSet::new();
        let most = self.most_customers;
        let mut fits = |job: &Job| {
            let customer = &job.request.customer;
            customers.contains(customer) || customers.len() < most && customers.insert(customer.clone())
        };
        let (now, later) = std::mem::take(&mut self.deferred).into_iter().partition(|job| fits(job));
        self.deferred = later;
        now
    }

    /// Decides jobs into the open batch. Those that wrote nothing are answered at once, unless they saw something that is
    /// not durable yet.
    async fn decide(&mut self, mut jobs: Vec<Job>, open: &mut OpenBatch) {
        if open.is_empty() {
            self.batch_began = Instant::now();
        }
        let mut recheck = false;
        while !jobs.is_empty() {
            let in_flight = self.in_flight.as_ref();
            let is_pending = |customer: &CustomerId| {
                open.touches(customer) || in_flight.is_some_and(|batch| batch.touches(customer))
            };
            let lookup = match self.known.look_up(&jobs, recheck, is_pending).await {
                Ok(lookup) => lookup,
                Err(error) => return refuse(jobs, &error),
            };
            let mut uncertain = Vec::new();
            for job in jobs {
                if let Some(job) = self.settle(job, open, &lookup).await {
                    uncertain.push(job);
                }
            }
            (jobs, recheck) = (uncertain, true);
        }
        // A batch does so when it is committed; reads leave none. Beside one, its states must not fall out.
        if open.is_empty() && self.in_flight.is_none() {
            self.known.cache.trim();
        }
    }

    /// Answers, decides or defers one job; returns it when the store must be asked first.
    async fn settle(&mut self, job: Job, open: &mut OpenBatch, lookup: &Lookup) -> Option<Job> {
        let customer = &job.request.customer;
        if let Some(error) = lookup.damaged.get(customer) {
            let error = EngineError::journal(customer, error.clone());
            job.answer(Err(error));
            return None;
        }
        if let Some(answer) = self.earlier_answer(&job, open, lookup) {
            open.jobs.push((job, answer));
            return None;
        }
        if self.is_outdated(&job, open, lookup) {
            // Told once the newer refund is durable, so that whoever asked finds it.
            open.jobs.push((job, Answer::Reply(Err(Rejection::RefundedMeanwhile.into()))));
            return None;
        }
        if open.slow.is_spent()
            && let Some(cached) = self.known.cache.get_mut(customer)
        {
            let (catalog, now) = (self.shared.catalog.load(), self.shared.clock.now());
            if self.slow.hold_back(&catalog, &cached.state, now, &job, &mut open.slow) {
                self.held_back.push(job);
                return None;
            }
        }
        // One turn of a customer for whom much is due is enough for one batch.
        let decided = if open.is_catching_up(customer) { None } else { self.decide_one(&job, open).await };
        let Some((reply, wrote_due)) = decided else {
            self.deferred.push(job);
            return None;
        };
        let evidence = Evidence {
            decided: match &reply {
                Ok(Reply::Entry(_)) => Decided::Entry,
                Ok(_) => Decided::Question,
                Err(_) => Decided::Error,
            },
            wrote_due,
            is_in_open_batch: open.touches(customer),
            is_in_flight: self.in_flight.as_ref().is_some_and(|batch| batch.touches(customer)),
            is_shared: self.shared.store.is_shared(),
            has_fresh_state: lookup.fresh.contains(customer),
            has_fresh_catalog: lookup.has_fresh_catalog,
            knows_key: job.key_hash.is_none() || lookup.has_all_keys,
        };
        match evidence.next_step() {
            Step::Reply => job.answer(reply),
            Step::ReplyAfterCommit => open.jobs.push((job, Answer::Reply(reply))),
            Step::Defer => self.deferred.push(job),
            Step::Recheck => return Some(job),
        }
        None
    }

    /// What answered an earlier request with the job's key.
    fn earlier_answer(&mut self, job: &Job, open: &OpenBatch, lookup: &Lookup) -> Option<Answer> {
        let key = (job.request.customer.clone(), job.key_hash?);
        let pending = open.keys.get(&key).or_else(|| self.in_flight.as_ref()?.keys.get(&key));
        match pending {
            Some(entry) => {
                let outcome = replay(entry, job.request.origin.idempotency.as_ref());
                Some(Answer::Reply(outcome.map(Reply::Entry)))
            }
            None => self.known.answered(&key, lookup).map(Answer::Stored),
        }
    }

    /// Whether the charge that the job refunds was refunded since it was read.
    fn is_outdated(&mut self, job: &Job, open: &OpenBatch, lookup: &Lookup) -> bool {
        let Some(guard) = job.guard else { return false };
        let key = (job.request.customer.clone(), guard);
        let is_in_flight = self.in_flight.as_ref().is_some_and(|batch| batch.keys.contains_key(&key));
        is_in_flight || open.keys.contains_key(&key) || self.known.answered(&key, lookup).is_some()
    }

    /// Decides one job; says, too, whether that wrote anything. None when more is due than is written in one turn.
    async fn decide_one(
        &mut self,
        job: &Job,
        open: &mut OpenBatch,
    ) -> Option<(Result<Reply, EngineError>, bool)> {
        let request = &job.request;
        let mut wrote = false;
        let mut unavailable: HashMap<Digest, String> = HashMap::new();
        loop {
            let Some(cached) = self.known.cache.get_mut(&request.customer) else {
                let error = EngineError::Internal("a customer fell out of the cache".to_owned());
                return Some((Err(error), wrote));
            };
            if open.is_broken(&request.customer) {
                let error = "an earlier request of the batch broke the state".to_owned();
                return Some((Err(EngineError::Internal(error)), wrote));
            }
            let mut journal = Journal::up_to(self.shared.formats.writable());
            let (decided, catalog) = {
                // Held for reading while this request is decided: a change of plan terms takes effect between two
                // decisions, never within one.
                let _gate = self.shared.gate.read().await;
                let catalog = self.shared.catalog.load_full();
                let decider = Decider {
                    plans: &*catalog,
                    policies: &|digest| self.shared.look_up_policy(&catalog, digest, &unavailable),
                    now: self.shared.clock.now(),
                    late_window: self.shared.options.late_window_micros(),
                    most_due: MOST_DUE,
                };
                let burnt_before = fuel_burnt_on_this_thread();
                let decided = if matches!(request.command, Command::Read) && decider.is_current(&cached.state)
                {
                    Ok(Reply::State(cached.state.clone()))
                } else {
                    decider.decide(Arc::make_mut(&mut cached.state), request, &mut journal)
                };
                let burnt = fuel_burnt_on_this_thread().saturating_sub(burnt_before);
                self.slow.decided(&catalog, &cached.state, decider.now, burnt, &mut open.slow);
                (decided, catalog)
            };
            wrote |= open.record(cached, job, journal, &catalog);
            match decided {
                Ok(reply) => return Some((Ok(reply), wrote)),
                Err(Stop::Unfinished) => {
                    open.mark_catching_up(&request.customer);
                    return None;
                }
                Err(Stop::Need(digest)) => {
                    match self.shared.load_module(digest).await {
                        Ok(_) => {}
                        // A module that can't be loaded is its terms' fault, and stands in nobody's way.
                        Err(EngineError::Module(detail)) => drop(unavailable.insert(digest, detail)),
                        Err(error) => return Some((Err(error), wrote)),
                    }
                }
                Err(Stop::Error(error)) => return Some((Err(error.into()), wrote)),
                Err(Stop::Defect(error)) => {
                    error!(%error, "a defect: dropping the customer's state");
                    open.mark_broken(&request.customer);
                    return Some((Err(error.into()), wrote));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Catalog, clock::Clock, command::Request, shared::Options};
    use proviso_ledger::{model::time::Timestamp, state::Origin};
    use proviso_policy::{Compiler, Limits, Runtime};
    use proviso_store::{SqliteOptions, SqliteStore};
    use tokio::sync::oneshot;

    fn read(customer: usize) -> Job {
        let customer = format!("c{customer}").parse().unwrap();
        let request = Request { customer, command: Command::Read, origin: Origin::default() };
        Job { request, key_hash: None, guard: None, attempts: 0, reply: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn reads_alone_fill_no_more_than_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(folder.path().join("proviso.db"))).await.unwrap();
        let limits = Limits { instances: 1, ..Limits::default() };
        let runtime = Runtime::new(limits, None, Compiler::InProcess).unwrap();
        let options = Options { cached_customers: 1, ..Options::default() };
        let clock = Clock::new(|| Timestamp(0));
        let shared = Shared::new(Arc::new(store), Arc::new(runtime), clock, options, Catalog::default());
        let mut lane = Lane::new(Arc::new(shared));
        let mut open = OpenBatch::default();
        for first in (0..3 * cache::SMALLEST).step_by(512) {
            lane.decide((first..first + 512).map(read).collect(), &mut open).await;
            assert!(open.is_empty());
        }
        assert_eq!(lane.known.cache.len(), cache::SMALLEST);
    }
}
