//! Backtests: the commands of recorded journals under other terms, over whole databases, a plan or a customer.

use super::{
    again::history,
    journals::{Pages, each_customer, refunding},
    modules::Modules,
};
use crate::{catalog::Catalog, error::EngineError, idempotency::refund_hash};
use proviso_decide::{
    DecideError,
    policy::{Lookup, Policy as _},
    replay::{
        History,
        backtest::{CustomerReport, Report, Scope, Substitute, Twin, twin::Halt},
    },
};
use proviso_ledger::{
    journal::Entry,
    model::{
        ids::{ChargeId, CustomerId, Digest, Name, Seq},
        json::JsonText,
        terms::PolicyRef,
        time::Timestamp,
    },
    rules::refund::{MOST_REFUNDS, Refundable},
    state::{CustomerState, FORMAT},
};
use proviso_policy::{PolicyError, Runtime, class_for};
use proviso_store::{CustomerRow, Store, StoreError};
use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// Entries that are folded at a time.
const PAGE: u32 = 500;
/// Entries after which a worker says how far it is.
const TOLD_AFTER: u64 = 500;
/// The shortest rest of a paced worker.
const LEAST_REST: Duration = Duration::from_millis(1);

/// The policy whose decisions are tried.
#[derive(Debug, Clone)]
pub enum CandidateModule {
    /// A version of a policy, deleted or not.
    Version(Name, u32),
    /// A module that need not have been uploaded.
    Bytes(Vec<u8>),
}

/// Whose terms the candidate stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BacktestOf {
    /// All that decide for this customer.
    Customer(CustomerId),
    /// Those of this plan.
    Plan(Name),
    /// All that run this policy.
    Policy(Name),
}

/// What is tried, on whom, and how.
#[derive(Debug, Clone)]
pub struct BacktestOptions {
    /// The policy.
    pub candidate: CandidateModule,
    /// Its settings; without, each of the terms keeps its own.
    pub settings: Option<serde_json::Value>,
    /// In whose place.
    pub of: BacktestOf,
    /// What was accepted at this time or later; none means from the beginning.
    pub from: Option<Timestamp>,
    /// What was accepted before; none means until now.
    pub to: Option<Timestamp>,
    /// Customers that are followed at the same time.
    pub jobs: NonZeroUsize,
    /// Whether each worker rests for as long as it works: a host has more urgent things to do.
    pub is_paced: bool,
}

/// What a worker tells.
enum Part {
    Entries(u64),
    Done(Box<(CustomerId, CustomerReport)>),
    Failed(CustomerId, String),
}

/// Tries a candidate on recorded journals. A host may use the database meanwhile; nothing is written.
///
/// # Errors
/// An unknown customer, plan or version; a module that is refused; settings that the candidate refuses for a plan; the store's.
pub async fn backtest(
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    options: BacktestOptions,
    mut progress: impl FnMut(&Report),
) -> Result<Report, EngineError> {
    let catalog = Catalog::default().updated(store.catalog(0).await?)?;
    let BacktestOptions { candidate, settings, of, from, to, jobs, is_paced } = options;
    let (scope, only) = match of {
        BacktestOf::Customer(customer) => (Scope::Customer, Some(customer)),
        BacktestOf::Plan(plan) if !catalog.plans.contains_key(&plan) => {
            return Err(DecideError::PlanNotFound(plan).into());
        }
        BacktestOf::Plan(plan) => (Scope::Plan(plan), None),
        BacktestOf::Policy(policy) => (Scope::Policy(policy), None),
    };
    let catalog = Arc::new(catalog);
    let (reference, modules) = load(&catalog, store.clone(), runtime, candidate).await?;
    let Lookup::Ready(policy) = modules.look_up(&reference.digest) else {
        return Err(EngineError::Module(modules.why(&reference.digest)));
    };
    let settings = settings.as_ref().map(JsonText::from);
    let substitute = Arc::new(Substitute::new(policy, reference, settings, scope));
    let history = history(&catalog).with(|terms| substitute.stand_in(terms));
    let history = Arc::new(history.map_err(EngineError::CandidateRefused)?);
    let modules = Arc::new(modules);
    let journals = store.clone();
    let work = move |row: CustomerRow, found: mpsc::Sender<Part>| {
        let (store, history, substitute, modules) =
            (journals.clone(), history.clone(), substitute.clone(), modules.clone());
        async move {
            let customer = row.customer.clone();
            let followed =
                follow(&store, &history, &substitute, &modules, &row.customer, (from, to), is_paced, &found)
                    .await?;
            let part = match followed {
                Ok(report) => Part::Done(Box::new((customer, report))),
                Err(why) => Part::Failed(customer, why),
            };
            // Whoever asked may have gone.
            let _ = found.send(part).await;
            Ok(())
        }
    };
    let mut report = Report::default();
    each_customer(&store, only.as_ref(), jobs, work, |part| {
        match part {
            Part::Entries(entries) => report.entries = report.entries.saturating_add(entries),
            Part::Done(done) => report.add(done.0, done.1),
            Part::Failed(customer, why) => report.fail(customer, why),
        }
        progress(&report);
    })
    .await?;
    match only {
        Some(customer) if report.customers == 0 && report.failures == 0 => {
            Err(DecideError::CustomerNotFound(customer).into())
        }
        _ => Ok(report),
    }
}

