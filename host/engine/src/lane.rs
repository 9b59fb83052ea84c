//! A lane: all requests of its customers go through it one after another, so that a hot customer is as fast as many
//! cold ones. While one batch is on its way to the store, the lane decides the next one in memory on top of it; that one
//! leaves when the first has landed. So a batch is as large as what arrives during a commit, and waits for nothing when
//! the lane is idle. No lock is held while a policy runs but the catalog's gate, for reading.
//!
//! A lane believes that it alone writes its customers, and that keys are new: the store refuses a commit when that is
//! wrong. Then the lane drops what it believed, decides again, and for a while asks the store before it decides.

mod cache;
mod flight;
mod work;

use crate::{
    command::{Command, Reply},
    decide::{Decider, Journal, Stop},
    error::EngineError,
    queue::{Job, Queue},
    shared::Shared,
};
use cache::Cache;
pub(crate) use flight::replay;
use flight::{Flight, Landed, refuse};
use lru::LruCache;
use proviso_ledger::{
    error::FoldError,
    ids::{CustomerId, Digest, Seq},
};
use proviso_store::KeyHash;
use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tracing::error;
pub(crate) use work::key_hash;
use work::{Verdict, Work};

/// Keys of late that a lane remembers, for clients that repeat a request soon.
const RECENT_KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(32_767);
/// Batches before which a lane asks the store what it does not know, after a conflict, news of other hosts or a repeat.
const DOUBTFUL_BATCHES: u32 = 64;
/// Batches for which a lane takes turns with another host that writes a customer as fast as it does.
const RIVAL_BATCHES: u32 = 32;
/// Batches of a hot customer in a row after which a lane stands back once: a rival may be waiting, which only it knows.
const LONGEST_RUN: u32 = 32;
/// Requests for each customer of a batch that make it a hot one's.
const HOT: usize = 8;
/// The longest that a lane stands back for another host.
const LONGEST_TURN: Duration = Duration::from_millis(20);
/// How often a request is decided again when other hosts were there first.
const MOST_ATTEMPTS: u32 = 40;

/// Runs a lane, and a new one in its place should it end in a defect: all that it knows it can read again.
pub(crate) async fn keep(shared: Arc<Shared>, queue: Arc<Queue>) {
    while let Err(error) = tokio::spawn(run(shared.clone(), queue.clone())).await {
        error!(%error, "a lane ended in a defect; its requests are not answered, and a new one goes on");
    }
}

/// Runs until the queue is closed and what waited is answered.
async fn run(shared: Arc<Shared>, queue: Arc<Queue>) {
    let mut lane = Lane::new(shared);
    let (mut open, mut taken, mut more) = (Work::default(), Vec::new(), true);
    while more || lane.flight.is_some() {
        let room = lane.largest.saturating_sub(open.jobs.len());
        // Beside a rival nothing is decided ahead: whoever does has its next batch ready before the other has had its turn.
        let may_take = more && room > 0 && (lane.flight.is_none() || lane.rivals == 0);
        tokio::select! {
            biased;
            landed = landing(&mut lane.flight), if lane.flight.is_some() => {
                if let Some(turn) = lane.land(landed, &mut open).await {
                    tokio::time::sleep(turn).await;
                }
            }
            some = queue.take(room, lane.most_customers, &mut taken), if may_take => {
                more = some;
                lane.decide(std::mem::take(&mut taken), &mut open).await;
            }
        }
        while lane.flight.is_none() && !(open.is_empty() && lane.later.is_empty()) {
            let mut again = lane.postponed();
            // What came while the last batch was decided goes along: a commit costs the same for many as for one.
            let room = lane.largest.saturating_sub(open.jobs.len() + again.len());
            queue.take_waiting(room, lane.most_customers, &mut again);
            lane.decide(again, &mut open).await;
            if !open.is_empty() {
                lane.launch(std::mem::take(&mut open));
            }
        }
    }
}

async fn landing(flight: &mut Option<Flight>) -> Landed {
    match flight {
        Some(flight) => (&mut flight.task).await.unwrap_or_else(|error| {
            error!(%error, "a commit ended in a defect");
            Landed::Failed
        }),
        None => std::future::pending().await,
    }
}

