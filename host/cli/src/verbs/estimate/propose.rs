//! What prices and buffers come of observed usage: pure, and in bounded memory. `docs/simulate.md` gives the rules and their sources.

use crate::verbs::simulate::{costs::Costs, workload::Cost};
use proviso_ledger::model::amounts::{Credits, Decimal, OutOfRange, Percent, Price, Quantity, Rounding};
use std::collections::BTreeMap;

/// Days whose usual usage a day is compared with.
const BEFORE: i64 = 28;
/// The fewest of them with usage that say what is usual.
const FEWEST: usize = 7;
/// How many times the usual a day must exceed to be a spike.
const TIMES: i64 = 2;
/// Actions that are told apart.
const MOST_ACTIONS: usize = 1_000;
/// Significant digits of what percentiles are made of.
const DIGITS: u32 = 3;

/// A feature with the attributes on which costs depend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    pub feature: String,
    pub attributes: Vec<(String, String)>,
}

/// How often which amount came, each rounded up to three significant digits, so that there are few.
#[derive(Debug, Clone, Default)]
pub struct Histogram(BTreeMap<i128, u64>);

impl Histogram {
    fn add(&mut self, amount: Decimal) {
        let units = amount.units().max(0);
        let mut step = 1_i128;
        while units / step >= 10_i128.pow(DIGITS) {
            step = step.saturating_mul(10);
        }
        let rounded = units.div_euclid(step) + i128::from(units.rem_euclid(step) != 0);
        *self.0.entry(rounded.saturating_mul(step)).or_default() += 1;
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// By nearest rank: the smallest amount that at least this share does not exceed.
    pub fn percentile(&self, share: Percent) -> Option<Decimal> {
        // A hundredth of a percent is told apart.
        let share = u128::try_from(share.units() / (Percent::ALL.units() / 10_000)).unwrap_or(0);
        let rank = (u128::from(self.count()) * share).div_ceil(10_000).max(1);
        let mut seen = 0_u128;
        let found = self.0.iter().find(|(_, times)| {
            seen += u128::from(**times);
            seen >= rank
        });
        found.map(|(units, _)| Decimal::from_units(*units))
    }

    /// How many are more than an amount.
    fn above(&self, amount: Decimal) -> u64 {
        self.0.range(amount.units() + 1..).map(|(_, times)| times).sum()
    }
}

/// What is known of an action.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub usages: u64,
    /// What all of it cost the provider.
    pub cost: Decimal,
    pub costs: Histogram,
}

/// All that was observed.
#[derive(Default)]
pub struct Observed {
    pub actions: BTreeMap<Action, Seen>,
    /// What customers' spikes cost the provider, by month in which there were any; by segment.
    pub spikes: BTreeMap<String, Histogram>,
    /// Customers' months with usage, by segment.
    pub customer_months: BTreeMap<String, u64>,
    pub usages: u64,
    /// Usages that no entry of the table has a cost for.
    pub without_cost: u64,
}

/// One customer's days.
#[derive(Default)]
pub struct Days(BTreeMap<i64, Decimal>);

impl Observed {
    /// Takes a usage in.
    pub fn usage(
        &mut self,
        costs: &Costs,
        days: &mut Days,
        day: i64,
        feature: &str,
        quantities: &[(String, Quantity)],
        attributes: &[(String, String)],
    ) {
        let cost = costs.of(feature, quantities, attributes);
        self.usages += 1;
        self.without_cost += u64::from(cost.is_zero());
        let of_day = days.0.entry(day).or_insert(Decimal::ZERO);
        *of_day = of_day.saturating_add(cost);
        let named = attributes.iter().filter(|(name, _)| costs.attributes().any(|known| known == name));
        let action = Action { feature: feature.to_owned(), attributes: named.cloned().collect() };
        let is_beyond = self.actions.len() >= MOST_ACTIONS && !self.actions.contains_key(&action);
        let action =
            if is_beyond { Action { feature: "others".to_owned(), attributes: Vec::new() } } else { action };
        let seen = self.actions.entry(action).or_default();
        seen.usages += 1;
        seen.cost = seen.cost.saturating_add(cost);
        seen.costs.add(cost);
    }

