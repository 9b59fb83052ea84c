//! A lane: all requests of its customers go through it one after another, so that a hot customer is as fast as many
//! cold ones. While one batch is being committed, the lane decides the next one in memory on top of it; that one is
//! committed next. So a batch is as large as what arrives during a commit, and waits for nothing when the lane is idle. No
//! lock is held while a policy runs but the catalog's gate, for reading. Slow decisions are made off the lane.

mod aside;
mod cache;
mod contention;
mod in_flight;
mod known;
pub(crate) mod open_batch;
mod repeats;
mod slow;
mod step;

use crate::{
    error::EngineError,
    idempotency::replay,
    queue::{Job, Queue, refuse},
    shared::Shared,
};
use aside::{Aside, Decision, End, Returned, Run, Ticket};
use contention::Contention;
use in_flight::{Committed, InFlight, Noted};
use known::{Known, Lookup};
use open_batch::{Answer, OpenBatch, Repeated};
use proviso_decide::{
    Decider, Journal, Stop,
    command::{Command, Reply},
    is_current,
};
use proviso_ledger::{
    model::ids::{CustomerId, Digest},
    rules::rejection::Rejection,
    state::CustomerState,
};
use proviso_policy::fuel_burnt_on_this_thread;
use proviso_store::StoreError;
use repeats::Repeats;
use slow::{Slowness, Work, policy_in_force};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
        queue.release_all();
    }
}

/// Runs until the queue is closed and what waited is answered.
async fn run(shared: Arc<Shared>, queue: Arc<Queue>) {
    let mut lane = Lane::new(shared);
    let (mut open, mut taken, mut has_more) = (OpenBatch::default(), Vec::new(), true);
    while has_more || lane.in_flight.is_some() || !lane.aside.is_empty() {
        let free = lane.largest.saturating_sub(open.jobs.len());
        // In contention nothing is decided ahead: whoever does has its next batch ready before the other host can commit.
        let may_take = has_more && free > 0 && (lane.in_flight.is_none() || !lane.contention.is_likely());
        tokio::select! {
            biased;
            committed = in_flight::ended(&mut lane.in_flight), if lane.in_flight.is_some() => {
                if let Some(back_off) = lane.end_commit(committed, &mut open).await {
                    tokio::time::sleep(back_off).await;
                }
            }
            (returned, base) = lane.aside.next(), if !lane.aside.is_empty() => {
                let customer = returned.customer.clone();
                lane.take_back(returned, base, &mut open).await;
                has_more |= lane.hand_over(&queue);
                if !lane.aside.has(&customer) {
                    queue.release(&customer);
                }
            }
            () = reached(lane.repeats.next()), if lane.repeats.next().is_some() => {
                let due = lane.repeats.take_due();
                lane.deferred.extend(due);
            }
            any = queue.take(free, lane.most_customers, &mut taken), if may_take => {
                has_more = any;
                lane.decide(std::mem::take(&mut taken), &mut open).await;
                has_more |= lane.hand_over(&queue);
            }
        }
        if !has_more {
            let rest = lane.repeats.take_all();
            lane.deferred.extend(rest);
        }
        while lane.in_flight.is_none() && !(open.is_empty() && lane.deferred.is_empty()) {
            let mut jobs = lane.take_deferred();
            // What came while the last batch was decided goes along: a commit costs the same for many as for one.
            let free = lane.largest.saturating_sub(open.jobs.len() + jobs.len());
            queue.take_waiting(free, lane.most_customers, &mut jobs);
            lane.decide(jobs, &mut open).await;
            has_more |= lane.hand_over(&queue);
            if !open.is_empty() {
                lane.start_commit(std::mem::take(&mut open));
            }
        }
    }
}

/// Waits for an instant; for ever, when there is none.
async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

