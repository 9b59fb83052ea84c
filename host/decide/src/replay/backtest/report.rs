//! What a backtest came to: sums by customer, feature and month, the largest changes with both explanations, and who would have been
//! refused. What it holds is bounded, however much it is about.

use proviso_ledger::{
    journal::{Entry, Event, Line},
    model::{
        amounts::Credits,
        grant::CreditType,
        ids::{CustomerId, Key, Seq},
        time::Timestamp,
    },
};
use std::collections::BTreeMap;

/// The largest changes that are kept.
const MOST_CHANGES: usize = 20;
/// The customers that are told of one by one: those that change most.
const MOST_CUSTOMERS: usize = 200;
/// The rows of all together; what is beyond is summed under an empty feature.
const MOST_ROWS: usize = 1_000;
/// The rows of each customer that is told of: those that change most.
const MOST_ROWS_OF_CUSTOMER: usize = 20;
/// Codes and reasons that are told apart.
const MOST_NAMES: usize = 100;

/// What usage has in common. The month is the customer's own, such as `2026-11`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The feature.
    pub feature: String,
    /// The credit type.
    pub credit: CreditType,
    /// The month of the usage.
    pub month: String,
}

/// Usage under both terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Decisions that were compared.
    pub decisions: u64,
    /// How many of them differ in outcome or cost.
    pub differ: u64,
    /// What was charged, less refunds.
    pub recorded: Credits,
    /// What the candidate would have charged, less refunds.
    pub candidate: Credits,
    /// Usage that was accepted, and that the candidate would have refused.
    pub newly_refused: u64,
    /// Usage that was refused, and that the candidate would have accepted.
    pub newly_accepted: u64,
}

/// What the ends and beginnings of periods moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Issued as periods began.
    pub issued: Credits,
    /// Carried over as periods ended.
    pub rolled_over: Credits,
    /// Fees that periods ended with.
    pub fees: Credits,
}

/// What one policy answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `charged`, `reserved`, `committed` or `refused`.
    pub outcome: &'static str,
    /// The cost; none when it was refused without a price.
    pub cost: Option<Credits>,
    /// The code of a refusal.
    pub code: Option<String>,
    /// What explains the cost.
    pub lines: Vec<Line>,
}

/// A decision that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub customer: CustomerId,
    /// The recorded entry.
    pub entry: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The feature that was used.
    pub feature: Key,
    /// What was answered.
    pub recorded: Answer,
    /// What the candidate answers; none when there is nothing to ask it of, as when it refused the reservation.
    pub candidate: Option<Answer>,
}

impl Change {
    fn size(&self) -> Credits {
        let billed = |answer: &Answer| match answer.outcome {
            "refused" => Credits::ZERO,
            _ => answer.cost.unwrap_or(Credits::ZERO),
        };
        let candidate = self.candidate.as_ref().map_or(Credits::ZERO, billed);
        billed(&self.recorded).saturating_sub(candidate).checked_abs().unwrap_or(Credits::ZERO)
    }
}

/// What a customer has at the end, of one credit type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// What it may draw.
    pub available: Credits,
    /// What it owes.
    pub overage: Credits,
}

/// One customer's part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerReport {
    /// Usage by feature, credit type and month: in a report of all, the rows that change most.
    pub rows: BTreeMap<RowKey, Cell>,
    /// The sum of all rows.
    pub total: Cell,
    /// What periods moved, as recorded and by the candidate.
    pub flows: (Flow, Flow),
    /// What is left at the end by credit type, as recorded and by the candidate.
    pub left: BTreeMap<CreditType, (Left, Left)>,
    /// The code of each refusal that is new, and how often.
    pub refusals: BTreeMap<String, u64>,
    /// The largest changes.
    pub changes: Vec<Change>,
    /// What could not be asked of the candidate, and how often.
    pub left_out: BTreeMap<String, u64>,
    /// Whether all that the candidate wrote is what was recorded, in every bit.
    pub is_identical: bool,
}

impl CustomerReport {
    /// How much more or less it would be charged in all.
    fn size(&self) -> Credits {
        self.total.size()
    }

    /// Leaves the rows that change most.
    fn cut(&mut self) {
        let mut rows: Vec<_> = std::mem::take(&mut self.rows).into_iter().collect();
        rows.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.size()));
        self.rows = rows.into_iter().take(MOST_ROWS_OF_CUSTOMER).collect();
    }

    pub(super) fn cell(&mut self, key: RowKey) -> &mut Cell {
        bounded(&mut self.rows, key)
    }

    pub(super) fn change(&mut self, change: Change) {
        keep_largest(&mut self.changes, change);
    }

    pub(super) fn leave_out(&mut self, why: &str) {
        count(&mut self.left_out, why, 1);
    }

    pub(super) fn refuses(&mut self, code: &str) {
        count(&mut self.refusals, code, 1);
    }
}

impl Cell {
    /// How much more or less it is.
    fn size(&self) -> Credits {
        self.recorded.saturating_sub(self.candidate).checked_abs().unwrap_or(Credits::ZERO)
    }

    pub(super) fn sum_of(rows: &BTreeMap<RowKey, Self>) -> Self {
        rows.values().fold(Self::default(), |sum, cell| sum.plus(cell))
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            decisions: self.decisions.saturating_add(other.decisions),
            differ: self.differ.saturating_add(other.differ),
            recorded: self.recorded.saturating_add(other.recorded),
            candidate: self.candidate.saturating_add(other.candidate),
            newly_refused: self.newly_refused.saturating_add(other.newly_refused),
            newly_accepted: self.newly_accepted.saturating_add(other.newly_accepted),
        }
    }
}