async fn load(
    catalog: &Arc<Catalog>,
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    candidate: CandidateModule,
) -> Result<(PolicyRef, Modules), EngineError> {
    let modules = Modules::new(store, runtime.clone(), catalog.clone());
    match candidate {
        CandidateModule::Version(policy, number) => {
            let found = catalog.version(&policy, number);
            let found = found.ok_or_else(|| EngineError::VersionNotFound(policy.clone(), number))?;
            modules.load(found.digest).await;
            Ok((PolicyRef { name: policy, version: number, digest: found.digest }, modules))
        }
        CandidateModule::Bytes(bytes) => {
            let digest = Digest::of(&bytes);
            // Nobody has given it a class yet: it has the least that takes it.
            let admit = move || {
                let class = class_for(&bytes, runtime.limits()).map_err(PolicyError::Rejected)?;
                runtime.admit_in(class, &bytes).map(|admitted| Arc::new(admitted.module.in_class(class)))
            };
            let admitted = tokio::task::spawn_blocking(admit).await;
            let admitted = admitted.map_err(|error| EngineError::Internal(error.to_string()))?;
            let module = admitted.map_err(|error| match error {
                PolicyError::Rejected(rejection) => EngineError::PolicyRejected(rejection),
                other => EngineError::Module(other.to_string()),
            })?;
            // A name for people: it has no version yet.
            let name = module.manifest().name.parse().or_else(|_| "candidate".parse());
            let name = name.map_err(|_| EngineError::Internal("a candidate without a name".to_owned()))?;
            Ok((PolicyRef { name, version: 0, digest }, modules.with(digest, module)))
        }
    }
}

/// Work in short pieces, with rests in between.
struct Pace {
    is_paced: bool,
    began: Instant,
    done: u32,
}

impl Pace {
    /// Entries that are followed in one piece.
    const PIECE: u32 = 32;

    fn new(is_paced: bool) -> Self {
        Self { is_paced, began: Instant::now(), done: 0 }
    }

    /// After each entry: rests, when it is time.
    async fn rest(&mut self) {
        self.done += 1;
        if !self.is_paced || self.done < Self::PIECE {
            return;
        }
        tokio::time::sleep(self.began.elapsed().max(LEAST_REST)).await;
        (self.began, self.done) = (Instant::now(), 0);
    }
}

