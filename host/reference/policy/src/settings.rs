//! What the policy is told to do: the settings of `proviso_reference::settings`, as that crate writes them as JSON.

use alloc::{string::String, vec::Vec};
use proviso_sdk::{Category, Counter, Scope, SettleOverageFrom, Window as Over};
use serde::{Deserialize, Deserializer, de::Error as _};

/// In 10^-12 of a credit, of a unit of usage or of a currency's unit; in JSON the text of that whole number.
#[derive(Debug, Clone, Copy)]
pub struct Amount(pub i128);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub prices: Vec<PriceRule>,
    pub tier: Option<Tier>,
    pub cap: Option<Cap>,
    pub newest_first: bool,
    pub overage: OverageRule,
    pub allowances: Vec<AllowanceRule>,
    pub mode: Mode,
    pub rollover: Option<RolloverRule>,
    pub fee: Option<FeeRule>,
    pub settle_close: Settling,
    pub settle_open: Settling,
    pub settle_from: SettleOverageFrom,
    pub period_categories: Vec<Category>,
    pub counters: Vec<CounterRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceRule {
    pub feature: String,
    pub credit: String,
    pub price: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub feature: String,
    pub window: Window,
    pub above: Amount,
    pub price: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    pub whose: Whose,
    pub window: Window,
    pub features: Vec<String>,
    pub limit: Amount,
    pub commits: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageRule {
    Block,
    Allow(Amount),
    TopUp(TopUpRule),
    Purchase,
    Reduce,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUpRule {
    pub block: Amount,
    pub priority: i32,
    pub lasts: Option<i64>,
    pub with_period: Option<u32>,
    pub paid: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceRule {
    pub credit: String,
    pub amount: Amount,
    pub category: Category,
    pub priority: i32,
    pub features: Vec<String>,
    pub starts_in: Option<i64>,
    pub lasts: Option<i64>,
    pub with_period: Option<u32>,
    pub paid: Option<Amount>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Asked,
    Carry,
    Prorate,
    Full,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloverRule {
    pub percent: u8,
    pub most: Option<Amount>,
    pub periods: u32,
    pub categories: Vec<Category>,
    pub priority: i32,
    pub only_scheduled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeRule {
    pub credit: String,
    pub least: Amount,
    pub drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settling {
    Keep,
    Invoice,
    Waive,
    Deduct,
    InvoiceHalf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterRule {
    pub cost: bool,
    pub features: Vec<String>,
    pub whose: Whose,
    pub window: Window,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    Customer,
    Entity,
    Model,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    Period,
    Cycle,
    Day,
    Month,
    Hours(u16),
    Lifetime,
}

impl Window {
    const fn over(self) -> Over {
        match self {
            Self::Period => Over::Period,
            Self::Cycle => Over::Cycle,
            Self::Day => Over::Day,
            Self::Month => Over::Month,
            Self::Hours(hours) => Over::Hours(hours),
            Self::Lifetime => Over::Lifetime,
        }
    }
}

fn counter(cost: bool, features: &[String], whose: Whose, window: Window) -> Counter {
    let counter = if cost {
        Counter::cost("counter", window.over())
    } else {
        Counter::quantity("counter", "units", window.over())
    };
    let counter = features.iter().fold(counter, |counter, feature| counter.feature(feature));
    counter.for_each(match whose {
        Whose::Customer => Scope::Customer,
        Whose::Entity => Scope::Entity,
        Whose::Model => Scope::Attribute("model"),
    })
}

impl Reference {
    /// The tier's, the cap's, the fee's, then the rest.
    pub fn all_counters(&self) -> Vec<Counter> {
        let tier = self
            .tier
            .iter()
            .map(|tier| counter(false, core::slice::from_ref(&tier.feature), Whose::Customer, tier.window));
        let cap = self.cap.iter().map(|cap| counter(false, &cap.features, cap.whose, cap.window));
        let fee = self.fee.iter().map(|_| counter(true, &[], Whose::Customer, Window::Period));
        let rest =
            self.counters.iter().map(|rule| counter(rule.cost, &rule.features, rule.whose, rule.window));
        let named = |(n, counter): (usize, Counter)| Counter { name: alloc::format!("c{n}"), ..counter };
        tier.chain(cap).chain(fee).chain(rest).enumerate().map(named).collect()
    }

    pub fn price_of(&self, feature: &str) -> Option<&PriceRule> {
        self.prices.iter().find(|price| price.feature == feature)
    }
}
