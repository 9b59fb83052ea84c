//! Replay: every recorded decision is made again by the very module that made it, on the state that the journal before it gives,
//! and must come out the same in every bit.

use super::{
    journals::{Pages, each_customer},
    modules::Modules,
};
use crate::{catalog::Catalog, error::EngineError};
use proviso_decide::{
    DecideError,
    replay::{Again, History, Unrepeatable, again},
};
use proviso_ledger::{
    journal::Entry,
    model::{
        ids::{CustomerId, Seq},
        resources::ResourceClass,
    },
    state::CustomerState,
};
use proviso_policy::Runtime;
use proviso_store::{CustomerRow, Store, StoreError, StoredEntry};
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};
use tokio::sync::mpsc;

/// Differences that are told one by one; the others are counted.
const MOST_TOLD: usize = 100;
/// Entries after which a worker tells what it found, and lets others go on.
const TOLD_AFTER: u64 = 500;

/// What is replayed, and how.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Only this customer.
    pub customer: Option<CustomerId>,
    /// Customers that are replayed at the same time.
    pub jobs: NonZeroUsize,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// Customers.
    pub customers: u64,
    /// Entries that were looked at.
    pub entries: u64,
    /// Those that a policy decided, and that were decided again.
    pub decisions: u64,
    /// Fuel that the decisions took when they were made.
    pub fuel: u64,
    /// How many differ.
    pub differ: u64,
    /// The first of them.
    pub differences: Vec<Changed>,
    /// Entries that can't be decided again, by why not.
    pub unrepeatable: BTreeMap<String, u64>,
    /// Those among them that a fault of the host's surroundings had decided, which no replay can repeat.
    pub by_chance: u64,
}

/// An entry that is not what the replay made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Whose.
    pub customer: CustomerId,
    /// Which entry.
    pub seq: Seq,
    /// What differs.
    pub detail: String,
}

impl Replay {
    /// Whether every decision was made again, and came to the same; but for those that chance had decided.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differ == 0 && self.skipped() == self.by_chance
    }

    /// Entries that were not decided again.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.unrepeatable.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn differs(&mut self, customer: &CustomerId, seq: Seq, detail: String) {
        self.differ = self.differ.saturating_add(1);
        if self.differences.len() < MOST_TOLD {
            self.differences.push(Changed { customer: customer.clone(), seq, detail });
        }
    }

    fn skip(&mut self, why: String, count: u64) {
        let known = self.unrepeatable.entry(why).or_default();
        *known = known.saturating_add(count);
    }

    fn add(&mut self, part: Self) {
        let Self { customers, entries, decisions, fuel, differ, differences, unrepeatable, by_chance } = part;
        for (sum, part) in [
            (&mut self.customers, customers),
            (&mut self.entries, entries),
            (&mut self.decisions, decisions),
            (&mut self.fuel, fuel),
            (&mut self.differ, differ),
            (&mut self.by_chance, by_chance),
        ] {
            *sum = sum.saturating_add(part);
        }
        let left = MOST_TOLD.saturating_sub(self.differences.len());
        self.differences.extend(differences.into_iter().take(left));
        for (why, count) in unrepeatable {
            self.skip(why, count);
        }
    }
}

/// Replays a whole database, or one customer. It may be in use: what is written meanwhile may or may not be looked at.
///
/// # Errors
/// An unknown customer; the store's. A difference is no error.
pub async fn replay(
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    options: ReplayOptions,
    mut progress: impl FnMut(&Replay),
) -> Result<Replay, EngineError> {
    let catalog = Catalog::default().updated(store.catalog(0).await?)?;
    let history = Arc::new(history(&catalog));
    let modules = Arc::new(Modules::new(store.clone(), runtime, Arc::new(catalog)));
    let ReplayOptions { customer, jobs } = options;
    let mut whole = Replay::default();
    let journals = store.clone();
    let work = move |row: CustomerRow, found: mpsc::Sender<Replay>| {
        let (store, history, modules) = (journals.clone(), history.clone(), modules.clone());
        async move { replay_customer(store, &history, &modules, row, &found).await }
    };
    each_customer(&store, customer.as_ref(), jobs, work, |part| {
        whole.add(part);
        progress(&whole);
    })
    .await?;
    match customer {
        Some(customer) if whole.customers == 0 => Err(DecideError::CustomerNotFound(customer).into()),
        _ => Ok(whole),
    }
}

