//! A pool with a grace buffer. Each period opens with a pool of credits. A customer that pays on time earns a buffer:
//! so many credits for each payment, up to a most. When the pool is empty, the buffer lets the customer go on; what was
//! taken of it comes off the next pool.
//!
//! In: a price list, the pool, how the buffer grows, and a customer attribute that counts payments, which the billing
//! system keeps. Out: costs, an overage limit, and at a reset the next pool less what is owed.
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
        let earned = self.for_each.repeated(i64::from(payments.unwrap_or(0))).unwrap_or(Credits::MAX);
        earned.min(self.most)
    }
}

impl Policy for GracePool {
    const ABOUT: About =
        About::new("grace-pool", "1.0.0", "A pool of credits with a buffer that on-time payment earns.")
            .settings_schema(include_str!("../settings.schema.json"))
            .needs(&["customer-attributes"]);

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
            if credits < Credits::ZERO {
                problems.push(Problem::new(pointer, "must not be negative"));
            }
        }
        problems
    }

    fn rate(&self, usage: &Usage, _: &Context) -> Result<Rating, Refusal> {
        let line = |part: &Priced| Line::priced(&part.label, part.amount, part.price, Rounding::Up);
        let lines: Vec<Line> = self.prices.priced(usage)?.iter().map(line).collect::<Result<_, _>>()?;
        Ok(Rating::of(lines)?)
    }

    fn overage(&self, _: &Usage, _: &Rating, shortfall: Credits, context: &Context) -> OverageOutcome {
        let buffer = self.grace.earned(context);
        let owed = context.overage(CREDITS);
        if shortfall > buffer.above(owed) {
            let detail =
                format!("{shortfall} credits are missing, and {} of the buffer are left", buffer.above(owed));
            let mut refusal = Refusal::new("grace_exhausted", &detail);
            refusal.retry_at = context.period.end.as_ref().map(|end| end.at);
            return OverageOutcome::Deny(refusal);
        }
        OverageOutcome::up_to(buffer)
    }

    fn reset(&self, closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        let mut outcome = ResetOutcome::default();
        let end = next.end.as_ref().map(|end| end.at);
        outcome.issue.push(NewGrant::new("plan", self.pool).expires_at(end));
        if closing.is_none() {
            return outcome;
        }
        let ends = context.grants.iter().filter(|grant| grant.category == "plan");
        outcome.expire = ends.map(|grant| grant.id.clone()).collect();
        // No more than the new pool holds: a larger debt, from an earlier contract, goes down pool by pool.
        let owed = context.overage(CREDITS).min(self.pool);
        if owed.is_positive() {
            outcome.settle.push(Settlement::deduct(CREDITS, owed));
            outcome.notes.push(format!("{owed} that the buffer lent come off this pool"));
        }
        outcome
    }
}

proviso_sdk::export!(GracePool, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::testing::{ContextBuilder, Terms, context, period, pointers, show, usage};

    const SETTINGS: &str = r#"{
        "prices": [{"feature": "render", "quantity": "seconds", "price": "0.5"}],
        "pool": "1000", "grace": {"for_each": "50", "most": "200"}
    }"#;

    fn paid(payments: &str) -> ContextBuilder {
        context("2026-11-23T10:00:00Z")
            .attribute("on_time_payments", payments)
            .grant("grant_1", "plan", "1000", "0")
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
        for (payments, owed, shortfall, allowed) in [
            ("0", "0", "1", None),
            ("never", "0", "1", None),
            ("1", "0", "50", Some(50)),
            ("1", "0", "50.000001", None),
            ("3", "100", "50", Some(150)),
            ("3", "100", "51", None),
            ("4000000000", "0", "200", Some(200)),
        ] {
            let used = usage("render").quantity("seconds", "1");
            match terms.overage(&used, shortfall, &paid(payments).overage(owed)) {
                OverageOutcome::Allow(limit) => {
                    assert_eq!(Some(limit / 1_000_000), allowed, "{payments} payments")
                }
                OverageOutcome::Deny(refusal) => {
                    assert_eq!(
                        (refusal.code.as_str(), allowed),
                        ("grace_exhausted", None),
                        "{payments} payments"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_was_lent_comes_off_the_next_pool() {
        let terms = Terms::<GracePool>::new(SETTINGS);
        let next = period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        for (owed, deducted) in [("0", None), ("120", Some(120)), ("5000", Some(1000))] {
            let outcome = terms.reset(&next, &paid("3").overage(owed));
            assert_eq!((outcome.expire.len(), outcome.issue[0].amount), (1, 1_000_000_000));
            assert_eq!(outcome.settle.first().map(|settlement| settlement.amount / 1_000_000), deducted);
        }
        let opened = terms.open(&paid("0").overage("5"));
        assert_eq!((opened.issue.len(), opened.settle.len(), opened.expire.len()), (1, 0, 0));
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
