//! Sums by segment and month. Adding up is the same in any order, so that it does not matter which thread played which customer. What is
//! kept grows with customers and months, not with usage.

use proviso_ledger::{
    journal::{DecisionRecord, Refused},
    model::{
        amounts::{Credits, Decimal},
        grant::CreditType,
        time::Timestamp,
    },
};
use std::collections::BTreeMap;

/// The customers whose first run-out is told one by one: the earliest.
const MOST_RUN_OUTS: usize = 20;
/// Codes that are told apart.
const MOST_CODES: usize = 50;

/// Movements of one credit type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Given: by plans, as purchases, on the spot.
    pub issued: Credits,
    /// Charged.
    pub spent: Credits,
    /// Charged beyond what there was.
    pub overage: Credits,
    /// Carried over as periods ended.
    pub rolled_over: Credits,
    /// Expired unused.
    pub expired: Credits,
    /// What refused usage would have cost.
    pub refused: Credits,
}

/// Money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Till {
    /// Fees of periods.
    pub fees: Decimal,
    /// Bought credits.
    pub purchases: Decimal,
    /// Invoiced overage and fees, in credits at the price of a credit.
    pub invoiced: Decimal,
    /// What the provider is paid.
    pub cost: Decimal,
}

impl Till {
    /// All that customers pay.
    pub fn revenue(&self) -> Decimal {
        self.fees.saturating_add(self.purchases).saturating_add(self.invoiced)
    }

    /// Revenue less cost.
    pub fn margin(&self) -> Decimal {
        self.revenue().saturating_sub(self.cost)
    }
}

/// A segment's month, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Customers that had a usage.
    pub customers: u64,
    /// Usages that were asked for.
    pub usages: u64,
    pub charged: u64,
    /// Refused for now: more credits, or another time, would help.
    pub denied: u64,
    /// Refused for good: such a usage has no price.
    pub invalid: u64,
    /// Refusals by their code.
    pub codes: BTreeMap<String, u64>,
    /// Decisions in which a policy failed.
    pub degraded: u64,
    pub credits: BTreeMap<CreditType, Flow>,
    pub till: Till,
    /// The day of the month on which each customer's credits ran out that ran out.
    pub ran_out: Vec<u8>,
    /// The most overage that each customer owed that owed any: what of a buffer was used.
    pub buffers: Vec<Credits>,
}

impl Cell {
    /// The movements of a credit type.
    pub fn flow(&mut self, credit: &CreditType) -> &mut Flow {
        if !self.credits.contains_key(credit) {
            self.credits.insert(credit.clone(), Flow::default());
        }
        self.credits.entry(credit.clone()).or_default()
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, refused: &Refused) {
        *if refused.invalid { &mut self.invalid } else { &mut self.denied } += 1;
        count(&mut self.codes, &refused.code, 1);
        self.degraded += u64::from(refused.decision.as_ref().is_some_and(DecisionRecord::is_degraded));
        if let Some(rated) = &refused.rated {
            let flow = self.flow(&rated.credit);
            flow.refused = flow.refused.saturating_add(rated.cost);
        }
    }

