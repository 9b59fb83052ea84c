//! What a usage report is made of, and the reports that have further pages.

use crate::rollup::counted::{Counted, Paid};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{CustomerId, Key, Seq},
    time::{Moment, Timestamp, Zone},
    usage::Usage,
};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

/// The most groups that are kept of one pass over the journal; what comes after them takes another one.
const MOST_GROUPS: usize = 10_000;
/// Reports that are kept for their further pages.
const MOST_REPORTS: usize = 4;

/// By what usage is grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By feature.
    Feature,
    /// By entity.
    Entity,
    /// By local hour of the usage.
    Hour,
    /// By local day of the usage.
    Day,
    /// By local month of the usage.
    Month,
    /// By an attribute's value.
    Attribute(String),
    /// By whether another system billed it: `true` or `false`.
    Imported,
    /// By the category of the grants that paid, or `overage`; none for what cost nothing. A usage that several paid for counts
    /// in each, with what that one paid. Quantities are of no category, and left out.
    Category,
}

/// The values that a group has in common; none where a usage has no such value.
pub type GroupKey = Vec<Option<String>>;

/// Usage of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageGroup {
    /// Accepted charges and commits, also those that were refunded.
    pub charges: u64,
    /// How many of them were imported: another system billed them.
    pub imported: u64,
    /// What they cost, less what was refunded, by credit type.
    pub cost: BTreeMap<Key, Credits>,
    /// What was used, less the quantities that were refunded, by name.
    pub quantities: BTreeMap<String, Quantity>,
}

/// Usage by the values of what it is grouped by.
pub type UsageGroups = BTreeMap<GroupKey, UsageGroup>;

/// Which usage is reported, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageReport {
    /// Usage that occurred at or after this...
    pub from: Timestamp,
    /// ...and before this.
    pub to: Timestamp,
    /// Only usage of this feature.
    pub feature: Option<Key>,
    /// Only usage of this entity and of those that stood below it.
    pub entity: Option<Key>,
    /// By what it is grouped.
    pub group_by: Vec<GroupBy>,
    /// The zone of hours, days and months; none means the customer's.
    pub zone: Option<Zone>,
}

/// A page of a report.
#[derive(Debug, PartialEq)]
pub struct UsagePage {
    /// In the order of their keys.
    pub groups: Vec<(GroupKey, UsageGroup)>,
    /// The last entry that the report takes in.
    pub as_of: Seq,
    /// Whether there are more after the last of these.
    pub has_more: bool,
}

/// What one pass over the journal came to: the first groups after one.
#[derive(Debug)]
pub(crate) struct Pass {
    pub customer: CustomerId,
    pub report: UsageReport,
    pub as_of: Seq,
    pub after: Option<GroupKey>,
    pub groups: UsageGroups,
    /// Whether there are groups after these.
    pub has_more: bool,
    /// Entries that were read for it.
    pub read: u64,
}

/// The newest passes.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<VecDeque<Arc<Pass>>>);

impl UsageReport {
    /// The same, in this zone unless it names one.
    pub(crate) fn or_in(self, zone: Zone) -> Self {
        Self { zone: Some(self.zone.unwrap_or(zone)), ..self }
    }

    pub(crate) fn by_category(&self) -> bool {
        self.group_by.contains(&GroupBy::Category)
    }

    pub(crate) fn is_of(&self, usage: &Usage) -> bool {
        self.feature.as_ref().is_none_or(|feature| usage.feature == *feature)
            && self.entity.as_ref().is_none_or(|entity| usage.entities().any(|one| one == entity))
    }
}

/// Sums of one group in the making, with the number of entries that each is of, so that entries can be taken off again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    entries: i64,
    charges: i64,
    imported: i64,
    cost: BTreeMap<Key, (i64, Credits)>,
    quantities: BTreeMap<String, (i64, Quantity)>,
}

/// The first groups after one, in the making.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    after: Option<GroupKey>,
    groups: BTreeMap<GroupKey, Tally>,
    has_more: bool,
}

impl Collector {
    pub fn new(after: Option<GroupKey>) -> Self {
        Self { after, ..Self::default() }
    }

    /// Adds to a group, unless it comes before the ones that are wanted or after as many as are kept. Once one was
    /// dropped, the last key that is kept only gets smaller, so a dropped group is never begun anew.
    pub fn add(&mut self, key: GroupKey, add: impl FnOnce(&mut Tally)) {
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        let is_full = self.groups.len() >= MOST_GROUPS;
        if is_full && self.groups.last_key_value().is_some_and(|(last, _)| key > *last) {
            self.has_more = true;
            return;
        }
        add(self.groups.entry(key).or_default());
        if self.groups.len() > MOST_GROUPS {
            self.groups.pop_last();
            self.has_more = true;
        }
    }

