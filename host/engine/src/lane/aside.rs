//! Requests that are decided off the lane, on workers of their own: those of slow customers, and those whose policy has to be
//! loaded first. The customer's other requests wait in the queue meanwhile, and the lane serves everybody else.
//!
//! A run of requests is decided on a copy of the state that the lane has. What it comes to counts only if that is still the
//! lane's state when it returns, and the catalog's revision is still the one that it was decided with; else it is decided again.

use super::{
    MOST_DUE,
    slow::{Work, policy_in_force},
};
use crate::{catalog::Catalog, error::EngineError, queue::Job, shared::Shared};
use proviso_decide::{Decider, Journal, Stop, command::Reply};
use proviso_ledger::{
    journal::Event,
    model::{
        ids::{CustomerId, Digest},
        time::Timestamp,
    },
    rules::repeat::Standing,
    state::CustomerState,
};
use proviso_policy::fuel_burnt_on_this_thread;
use proviso_store::KeyHash;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};
use tokio::sync::mpsc;

/// The most requests that are decided in one run.
const MOST_JOBS: usize = 16;
/// The fuel after which a run takes up no further request: the turn of another policy comes after a few milliseconds.
const MOST_FUEL: u64 = 5_000_000;

/// A request, with what the lane knew of it when it left.
pub(super) struct Ticket {
    pub job: Job,
    /// Whether the state was read from the store after the request came in.
    pub has_fresh_state: bool,
    /// Whether the catalog was, too.
    pub has_fresh_catalog: bool,
    /// Whether the store was asked for its key.
    pub has_all_keys: bool,
    /// Whether something that was due is in the lane's open batch already.
    pub wrote: bool,
}

/// Requests of one customer that leave together.
#[derive(Default)]
pub(super) struct Run {
    tickets: VecDeque<Ticket>,
    /// The keys of their entries: what has one of them waits until it is known to be answered.
    keys: HashSet<KeyHash>,
    /// What is to be loaded first.
    need: Option<Digest>,
}

impl Run {
    /// Takes a request along; returns it when it has to wait until the run is over.
    pub fn add(&mut self, ticket: Ticket) -> Option<Job> {
        let keys = [ticket.job.key_hash, ticket.job.guard];
        let is_known = keys.iter().flatten().any(|key| self.keys.contains(key));
        if is_known || self.tickets.len() >= MOST_JOBS {
            return Some(ticket.job);
        }
        self.keys.extend(keys.into_iter().flatten());
        self.tickets.push_back(ticket);
        None
    }

    /// Loads a module before anything is decided.
    pub fn need(mut self, digest: Digest) -> Self {
        self.need = Some(digest);
        self
    }

    pub fn into_jobs(self) -> Vec<Job> {
        self.tickets.into_iter().map(|ticket| ticket.job).collect()
    }
}

/// What became of a request.
pub(super) enum End {
    Reply(Result<Reply, EngineError>),
    /// More is due than one call writes.
    Unfinished,
    /// The state is in pieces.
    Defect(EngineError),
}

/// A request that was decided.
pub(super) struct Decision {
    pub ticket: Ticket,
    pub journals: Vec<Journal>,
    pub end: End,
    pub burnt: u64,
    pub work: Work,
}

/// A run that is over.
pub(super) struct Ran {
    /// With all that was decided.
    pub state: Arc<CustomerState>,
    pub decisions: Vec<Decision>,
    /// The oldest catalog that any of it was decided with; none when nothing was.
    pub revision: Option<u64>,
    pub policy: Option<Digest>,
    /// What is still to be decided.
    pub left: Vec<Job>,
}

/// How a run came back.
pub(super) struct Returned {
    pub customer: CustomerId,
    /// None after a defect, which dropped its requests.
    pub ran: Option<Ran>,
}

/// The runs of one lane.
pub(super) struct Aside {
    shared: Arc<Shared>,
    /// The state that each run began with.
    away: HashMap<CustomerId, Arc<CustomerState>>,
    returns: mpsc::UnboundedSender<Returned>,
    returned: mpsc::UnboundedReceiver<Returned>,
}

impl Aside {
    pub fn new(shared: Arc<Shared>) -> Self {
        let (returns, returned) = mpsc::unbounded_channel();
        Self { shared, away: HashMap::new(), returns, returned }
    }

    pub fn is_empty(&self) -> bool {
        self.away.is_empty()
    }

    /// Whether requests of the customer are being decided.
    pub fn has(&self, customer: &CustomerId) -> bool {
        self.away.contains_key(customer)
    }

    /// Starts a run on a state, after these refusals of its customer.
    pub fn start(&mut self, state: Arc<CustomerState>, refusals: Vec<Standing>, run: Run) {
        let customer = state.customer.clone();
        self.away.insert(customer.clone(), state.clone());
        let (shared, returns) = (self.shared.clone(), self.returns.clone());
        tokio::spawn(async move {
            let ran = carry_out(&shared, state, refusals, run).await;
            // The lane may have ended.
            drop(returns.send(Returned { customer, ran }));
        });
    }

    /// The next run that is over, with the state that it began with; for ever, when there is none under way.
    pub async fn next(&mut self) -> (Returned, Option<Arc<CustomerState>>) {
        match self.returned.recv().await {
            Some(returned) => {
                let base = self.away.remove(&returned.customer);
                (returned, base)
            }
            None => std::future::pending().await,
        }
    }
}

