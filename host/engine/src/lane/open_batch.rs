//! The batch that is being decided: jobs with their answers, and the rows that the store is to commit. Nobody is answered
//! before it has.

use super::{
    cache::{Cache, Cached},
    repeats::Repeat,
};
use crate::{
    catalog::Catalog,
    error::EngineError,
    idempotency::{end_hash, first_import_hash},
    queue::Job,
    rollout::decided_by,
    rollup::news,
};
use proviso_decide::{
    Journal, Written,
    command::{Command, Reply},
};
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event},
    model::{
        customer::Profile,
        ids::{CustomerId, Name, Seq},
        time::Timestamp,
    },
    state::{CustomerState, FORMAT},
};
use proviso_store::{Batch, CustomerRow, KeyHash, NewEntry, NewKey, NewSnapshot};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use tracing::warn;

/// A snapshot is due after this many entries...
const SNAPSHOT_EVERY: Seq = 256;
/// ...once the entries after the last one outweigh it by this much, so that large states are not written too often.
const SNAPSHOT_FACTOR: usize = 4;

/// Entries by the keys that they answer.
pub(super) type Keys = HashMap<(CustomerId, KeyHash), Arc<Entry>>;

/// What a job is answered with once the batch is durable.
pub(super) enum Answer {
    /// This reply.
    Reply(Result<Reply, EngineError>),
    /// The entry with this number, which was stored for the same key before.
    Stored(Seq),
    /// The entry with this number: the refusal that the job repeats.
    Repeat(Seq),
}

/// That a job repeats a refusal.
pub(super) struct Repeated {
    /// The entry that records the refusal.
    pub of: Seq,
    pub at: Timestamp,
    /// The number of the last entry before the decision.
    pub seq: Seq,
    /// The catalog that it was decided with.
    pub revision: u64,
}

/// What happened to one customer in the batch.
#[derive(Default)]
struct Touched {
    profile_changed: bool,
    swept: bool,
    broken: bool,
    catching_up: bool,
    /// Whether there are entries of it, and not only a due time that is to be noted.
    written: bool,
}

#[derive(Default)]
pub(super) struct OpenBatch {
    /// Jobs that are answered once the batch is durable.
    pub jobs: Vec<(Job, Answer)>,
    /// The entries that answer the jobs' keys.
    pub keys: Keys,
    /// Jobs that repeat a refusal...
    pub repeats: Vec<Repeat>,
    /// ...and their keys.
    pub repeat_keys: HashMap<(CustomerId, KeyHash), Seq>,
    /// Entries in whose decision a policy failed, and alarms.
    pub faulted: Vec<(CustomerId, Arc<Entry>)>,
    /// Entries that canaries were to decide.
    pub by_canaries: Vec<Arc<Entry>>,
    /// All entries.
    pub written: Vec<news::Written>,
    /// The customers of those jobs, with the number of the last entry that they were decided after.
    unchanged: BTreeMap<CustomerId, Seq>,
    entries: Vec<NewEntry>,
    further_keys: Vec<NewKey>,
    touched: BTreeMap<CustomerId, Touched>,
    /// The oldest catalog that any of it was decided with.
    revision: Option<u64>,
}

