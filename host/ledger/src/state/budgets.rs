//! A customer's budgets and what counts toward them, by window, for as long as usage of that window may be reported. Those that
//! a usage counts toward are found by its entities and attributes, however many budgets there are.

use super::counters::{Needed, Part};
use crate::{
    journal::BudgetCount,
    model::{
        amounts::Decimal,
        budget::{Budget, Subject},
        counter::WindowId,
        ids::{Key, Seq},
        usage::Usage,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

/// What counts toward a budget in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetTotal {
    /// What was used.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub used: Decimal,
    /// What open reservations hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: Decimal,
    /// The highest percentage of the limit that an entry said was reached.
    #[serde(default, skip_serializing_if = "is_none_raised")]
    pub raised: u16,
}

fn is_zero(amount: &Decimal) -> bool {
    amount.is_zero()
}

fn is_none_raised(percent: &u16) -> bool {
    *percent == 0
}

/// A budget and what counts toward it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetState {
    /// The budget.
    pub budget: Budget,
    /// The number of the entry since which it counts.
    pub since: Seq,
    /// What counts, by window.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<WindowId, BudgetTotal>,
}

/// Budgets by key. A clone shares those that don't change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budgets {
    by_id: BTreeMap<Key, Arc<BudgetState>>,
    by_subject: Arc<BySubject>,
    /// How many totals there are.
    totals: usize,
    bytes: usize,
}

/// The keys of budgets by whose usage they count.
#[derive(Debug, Clone, Default, PartialEq)]
struct BySubject {
    customer: BTreeSet<Key>,
    entities: BTreeMap<Key, BTreeSet<Key>>,
    attributes: BTreeMap<String, BTreeMap<String, BTreeSet<Key>>>,
}

impl BudgetState {
    /// What counts in the window `id`.
    #[must_use]
    pub fn total(&self, id: WindowId) -> BudgetTotal {
        self.totals(self.budget.window.span(id)).fold(BudgetTotal::default(), |sum, (_, one)| BudgetTotal {
            used: sum.used.saturating_add(one.used),
            held: sum.held.saturating_add(one.held),
            raised: sum.raised.max(one.raised),
        })
    }

    /// What counts in each of these windows in which anything does.
    pub(crate) fn totals(
        &self,
        span: RangeInclusive<WindowId>,
    ) -> impl Iterator<Item = (WindowId, &BudgetTotal)> {
        self.windows.range(span).map(|(id, total)| (*id, total))
    }
}

impl BudgetTotal {
    /// What was used and what is held.
    #[must_use]
    pub const fn sum(self) -> Decimal {
        self.used.saturating_add(self.held)
    }
}