    /// Takes a customer's days in, when all its usage was.
    pub fn customer(&mut self, segment: &str, days: &Days) {
        let mut months: BTreeMap<i64, Decimal> = BTreeMap::new();
        for (day, cost) in &days.0 {
            // Months of 30 days: what counts is how much comes together, not where the calendar cuts.
            let month = months.entry(day.div_euclid(30)).or_insert(Decimal::ZERO);
            let mut before: Vec<Decimal> = days.0.range(day - BEFORE..*day).map(|(_, cost)| *cost).collect();
            before.sort_unstable();
            let Some(usual) = before.get(before.len() / 2).filter(|_| before.len() >= FEWEST) else {
                continue;
            };
            let bound = usual.repeated(TIMES).unwrap_or(Decimal::LARGEST);
            if *cost > bound {
                *month = month.saturating_add(cost.saturating_sub(*usual));
            }
        }
        let count = self.customer_months.entry(segment.to_owned()).or_default();
        *count += u64::try_from(months.len()).unwrap_or(0);
        let spikes = self.spikes.entry(segment.to_owned()).or_default();
        months.into_values().filter(|excess| excess.is_positive()).for_each(|excess| spikes.add(excess));
    }
}

/// What is aimed at.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// Of the price, what is left after the provider is paid.
    pub margin: Percent,
    /// What a credit is sold for.
    pub credit_price: Decimal,
    /// The share of spikes that a buffer absorbs.
    pub absorb: Percent,
    /// Prices of actions are multiples of this.
    pub step: Credits,
}

/// A proposed price of an action.
pub struct Proposal {
    pub action: Action,
    pub usages: u64,
    /// What a usage costs the provider on average.
    pub mean_cost: Decimal,
    pub p95_cost: Decimal,
    /// Credits for each usage.
    pub price: Credits,
    /// What is left of it on average.
    pub margin: Option<Percent>,
    /// Usages that cost the provider more than they bring.
    pub below_cost: u64,
}

/// A proposed buffer.
pub struct Buffer {
    pub segment: String,
    /// Customers' months with a spike, and all with usage.
    pub spikes: u64,
    pub months: u64,
    /// Credits; none where there was no spike.
    pub credits: Option<Credits>,
}

impl Aim {
    /// The credits for which a cost is sold: cost ÷ (1 − margin) ÷ price of a credit, rounded up.
    pub fn credits(&self, cost: Decimal) -> Result<Decimal, OutOfRange> {
        let left = Percent::ALL.minus(self.margin)?;
        let divisor = left.decimal().mul(self.credit_price, Rounding::Down)?;
        cost.mul_div(Percent::ALL.decimal(), divisor, Rounding::Up)
    }

    /// Of each action, most usages first.
    pub fn prices(&self, observed: &Observed) -> Result<Vec<Proposal>, OutOfRange> {
        let mut all = Vec::new();
        for (action, seen) in &observed.actions {
            let usages = Decimal::from_whole(i64::try_from(seen.usages).unwrap_or(i64::MAX));
            let mean_cost = seen.cost.div(usages, Rounding::HalfEven)?;
            let price = Credits::new(self.credits(mean_cost)?).round_to(self.step, Rounding::Up)?;
            let money = price.decimal().mul(self.credit_price, Rounding::Down)?;
            let left = money.saturating_sub(mean_cost);
            let margin = if money.is_positive() {
                let exact = left.mul_div(Percent::ALL.decimal(), money, Rounding::HalfEven)?;
                Some(Percent::new(exact.round_to_places(2, Rounding::HalfEven)?))
            } else {
                None
            };
            all.push(Proposal {
                action: action.clone(),
                usages: seen.usages,
                mean_cost,
                p95_cost: seen.costs.percentile(Percent::from_whole(95)).unwrap_or(Decimal::ZERO),
                price,
                margin,
                below_cost: seen.costs.above(money),
            });
        }
        all.sort_by_key(|one| std::cmp::Reverse(one.usages));
        Ok(all)
    }

    /// Of each segment.
    pub fn buffers(&self, observed: &Observed) -> Result<Vec<Buffer>, OutOfRange> {
        let of = |(segment, months): (&String, &u64)| {
            let spikes = observed.spikes.get(segment);
            let cost = spikes.and_then(|spikes| spikes.percentile(self.absorb));
            let credits = cost.map(|cost| self.credits(cost)).transpose()?;
            let credits =
                credits.map(|exact| Credits::new(exact).round_to(self.step, Rounding::Up)).transpose()?;
            Ok(Buffer {
                segment: segment.clone(),
                spikes: spikes.map_or(0, Histogram::count),
                months: *months,
                credits,
            })
        };
        observed.customer_months.iter().map(of).collect()
    }

