//! A committed-use contract. The customer promises to use a number of credits in each period, a number that grows along
//! a ramp, and pays a discounted price for it. What a period lacks of the promise is invoiced at its end, as a true-up.
//! What goes beyond the promise costs another price, and overage is allowed up to a limit and invoiced.
//!
//! A period that is cut short (an early reset, a change or an end of the plan, the customer's closing), or that the
//! contract covers only in part, is trued up to the share of the promise that fits the time. Amendments in the middle of
//! a period change the promise for the whole of it, and the ramp goes on from the contract's start. The credits
//! themselves are granted with the contract.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::prelude::*;
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
    /// Months since the contract's start (of terms without a contract: since they took effect); the first has number 1.
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
    /// What is promised for a whole period; before the first step, nothing.
    fn commitment(&self, period: &Period, context: &Context) -> Credits {
        let number = match self.ramp_by {
            RampBy::Period => i64::from(period.number),
            RampBy::ContractMonth => {
                let contract = context.contract.as_ref();
                let start = contract.map_or(&context.terms_effective_at, |contract| &contract.start);
                // The period in which the contract begins is its first month.
                (period.start.months_since(start) + 1).max(1)
            }
        };
        let begun = self.ramp.iter().take_while(|step| i64::from(step.from) <= number);
        begun.last().map_or(Credits::ZERO, |step| step.commitment)
    }

    /// What is promised for the part of a cycle that the period ran within the contract. Rounded down: a true-up never
    /// exceeds its exact share.
    fn commitment_until_now(&self, closing: &Closing, context: &Context) -> Credits {
        let (period, end) = (&closing.period, context.now.at);
        let whole = self.commitment(period, context);
        let contract = context.contract.as_ref();
        let from = contract.map_or(period.start.at, |contract| contract.start.at.max(period.start.at));
        let until = contract.and_then(|contract| contract.end).map_or(end, |last| last.at.min(end));
        let share = closing.cycle.part_between(from, until);
        let part = share.map(|(part, all)| whole.mul_div(part, all, Rounding::Down));
        part.and_then(Result::ok).unwrap_or(whole)
    }
}

impl Policy for CommittedUse {
    const ABOUT: About = About::new(
        "committed-use",
        "1.0.0",
        "A discounted commitment that grows along a ramp, trued up at each period's end.",
    )
    .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

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
            if step.commitment.is_negative() {
                problems.push(Problem::new(&format!("/ramp/{index}/commitment"), "must not be negative"));
            }
            before = step.from;
        }
        if self.overage_limit.is_negative() {
            problems.push(Problem::new("/overage_limit", "must not be negative"));
        }
        problems
    }

    fn counters(&self) -> Vec<Counter> {
        vec![Counter::cost("period_cost", Window::Period)]
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let used = context.cost_counter(0).before(usage);
        let mut left = self.commitment(&usage.period, context).above(used);
        let mut lines = Vec::new();
        for Priced { label, amount, price } in self.prices.priced(usage)? {
            let committed = price.percent(self.committed_percent, Rounding::Up)?;
            let within =
                if left.is_positive() { committed.affords(left).min(amount) } else { Quantity::ZERO };
            if within.is_positive() {
                let line = Line::priced(&label, within, committed, Rounding::Up)?;
                left = left.above(line.cost);
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
        OverageOutcome::Allow(self.overage_limit)
    }

    fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        let commitment = self.commitment_until_now(closing, context);
        let true_up = commitment.above(context.cost_counter(0).used());
        if true_up.is_positive() {
            outcome.fees.push(Fee::invoiced("true-up to the commitment", true_up));
            outcome.notes.push(format!("{true_up} of the commitment of {commitment} were not used"));
        }
        if context.overage(CREDITS).is_positive() {
            outcome.settle.push(Settlement::invoice(CREDITS));
        }
        outcome
    }
}

proviso_sdk::export!(CommittedUse, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::testing::{Terms, context, credits, period, pointers, show, usage};

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
        let january = context("2026-01-10T00:00:00Z");
        let overage = terms.overage(&usage("chat").quantity("tokens", "1"), "1", &january);
        assert_eq!(overage, OverageOutcome::Allow(credits("500")));
    }

    #[test]
    fn the_ramp_counts_from_the_contract() {
        let periods = Terms::<CommittedUse>::new(SETTINGS);
        let months = Terms::<CommittedUse>::new(
            &SETTINGS.replace("\"ramp\"", "\"ramp_by\": \"contract_month\", \"ramp\""),
        );
        let used_in_april = usage("chat").quantity("tokens", "1").at("2026-04-10T00:00:00Z");
        let april = |number| period(number, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z");
        let now = context("2026-04-20T00:00:00Z").counter("1500");
        let contract = |start: &str| now.clone().terms_since("2026-04-15T00:00:00Z").contract("c-1", start);
        for (terms, number, context, committed) in [
            (&periods, 3, now.clone(), false),
            (&periods, 4, now.clone(), true),
            (&months, 9, now.clone().terms_since("2026-02-01T00:00:00Z"), false),
            (&months, 9, now.clone().terms_since("2026-01-01T00:00:00Z"), true),
            // An amendment in the middle of April does not begin the ramp anew.
            (&months, 9, contract("2026-01-01T00:00:00Z"), true),
            (&months, 9, contract("2026-02-01T00:00:00Z"), false),
        ] {
            let rating = terms.rate(&used_in_april.clone().period(april(number)), &context).unwrap();
            let unit_cost = if committed { "0.007" } else { "0.009" };
            assert_eq!(rating.lines[0].unit_cost.to_string(), unit_cost, "period {number}: {context:?}");
        }
    }

    #[test]
    fn what_a_period_lacks_is_invoiced() {
        let terms = Terms::<CommittedUse>::new(SETTINGS);
        let april = period(3, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z");
        let end = "2026-05-01T00:00:00Z";
        let middle = "2026-04-16T00:00:00Z";
        use CloseReason::{Closed, PlanChanged, PlanEnded, Scheduled};
        for (reason, now, contract, used, fee) in [
            (Scheduled, end, None, "400", "600"),
            (Scheduled, end, None, "1000", "0"),
            (Scheduled, end, None, "2000", "0"),
            (PlanChanged, middle, None, "400", "100"),
            (PlanEnded, middle, None, "400", "100"),
            (Closed, middle, None, "500", "0"),
            (Closed, "2026-04-11T00:00:00Z", None, "0.333333333333", "333"),
            (Scheduled, end, Some("2026-01-01T00:00:00Z"), "400", "600"),
            (Scheduled, end, Some("2026-04-16T00:00:00Z"), "400", "100"),
        ] {
            let mut closing = context(now).period(april).counter_with_held(used, "77").overage("40");
            if let Some(start) = contract {
                closing = closing.contract("c-1", start).terms_since("2026-04-20T00:00:00Z");
            }
            let outcome = terms.close(reason, &closing);
            let fees: Vec<_> = outcome.fees.iter().map(|fee| fee.amount).collect();
            let expected = Some(credits(fee)).filter(|fee| fee.is_positive());
            assert_eq!(fees, Vec::from_iter(expected), "{reason:?} {now} {contract:?}, {used} used");
            assert_eq!(outcome.settle, [Settlement::invoice(CREDITS)]);
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
