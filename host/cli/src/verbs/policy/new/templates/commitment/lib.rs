//! A commitment: the customer promises to use so many credits in each period, for a lower price. What a period lacks of the promise
//! is invoiced at its end; what goes beyond costs the list price, as overage up to a limit that is invoiced, too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::prelude::*;
use serde::Deserialize;

/// The settings of one contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// List prices.
    prices: PriceList,
    /// What is promised for each period.
    commitment: Credits,
    /// What the customer pays of the list price within the commitment.
    committed_percent: Percent,
    /// The most overage that may be outstanding; defaults to none.
    #[serde(default)]
    overage_limit: Credits,
}

impl Policy for Commitment {
    const ABOUT: About = About::new("{{name}}", "1.0.0", "A commitment for each period, trued up at its end.")
        .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.prices.has_negative() {
            problems.push(Problem::new("/prices", "must not hold a negative price"));
        }
        if !(Percent::ZERO..=Percent::ALL).contains(&self.committed_percent) {
            problems.push(Problem::new("/committed_percent", "must be 0 to 100"));
        }
        for (pointer, credits) in [("/commitment", self.commitment), ("/overage_limit", self.overage_limit)] {
            if credits.is_negative() {
                problems.push(Problem::new(pointer, "must not be negative"));
            }
        }
        problems
    }

    fn counters(&self) -> Vec<Counter> {
        vec![Counter::cost("period_cost", Window::Period)]
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let mut left = self.commitment.above(context.cost_counter(0).before(usage));
        let mut lines = Vec::new();
        for Priced { label, amount, price } in self.prices.priced(usage)? {
            let committed = price.percent(self.committed_percent, Rounding::Up)?;
            let within = if left.is_positive() { committed.affords(left).min(amount) } else { Quantity::ZERO };
            if within.is_positive() {
                let line = Line::priced(&label, within, committed, Rounding::Up)?;
                left = left.above(line.cost);
                lines.push(line);
            }
            let beyond = amount.above(within);
            if beyond.is_positive() {
                let label = format!("{label} beyond the commitment");
                lines.push(Line::priced(&label, beyond, price, Rounding::Up)?);
            }
        }
        Ok(Rating::of(lines)?)
    }

    fn overage(&self, _: &Usage, _: &Rating, _: Credits, _: &Context) -> OverageOutcome {
        OverageOutcome::Allow(self.overage_limit)
    }

    fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        // A period that is cut short owes the share of the promise that fits its time.
        let share = closing.cycle.part_between(closing.period.start.at, context.now.at);
        let part = share.map(|(part, all)| self.commitment.mul_div(part, all, Rounding::Down));
        let promised = part.and_then(Result::ok).unwrap_or(self.commitment);
        let true_up = promised.above(context.cost_counter(0).used());
        if true_up.is_positive() {
            outcome.fees.push(Fee::invoiced("true-up to the commitment", true_up));
        }
        if context.overage(CREDITS).is_positive() {
            outcome.settle.push(Settlement::invoice(CREDITS));
        }
        outcome
    }
}

proviso_sdk::export!(Commitment, no_std);
