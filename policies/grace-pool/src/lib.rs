//! A pool with a grace buffer. Each period opens with a pool of credits. A customer that pays on time earns a buffer:
//! so many credits for each payment, up to a most. When the pool is empty, the buffer lets the customer go on; what was
//! taken of it comes off the next pool, or is invoiced when there is none.
//!
//! The payments are counted by the billing system, in an attribute of the customer.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::prelude::*;
use serde::Deserialize;

/// The settings of one contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GracePool {
    /// What usage costs.
    prices: PriceList,
    /// What each period opens with; what is left of it expires at its end.
    pool: Credits,
    /// How the buffer is earned.
    grace: Grace,
}

/// How the buffer is earned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grace {
    /// The customer attribute that holds the number of payments on time.
    #[serde(default = "on_time_payments")]
    attribute: String,
    /// What each of them earns.
    for_each: Credits,
    /// The most that can be earned.
    most: Credits,
}

fn on_time_payments() -> String {
    "on_time_payments".to_owned()
}

impl Grace {
    /// The buffer that the customer has earned; none while the attribute is missing or is no whole number.
    fn earned(&self, context: &Context) -> Credits {
        let payments =
            context.customer.attribute(&self.attribute).and_then(|count| count.parse::<u32>().ok());
        let earned = self.for_each.repeated(i64::from(payments.unwrap_or(0)));
        earned.unwrap_or(self.most).min(self.most)
    }
}

impl Policy for GracePool {
    const ABOUT: About =
        About::new("grace-pool", "1.0.0", "A pool of credits with a buffer that on-time payment earns.")
            .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"))
            .needs(&[Need::CustomerAttributes]);

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.prices.has_negative() {
            problems.push(Problem::new("/prices", "must not hold a negative price"));
        }
        if !self.pool.is_positive() {
            problems.push(Problem::new("/pool", "must be above 0"));
        }
        for (pointer, credits) in [("/grace/for_each", self.grace.for_each), ("/grace/most", self.grace.most)]
        {
            if credits.is_negative() {
                problems.push(Problem::new(pointer, "must not be negative"));
            }
        }
        problems
    }

    /// The next pool pays the buffer back, not what the customer buys meanwhile.
    fn settle_overage_from(&self) -> SettleOverageFrom {
        SettleOverageFrom::Reset
    }

    fn period_categories(&self) -> Vec<Category> {
        vec![Category::Plan]
    }

    fn rate(&self, usage: &Usage, _: &Context) -> Result<Rating, Refusal> {
        let line = |part: &Priced| Line::priced(&part.label, part.amount, part.price, Rounding::Up);
        let lines: Vec<Line> = self.prices.priced(usage)?.iter().map(line).collect::<Result<_, _>>()?;
        Ok(Rating::of(lines)?)
    }

    fn overage(&self, usage: &Usage, _: &Rating, shortfall: Credits, context: &Context) -> OverageOutcome {
        let buffer = self.grace.earned(context);
        let left = buffer.above(context.overage_with_held(CREDITS));
        if shortfall > left {
            let detail = format!("{shortfall} credits are missing, and {left} of the buffer are left");
            let end = context.period.end.filter(|_| !usage.late);
            let refusal = Refusal::denied("grace_exhausted", &detail).retry_at(end.map(|end| end.at));
            return OverageOutcome::Deny(refusal);
        }
        OverageOutcome::Allow(buffer)
    }

    fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        let last = matches!(closing.reason, CloseReason::PlanEnded | CloseReason::Closed);
        if last && context.overage(CREDITS).is_positive() {
            outcome.settle.push(Settlement::invoice(CREDITS));
        }
        outcome
    }

    fn open(&self, opening: &Opening, context: &Context) -> OpenOutcome {
        let mut outcome = OpenOutcome::default();
        outcome.issue.push(NewGrant::new(Category::Plan, self.pool).allowance(opening.allowance));
        // No more than the new pool holds: a larger debt, from an earlier contract, goes down pool by pool.
        let owed = context.overage(CREDITS).min(self.pool);
        if owed.is_positive() {
            outcome.settle.push(Settlement::deduct(CREDITS).up_to(owed));
            outcome.notes.push(format!("{owed} that the buffer lent come off this pool"));
        }
        outcome
    }
}