impl OpenBatch {
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.entries.is_empty()
    }

    /// Whether it holds entries of the customer, which are not durable yet.
    pub fn touches(&self, customer: &CustomerId) -> bool {
        self.touched.get(customer).is_some_and(|touched| touched.written)
    }

    /// Takes in the entries that a decision wrote; says whether there is anything.
    pub fn record(&mut self, cached: &mut Cached, job: &Job, journal: Journal, catalog: &Catalog) -> bool {
        let revision = catalog.revision;
        let swept = matches!(job.request.command, Command::Sweep);
        if journal.written.is_empty() && !swept {
            return false;
        }
        let customer = &job.request.customer;
        self.revision = Some(self.revision.map_or(revision, |oldest| oldest.min(revision)));
        let touched = self.touched.entry(customer.clone()).or_default();
        touched.swept |= swept;
        touched.written |= !journal.written.is_empty();
        for Written { entry, body, hash } in journal.written {
            // With what else a customer's row says.
            touched.profile_changed |= matches!(
                entry.event,
                Event::Configured(_)
                    | Event::Closed {}
                    | Event::TopUpRequested(_)
                    | Event::TopUpPaid(_)
                    | Event::TopUpDeclined(_)
                    | Event::TopUpExpired { .. }
            );
            cached.bytes_since_snapshot += body.len();
            cached.note(&entry);
            // Entries for what was due come without the request's key.
            let key_hash = entry.key.as_ref().and(job.key_hash);
            if let Some(key_hash) = key_hash {
                self.keys.insert((customer.clone(), key_hash), entry.clone());
            }
            if let Some(guard) = job.guard.filter(|_| entry.refunded().is_some()) {
                self.keys.insert((customer.clone(), guard), entry.clone());
                self.further_keys.push(NewKey {
                    customer: customer.clone(),
                    key_hash: guard,
                    seq: entry.seq,
                });
            }
            if let Some(reservation) = entry.ends() {
                self.further_keys.push(NewKey {
                    customer: customer.clone(),
                    key_hash: end_hash(reservation),
                    seq: entry.seq,
                });
            }
            if entry.imported_usage().is_some_and(|imported| imported.first) {
                self.further_keys.push(NewKey {
                    customer: customer.clone(),
                    key_hash: first_import_hash(),
                    seq: entry.seq,
                });
            }
            let (seq, at) = (entry.seq, entry.at);
            self.written.push(news::Written::new(&cached.state, entry.clone()));
            if entry.decision().is_some_and(|record| catalog.canary(decided_by(record)).is_some()) {
                self.by_canaries.push(entry.clone());
            }
            let is_alarm = matches!(entry.event, Event::TopUpsHalted(_));
            if is_alarm || entry.decision().is_some_and(DecisionRecord::is_degraded) {
                self.faulted.push((customer.clone(), entry));
            }
            self.entries.push(NewEntry { customer: customer.clone(), seq, at, key_hash, hash, body });
        }
        true
    }

    /// Takes in a job that repeats a refusal: its key, which must be new, and that it is to be counted. The commit proves the state
    /// and the catalog that it was decided on.
    pub fn repeat(&mut self, job: Job, Repeated { of, at, seq, revision }: Repeated) {
        let customer = &job.request.customer;
        self.revision = Some(self.revision.map_or(revision, |oldest| oldest.min(revision)));
        self.unchanged.insert(customer.clone(), seq);
        if let Some(key_hash) = job.key_hash {
            self.repeat_keys.insert((customer.clone(), key_hash), of);
            self.further_keys.push(NewKey { customer: customer.clone(), key_hash, seq: of });
        }
        self.repeats.push(Repeat { customer: customer.clone(), of, at });
        self.jobs.push((job, Answer::Repeat(of)));
    }

    /// Notes that more is due for the customer than was written.
    pub fn mark_catching_up(&mut self, customer: &CustomerId) {
        self.touched.entry(customer.clone()).or_default().catching_up = true;
    }

    /// Whether more is due for the customer than was written.
    pub fn is_catching_up(&self, customer: &CustomerId) -> bool {
        self.touched.get(customer).is_some_and(|touched| touched.catching_up)
    }

    /// The customers for whom more is due than was written.
    pub fn catching_up(&self) -> HashSet<CustomerId> {
        let touched = self.touched.iter().filter(|(_, touched)| touched.catching_up);
        touched.map(|(customer, _)| customer.clone()).collect()
    }

    pub fn mark_broken(&mut self, customer: &CustomerId) {
        self.touched.entry(customer.clone()).or_default().broken = true;
    }

    pub fn is_broken(&self, customer: &CustomerId) -> bool {
        self.touched.get(customer).is_some_and(|touched| touched.broken)
    }

    /// What to commit: the entries, and with them snapshots and rows that follow from the states.
    pub fn rows(&mut self, cache: &mut Cache) -> Batch {
        let mut batch = Batch {
            entries: std::mem::take(&mut self.entries),
            keys: std::mem::take(&mut self.further_keys),
            revision: self.revision,
            ..Batch::default()
        };
        let unchanged = std::mem::take(&mut self.unchanged).into_iter();
        // Entries of the batch say the same.
        batch.unchanged = unchanged.filter(|(customer, _)| !self.touches(customer)).collect();
        for (customer, touched) in &self.touched {
            if touched.broken {
                cache.remove(customer);
                continue;
            }
            let Some(cached) = cache.get_mut(customer) else { continue };
            let due_at = cached.state.next_due().map(|(at, _)| at);
            if touched.profile_changed {
                batch.customers.extend(customer_row(cached, due_at));
                cached.stored_due = Some(due_at);
            } else if touched.swept || sooner(due_at, cached.stored_due) {
                batch.due.push((customer.clone(), due_at));
                cached.stored_due = Some(due_at);
            }
            batch.snapshots.extend(snapshot(cached));
        }
        cache.trim();
        batch
    }

    /// The customers whose states hold what is not durable yet.
    pub fn into_customers(self) -> impl Iterator<Item = CustomerId> {
        self.touched.into_keys()
    }
}

/// Whether the store must learn of a due time: it may know one that is too early, never one that is too late.
fn sooner(due_at: Option<Timestamp>, stored: Option<Option<Timestamp>>) -> bool {
    match (due_at, stored) {
        (None, _) => false,
        (Some(_), None | Some(None)) => true,
        (Some(due_at), Some(Some(stored))) => due_at < stored,
    }
}

/// The plan of a state, with the version that was sold.
pub(crate) fn plan_of(state: &CustomerState) -> Option<(Name, u32)> {
    state.profile.as_ref().and_then(Profile::sold).map(|sold| (sold.plan, sold.version))
}

fn customer_row(cached: &Cached, due_at: Option<Timestamp>) -> Option<CustomerRow> {
    let state = &cached.state;
    let profile = serde_json::to_string(state.profile.as_ref()?);
    match profile {
        Ok(profile) => Some(CustomerRow {
            customer: state.customer.clone(),
            created_at: state.created_at,
            due_at,
            closed: state.closed,
            plan: plan_of(state),
            awaits_payment: state.awaits_payment(),
            profile,
        }),
        Err(error) => {
            warn!(customer = %state.customer, %error, "a profile can't be written as JSON");
            None
        }
    }
}

fn snapshot(cached: &mut Cached) -> Option<NewSnapshot> {
    let state = &cached.state;
    let entries = state.seq.saturating_sub(cached.snapshot_seq);
    if entries < SNAPSHOT_EVERY
        || cached.bytes_since_snapshot < cached.snapshot_bytes.saturating_mul(SNAPSHOT_FACTOR)
    {
        return None;
    }
    let text = serde_json::to_string(state).ok()?;
    cached.snapshot_seq = state.seq;
    cached.snapshot_bytes = text.len();
    cached.bytes_since_snapshot = 0;
    Some(NewSnapshot {
        customer: state.customer.clone(),
        format: FORMAT,
        seq: state.seq,
        at: state.at,
        state: text,
    })
}