    /// Adds an entry's usage to its groups, or takes it off.
    pub fn count(
        &mut self,
        report: &UsageReport,
        counted: &Counted<'_>,
        moment: &Moment,
        paid: Option<&Paid>,
        adds: bool,
    ) {
        let sign = if adds { 1 } else { -1 };
        let charges = if counted.is_refund { 0 } else { sign };
        let is_plus = adds != counted.is_refund;
        let signed = |amount: Credits| if is_plus { amount } else { Credits::ZERO.saturating_sub(amount) };
        let key = |payer: Option<&str>| -> GroupKey {
            report.group_by.iter().map(|by| by.value(counted, moment, payer)).collect()
        };
        let imported = if counted.is_imported { charges } else { 0 };
        if let Some(paid) = paid {
            for (payer, amount) in paid {
                let payer = Some(*payer).filter(|payer| !payer.is_empty());
                self.add(key(payer), |tally| {
                    tally.merge(sign, charges, imported, (counted.credit, signed(*amount)), None);
                });
            }
            return;
        }
        self.add(key(None), |tally| {
            tally.merge(sign, charges, imported, (counted.credit, signed(counted.cost)), None);
            for (name, amount) in &counted.usage.quantities {
                let amount = if is_plus { *amount } else { Quantity::ZERO.saturating_sub(*amount) };
                tally.merge_quantity(name, sign, amount);
            }
        });
    }

    /// Whether nothing is left of the groups that there are.
    pub fn is_blank(&self) -> bool {
        self.has_more && self.groups.values().all(|tally| tally.entries == 0)
    }

    /// The groups, and whether there are more.
    pub fn finish(self) -> (UsageGroups, bool) {
        let whole = self.groups.into_iter().filter_map(|(key, tally)| Some((key, tally.group()?)));
        (whole.collect(), self.has_more)
    }
}

impl Tally {
    /// Adds sums that are of so many entries.
    pub fn merge(
        &mut self,
        entries: i64,
        charges: i64,
        imported: i64,
        (credit, cost): (&Key, Credits),
        quantities: Option<&BTreeMap<String, (i64, Quantity)>>,
    ) {
        self.entries += entries;
        self.charges += charges;
        self.imported += imported;
        let total = self.cost.entry(credit.clone()).or_default();
        total.0 += entries;
        total.1 = total.1.saturating_add(cost);
        for (name, (entries, amount)) in quantities.into_iter().flatten() {
            self.merge_quantity(name, *entries, *amount);
        }
    }

    fn merge_quantity(&mut self, name: &str, entries: i64, amount: Quantity) {
        let total = match self.quantities.get_mut(name) {
            Some(total) => total,
            None => self.quantities.entry(name.to_owned()).or_default(),
        };
        total.0 += entries;
        total.1 = total.1.saturating_add(amount);
    }

    /// None when it is of no entry.
    fn group(self) -> Option<UsageGroup> {
        let Self { entries, charges, imported, cost, quantities } = self;
        let cost = cost.into_iter().filter(|(_, (entries, _))| *entries != 0);
        let quantities = quantities.into_iter().filter(|(_, (entries, _))| *entries != 0);
        (entries != 0).then(|| UsageGroup {
            charges: u64::try_from(charges).unwrap_or(0),
            imported: u64::try_from(imported).unwrap_or(0),
            cost: cost.map(|(credit, (_, cost))| (credit, cost)).collect(),
            quantities: quantities.map(|(name, (_, amount))| (name, amount)).collect(),
        })
    }
}

impl Pass {
    /// Whether the groups after `after` begin in it.
    fn covers(
        &self,
        customer: &CustomerId,
        report: &UsageReport,
        as_of: Seq,
        after: Option<&GroupKey>,
    ) -> bool {
        let begins = self.after.as_ref() <= after;
        let is_beyond = || after >= self.groups.keys().next_back();
        let same = self.customer == *customer && self.report == *report && self.as_of == as_of;
        same && begins && !(self.has_more && is_beyond())
    }

    pub fn page(&self, after: Option<&GroupKey>, limit: usize) -> UsagePage {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.groups.range::<GroupKey, _>((start, Bound::Unbounded));
        let groups: Vec<_> =
            rest.by_ref().take(limit).map(|(key, group)| (key.clone(), group.clone())).collect();
        UsagePage { groups, as_of: self.as_of, has_more: rest.next().is_some() || self.has_more }
    }
}

