//! What goes into a policy and what comes out, as plain data. Mirrors `wit/v1/policy.wit`, whose units hold here
//! too: the policy crate converts, and nothing else knows the generated types.

use crate::{
    credits::{Credits, Price, Quantity},
    grant::{Category, CostBasis, CreditType},
    ids::{CustomerId, GrantId, Key, Name},
    json::JsonText,
    time::{Moment, Timestamp},
};
use serde::{Deserialize, Serialize};

/// What was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The feature that was used.
    pub feature: Key,
    /// How much of what, sorted by name; names are unique.
    #[serde(with = "crate::pairs")]
    pub quantities: Vec<(String, Quantity)>,
    /// What else is known of it, sorted by name; names are unique.
    #[serde(with = "crate::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// The user, team or agent under the customer who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Key>,
    /// When it was used.
    pub occurred_at: Timestamp,
}

impl Usage {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The amount of a quantity, zero when absent.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Quantity {
        self.quantities.iter().find(|(key, _)| key == name).map_or(Quantity::ZERO, |(_, amount)| *amount)
    }
}

/// One credit type's balance. `granted = used + available + what reservations hold of grants`, over the grants now live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The credit type.
    pub credit: CreditType,
    /// The amounts of all live grants.
    pub granted: Credits,
    /// What was spent of them (to settle overage, too).
    pub used: Credits,
    /// What open reservations hold, of grants and of overage.
    pub reserved: Credits,
    /// What a charge may draw now without overage.
    pub available: Credits,
    /// Spent beyond all grants and not yet settled.
    pub overage: Credits,
}

/// A grant as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantView {
    /// Its id.
    pub id: GrantId,
    /// Its credit type.
    pub credit: CreditType,
    /// Its category.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// What was granted.
    pub amount: Credits,
    /// What is neither spent nor held.
    pub remaining: Credits,
    /// When it became usable.
    pub effective_at: Timestamp,
    /// When its rest expires.
    pub expires_at: Option<Timestamp>,
    /// The features that may draw on it; empty means all.
    pub features: Vec<Key>,
    /// Whether its cost basis is above zero.
    pub paid: bool,
}

/// One period as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodView {
    /// 1 for the first.
    pub number: u32,
    /// Its start.
    pub start: Moment,
    /// Its end, exclusive; none when the customer never resets.
    pub end: Option<Moment>,
}

/// All that a policy knows beside the usage. Lists that the manifest does not need may be empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The customer.
    pub customer: CustomerId,
    /// The customer's plan.
    pub plan: Option<Name>,
    /// The customer's attributes, sorted by name.
    pub attributes: Vec<(String, String)>,
    /// When the host decides.
    pub now: Moment,
    /// The period that holds `now` (for a reset, the one that closes).
    pub period: PeriodView,
    /// When the terms that run took effect.
    pub terms_effective_at: Moment,
    /// Balances by credit type.
    pub balances: Vec<Balance>,
    /// Live grants in burn-down order.
    pub grants: Vec<GrantView>,
    /// Counter values in the order of [`Prepared::counters`].
    pub counters: Vec<i64>,
}

/// A line that explains a part of a cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// For people.
    pub label: String,
    /// How much.
    pub quantity: Quantity,
    /// The price of one whole unit.
    pub unit_cost: Price,
    /// What it comes to.
    pub cost: Credits,
}

/// What a usage costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// The credit type to draw.
    pub credit: CreditType,
    /// The sum of the lines.
    pub cost: Credits,
    /// The explanation.
    pub lines: Vec<Line>,
    /// Grants to draw first.
    pub draw_order: Vec<GrantId>,
}

/// Why a policy says no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For machines: `[a-z][a-z0-9_]{0,63}`.
    pub code: String,
    /// For people.
    pub detail: String,
    /// The earliest time at which asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// Something that the customer may buy to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// For machines.
    pub code: String,
    /// For people.
    pub label: String,
    /// What it brings.
    pub credits: Credits,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<CostBasis>,
}

