//! A committed-use contract. The customer promises to use a number of credits in each period, a number that grows along
//! a ramp, and pays a discounted price for it. What a period lacks of the promise is charged at its end, as a true-up.
//! What goes beyond the promise costs another price, and overage is allowed up to a limit and invoiced.
//!
//! In: a price list, the discounts, the ramp, and the period's cost so far. Out: lines at the committed and at the
//! further price; at a reset, the true-up and the invoice. The credits themselves are granted with the contract.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::{prelude::*, types::Moment};
use serde::Deserialize;

/// The settings of one contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommittedUse {
    /// List prices.
    prices: PriceList,
    /// What the customer pays of the list price, within the commitment.
    committed_percent: Percent,
    /// What the customer pays of the list price, beyond it.
    further_percent: Percent,
    /// What the steps of the ramp count.
    #[serde(default)]
    ramp_by: RampBy,
    /// What is promised for each period, in rising order of `from`.
    ramp: Vec<Step>,
    /// The most overage that may be outstanding; without it, none.
    #[serde(default)]
    overage_limit: Credits,
}

/// What the steps of a ramp count.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RampBy {
    /// The customer's billing periods.
    #[default]
    Period,
    /// Months since the contract's terms took effect; the first has number 1.
    ContractMonth,
}

/// From this period or contract month on, this is promised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    from: u32,
    commitment: Credits,
}

impl CommittedUse {
    /// What is promised for a period; before the first step, nothing.
    fn commitment(&self, period: &Period, contract: &Moment) -> Credits {
        let number = match self.ramp_by {
            RampBy::Period => i64::from(period.number),
            RampBy::ContractMonth => period.start.months_since(contract) + 1,
        };
        let begun = self.ramp.iter().take_while(|step| i64::from(step.from) <= number);
        begun.last().map_or(Credits::ZERO, |step| step.commitment)
    }
}

impl Policy for CommittedUse {
    const ABOUT: About = About::new(
        "committed-use",
        "1.0.0",
        "A discounted commitment that grows along a ramp, trued up at each period's end.",
    )
    .settings_schema(include_str!("../settings.schema.json"));

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.prices.has_negative() {
            problems.push(Problem::new("/prices", "must not hold a negative price"));
        }
        for (name, percent) in [("committed", self.committed_percent), ("further", self.further_percent)] {
            if !(Percent::ZERO..=Percent::ALL).contains(&percent) {
                problems.push(Problem::new(&format!("/{name}_percent"), "must be 0 to 100"));
            }
        }
        let mut before = 0;
        for (index, step) in self.ramp.iter().enumerate() {
            if step.from <= before {
                problems.push(Problem::new(&format!("/ramp/{index}/from"), "must be above the step before"));
            }
            if step.commitment < Credits::ZERO {
                problems.push(Problem::new(&format!("/ramp/{index}/commitment"), "must not be negative"));
            }
            before = step.from;
        }
        if self.overage_limit < Credits::ZERO {
            problems.push(Problem::new("/overage_limit", "must not be negative"));
        }
        problems
    }

    fn counters(&self) -> Vec<Counter> {
        vec![Counter::cost("period_cost", Window::Period)]
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let commitment = self.commitment(&context.period, &context.terms_effective_at);
        let mut left = commitment.above(Credits(context.counter(0)));
        let mut lines = Vec::new();
        for Priced { label, amount, price } in self.prices.priced(usage)? {
            let committed = price.percent(self.committed_percent, Rounding::Up)?;
            let within = if left.is_positive() { committed.affords(left)?.min(amount) } else { Amount::ZERO };
            if within.is_positive() {
                let line = Line::priced(&label, within, committed, Rounding::Up)?;
                left = left.above(Credits(line.cost));
                lines.push(line);
            }
            let beyond = amount.above(within);
            if beyond.is_positive() {
                let further = price.percent(self.further_percent, Rounding::Up)?;
                let label = format!("{label} beyond the commitment");
                lines.push(Line::priced(&label, beyond, further, Rounding::Up)?);
            }
        }
        Ok(Rating::of(lines)?)
    }

    fn overage(&self, _: &Usage, _: &Rating, _: Credits, _: &Context) -> OverageOutcome {
        OverageOutcome::up_to(self.overage_limit)
    }

    fn reset(&self, closing: Option<&Period>, _: &Period, context: &Context) -> ResetOutcome {
        let mut outcome = ResetOutcome::default();
        let Some(closing) = closing else { return outcome };
        let commitment = self.commitment(closing, &context.terms_effective_at);
        let true_up = commitment.above(Credits(context.counter(0)));
        let mut owed = context.overage(CREDITS);
        if true_up.is_positive() {
            outcome.fees.push(Fee::new("true-up to the commitment", true_up));
            outcome.notes.push(format!("{true_up} of the commitment of {commitment} were not used"));
            // What the grants don't pay of the fee becomes overage, and is invoiced with the rest.
            let available =
                context.grants.iter().filter(|grant| grant.credit == CREDITS && grant.features.is_empty());
            let available = available.fold(0, |sum: i64, grant| sum.saturating_add(grant.remaining));
            owed = Credits(owed.0.saturating_add(true_up.above(Credits(available)).0));
        }
        if owed.is_positive() {
            outcome.settle.push(Settlement::invoice(CREDITS, owed));
        }
        outcome
    }
}