struct Lane {
    shared: Arc<Shared>,
    known: Known,
    /// The batch that is being committed.
    in_flight: Option<InFlight>,
    /// Jobs that are to be decided once it has ended, the first ones first.
    deferred: Vec<Job>,
    /// Jobs that are to wait in the queue again, since others of their customers are decided off the lane.
    held_back: Vec<Job>,
    /// Jobs that are to be decided off the lane.
    leaving: BTreeMap<CustomerId, Run>,
    /// Those that are.
    aside: Aside,
    slow: Slowness,
    repeats: Repeats,
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
            in_flight: None,
            deferred: Vec::new(),
            held_back: Vec::new(),
            leaving: BTreeMap::new(),
            aside: Aside::new(shared.clone()),
            slow: Slowness::new(shared.options.slow_fuel),
            repeats: Repeats::default(),
            contention: Contention::default(),
            batch_began: Instant::now(),
            largest,
            most_customers: largest,
            shared,
        }
    }

    /// Starts the runs of jobs that are to be decided off the lane, and gives those that wait for them back to the queue; says
    /// whether there are any of these.
    fn hand_over(&mut self, queue: &Queue) -> bool {
        for (customer, run) in std::mem::take(&mut self.leaving) {
            match self.known.cache.get_mut(&customer) {
                Some(cached) => {
                    queue.hold(&customer);
                    self.aside.start(cached.state.clone(), cached.refusals(), run);
                }
                // Its state is not known any more, as after a lost commit: from the beginning.
                None => self.held_back.extend(run.into_jobs()),
            }
        }
        let any = !self.held_back.is_empty();
        queue.give_back(std::mem::take(&mut self.held_back));
        any
    }

    /// Starts to commit a batch.
    fn start_commit(&mut self, mut batch: OpenBatch) {
        self.known.batch_decided();
        let rows = batch.rows(&mut self.known.cache);
        let (jobs, keys) = (std::mem::take(&mut batch.jobs), std::mem::take(&mut batch.keys));
        let (repeats, repeat_keys) =
            (std::mem::take(&mut batch.repeats), std::mem::take(&mut batch.repeat_keys));
        let noted = Noted {
            faulted: std::mem::take(&mut batch.faulted),
            by_canaries: std::mem::take(&mut batch.by_canaries),
            written: std::mem::take(&mut batch.written),
        };
        let task = tokio::spawn(in_flight::commit(self.shared.clone(), rows, jobs, noted));
        let catching_up = batch.catching_up();
        let customers: HashSet<_> = batch.into_customers().collect();
        let is_hot = keys.len() >= customers.len().saturating_mul(HOT);
        self.in_flight = Some(InFlight { task, customers, catching_up, is_hot, keys, repeats, repeat_keys });
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
                for (key, of) in ended.repeat_keys {
                    self.known.remember(key, of);
                }
                ended.repeats.into_iter().for_each(|repeat| self.repeats.count(repeat));
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
    async fn lost(&mut self, jobs: Vec<Job>, ended: &InFlight) -> Vec<Job> {
        self.known.conflicted();
        self.most_customers = (ended.customers.len() / 2).max(1);
        // Perhaps it was the catalog that had changed. If this fails, so will the commit.
        if let Err(error) = self.shared.reread_catalog().await {
            error!(%error, "the catalog can't be read");
        }
        let is_lost_again = ended.is_hot || jobs.iter().any(|job| job.attempts > 0);
        if is_lost_again && self.shared.store.is_shared() {
            self.contention.lost();
        }
        self.in_vain(jobs)
    }

    /// Counts an attempt of jobs that were decided in vain; returns those that may be decided again.
    fn in_vain(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        jobs.iter_mut().for_each(|job| job.attempts += 1);
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
    async fn decide(&mut self, jobs: Vec<Job>, open: &mut OpenBatch) {
        self.decide_after(false, jobs, open).await;
    }

    /// The same; with `recheck`, the store is asked for news first.
    async fn decide_after(&mut self, mut recheck: bool, jobs: Vec<Job>, open: &mut OpenBatch) {
        if open.is_empty() {
            self.batch_began = Instant::now();
        }
        let (mut jobs, held_back): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| !self.aside.has(&job.request.customer));
        self.held_back.extend(held_back);
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
        let customer = job.request.customer.clone();
        if let Some(error) = lookup.damaged.get(&customer) {
            let error = EngineError::journal(&customer, error.clone());
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
        let ticket = |job| Ticket {
            has_fresh_state: lookup.fresh.contains(&customer),
            has_fresh_catalog: lookup.has_fresh_catalog,
            has_all_keys: lookup.has_all_keys,
            wrote: false,
            job,
        };
        if let Some(run) = self.leaving.get_mut(&customer) {
            self.held_back.extend(run.add(ticket(job)));
            return None;
        }
        // One turn of a customer for whom much is due is enough for one batch.
        if open.is_catching_up(&customer) {
            self.deferred.push(job);
            return None;
        }
        let (policy, is_slow) = self.outlook(&job);
        if is_slow && !open.is_broken(&customer) {
            self.leave(ticket(job), None);
            return None;
        }
        match self.decide_one(&job, policy, open).await {
            OnLane::Decided(reply, wrote) => self.conclude(Ticket { wrote, ..ticket(job) }, reply, open),
            OnLane::Repeats(repeated) => {
                open.repeat(job, repeated);
                None
            }
            OnLane::Unfinished => {
                self.deferred.push(job);
                None
            }
            OnLane::Needs(digest, wrote) => {
                self.leave(Ticket { wrote, ..ticket(job) }, Some(digest));
                None
            }
        }
    }

    /// The policy that is in force for a job's customer, and whether the job is to be decided off the lane.
    fn outlook(&mut self, job: &Job) -> (Option<Digest>, bool) {
        let Some(cached) = self.known.cache.get_mut(&job.request.customer) else { return (None, false) };
        let (catalog, now) = (self.shared.catalog.load(), self.shared.clock.now());
        let policy = policy_in_force(&catalog, &cached.state, now);
        // A look at the state asks no policy.
        let asks = || !matches!(job.request.command, Command::Read) || !is_current(&cached.state, now);
        (policy, self.slow.is_likely(&catalog, policy, &cached.state, now) && asks())
    }

    /// Lets a job be decided off the lane, the first one of its customer.
    fn leave(&mut self, ticket: Ticket, need: Option<Digest>) {
        let (customer, mut run) = (ticket.job.request.customer.clone(), Run::default());
        if let Some(digest) = need {
            run = run.need(digest);
        }
        self.held_back.extend(run.add(ticket));
        self.leaving.insert(customer, run);
    }

    /// Takes in what was decided off the lane, if the state is still the one that it was decided on.
    async fn take_back(
        &mut self,
        Returned { customer, ran }: Returned,
        base: Option<Arc<CustomerState>>,
        open: &mut OpenBatch,
    ) {
        // After a defect, what the lane has is untouched.
        let Some(ran) = ran else { return };
        self.held_back.extend(ran.left);
        let catalog = self.shared.catalog.load_full();
        let is_valid = ran.revision.is_none_or(|decided_with| decided_with == catalog.revision);
        let cached = self
            .known
            .cache
            .get_mut(&customer)
            .filter(|cached| is_valid && base.is_some_and(|base| Arc::ptr_eq(&cached.state, &base)));
        let Some(cached) = cached else {
            let jobs = ran.decisions.into_iter().map(|decision| decision.ticket.job).collect();
            let again = self.in_vain(jobs);
            self.held_back.extend(again);
            return;
        };
        if open.is_empty() {
            self.batch_began = Instant::now();
        }
        cached.state = ran.state;
        let mut uncertain = Vec::new();
        for Decision { mut ticket, journals, end, burnt, work } in ran.decisions {
            self.slow.decided(&customer, ran.policy, work, burnt);
            if let Some(cached) = self.known.cache.get_mut(&customer) {
                for journal in journals {
                    ticket.wrote |= open.record(cached, &ticket.job, journal, &catalog);
                }
            }
            let reply = match end {
                End::Reply(Ok(Reply::Repeat { of, at })) => {
                    let seq = self.known.cache.get_mut(&customer).map_or(0, |cached| cached.state.seq);
                    open.repeat(ticket.job, Repeated { of, at, seq, revision: catalog.revision });
                    continue;
                }
                End::Reply(reply) => reply,
                End::Unfinished => {
                    open.mark_catching_up(&customer);
                    self.deferred.push(ticket.job);
                    continue;
                }
                End::Defect(error) => {
                    error!(%error, "a defect: dropping the customer's state");
                    open.mark_broken(&customer);
                    Err(error)
                }
            };
            uncertain.extend(self.conclude(ticket, reply, open));
        }
        if !uncertain.is_empty() {
            self.decide_after(true, uncertain, open).await;
        }
    }

    /// Replies to a job that was decided, or lets it wait for what proves the reply; returns it when the store must be asked
    /// first.
    fn conclude(
        &mut self,
        ticket: Ticket,
        reply: Result<Reply, EngineError>,
        open: &mut OpenBatch,
    ) -> Option<Job> {
        let Ticket { job, has_fresh_state, has_fresh_catalog, has_all_keys, wrote } = ticket;
        let customer = &job.request.customer;
        let evidence = Evidence {
            decided: match &reply {
                Ok(Reply::Entry(_)) => Decided::Entry,
                Ok(_) => Decided::Question,
                Err(_) => Decided::Error,
            },
            wrote_due: wrote,
            is_in_open_batch: open.touches(customer),
            is_in_flight: self.in_flight.as_ref().is_some_and(|batch| batch.touches(customer)),
            is_shared: self.shared.store.is_shared(),
            has_fresh_state,
            has_fresh_catalog,
            knows_key: job.key_hash.is_none() || has_all_keys,
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
            None => {
                let of = open.repeat_keys.get(&key);
                let of = of.or_else(|| self.in_flight.as_ref()?.repeat_keys.get(&key)).copied();
                of.or_else(|| self.known.answered(&key, lookup)).map(Answer::Stored)
            }
        }
    }

    /// Whether the charge that the job refunds was refunded since it was read.
    fn is_outdated(&mut self, job: &Job, open: &OpenBatch, lookup: &Lookup) -> bool {
        let Some(guard) = job.guard else { return false };
        let key = (job.request.customer.clone(), guard);
        let is_in_flight = self.in_flight.as_ref().is_some_and(|batch| batch.keys.contains_key(&key));
        is_in_flight || open.keys.contains_key(&key) || self.known.answered(&key, lookup).is_some()
    }

    /// Decides one job, by this policy as far as is known.
    async fn decide_one(&mut self, job: &Job, policy: Option<Digest>, open: &mut OpenBatch) -> OnLane {
        let request = &job.request;
        let fails = |error: &str| OnLane::Decided(Err(EngineError::Internal(error.to_owned())), false);
        let Some(cached) = self.known.cache.get_mut(&request.customer) else {
            return fails("a customer fell out of the cache");
        };
        if open.is_broken(&request.customer) {
            return fails("an earlier request of the batch broke the state");
        }
        let mut journal = Journal::up_to(self.shared.formats.writable()).after_refusals(cached.refusals());
        let (decided, catalog) = {
            // Held for reading while this request is decided: a change of plan terms takes effect between two
            // decisions, never within one.
            let _gate = self.shared.gate.read().await;
            let catalog = self.shared.catalog.load_full();
            let decider = Decider {
                plans: &*catalog,
                policies: &|digest| self.shared.look_up_policy(&catalog, digest, &HashMap::new()),
                now: self.shared.clock.now(),
                late_window: self.shared.options.late_window_micros(),
                most_due: MOST_DUE,
            };
            let burnt_before = fuel_burnt_on_this_thread();
            let decided = if matches!(request.command, Command::Read) && decider.is_current(&cached.state) {
                Ok(Reply::State(cached.state.clone()))
            } else {
                decider.decide(Arc::make_mut(&mut cached.state), request, &mut journal)
            };
            let burnt = fuel_burnt_on_this_thread().saturating_sub(burnt_before);
            let work = Work::of(std::slice::from_ref(&journal));
            self.slow.decided(&request.customer, policy, work, burnt);
            (decided, catalog)
        };
        let wrote = open.record(cached, job, journal, &catalog);
        match decided {
            Ok(Reply::Repeat { of, at }) => {
                let (seq, revision) = (cached.state.seq, catalog.revision);
                OnLane::Repeats(Repeated { of, at, seq, revision })
            }
            Ok(reply) => OnLane::Decided(Ok(reply), wrote),
            Err(Stop::Unfinished) => {
                open.mark_catching_up(&request.customer);
                OnLane::Unfinished
            }
            Err(Stop::Need(digest)) => OnLane::Needs(digest, wrote),
            Err(Stop::Error(error)) => OnLane::Decided(Err(error.into()), wrote),
            Err(Stop::Defect(error)) => {
                error!(%error, "a defect: dropping the customer's state");
                open.mark_broken(&request.customer);
                OnLane::Decided(Err(error.into()), wrote)
            }
        }
    }
}

/// What came of deciding a job on the lane; with `bool`, whether that wrote anything.
enum OnLane {
    Decided(Result<Reply, EngineError>, bool),
    /// It is answered with an earlier refusal.
    Repeats(Repeated),
    /// More is due than is written in one turn.
    Unfinished,
    /// A module must be loaded first.
    Needs(Digest, bool),
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
        Job { request, key_hash: None, guard: None, attempts: 0, arrival: 0, reply: oneshot::channel().0 }
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
