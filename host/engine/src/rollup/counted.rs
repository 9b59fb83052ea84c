//! What an entry counts as in reports of usage, and which grants paid for it.

use crate::{
    error::EngineError,
    reads::parse,
    revenue::{drawn, given_back},
};
use proviso_ledger::{
    journal::{Entry, Refunded, UsageImported},
    model::{
        amounts::Credits,
        grant::Category,
        ids::{CustomerId, GrantId, Key, Seq},
        time::Timestamp,
        usage::Usage,
    },
    rules::reservation::LONGEST_HOLD,
    state::{CustomerState, LATE_WINDOW},
};
use proviso_store::Store;
use std::collections::{BTreeMap, HashMap};

/// How long after a usage its entry comes at most: it may be reserved late, and is committed once the hold ends.
pub(crate) const MOST_LATE: i64 = LATE_WINDOW + LONGEST_HOLD;
/// Who pays for what was drawn beyond all grants.
const OVERAGE: &str = "overage";
/// Grants whose category is kept for the next entries.
const MOST_KNOWN: usize = 10_000;

/// Usage that was charged or refunded, as reports count it.
pub(crate) struct Counted<'a> {
    pub usage: &'a Usage,
    pub credit: &'a Key,
    pub cost: Credits,
    /// The time that it counts at.
    pub at: Timestamp,
    pub is_refund: bool,
    /// Whether another system billed it.
    pub is_imported: bool,
}

impl<'a> Counted<'a> {
    pub fn of(entry: &'a Entry) -> Option<Self> {
        if let Some(imported) = entry.imported_usage() {
            let UsageImported { usage, credit, cost, refund, .. } = imported;
            let (at, is_refund) = (usage.occurred_at, *refund);
            return Some(Self { usage, credit, cost: *cost, at, is_refund, is_imported: true });
        }
        let charged = entry.charged_usage().map(|(usage, rated)| (usage, &rated.credit, rated.cost));
        let refunded = entry.refunded();
        let part = charged.or_else(|| refunded.map(|one| (&one.usage, &one.credit, one.amount)));
        let (usage, credit, cost) = part?;
        let is_refund = refunded.is_some();
        // What is refunded later than usage may be reported counts when it is refunded: what is past is closed.
        let is_closed = usage.occurred_at < entry.at.plus_micros(-LATE_WINDOW);
        let at = if is_closed && is_refund { entry.at } else { usage.occurred_at };
        Some(Self { usage, credit, cost, at, is_refund, is_imported: false })
    }
}

/// What an entry drew, or gave back, by the category of the grants: `overage` for what no grant paid, the empty name for what
/// cost nothing.
pub(crate) type Paid = BTreeMap<&'static str, Credits>;

/// Who paid for a charge or commit, as far as the state after it still knows the grants that it drew.
pub(crate) fn paid_by_known(entry: &Entry, cost: Credits, state: &CustomerState) -> Option<Paid> {
    if let Some(imported) = entry.imported_usage() {
        return Some(adding_up(paid_elsewhere(imported), cost));
    }
    let payer = |(grant, amount)| match grant {
        Some(grant) => Some((state.grant(grant)?.grant.category.as_str(), amount)),
        None => Some((OVERAGE, amount)),
    };
    let payers: Option<Vec<_>> = drawn(entry).into_iter().map(payer).collect();
    Some(adding_up(payers?, cost))
}

/// What paid for usage that another system billed.
fn paid_elsewhere(imported: &UsageImported) -> Vec<(&'static str, Credits)> {
    let payer = |category: Option<Category>| category.map_or(OVERAGE, Category::as_str);
    imported.paid.iter().map(|paid| (payer(paid.category), paid.amount)).collect()
}

/// The parts by who paid them, with the rest of the cost.
fn adding_up(payers: Vec<(&'static str, Credits)>, cost: Credits) -> Paid {
    let (mut paid, mut rest) = (Paid::new(), cost);
    for (payer, amount) in payers {
        let total = paid.entry(payer).or_default();
        *total = total.saturating_add(amount);
        rest = rest.saturating_sub(amount);
    }
    if paid.is_empty() || !rest.is_zero() {
        paid.insert("", rest);
    }
    paid
}

/// Looks up which grants paid.
pub(crate) struct Payers<'a> {
    store: &'a dyn Store,
    customer: &'a CustomerId,
    known: HashMap<GrantId, &'static str>,
}

impl<'a> Payers<'a> {
    pub fn new(store: &'a dyn Store, customer: &'a CustomerId) -> Self {
        Self { store, customer, known: HashMap::new() }
    }

    /// Who paid for an entry's usage, or got it back. The parts add up to its cost.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn of(&mut self, entry: &Entry, cost: Credits) -> Result<Paid, EngineError> {
        let payers = match (entry.refunded(), entry.imported_usage()) {
            (Some(refunded), _) => {
                let back = self.given_back(refunded).await?;
                self.by_category(back).await?
            }
            (None, Some(imported)) => paid_elsewhere(imported),
            (None, None) => self.by_category(drawn(entry)).await?,
        };
        Ok(adding_up(payers, cost))
    }

    async fn by_category(
        &mut self,
        parts: Vec<(Option<GrantId>, Credits)>,
    ) -> Result<Vec<(&'static str, Credits)>, EngineError> {
        let mut paid = Vec::with_capacity(parts.len());
        for (grant, amount) in parts {
            let payer = match grant {
                Some(grant) => self.category(grant).await?,
                None => OVERAGE,
            };
            paid.push((payer, amount));
        }
        Ok(paid)
    }

    /// What was drawn last goes back first, after what earlier refunds gave back.
    async fn given_back(&self, refunded: &Refunded) -> Result<Vec<(Option<GrantId>, Credits)>, EngineError> {
        let Some(charge) = self.entry(refunded.charge.entry).await? else { return Ok(Vec::new()) };
        let before = refunded.total.saturating_sub(refunded.amount);
        Ok(given_back(&charge, before, refunded.amount))
    }

    async fn category(&mut self, id: GrantId) -> Result<&'static str, EngineError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known);
        }
        let made = self.entry(id.entry).await?;
        let grant = made.as_ref().and_then(|made| made.grants().iter().find(|grant| grant.id == id));
        let category = grant.map_or("", |grant| grant.category.as_str());
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(id, category);
        Ok(category)
    }

    async fn entry(&self, seq: Seq) -> Result<Option<Entry>, EngineError> {
        let stored = self.store.entries(self.customer, seq.saturating_sub(1), 1).await?;
        stored.first().map(|stored| parse(self.customer, stored)).transpose()
    }
}