impl Budgets {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &Key) -> Option<&BudgetState> {
        self.by_id.get(id).map(|state| &**state)
    }

    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &BudgetState)> {
        self.by_id.iter().map(|(id, state)| (id, &**state))
    }

    /// Those after `after`, by key.
    pub fn after<'a>(&'a self, after: Option<&Key>) -> impl Iterator<Item = (&'a Key, &'a BudgetState)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rest = self.by_id.range::<Key, _>((after.map_or(Unbounded, Excluded), Unbounded));
        rest.map(|(id, state)| (id, &**state))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What they take, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many totals there are: one for each budget and window in which anything counts.
    #[must_use]
    pub const fn totals(&self) -> usize {
        self.totals
    }

    /// How many count the usage of the same subject.
    #[must_use]
    pub fn of_subject(&self, subject: &Subject) -> usize {
        self.by_subject.of(subject).map_or(0, BTreeSet::len)
    }

    /// Those whose subject a usage has: its entity's, then those of who stands above it, up to the root; then those of its
    /// attributes; then those of the whole customer.
    pub(crate) fn of_usage<'a>(
        &'a self,
        usage: &'a Usage,
    ) -> impl Iterator<Item = (&'a Key, &'a BudgetState)> {
        let BySubject { customer, entities, attributes } = &*self.by_subject;
        let of_entities = usage.entities().filter_map(|entity| entities.get(entity));
        let of_attributes = usage.attributes.iter();
        let of_attributes = of_attributes.filter_map(|(name, value)| attributes.get(name)?.get(value));
        let ids = of_entities.chain(of_attributes).chain([customer]).flatten();
        ids.filter_map(|id| self.get(id).map(|state| (id, state)))
    }

    /// Those of entities, and those of the whole customer.
    pub(crate) fn of_entities<'a>(
        &'a self,
        entities: impl Iterator<Item = &'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a BudgetState)> {
        let by_subject = &*self.by_subject;
        let of_entities = entities.filter_map(|entity| by_subject.entities.get(entity));
        let ids = of_entities.chain([&by_subject.customer]).flatten();
        ids.filter_map(|id| self.get(id).map(|state| (id, state)))
    }

    /// Puts a budget in force from entry `seq` on. What was counted stays where it counts the same as before.
    pub(crate) fn set(&mut self, id: &Key, budget: &Budget, seq: Seq) {
        let before = self.remove(id);
        let kept = before.filter(|before| before.budget.counts_like(budget));
        let (since, windows) =
            kept.map_or_else(|| (seq, BTreeMap::new()), |before| (before.since, before.windows.clone()));
        self.totals = self.totals.saturating_add(windows.len());
        self.bytes = self.bytes.saturating_add(budget.bytes(id));
        Arc::make_mut(&mut self.by_subject).insert(&budget.subject, id);
        self.by_id.insert(id.clone(), Arc::new(BudgetState { budget: budget.clone(), since, windows }));
    }

    pub(crate) fn remove(&mut self, id: &Key) -> Option<Arc<BudgetState>> {
        let state = self.by_id.remove(id)?;
        self.totals = self.totals.saturating_sub(state.windows.len());
        self.bytes = self.bytes.saturating_sub(state.budget.bytes(id));
        Arc::make_mut(&mut self.by_subject).remove(&state.budget.subject, id);
        Some(state)
    }

    /// Adds a count. Where it begins a window, windows of the budget are forgotten as of counters.
    pub(crate) fn add(&mut self, count: &BudgetCount, part: Part, needed: &Needed) -> Result<(), String> {
        let state = self.get(&count.budget).ok_or_else(|| format!("no budget {}", count.budget))?;
        let is_new = !state.windows.contains_key(&count.window_id);
        self.change(count, part, Decimal::checked_add)?;
        if is_new {
            let (forgets, totals) = (|state: &mut BudgetState| state.forget(needed), self.totals);
            self.totals = totals.saturating_sub(self.edit(&count.budget, forgets).unwrap_or_default());
        }
        Ok(())
    }

    /// Takes back a count that entry `made_by` made, if the budget has counted since.
    pub(crate) fn take_back(&mut self, count: &BudgetCount, part: Part, made_by: Seq) -> Result<(), String> {
        match self.get(&count.budget) {
            Some(state) if state.since < made_by => self.change(count, part, Decimal::checked_sub),
            _ => Ok(()),
        }
    }

    fn change(
        &mut self,
        count: &BudgetCount,
        part: Part,
        step: impl FnOnce(Decimal, Decimal) -> Option<Decimal>,
    ) -> Result<(), String> {
        let change = |state: &mut BudgetState| -> Result<(usize, usize), String> {
            let before = state.windows.len();
            let total = state.windows.entry(count.window_id).or_default();
            let amount = match part {
                Part::Used => &mut total.used,
                Part::Held => &mut total.held,
            };
            *amount =
                step(*amount, count.add).ok_or_else(|| format!("a budget overflows by {}", count.add))?;
            if *total == BudgetTotal::default() {
                state.windows.remove(&count.window_id);
            }
            Ok((before, state.windows.len()))
        };
        let (before, after) = self.edit(&count.budget, change).unwrap_or(Ok((0, 0)))?;
        self.totals = self.totals.saturating_add(after).saturating_sub(before);
        Ok(())
    }

    /// Notes that an entry said how much of a budget's limit is reached.
    pub(crate) fn raise(&mut self, id: &Key, window: WindowId, percent: u16) {
        let raise = |state: &mut BudgetState| {
            let before = state.windows.len();
            let total = state.windows.entry(window).or_default();
            total.raised = total.raised.max(percent);
            state.windows.len() - before
        };
        self.totals = self.totals.saturating_add(self.edit(id, raise).unwrap_or_default());
    }

    /// Whether adding these keeps every total in range.
    pub(crate) fn fits(&self, counts: &[BudgetCount]) -> bool {
        counts.iter().all(|count| {
            let Some(state) = self.get(&count.budget) else { return true };
            let BudgetTotal { used, held, .. } = state.total(count.window_id);
            used.checked_add(held).and_then(|sum| sum.checked_add(count.add)).is_some()
        })
    }

    /// Whether anything counts toward a budget in just this window.
    pub(crate) fn has(&self, count: &BudgetCount) -> bool {
        self.get(&count.budget).is_some_and(|state| state.windows.contains_key(&count.window_id))
    }

    /// Forgets windows as counters do.
    pub(crate) fn forget(&mut self, needed: &Needed) {
        let mut forgotten = 0_usize;
        for state in self.by_id.values_mut() {
            let is_needed = needed.of(state.budget.window);
            if state.windows.keys().any(|id| !is_needed(*id)) {
                forgotten = forgotten.saturating_add(Arc::make_mut(state).forget(needed));
            }
        }
        self.totals = self.totals.saturating_sub(forgotten);
    }

    fn edit<T>(&mut self, id: &Key, edit: impl FnOnce(&mut BudgetState) -> T) -> Option<T> {
        self.by_id.get_mut(id).map(|state| edit(Arc::make_mut(state)))
    }
}