impl Reports {
    pub fn find(
        &self,
        customer: &CustomerId,
        report: &UsageReport,
        as_of: Seq,
        after: Option<&GroupKey>,
    ) -> Option<Arc<Pass>> {
        let passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.iter().find(|pass| pass.covers(customer, report, as_of, after)).cloned()
    }

    pub fn keep(&self, pass: Arc<Pass>) {
        let mut passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.push_front(pass);
        passes.truncate(MOST_REPORTS);
    }
}

impl GroupBy {
    pub(crate) fn value(
        &self,
        counted: &Counted<'_>,
        moment: &Moment,
        payer: Option<&str>,
    ) -> Option<String> {
        let usage = counted.usage;
        match self {
            Self::Imported => Some(counted.is_imported.to_string()),
            Self::Feature => Some(usage.feature.to_string()),
            Self::Entity => usage.entity.as_ref().map(Key::to_string),
            Self::Attribute(name) => usage.attribute(name).map(str::to_owned),
            Self::Category => payer.map(str::to_owned),
            Self::Hour | Self::Day | Self::Month => self.label(moment),
        }
    }

    /// The hour, day or month; none for what is no time.
    pub(crate) fn label(&self, moment: &Moment) -> Option<String> {
        let Moment { year, month, day, hour, .. } = moment;
        match self {
            Self::Hour => Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}")),
            Self::Day => Some(format!("{year:04}-{month:02}-{day:02}")),
            Self::Month => Some(format!("{year:04}-{month:02}")),
            Self::Feature | Self::Entity | Self::Attribute(_) | Self::Imported | Self::Category => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> CustomerId {
        "acme".parse().unwrap()
    }

    fn pass(after: Option<&str>) -> Pass {
        let report = UsageReport {
            from: Timestamp(0),
            to: Timestamp(1),
            feature: None,
            entity: None,
            group_by: vec![GroupBy::Entity],
            zone: None,
        };
        let after = after.map(|key| vec![Some(key.to_owned())]);
        Pass {
            customer: acme(),
            report,
            as_of: 7,
            after,
            groups: UsageGroups::new(),
            has_more: false,
            read: 0,
        }
    }

    fn key(number: usize) -> GroupKey {
        vec![Some(format!("{number:06}"))]
    }

    /// However many groups there are and in whichever order they come, a few passes give all of them, each once and whole.
    #[test]
    fn passes_of_bounded_size_give_every_group() {
        let all = MOST_GROUPS * 2 + 500;
        // A step that has no factor in common with the number visits each once.
        let usages: Vec<_> = (0..2 * all).map(|n| key((n * 7_919) % all)).collect();
        let (mut seen, mut after, mut passes) = (Vec::new(), None, 0);
        loop {
            let mut collector = Collector::new(after.clone());
            let credit: Key = "credits".parse().unwrap();
            let add = |tally: &mut Tally| tally.merge(1, 1, 0, (&credit, Credits::ZERO), None);
            usages.iter().for_each(|key| collector.add(key.clone(), add));
            let (groups, has_more) = collector.finish();
            let one = Pass { after: after.clone(), groups, has_more, ..pass(None) };
            passes += 1;
            assert!(one.groups.len() <= MOST_GROUPS);
            loop {
                assert!(one.covers(&acme(), &pass(None).report, 7, after.as_ref()));
                let page = one.page(after.as_ref(), 999);
                after = page.groups.last().map(|(key, _)| key.clone());
                seen.extend(page.groups);
                if !page.has_more || !one.covers(&acme(), &pass(None).report, 7, after.as_ref()) {
                    break;
                }
            }
            if !one.has_more {
                break;
            }
        }
        assert_eq!(passes, 3);
        assert!(seen.iter().map(|(key, _)| key.clone()).eq((0..all).map(key)));
        assert!(seen.iter().all(|(_, group)| group.charges == 2));
    }

    #[test]
    fn only_the_newest_passes_are_kept() {
        let reports = Reports::default();
        for as_of in 0..10 {
            reports.keep(Arc::new(Pass { as_of, ..pass(None) }));
        }
        let found: Vec<Seq> = (0..10)
            .filter(|as_of| reports.find(&acme(), &pass(None).report, *as_of, None).is_some())
            .collect();
        assert_eq!(found, [6, 7, 8, 9]);
        let other = UsageReport { to: Timestamp(2), ..pass(None).report };
        assert!(reports.find(&acme(), &other, 9, None).is_none());
    }
}