/// Credits to be issued at once, so that a charge can draw on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUp {
    /// How many.
    pub amount: Credits,
    /// When the rest of them expires.
    pub expires_at: Option<Timestamp>,
    /// What they cost.
    pub cost_basis: Option<CostBasis>,
}

/// What happens when the cost exceeds what is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overage {
    /// The charge is refused.
    Deny(Refusal),
    /// Go on while the outstanding overage stays at or below this.
    Allow(Credits),
    /// The charge is refused, with what to buy.
    RequirePurchase(Vec<Offer>),
    /// Issue credits, then draw.
    TopUp(TopUp),
}

/// A grant that a reset issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Its credit type.
    pub credit: CreditType,
    /// How many credits.
    pub amount: Credits,
    /// Its category.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When it becomes usable; none means at once.
    pub effective_at: Option<Timestamp>,
    /// When its rest expires.
    pub expires_at: Option<Timestamp>,
    /// The features that may draw on it; empty means all.
    pub features: Vec<Key>,
    /// What the customer paid for it.
    pub cost_basis: Option<CostBasis>,
}

/// Moves a part of a grant's remaining credits into a new grant of category rollover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollover {
    /// The grant to take from.
    pub grant: GrantId,
    /// How much; at most what remains.
    pub amount: Credits,
    /// The new grant's priority.
    pub priority: i32,
    /// The new grant's expiry.
    pub expires_at: Option<Timestamp>,
}

/// A cost that the reset itself brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// The credit type to draw.
    pub credit: CreditType,
    /// For people.
    pub label: String,
    /// How much.
    pub amount: Credits,
}

/// How outstanding overage is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleMethod {
    /// Billed outside.
    Invoice,
    /// Forgiven.
    Waive,
    /// Drawn from the grants that stand after the reset.
    Deduct,
}

/// Takes outstanding overage off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The credit type.
    pub credit: CreditType,
    /// How much.
    pub amount: Credits,
    /// How.
    pub method: SettleMethod,
}

/// What a reset does, carried out in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResetOutcome {
    /// Remaining credits to move into new grants.
    pub roll_over: Vec<Rollover>,
    /// Grants whose remaining credits expire now.
    pub expire: Vec<GrantId>,
    /// Costs of the reset.
    pub fees: Vec<Fee>,
    /// New grants.
    pub issue: Vec<NewGrant>,
    /// Overage to take off.
    pub settle: Vec<Settlement>,
    /// Lines for people.
    pub notes: Vec<String>,
}

/// What a counter adds up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Costs, in microcredits.
    Cost,
    /// A quantity, in millionths of its unit.
    Quantity(String),
}

/// Whose total a counter is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One total for the customer.
    Customer,
    /// One for each entity.
    Entity,
    /// One for each value of an attribute of the usage.
    Attribute(String),
}

/// When a counter starts again at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// At each reset.
    Period,
    /// At local midnight.
    Day,
    /// At local midnight of the first of a month.
    Month,
    /// Never.
    Lifetime,
}

/// A usage total that the host keeps for a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counter {
    /// The policy's name for it; not part of what it counts.
    pub name: String,
    /// What it adds up.
    pub measure: Measure,
    /// Only these features; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// Whose total it is.
    pub scope: Scope,
    /// When it starts again.
    pub window: Window,
}

/// What of the context a policy reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Balances, in `rate`.
    pub balances: bool,
    /// Grants, in `rate` and `overage`.
    pub grants: bool,
    /// The customer's attributes.
    pub customer_attributes: bool,
}

/// What a policy says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of its settings.
    pub settings_schema: JsonText,
    /// What of the context it reads.
    pub needs: Needs,
}

/// Settings that a policy accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The policy's own compact form.
    #[serde(with = "crate::base64_bytes")]
    pub form: Vec<u8>,
    /// The counters these settings need.
    pub counters: Vec<Counter>,
}

/// What is wrong with settings, at a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A JSON pointer into the settings.
    pub pointer: String,
    /// For people.
    pub detail: String,
}