impl BudgetState {
    /// Forgets what no usage can reach any more, but for what is held: its reservation will take that back. Returns how many
    /// totals that were.
    fn forget(&mut self, needed: &Needed) -> usize {
        let is_needed = needed.of(self.budget.window);
        let before = self.windows.len();
        self.windows.retain(|id, total| is_needed(*id) || !total.held.is_zero());
        before.saturating_sub(self.windows.len())
    }
}

impl BySubject {
    fn of(&self, subject: &Subject) -> Option<&BTreeSet<Key>> {
        match subject {
            Subject::Customer => Some(&self.customer),
            Subject::Entity(entity) => self.entities.get(entity),
            Subject::Attribute { name, value } => self.attributes.get(name)?.get(value),
        }
    }

    fn insert(&mut self, subject: &Subject, id: &Key) {
        let ids = match subject {
            Subject::Customer => &mut self.customer,
            Subject::Entity(entity) => self.entities.entry(entity.clone()).or_default(),
            Subject::Attribute { name, value } => {
                self.attributes.entry(name.clone()).or_default().entry(value.clone()).or_default()
            }
        };
        ids.insert(id.clone());
    }

    fn remove(&mut self, subject: &Subject, id: &Key) {
        match subject {
            Subject::Customer => {
                self.customer.remove(id);
            }
            Subject::Entity(entity) => take_out(&mut self.entities, entity, id),
            Subject::Attribute { name, value } => {
                if let Some(values) = self.attributes.get_mut(name) {
                    take_out(values, value, id);
                    if values.is_empty() {
                        self.attributes.remove(name);
                    }
                }
            }
        }
    }
}

/// Empty sets are not kept, so that the index is a function of the budgets.
fn take_out<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<Key>>, of: &K, id: &Key) {
    if let Some(ids) = sets.get_mut(of) {
        ids.remove(id);
        if ids.is_empty() {
            sets.remove(of);
        }
    }
}

impl Serialize for Budgets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_id.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Budgets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_id: BTreeMap<Key, Arc<BudgetState>> = BTreeMap::deserialize(deserializer)?;
        let mut by_subject = BySubject::default();
        let (mut totals, mut bytes) = (0_usize, 0_usize);
        for (id, state) in &by_id {
            by_subject.insert(&state.budget.subject, id);
            totals = totals.saturating_add(state.windows.len());
            bytes = bytes.saturating_add(state.budget.bytes(id));
        }
        Ok(Self { by_id, by_subject: Arc::new(by_subject), totals, bytes })
    }
}