async fn carry_out(
    shared: &Arc<Shared>,
    state: Arc<CustomerState>,
    refusals: Vec<Standing>,
    run: Run,
) -> Option<Ran> {
    let Run { tickets, need, .. } = run;
    let mut course = Course {
        ran: Ran { state, decisions: Vec::new(), revision: None, policy: None, left: Vec::new() },
        tickets,
        refusals,
        journals: Vec::new(),
        unavailable: HashMap::new(),
        burnt: 0,
    };
    if let Some(digest) = need
        && course.load(shared, digest).await
    {
        // What kept it from being decided on the lane is loaded now.
        return Some(course.finish());
    }
    loop {
        let policy = policy_in_force(&shared.catalog.load(), &course.ran.state, shared.clock.now());
        let moment = if shared.workers.are_tasks() { Some(Moment::of(shared).await) } else { None };
        let on_worker = shared.clone();
        let decided = shared.workers.run(policy, move || {
            let moment = moment.unwrap_or_else(|| Moment::blocking(&on_worker));
            let need = course.decide(&on_worker, &moment);
            (course, need)
        });
        let need;
        (course, need) = decided.await?;
        match need {
            Some(digest) => drop(course.load(shared, digest).await),
            None => return Some(course.finish()),
        }
    }
}

/// A catalog, and a time at which it was in force.
struct Moment {
    catalog: Arc<Catalog>,
    now: Timestamp,
}

impl Moment {
    async fn of(shared: &Shared) -> Self {
        let _gate = shared.gate.read().await;
        Self { catalog: shared.catalog.load_full(), now: shared.clock.now() }
    }

    fn blocking(shared: &Shared) -> Self {
        let _gate = shared.gate.blocking_read();
        Self { catalog: shared.catalog.load_full(), now: shared.clock.now() }
    }
}

/// A run under way.
struct Course {
    ran: Ran,
    tickets: VecDeque<Ticket>,
    /// Refusals whose repeats are counted, with those of this run.
    refusals: Vec<Standing>,
    /// What the request that is being decided has written so far.
    journals: Vec<Journal>,
    unavailable: HashMap<Digest, String>,
    /// What it burnt so far.
    burnt: u64,
}

impl Course {
    /// Decides one request after another; returns a module that must be loaded first.
    ///
    /// The catalog's gate is not held meanwhile: should the catalog change, then what was decided is not taken, or its commit
    /// is refused.
    fn decide(&mut self, shared: &Shared, Moment { catalog, now }: &Moment) -> Option<Digest> {
        self.ran.policy = policy_in_force(catalog, &self.ran.state, *now);
        self.ran.revision =
            Some(self.ran.revision.map_or(catalog.revision, |oldest| oldest.min(catalog.revision)));
        let mut burnt_by_all = 0_u64;
        while burnt_by_all < MOST_FUEL
            && let Some(ticket) = self.tickets.pop_front()
        {
            let decider = Decider {
                plans: &**catalog,
                policies: &|digest| shared.look_up_policy(catalog, digest, &self.unavailable),
                now: *now,
                late_window: shared.options.late_window_micros(),
                most_due: MOST_DUE,
            };
            let mut journal = Journal::up_to(shared.formats.writable()).after_refusals(self.refusals.clone());
            let burnt_before = fuel_burnt_on_this_thread();
            let decided =
                decider.decide(Arc::make_mut(&mut self.ran.state), &ticket.job.request, &mut journal);
            let burnt = fuel_burnt_on_this_thread().saturating_sub(burnt_before);
            self.burnt = self.burnt.saturating_add(burnt);
            burnt_by_all = burnt_by_all.saturating_add(burnt);
            self.refusals.extend(journal.written.iter().filter_map(|written| Standing::of(&written.entry)));
            self.journals.push(journal);
            let end = match decided {
                Err(Stop::Need(digest)) => {
                    self.tickets.push_front(ticket);
                    return Some(digest);
                }
                Ok(reply) => End::Reply(Ok(reply)),
                Err(Stop::Error(error)) => End::Reply(Err(error.into())),
                Err(Stop::Unfinished) => End::Unfinished,
                Err(Stop::Defect(error)) => End::Defect(error.into()),
            };
            let is_last = !matches!(end, End::Reply(_));
            self.end(ticket, end);
            if is_last {
                break;
            }
        }
        None
    }

    fn end(&mut self, ticket: Ticket, end: End) {
        let journals = std::mem::take(&mut self.journals);
        let burnt = std::mem::take(&mut self.burnt);
        let work = Work::of(&journals);
        self.ran.decisions.push(Decision { ticket, journals, end, burnt, work });
    }

    /// Loads a module; false when it can't be had, which is then its terms' fault.
    async fn load(&mut self, shared: &Shared, digest: Digest) -> bool {
        match shared.load_module(digest).await {
            Ok(_) => return true,
            Err(EngineError::Module(detail)) => drop(self.unavailable.insert(digest, detail)),
            Err(error) => {
                if let Some(ticket) = self.tickets.pop_front() {
                    self.end(ticket, End::Reply(Err(error)));
                }
            }
        }
        false
    }

    fn finish(mut self) -> Ran {
        self.ran.left.extend(self.tickets.into_iter().map(|ticket| ticket.job));
        self.ran
    }
}

impl Work {
    /// What a request was about, by what it wrote.
    pub fn of(journals: &[Journal]) -> Self {
        let mut written = journals.iter().flat_map(|journal| &journal.written);
        let is_period = |event: &Event| matches!(event, Event::PeriodClosed(_) | Event::PeriodOpened(_));
        if written.any(|written| is_period(&written.entry.event)) { Self::Period } else { Self::Request }
    }
}