/// A customer's part, or why it can't be followed.
#[allow(clippy::too_many_arguments)] // What all customers share, and what is asked of this one.
async fn follow(
    store: &Arc<dyn Store>,
    history: &History,
    substitute: &Substitute,
    modules: &Modules,
    customer: &CustomerId,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    is_paced: bool,
    found: &mpsc::Sender<Part>,
) -> Result<Result<CustomerReport, String>, StoreError> {
    let first = match from {
        Some(from) => store.seq_at(customer, from.plus_micros(-1)).await?,
        None => 0,
    };
    let is_over = |at: Timestamp| to.is_some_and(|to| at >= to);
    let state = match state_after(&**store, customer, first).await? {
        Ok(state) => state,
        Err(why) => return Ok(Err(why)),
    };
    let mut refunded: BTreeSet<ChargeId> = BTreeSet::new();
    let mut pages = Pages::new(store.clone(), customer.clone(), first);
    'ahead: loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            if is_over(stored.at) {
                break 'ahead;
            }
            refunded.extend(refunding(&stored).and_then(|entry| entry.refunded().map(|one| one.charge)));
        }
    }
    let mut before = Vec::new();
    for charge in refunded.iter().filter(|charge| charge.entry <= first) {
        before.extend(refundable(&**store, &state, *charge, first).await?);
    }
    let mut twin = match Twin::new(history, substitute, state, refunded) {
        Ok(twin) => twin,
        Err(why) => return Ok(Err(why)),
    };
    before.into_iter().for_each(|of| twin.keep(of));
    let (mut untold, mut pace) = (0_u64, Pace::new(is_paced));
    let mut pages = Pages::new(store.clone(), customer.clone(), first);
    'journal: loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            if is_over(stored.at) {
                break 'journal;
            }
            let entry = match Entry::parse(&stored.body) {
                Ok(entry) => entry,
                Err(error) => return Ok(Err(format!("entry {}: {error}", stored.seq))),
            };
            loop {
                match twin.take(&|digest| modules.look_up(digest), &entry, &stored.body, &stored.hash) {
                    Ok(()) => break,
                    Err(Halt::Need(digest)) => modules.load(digest).await,
                    Err(Halt::Damaged(detail)) => return Ok(Err(format!("entry {}: {detail}", stored.seq))),
                }
            }
            pace.rest().await;
            untold += 1;
            if untold >= TOLD_AFTER {
                let _ = found.send(Part::Entries(std::mem::take(&mut untold))).await;
            }
        }
    }
    let _ = found.send(Part::Entries(untold)).await;
    Ok(Ok(twin.finish()))
}

/// The state after an entry, or why it can't be had.
async fn state_after(
    store: &dyn Store,
    customer: &CustomerId,
    last: Seq,
) -> Result<Result<CustomerState, String>, StoreError> {
    let saved = store.snapshot_before(customer, last, FORMAT).await?;
    // One that can't be read is folded anew: it is a cache.
    let saved = saved.and_then(|saved| serde_json::from_str(&saved.state).ok());
    let mut state = saved.unwrap_or_else(|| CustomerState::new(customer.clone()));
    while state.seq < last {
        let page = store.entries(customer, state.seq, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for stored in page.into_iter().take_while(|stored| stored.seq <= last) {
            if let Err(error) = state.fold(stored.seq, &stored.body, &stored.hash) {
                return Ok(Err(error.to_string()));
            }
        }
    }
    Ok(Ok(state))
}

/// A charge from before, with what was refunded of it by entry `last`.
async fn refundable(
    store: &dyn Store,
    state: &CustomerState,
    id: ChargeId,
    last: Seq,
) -> Result<Option<Refundable>, StoreError> {
    let customer = &state.customer;
    let Some(charge) = entry(store, customer, id.entry).await? else { return Ok(None) };
    let keys: Vec<_> = (1..=MOST_REFUNDS).map(|number| (customer.clone(), refund_hash(id, number))).collect();
    let refunds = store.find_keys(&keys).await?.into_iter().flatten().filter(|seq| *seq <= last);
    let newest = match refunds.max() {
        Some(seq) => entry(store, customer, seq).await?,
        None => None,
    };
    let reserved = match charge.commits() {
        Some(id) => entry(store, customer, id.entry).await?,
        None => None,
    };
    let mut grants = Vec::new();
    for draw in charge.draws() {
        match state.grant(draw.grant) {
            Some(known) => grants.push((*known.grant).clone()),
            None => {
                let made = entry(store, customer, draw.grant.entry).await?;
                let made = made.iter().flat_map(|entry| entry.grants());
                grants.extend(made.filter(|grant| grant.id == draw.grant).cloned());
            }
        }
    }
    Ok(Some(Refundable { charge, reserved, last: newest, grants }))
}

async fn entry(store: &dyn Store, customer: &CustomerId, seq: Seq) -> Result<Option<Arc<Entry>>, StoreError> {
    let stored = store.entries(customer, seq.saturating_sub(1), 1).await?;
    let stored = stored.first().filter(|stored| stored.seq == seq);
    Ok(stored.and_then(|stored| Entry::parse(&stored.body).ok()).map(Arc::new))
}