    /// Takes the refusal of a usage back that is tried again.
    pub fn take_back(&mut self, refused: &Refused) {
        self.denied = self.denied.saturating_sub(1);
        if let Some(times) = self.codes.get_mut(&refused.code) {
            *times = times.saturating_sub(1);
        }
        self.codes.retain(|_, times| *times > 0);
        if let Some(rated) = &refused.rated {
            let flow = self.flow(&rated.credit);
            flow.refused = flow.refused.saturating_sub(rated.cost);
        }
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.customers += other.customers;
        self.usages += other.usages;
        self.charged += other.charged;
        self.denied += other.denied;
        self.invalid += other.invalid;
        self.degraded += other.degraded;
        for (code, times) in &other.codes {
            count(&mut self.codes, code, *times);
        }
        for (credit, more) in &other.credits {
            let flow = self.flow(credit);
            for (sum, more) in [
                (&mut flow.issued, more.issued),
                (&mut flow.spent, more.spent),
                (&mut flow.overage, more.overage),
                (&mut flow.rolled_over, more.rolled_over),
                (&mut flow.expired, more.expired),
                (&mut flow.refused, more.refused),
            ] {
                *sum = sum.saturating_add(more);
            }
        }
        for (sum, more) in [
            (&mut self.till.fees, other.till.fees),
            (&mut self.till.purchases, other.till.purchases),
            (&mut self.till.invoiced, other.till.invoiced),
            (&mut self.till.cost, other.till.cost),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.ran_out.extend_from_slice(&other.ran_out);
        self.buffers.extend_from_slice(&other.buffers);
    }

    fn sort(&mut self) {
        self.ran_out.sort_unstable();
        self.buffers.sort_unstable();
    }
}

/// Adds to one of a bounded number of counts; what is beyond is counted as `others`.
pub fn count(codes: &mut BTreeMap<String, u64>, code: &str, times: u64) {
    let is_new = !codes.contains_key(code);
    let name = if is_new && codes.len() >= MOST_CODES { "others" } else { code };
    *codes.entry(name.to_owned()).or_default() += times;
}

/// The percentile of sorted values, by nearest rank: the smallest that at least so many of a hundred do not exceed.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// When a customer's credits first ran out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunOut {
    pub at: Timestamp,
    pub segment: usize,
    pub customer: String,
}

/// All sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By segment, then by month.
    pub cells: Vec<Vec<Cell>>,
    /// What is owed at the end, by segment and credit type.
    pub owed: Vec<BTreeMap<CreditType, Credits>>,
    /// The earliest.
    pub run_outs: Vec<RunOut>,
    /// What could not be decided, and how often.
    pub declined: BTreeMap<String, u64>,
}

impl Tally {
    /// Of so many segments and months.
    pub fn new(segments: usize, months: usize) -> Self {
        Self {
            cells: vec![vec![Cell::default(); months]; segments],
            owed: vec![BTreeMap::new(); segments],
            ..Self::default()
        }
    }

    /// Counts what could not be decided.
    pub fn decline(&mut self, declined: &BTreeMap<String, u64>) {
        declined.iter().for_each(|(why, times)| count(&mut self.declined, why, *times));
    }

    /// Takes one customer's months of a segment in.
    pub fn take(&mut self, segment: usize, months: &[Cell], owed: BTreeMap<CreditType, Credits>) {
        if let Some(cells) = self.cells.get_mut(segment) {
            for (cell, more) in cells.iter_mut().zip(months) {
                cell.add(more);
            }
        }
        if let Some(all) = self.owed.get_mut(segment) {
            for (credit, amount) in owed {
                let sum = all.entry(credit).or_insert(Credits::ZERO);
                *sum = sum.saturating_add(amount);
            }
        }
    }

    /// Keeps one if it is among the earliest.
    pub fn run_out(&mut self, run_out: RunOut) {
        self.run_outs.push(run_out);
        if self.run_outs.len() > 2 * MOST_RUN_OUTS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.run_outs.sort_unstable();
        self.run_outs.truncate(MOST_RUN_OUTS);
    }

    /// Adds what another thread found.
    pub fn add(&mut self, other: Self) {
        for (segment, (cells, owed)) in other.cells.iter().zip(other.owed).enumerate() {
            self.take(segment, cells, owed);
        }
        self.run_outs.extend(other.run_outs);
        self.cut();
        self.decline(&other.declined);
    }

    /// In order, when all is added.
    pub fn finished(mut self) -> Self {
        self.cells.iter_mut().flatten().for_each(Cell::sort);
        self.cut();
        self
    }

    /// All months of a segment.
    pub fn of_segment(&self, segment: usize) -> Cell {
        sum(self.cells.get(segment).into_iter().flatten())
    }

    /// All.
    pub fn total(&self) -> Cell {
        sum(self.cells.iter().flatten())
    }
}

fn sum<'a>(cells: impl Iterator<Item = &'a Cell>) -> Cell {
    let mut sum = Cell::default();
    cells.for_each(|cell| sum.add(cell));
    sum.sort();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_came() {
        for (percent, found) in [(1, 10), (25, 10), (50, 20), (51, 30), (95, 40), (100, 40)] {
            assert_eq!(percentile(&[10, 20, 30, 40], percent), Some(found), "{percent}");
        }
        assert_eq!(percentile::<u8>(&[], 50), None);
    }
}