/// Plans and terms of a catalog, as replays need them.
pub(crate) fn history(catalog: &Catalog) -> History {
    let terms = catalog.plan_terms.iter().map(|(plan, terms)| (plan.clone(), terms.clone()));
    History::new(catalog.plan_versions.values().flatten().map(|plan| (**plan).clone()), terms)
}

async fn replay_customer(
    store: Arc<dyn Store>,
    history: &History,
    modules: &Modules,
    row: CustomerRow,
    found: &mpsc::Sender<Replay>,
) -> Result<(), StoreError> {
    let customer = row.customer;
    let mut state = CustomerState::new(customer.clone());
    let mut part = Replay { customers: 1, ..Replay::default() };
    let mut pages = Pages::new(store.clone(), customer.clone(), 0);
    'journal: loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            if let Err(ended) = replay_entry(history, modules, &mut state, &stored, &mut part).await {
                let last = store.entries_before(&customer, None, 1).await?;
                let last = last.first().map_or(stored.seq, |last| last.seq);
                let rest = last.saturating_sub(stored.seq).saturating_add(1);
                match ended {
                    Ended::Newer(format) => {
                        part.skip(format!("written by a newer version, in format {format}"), rest)
                    }
                    Ended::Damaged(detail) => {
                        part.differs(&customer, stored.seq, detail);
                        part.skip("after an entry that can't be taken in".to_owned(), rest);
                    }
                }
                break 'journal;
            }
            if part.entries >= TOLD_AFTER {
                // Whoever asked may have gone; then nothing more is of use.
                if found.send(std::mem::take(&mut part)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    // Whoever asked may have gone.
    let _ = found.send(part).await;
    Ok(())
}

/// Why a journal can't be followed any further.
enum Ended {
    Newer(u32),
    Damaged(String),
}

async fn replay_entry(
    history: &History,
    modules: &Modules,
    state: &mut CustomerState,
    stored: &StoredEntry,
    part: &mut Replay,
) -> Result<(), Ended> {
    let entry = Entry::parse(&stored.body).map_err(|error| match error {
        proviso_ledger::journal::ReadError::Newer(format) => Ended::Newer(format),
        error => Ended::Damaged(error.to_string()),
    })?;
    part.entries = part.entries.saturating_add(1);
    let mut outcome = loop {
        match again(history, &|digest| modules.look_up(digest), state, &entry) {
            Ok(outcome) => break outcome,
            Err(digest) => modules.load(digest).await,
        }
    };
    if let Again::Differs(_) = outcome {
        // What a policy may use was another when it met its bounds: all modules are loaded by now.
        let in_class = |class| again(history, &|digest| modules.look_up_in(digest, class), state, &entry);
        let classes = [ResourceClass::Small, ResourceClass::Default, ResourceClass::Large];
        if classes.into_iter().any(|class| in_class(class) == Ok(Again::Agrees)) {
            outcome = Again::Agrees;
        }
    }
    let fuel = entry.decision().map_or(0, |record| record.fuel);
    match outcome {
        Again::Undecided => {}
        Again::Agrees | Again::Differs(_) => {
            part.decisions = part.decisions.saturating_add(1);
            part.fuel = part.fuel.saturating_add(fuel);
        }
        Again::CantBe(ref why) => {
            let text = match why {
                Unrepeatable::ModuleGone(digest) => {
                    format!("module {digest} can't be loaded: {}", modules.why(digest))
                }
                Unrepeatable::ByChance(code) => {
                    part.by_chance = part.by_chance.saturating_add(1);
                    format!("a fault had decided that need not come again: {code}")
                }
                Unrepeatable::NotRecorded => {
                    "reservations that were refused after they had been reduced: what was asked for is not recorded"
                        .to_owned()
                }
            };
            part.skip(text, 1);
        }
    }
    if let Again::Differs(detail) = outcome {
        let customer = state.customer.clone();
        part.differs(&customer, entry.seq, detail);
    }
    // The recorded entry is what the journal goes on from, whatever came of it now.
    state
        .fold_parsed(stored.seq, &entry, &stored.body, &stored.hash)
        .map_err(|error| Ended::Damaged(error.to_string()))
}