struct Lane {
    shared: Arc<Shared>,
    cache: Cache,
    /// The entries that answered the newest keys.
    recent: LruCache<(CustomerId, KeyHash), Seq>,
    /// The batches before which the store is still to be asked for news of the customers.
    doubt: u32,
    /// The batches before which it is still to be asked for all keys, since clients repeat old ones.
    repeats: u32,
    /// The batch on its way.
    flight: Option<Flight>,
    /// Jobs that are to be decided once it has landed, the first ones first.
    later: Vec<Job>,
    /// The batches for which another host is believed to be after the same customers.
    rivals: u32,
    /// The batches of a hot customer since the lane last stood back.
    run: u32,
    /// When the last batch was begun.
    turn: Instant,
    /// The most jobs of a batch.
    largest: usize,
    /// The most customers of a batch: fewer after each conflict, since each may be the one that another host writes, and
    /// more after each success.
    most_customers: usize,
}

/// What the store was asked before a batch is decided.
#[derive(Default)]
struct Asked {
    /// The entries that answered keys of the batch before.
    keys: HashMap<(CustomerId, KeyHash), Seq>,
    /// Whether it was asked for all keys.
    all_keys: bool,
    /// Customers whose state is as new as the question.
    fresh: HashSet<CustomerId>,
    /// Customers whose journal does not fold.
    damaged: HashMap<CustomerId, FoldError>,
}

impl Lane {
    fn new(shared: Arc<Shared>) -> Self {
        let cache = Cache::new(shared.options.cached_customers_per_lane());
        let largest = shared.options.largest_batch.get();
        Self {
            shared,
            cache,
            recent: LruCache::new(RECENT_KEYS),
            doubt: 0,
            repeats: 0,
            flight: None,
            later: Vec::new(),
            rivals: 0,
            run: 0,
            turn: Instant::now(),
            largest,
            most_customers: largest,
        }
    }

    /// Sends a batch on its way.
    fn launch(&mut self, mut work: Work) {
        self.doubt = self.doubt.saturating_sub(1);
        self.repeats = self.repeats.saturating_sub(1);
        let batch = work.batch(&mut self.cache);
        let (jobs, keys) = (std::mem::take(&mut work.jobs), std::mem::take(&mut work.keys));
        let task = tokio::spawn(flight::fly(self.shared.clone(), batch, jobs));
        let touched: HashSet<_> = work.into_touched().collect();
        let is_hot = keys.len() >= touched.len().saturating_mul(HOT);
        self.flight = Some(Flight { task, touched, is_hot, keys });
    }

    /// Takes note of how the batch ended that was on its way. Returns how long to stand back now: where two hosts are
    /// after the same customer, whoever has won a turn leaves the next one to the other, which needs about as long. Else
    /// each would decide all of its requests in vain every other time, or one of them for ever.
    async fn land(&mut self, landed: Landed, open: &mut Work) -> Option<Duration> {
        let flight = self.flight.take()?;
        let mut again = match landed {
            Landed::Durable => {
                self.most_customers = self.most_customers.saturating_mul(2).min(self.largest);
                for (key, entry) in flight.keys {
                    self.recent.put(key, entry.seq);
                }
                self.rivals = self.rivals.saturating_sub(1);
                self.run = if flight.is_hot && self.shared.store.is_shared() { self.run + 1 } else { 0 };
                if self.rivals == 0 && self.run < LONGEST_RUN {
                    return None;
                }
                self.run = 0;
                return Some(self.turn.elapsed().min(LONGEST_TURN));
            }
            Landed::Conflict(mut jobs) => {
                self.doubt = DOUBTFUL_BATCHES;
                self.most_customers = (flight.touched.len() / 2).max(1);
                // Perhaps it was the catalog that had changed. If this fails, so will the commit.
                if let Err(error) = self.shared.refresh_catalog().await {
                    error!(%error, "the catalog can't be read");
                }
                jobs.iter_mut().for_each(|job| job.attempts += 1);
                let is_lost_again = flight.is_hot || jobs.iter().any(|job| job.attempts > 1);
                if is_lost_again && self.shared.store.is_shared() {
                    self.rivals = RIVAL_BATCHES;
                }
                let (tired, jobs): (Vec<_>, Vec<_>) =
                    jobs.into_iter().partition(|job| job.attempts >= MOST_ATTEMPTS);
                refuse(tired, &EngineError::Contention);
                jobs
            }
            Landed::Failed => Vec::new(),
        };
        // What was decided meanwhile was built on it.
        let mut built = std::mem::take(open);
        again.extend(std::mem::take(&mut built.jobs).into_iter().map(|(job, _)| job));
        again.append(&mut self.later);
        self.later = again;
        for customer in flight.touched.into_iter().chain(built.into_touched()) {
            self.cache.remove(&customer);
        }
        None
    }