proviso_sdk::export!(CommittedUse, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::testing::{Terms, context, period, pointers, show, usage};

    const SETTINGS: &str = r#"{
        "prices": [{"feature": "chat", "quantity": "tokens", "price": "0.01"}],
        "committed_percent": 70, "further_percent": "90", "overage_limit": "500",
        "ramp": [{"from": 1, "commitment": "1000"}, {"from": 4, "commitment": "2000"}]
    }"#;

    #[test]
    fn the_price_changes_where_the_commitment_ends() {
        let terms = Terms::<CommittedUse>::new(SETTINGS);
        for (spent, tokens, expected) in [
            ("0", "1000", "tokens: 1000 x 0.007 = 7\n7 credits"),
            (
                "993",
                "2000",
                "tokens: 1000 x 0.007 = 7\ntokens beyond the commitment: 1000 x 0.009 = 9\n16 credits",
            ),
            ("1000", "1000", "tokens beyond the commitment: 1000 x 0.009 = 9\n9 credits"),
        ] {
            let rating = terms.rate(
                &usage("chat").quantity("tokens", tokens),
                &context("2026-01-10T00:00:00Z").counter(spent),
            );
            assert_eq!(show(&rating), expected, "{spent} spent");
        }
        let overage =
            terms.overage(&usage("chat").quantity("tokens", "1"), "1", &context("2026-01-10T00:00:00Z"));
        assert_eq!(overage, OverageOutcome::Allow(500_000_000));
    }

    #[test]
    fn what_a_period_lacks_is_trued_up_along_the_ramp() {
        let terms = Terms::<CommittedUse>::new(SETTINGS);
        let months = Terms::<CommittedUse>::new(
            &SETTINGS.replace("\"ramp\"", "\"ramp_by\": \"contract_month\", \"ramp\""),
        );
        let next = period(9, "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z");
        for (terms, number, signed, used, fee, invoice) in [
            (&terms, 3, "2026-01-01T00:00:00Z", "400", 600, 550),
            (&terms, 3, "2026-01-01T00:00:00Z", "1000", 0, 0),
            (&terms, 4, "2026-01-01T00:00:00Z", "1000", 1000, 950),
            (&months, 9, "2026-02-01T00:00:00Z", "400", 600, 550),
            (&months, 9, "2026-01-01T00:00:00Z", "400", 1600, 1550),
        ] {
            let closing = period(number, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z");
            let context = context("2026-05-01T00:00:00Z").period(closing).terms_since(signed).counter(used);
            let outcome = terms.reset(&next, &context.grant("grant_1", "contract", "100", "50"));
            let fees: i64 = outcome.fees.iter().map(|fee| fee.amount).sum();
            let invoiced: i64 = outcome.settle.iter().map(|settlement| settlement.amount).sum();
            assert_eq!(
                (fees, invoiced),
                (fee * 1_000_000, invoice * 1_000_000),
                "period {number}, {used} used"
            );
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (from, to, pointer) in [
            ("70", "170", "/committed_percent"),
            ("\"from\": 4", "\"from\": 1", "/ramp/1/from"),
            ("\"0.01\"", "\"-1\"", "/prices"),
            ("\"0.01\"", "1", "/prices/0/price"),
        ] {
            assert_eq!(pointers::<CommittedUse>(&SETTINGS.replace(from, to)), [pointer], "{to}");
        }
    }
}
