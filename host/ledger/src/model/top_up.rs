//! Automatic top-ups: when a customer is to be sold more credits by itself, how many, and how often at most. The host takes no money:
//! it asks for a payment once, and whoever takes it answers.

use super::{counter::Window, plan_grant::PlanExpiry};
use proviso_amounts::{Credits, Money, Rounding};
use serde::{Deserialize, Serialize};

/// How many credits a top-up brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// So many.
    Amount(Credits),
    /// What is missing to so many, with the overage that purchases pay.
    Target(Credits),
}

/// The rule for the top-ups of one credit type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoTopUp {
    /// A top-up is asked for when less than this is available to any feature: zero or more.
    pub threshold: Credits,
    /// How many credits it brings.
    pub fill: Fill,
    /// So many at most in one window, those that await a payment included.
    pub most: u32,
    /// When they are counted anew.
    pub window: Window,
    /// How long none is asked for after one that was not paid.
    pub cool_down_seconds: u32,
    /// How long a payment is awaited.
    pub answer_seconds: u32,
    /// After so many in a row that were not paid, none is asked for until the rule is put anew.
    pub most_failures: u32,
    /// What one credit costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Money>,
    /// The priority of the grants.
    #[serde(default)]
    pub priority: i32,
    /// When what is left of a grant expires.
    pub expires: PlanExpiry,
    /// Whether top-ups are asked for.
    pub enabled: bool,
}

impl AutoTopUp {
    /// The most top-ups in one window, and so what is remembered of a rule's top-ups.
    pub const MOST: u32 = 100;

    /// How many credits a top-up brings where so many are available and so many are owed; none where that is no amount.
    #[must_use]
    pub fn amount(&self, available: Credits, owed: Credits) -> Option<Credits> {
        let amount = match self.fill {
            Fill::Amount(amount) => amount,
            Fill::Target(target) => target.checked_sub(available)?.checked_add(owed)?,
        };
        Some(amount.min(Credits::LARGEST)).filter(|amount| amount.is_positive())
    }

    /// What so many credits cost, rounded half up to the currency's minor unit; none where the rule names no price.
    #[must_use]
    pub fn price(&self, amount: Credits) -> Option<Money> {
        let unit = self.unit_price?;
        let exact = unit.amount().mul(amount.decimal(), Rounding::HalfUp).ok()?;
        Money::new(exact, unit.currency()).ok()?.rounded(Rounding::HalfUp).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(fill: Fill, unit_price: &str) -> AutoTopUp {
        AutoTopUp {
            threshold: Credits::from_whole(10),
            fill,
            most: 1,
            window: Window::Day,
            cool_down_seconds: 60,
            answer_seconds: 60,
            most_failures: 1,
            unit_price: Money::new(unit_price.parse().unwrap(), "EUR".parse().unwrap()).ok(),
            priority: 0,
            expires: PlanExpiry::Never,
            enabled: true,
        }
    }

    #[test]
    fn a_top_up_brings_what_is_missing_and_costs_its_part() {
        let whole = Credits::from_whole;
        let to_target = rule(Fill::Target(whole(100)), "0.015");
        for (available, owed, amount, price) in
            [(9, 0, Some(91), "1.37 EUR"), (0, 30, Some(130), "1.95 EUR"), (100, 0, None, "")]
        {
            let found = to_target.amount(whole(available), whole(owed));
            assert_eq!(found, amount.map(whole), "{available} {owed}");
            let said = found.and_then(|amount| to_target.price(amount)).map(|price| price.to_string());
            assert_eq!(said.unwrap_or_default(), price);
        }
        let fixed = rule(Fill::Amount(whole(500)), "0.01");
        assert_eq!(fixed.amount(whole(9), whole(7)), Some(whole(500)));
        assert_eq!(fixed.price(whole(500)).map(|price| price.to_string()), Some("5 EUR".to_owned()));
    }
}