impl Flow {
    fn plus(self, other: Self) -> Self {
        Self {
            issued: self.issued.saturating_add(other.issued),
            rolled_over: self.rolled_over.saturating_add(other.rolled_over),
            fees: self.fees.saturating_add(other.fees),
        }
    }

    /// What an entry moved, if it ends or begins a period.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let sum = |amounts: &mut dyn Iterator<Item = Credits>| {
            amounts.fold(Credits::ZERO, |sum, amount| sum.saturating_add(amount))
        };
        match event {
            Event::PeriodOpened(opened) => {
                let issued = sum(&mut opened.grants.iter().map(|grant| grant.amount));
                Some(Self { issued, ..Self::default() })
            }
            Event::PeriodClosed(closed) => Some(Self {
                rolled_over: sum(&mut closed.grants.iter().map(|grant| grant.amount)),
                fees: sum(&mut closed.fees.iter().map(|fee| fee.amount)),
                ..Self::default()
            }),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, event: &Event) {
        if let Some(part) = Self::of(event) {
            *self = self.plus(part);
        }
    }
}

impl Answer {
    /// What an entry about a usage answered.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let rated = match &entry.event {
            Event::Charged(charged) => Some(&charged.rated),
            Event::Reserved(reserved) => Some(&reserved.rated),
            Event::Committed(committed) => Some(&committed.rated),
            Event::Refused(refused) => refused.rated.as_ref(),
            _ => return None,
        };
        let code = match &entry.event {
            Event::Refused(refused) => Some(refused.code.clone()),
            _ => None,
        };
        Some(Self {
            outcome: entry.event.kind(),
            cost: rated.map(|rated| rated.cost),
            code,
            lines: rated.map(|rated| rated.lines.clone()).unwrap_or_default(),
        })
    }

    /// Whether the usage went through.
    pub(super) fn is_accepted(&self) -> bool {
        self.code.is_none()
    }

    /// What it billed: a hold bills nothing, its commit does.
    pub(super) fn billed(&self) -> Credits {
        match self.outcome {
            "charged" | "committed" => self.cost.unwrap_or(Credits::ZERO),
            _ => Credits::ZERO,
        }
    }
}

/// All customers together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Customers that were looked at.
    pub customers: u64,
    /// How many of them would see another charge, refusal or period.
    pub changed: u64,
    /// Entries that were followed.
    pub entries: u64,
    /// Usage by feature, credit type and month.
    pub rows: BTreeMap<RowKey, Cell>,
    /// What periods moved, as recorded and by the candidate.
    pub flows: (Flow, Flow),
    /// The code of each refusal that is new, and how often.
    pub refusals: BTreeMap<String, u64>,
    /// Those whose charges change most, and those that would be refused something, at most 200.
    pub by_customer: Vec<(CustomerId, CustomerReport)>,
    /// The largest changes.
    pub changes: Vec<Change>,
    /// What could not be asked of the candidate, and how often.
    pub left_out: BTreeMap<String, u64>,
    /// Customers whose journal or terms can't be followed, and why; the first hundred.
    pub failed: Vec<(CustomerId, String)>,
    /// How many those are.
    pub failures: u64,
}

impl Report {
    /// The sum of its rows.
    #[must_use]
    pub fn sum(&self) -> Cell {
        Cell::sum_of(&self.rows)
    }

    /// Whether the candidate changes nothing at all, and all was looked at.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.changed == 0 && self.failures == 0 && self.left_out.is_empty()
    }

    /// Takes a customer's part in.
    pub fn add(&mut self, customer: CustomerId, mut part: CustomerReport) {
        self.customers = self.customers.saturating_add(1);
        for (key, cell) in &part.rows {
            let sum = bounded(&mut self.rows, key.clone());
            *sum = sum.plus(cell);
        }
        self.flows = (self.flows.0.plus(part.flows.0), self.flows.1.plus(part.flows.1));
        for (counts, others) in [(&mut self.refusals, &part.refusals), (&mut self.left_out, &part.left_out)] {
            others.iter().for_each(|(name, times)| count(counts, name, *times));
        }
        for change in std::mem::take(&mut part.changes) {
            keep_largest(&mut self.changes, change);
        }
        if part.is_identical {
            return;
        }
        let is_changed = part.total.differ > 0
            || part.flows.0 != part.flows.1
            || part.left.values().any(|(recorded, candidate)| recorded != candidate);
        if !is_changed {
            return;
        }
        self.changed = self.changed.saturating_add(1);
        let place = self.by_customer.partition_point(|(_, other)| other.size() >= part.size());
        if place < MOST_CUSTOMERS {
            part.cut();
            self.by_customer.insert(place, (customer, part));
            self.by_customer.truncate(MOST_CUSTOMERS);
        }
    }

    /// Takes note of a customer that can't be followed.
    pub fn fail(&mut self, customer: CustomerId, why: String) {
        self.failures = self.failures.saturating_add(1);
        if self.failed.len() < 100 {
            self.failed.push((customer, why));
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str, times: u64) {
    let is_told = counts.len() < MOST_NAMES || counts.contains_key(name);
    let known = counts.entry(if is_told { name } else { "others" }.to_owned()).or_default();
    *known = known.saturating_add(times);
}

fn bounded(rows: &mut BTreeMap<RowKey, Cell>, key: RowKey) -> &mut Cell {
    let key = if rows.len() < MOST_ROWS || rows.contains_key(&key) {
        key
    } else {
        RowKey { feature: String::new(), ..key }
    };
    rows.entry(key).or_default()
}

fn keep_largest(changes: &mut Vec<Change>, change: Change) {
    let place = changes.partition_point(|other| other.size() >= change.size());
    if place < MOST_CHANGES {
        changes.insert(place, change);
        changes.truncate(MOST_CHANGES);
    }
}