    /// Of the jobs that are to be decided once more, those of as many customers as a batch may have.
    fn postponed(&mut self) -> Vec<Job> {
        let mut customers: HashSet<CustomerId> = HashSet::new();
        let most = self.most_customers;
        let mut fits = |job: &Job| {
            let customer = &job.request.customer;
            customers.contains(customer) || customers.len() < most && customers.insert(customer.clone())
        };
        let (now, later) = std::mem::take(&mut self.later).into_iter().partition(|job| fits(job));
        self.later = later;
        now
    }

    /// Decides jobs into the open batch. Those that wrote nothing are answered at once, unless they saw something that is
    /// not durable yet.
    async fn decide(&mut self, mut jobs: Vec<Job>, open: &mut Work) {
        if open.is_empty() {
            self.turn = Instant::now();
        }
        let mut anew = false;
        while !jobs.is_empty() {
            let asked = match self.ask(&jobs, open, anew).await {
                Ok(asked) => asked,
                Err(error) => return refuse(jobs, &error),
            };
            let mut unsure = Vec::new();
            for job in jobs {
                let customer = &job.request.customer;
                if let Some(error) = asked.damaged.get(customer) {
                    let error = EngineError::Damaged(customer.clone(), error.clone());
                    drop(job.reply.send(Err(error)));
                    continue;
                }
                let (verdict, wrote, sure) = match self.answered(&job, open, &asked) {
                    Some(verdict) => (verdict, false, true),
                    None => {
                        let (reply, wrote) = self.decide_one(&job, open).await;
                        // A commit shows whether what it was decided on was up to date, and the key new. What will not
                        // be committed must know.
                        let is_fresh = asked.fresh.contains(customer) && (anew || reply.is_ok());
                        let is_current =
                            wrote || is_fresh || open.touches(customer) || !self.shared.store.is_shared();
                        let knows_key = job.key_hash.is_none() || asked.all_keys;
                        let will_be_proved = matches!(reply, Ok(Reply::Entry(_)));
                        (Verdict::Reply(reply), wrote, will_be_proved || knows_key && is_current)
                    }
                };
                match verdict {
                    _ if !sure && self.is_flying(customer) => self.later.push(job),
                    _ if !sure => unsure.push(job),
                    Verdict::Reply(reply)
                        if !wrote && !open.touches(customer) && !self.is_flying(customer) =>
                    {
                        drop(job.reply.send(reply));
                    }
                    verdict => open.jobs.push((job, verdict)),
                }
            }
            (jobs, anew) = (unsure, true);
        }
        // A batch does so when it leaves; reads leave none. Beside one, its states must not fall out.
        if open.is_empty() && self.flight.is_none() {
            self.cache.trim();
        }
    }