    /// Credits for a unit of an entry of the cost table.
    pub fn per_unit(&self, cost: &Cost) -> Result<Price, OutOfRange> {
        let million = Decimal::from_whole(1_000_000);
        let per_unit = match (cost.per_unit, cost.per_million) {
            (Some(price), _) => self.credits(price)?,
            (None, price) => self.credits(price.unwrap_or(Decimal::ZERO))?.div(million, Rounding::Up)?,
        };
        Ok(Price::new(per_unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim(margin: i64, step: &str) -> Aim {
        Aim {
            margin: Percent::from_whole(margin),
            credit_price: "0.01".parse().unwrap(),
            absorb: Percent::from_whole(90),
            step: step.parse().unwrap(),
        }
    }

    fn costs() -> Costs {
        Costs::new([Cost {
            feature: None,
            when: BTreeMap::new(),
            quantity: Some("tokens".to_owned()),
            per_unit: Some("0.001".parse().unwrap()),
            per_million: None,
        }])
    }

    fn observe(observed: &mut Observed, days: &mut Days, day: i64, tokens: i64) {
        let quantities = [("tokens".to_owned(), Quantity::from_whole(tokens))];
        observed.usage(&costs(), days, day, "chat", &quantities, &[("user".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn a_price_leaves_the_margin_that_is_asked_for() {
        for (cost, margin, credits) in
            [("0.003", 70, "1"), ("0.003", 0, "0.3"), ("0.0007", 50, "0.14"), ("0.001", 70, "0.333333333334")]
        {
            assert_eq!(
                aim(margin, "0.01").credits(cost.parse().unwrap()).unwrap().to_string(),
                credits,
                "{cost} {margin}"
            );
        }
    }

    #[test]
    fn actions_are_priced_by_their_mean_and_say_how_many_lose() {
        let (mut observed, mut days) = (Observed::default(), Days::default());
        for tokens in [1, 1, 1, 1, 6] {
            observe(&mut observed, &mut days, 0, tokens);
        }
        let prices = aim(50, "0.25").prices(&observed).unwrap();
        let [one] = prices.as_slice() else { panic!("{}", prices.len()) };
        // Costs 0.002 on average: 0.4 credits of 0.01 at half the price, up to the next quarter.
        assert_eq!(
            (one.mean_cost.to_string(), one.price.to_string()),
            ("0.002".to_owned(), "0.5".to_owned())
        );
        assert_eq!((one.margin.unwrap().to_string(), one.below_cost), ("60".to_owned(), 1));
        assert!(one.action.attributes.is_empty(), "costs don't depend on the user");
    }

    #[test]
    fn a_buffer_absorbs_the_share_of_spikes_that_is_asked_for() {
        let mut observed = Observed::default();
        for customer in 1..=10 {
            let mut days = Days::default();
            for day in 0..30 {
                // Double the usual is no spike yet.
                let tokens = match day {
                    20 => 10 + customer,
                    25 => 2,
                    _ => 1,
                };
                observe(&mut observed, &mut days, day, tokens);
            }
            observed.customer("x", &days);
        }
        let buffers = aim(0, "0.1").buffers(&observed).unwrap();
        let [one] = buffers.as_slice() else { panic!("{}", buffers.len()) };
        assert_eq!((one.spikes, one.months), (10, 10));
        // The ninth of ten exceeds the usual by 18 tokens, at a tenth of a credit each.
        assert_eq!(one.credits.unwrap().to_string(), "1.8");
    }

    #[test]
    fn percentiles_are_never_too_low() {
        let mut histogram = Histogram::default();
        for amount in ["0.123456", "0.5", "1234.5"] {
            histogram.add(amount.parse().unwrap());
        }
        for (percent, found) in [(1, "0.124"), (50, "0.5"), (100, "1240")] {
            let found: Decimal = found.parse().unwrap();
            assert_eq!(histogram.percentile(Percent::from_whole(percent)), Some(found), "{percent}");
        }
    }
}