proviso_sdk::export!(GracePool, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::{
        OpenReason,
        testing::{ContextBuilder, Terms, context, credits, opening, period, pointers, show, usage},
    };

    const SETTINGS: &str = r#"{
        "prices": [{"feature": "render", "quantity": "seconds", "price": "0.5"}],
        "pool": "1000", "grace": {"for_each": "50", "most": "200"}
    }"#;

    fn paid(payments: &str) -> ContextBuilder {
        context("2026-11-23T10:00:00Z").attribute("on_time_payments", payments).grant(
            "grant_1",
            Category::Plan,
            "1000",
            "0",
        )
    }

    #[test]
    fn usage_costs_what_the_list_says() {
        let terms = Terms::<GracePool>::new(SETTINGS);
        let rating = terms.rate(&usage("render").quantity("seconds", "3"), &paid("0"));
        assert_eq!(show(&rating), "seconds: 3 x 0.5 = 1.5\n1.5 credits");
        assert_eq!(
            show(&terms.rate(&usage("chat").quantity("tokens", "3"), &paid("0"))),
            "feature_not_rated"
        );
    }

    #[test]
    fn payments_on_time_earn_a_buffer() {
        let terms = Terms::<GracePool>::new(SETTINGS);
        for (payments, owed, held, shortfall, allowed) in [
            ("0", "0", "0", "1", None),
            ("never", "0", "0", "1", None),
            ("1", "0", "0", "50", Some("50")),
            ("1", "0", "0", "50.000000000001", None),
            ("3", "100", "0", "50", Some("150")),
            ("3", "100", "0", "51", None),
            ("3", "60", "40", "50", Some("150")),
            ("3", "60", "40", "51", None),
            ("4000000000", "0", "0", "200", Some("200")),
        ] {
            let used = usage("render").quantity("seconds", "1");
            let outcome = terms.overage(&used, shortfall, &paid(payments).overage(owed).held_overage(held));
            match (&outcome, allowed) {
                (OverageOutcome::Allow(limit), Some(allowed)) => assert_eq!(*limit, credits(allowed)),
                (OverageOutcome::Deny(refusal), None) => {
                    assert_eq!(refusal.code, "grace_exhausted");
                    assert_eq!(refusal.retry_at, paid("0").build().period.end.map(|end| end.at));
                }
                _ => panic!("{payments} payments, {shortfall} missing: {outcome:?}"),
            }
        }
        let late = terms.overage(&usage("render").quantity("seconds", "1").late(), "1", &paid("0"));
        let OverageOutcome::Deny(refusal) = late else { panic!("{late:?}") };
        assert_eq!(refusal.retry_at, None);
    }

    #[test]
    fn what_was_lent_comes_off_the_next_pool() {
        let terms = Terms::<GracePool>::new(SETTINGS);
        let december = period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let opening = opening(OpenReason::Scheduled, december);
        for (owed, deducted) in [("0", None), ("120", Some("120")), ("5000", Some("1000"))] {
            let outcome = terms.open(&opening, &paid("3").overage(owed));
            assert_eq!(outcome.issue, [NewGrant::new(Category::Plan, credits("1000"))]);
            let expected = deducted.map(|amount| Settlement::deduct(CREDITS).up_to(credits(amount)));
            assert_eq!(outcome.settle, Vec::from_iter(expected), "{owed} owed");
        }
        assert_eq!(terms.prepared.settle_overage_from, SettleOverageFrom::Reset);
    }

    #[test]
    fn what_no_pool_can_pay_is_invoiced() {
        let terms = Terms::<GracePool>::new(SETTINGS);
        for (reason, owed, invoiced) in [
            (CloseReason::Scheduled, "9", false),
            (CloseReason::PlanChanged, "9", false),
            (CloseReason::PlanEnded, "9", true),
            (CloseReason::Closed, "9", true),
            (CloseReason::Closed, "0", false),
        ] {
            let settled = terms.close(reason, &paid("3").overage(owed)).settle;
            assert_eq!(settled, Vec::from_iter(invoiced.then(|| Settlement::invoice(CREDITS))), "{reason:?}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (from, to, pointer) in [
            ("\"1000\"", "\"0\"", "/pool"),
            ("\"200\"", "\"-1\"", "/grace/most"),
            ("\"most\": \"200\"", "\"max\": \"200\"", "/grace/max"),
        ] {
            assert_eq!(pointers::<GracePool>(&SETTINGS.replace(from, to)), [pointer], "{to}");
        }
    }
}