    /// Loads the states that the jobs need. In doubt, or anew, also what other hosts have written meanwhile for these
    /// customers, or into the catalog; and the entries of keys, where some turned out to be old.
    async fn ask(&mut self, jobs: &[Job], open: &Work, anew: bool) -> Result<Asked, EngineError> {
        let (doubt, all_keys) = (anew || self.doubt > 0, anew || self.repeats > 0);
        let (mut states, mut keys, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for Job { request, key_hash, attempts, .. } in jobs {
            let customer = &request.customer;
            if let Some(hash) = key_hash.filter(|_| all_keys || *attempts > 0) {
                keys.push((customer.clone(), hash));
            }
            let question = matches!(request.command, Command::Read | Command::Check(_));
            let ask = doubt || question && self.shared.store.is_shared();
            match self.cache.touch(customer) {
                Some(_) if !ask || open.touches(customer) || self.is_flying(customer) => {}
                known => {
                    if seen.insert(customer) {
                        states.push((customer.clone(), known.unwrap_or(0)));
                    }
                }
            }
        }
        let store = &self.shared.store;
        let load = async {
            if states.is_empty() {
                Ok(Vec::new())
            } else {
                Ok(store.load(&states, crate::STATE_FORMAT).await?)
            }
        };
        let find = async { if keys.is_empty() { Ok(Vec::new()) } else { Ok(store.find_keys(&keys).await?) } };
        let refresh = async { if anew { self.shared.refresh_catalog().await } else { Ok(()) } };
        let (loaded, found, ()) = tokio::try_join!(load, find, refresh)?;
        let mut asked = Asked { all_keys, ..Asked::default() };
        for ((customer, known), rows) in states.into_iter().zip(loaded) {
            if known > 0 && !rows.tail.is_empty() {
                self.doubt = DOUBTFUL_BATCHES;
            }
            if let Err(error) = self.cache.take_in(&customer, rows) {
                error!(%customer, %error, "a journal does not fold");
                asked.damaged.insert(customer.clone(), error);
            }
            asked.fresh.insert(customer);
        }
        asked.keys = keys.into_iter().zip(found).filter_map(|(key, seq)| Some((key, seq?))).collect();
        if !asked.keys.is_empty() {
            self.repeats = DOUBTFUL_BATCHES;
        }
        Ok(asked)
    }

    /// The answer to an earlier request with the job's key.
    fn answered(&mut self, job: &Job, open: &Work, asked: &Asked) -> Option<Verdict> {
        let key = (job.request.customer.clone(), job.key_hash?);
        let pending = open.keys.get(&key).or_else(|| self.flight.as_ref()?.keys.get(&key));
        if let Some(entry) = pending {
            let outcome = replay(entry, job.request.idempotency.as_ref());
            return Some(Verdict::Reply(outcome.map(Reply::Entry)));
        }
        self.recent.get(&key).or_else(|| asked.keys.get(&key)).copied().map(Verdict::Stored)
    }

    /// Whether the batch on its way holds something of the customer.
    fn is_flying(&self, customer: &CustomerId) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.touched.contains(customer))
    }

    /// Decides one job; says, too, whether that wrote anything.
    async fn decide_one(&mut self, job: &Job, open: &mut Work) -> (Result<Reply, EngineError>, bool) {
        let request = &job.request;
        let mut wrote = false;
        loop {
            let Some(cached) = self.cache.get_mut(&request.customer) else {
                let error = EngineError::Internal("a customer fell out of the cache".to_owned());
                return (Err(error), wrote);
            };
            if open.is_broken(&request.customer) {
                let error = "an earlier request of the batch broke the state".to_owned();
                return (Err(EngineError::Internal(error)), wrote);
            }
            let mut journal = Journal::default();
            let (decided, revision) = {
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
                (decider.decide(&mut cached.state, request, &mut journal), catalog.revision)
            };
            wrote |= open.record(cached, job, journal, revision);
            match decided {
                Ok(reply) => return (Ok(reply), wrote),
                Err(Stop::Need(digest)) => {
                    if let Err(error) = self.shared.load_module(digest).await {
                        return (Err(error), wrote);
                    }
                }
                Err(Stop::Error(error)) => return (Err(error), wrote),
                Err(Stop::Defect(error)) => {
                    error!(%error, "a defect: dropping the customer's state");
                    open.mark_broken(&request.customer);
                    return (Err(error), wrote);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Catalog, clock::Clock, command::Request, shared::Options};
    use proviso_ledger::time::Timestamp;
    use proviso_policy::{Compiler, Limits, Runtime};
    use proviso_store::{SqliteOptions, SqliteStore};
    use tokio::sync::oneshot;

    fn read(customer: usize) -> Job {
        let customer = format!("c{customer}").parse().unwrap();
        let request = Request { customer, command: Command::Read, idempotency: None };
        Job { request, key_hash: None, attempts: 0, reply: oneshot::channel().0 }
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
        let mut open = Work::default();
        for first in (0..3 * cache::SMALLEST).step_by(512) {
            lane.decide((first..first + 512).map(read).collect(), &mut open).await;
            assert!(open.is_empty());
        }
        assert_eq!(lane.cache.len(), cache::SMALLEST);
    }
}
