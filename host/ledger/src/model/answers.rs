//! What policies answer, as plain data. Mirrors the results of `wit/v1/policy.wit`; the policy crate has checked sizes and
//! forms, the rules check what the ledger allows. Nothing of it is stored: the journal has types of its own.

use super::{
    counter::Counter,
    grant::{Category, CreditType},
    ids::{GrantId, Key},
    json::JsonText,
    time::Timestamp,
    view::Expiry,
};
use proviso_amounts::{Credits, Decimal, Money, Price, Quantity};
use serde::{Deserialize, Serialize};

/// A line that explains a part of a cost.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Whether a usage may not happen now, or has no price at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Another time, or with more credits, it may be allowed.
    Denied,
    /// Such a usage has no price.
    Invalid,
}

/// A usage that would be allowed, or cheaper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// For people.
    pub detail: String,
    /// Attributes to change, with their new values.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// Quantities to change, with their new amounts.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub quantities: Vec<(String, Quantity)>,
}

/// Why a policy says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it is denied or invalid.
    pub kind: RefusalKind,
    /// For machines: `[a-z][a-z0-9_]{0,63}`.
    pub code: String,
    /// Whether a policy gave the code.
    pub by_policy: bool,
    /// For people.
    pub detail: String,
    /// The earliest time at which asking again can help.
    pub retry_at: Option<Timestamp>,
    /// What to change.
    pub suggestions: Vec<Suggestion>,
}

/// Something that the customer may buy to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// For machines.
    pub code: String,
    /// For people.
    pub label: String,
    /// What it brings.
    pub credits: Credits,
    /// What it costs.
    pub price: Option<Money>,
}

/// Credits to be issued at once, so that a charge can draw on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUp {
    /// How many.
    pub amount: Credits,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When the rest of them expires.
    pub expires: Expiry,
    /// What they cost.
    pub cost_basis: Option<Money>,
}

/// What happens when the cost exceeds what is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overage {
    /// The charge is refused.
    Deny(Refusal),
    /// Go on while the outstanding and the held overage stay at or below this.
    Allow(Credits),
    /// The charge is refused, with what to buy.
    RequirePurchase(Vec<Offer>),
    /// Issue credits, then draw.
    TopUp(TopUp),
    /// With these quantities it would be allowed.
    Reduce(Vec<(String, Quantity)>),
}

/// How an allowance is reduced by what plan allowances gave in the cycle already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// What exceeds what was given.
    #[default]
    Carry,
    /// The cycle's rest in proportion, less what was given beyond the proportion so far.
    Prorate,
    /// Not at all.
    Full,
}

/// A grant that a period opens with.
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
    pub expires: Expiry,
    /// The features that may draw on it; empty means all.
    pub features: Vec<Key>,
    /// What the customer paid for it.
    pub cost_basis: Option<Money>,
    /// How it is reduced.
    pub allowance: Allowance,
}

/// Carries credits of a grant over into a new grant of category rollover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollover {
    /// The grant to take from.
    pub grant: GrantId,
    /// How much of what remains.
    pub amount: Credits,
    /// Which part (0 to 1) of what reservations give back of it later.
    pub held_share: Decimal,
    /// At most how much of that.
    pub held_limit: Credits,
    /// The new grant's priority.
    pub priority: i32,
    /// The new grant's expiry.
    pub expires: Expiry,
}

/// How a fee is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeMethod {
    /// From grants, then as overage.
    Drawn,
    /// Outside.
    Invoiced,
}

/// A cost that the end of a period brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fee {
    /// The credit type.
    pub credit: CreditType,
    /// For people.
    pub label: String,
    /// How much.
    pub amount: Credits,
    /// How it is paid.
    pub method: FeeMethod,
}

/// How outstanding overage is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleMethod {
    /// Billed outside.
    Invoice,
    /// Forgiven.
    Waive,
    /// Drawn from grants, as far as they reach.
    Deduct,
}

/// Takes outstanding overage off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The credit type.
    pub credit: CreditType,
    /// How much; none means all that is outstanding.
    pub amount: Option<Credits>,
    /// How.
    pub method: SettleMethod,
}

/// What the end of a period does, carried out in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloseOutcome {
    /// Remaining credits to carry over.
    pub roll_over: Vec<Rollover>,
    /// Grants whose remaining credits expire now.
    pub expire: Vec<GrantId>,
    /// Costs.
    pub fees: Vec<Fee>,
    /// Overage to take off.
    pub settle: Vec<Settlement>,
    /// Lines for people.
    pub notes: Vec<String>,
}

/// What the beginning of a period does, carried out in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenOutcome {
    /// New grants.
    pub issue: Vec<NewGrant>,
    /// Overage to take off.
    pub settle: Vec<Settlement>,
    /// Lines for people.
    pub notes: Vec<String>,
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
    /// The entities' attributes.
    #[serde(default)]
    pub entity_attributes: bool,
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

/// What pays outstanding overage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleFrom {
    /// A grant that the customer bought, as soon as it is given; and what `close` and `open` settle.
    #[default]
    Purchases,
    /// What `close` and `open` settle.
    Reset,
    /// Nothing.
    Never,
}

/// A feature that settings price, and the credit type that it draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedFeature {
    /// The feature; none means every one that no other item names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Key>,
    /// The credit type.
    pub credit: CreditType,
}

/// Settings that a policy accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prepared {
    /// The policy's own compact form.
    #[serde(with = "super::base64_bytes")]
    pub form: Vec<u8>,
    /// The counters these settings need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// The features these settings price.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<PricedFeature>,
    /// What pays outstanding overage.
    #[serde(default)]
    pub settle_overage_from: SettleFrom,
    /// Categories whose grants expire with their period, unless they are given with an expiry of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub period_categories: Vec<Category>,
}

/// What is wrong with settings, at a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsProblem {
    /// A JSON pointer into the settings.
    pub pointer: String,
    /// For people.
    pub detail: String,
}

impl Refusal {
    /// A policy's denial with nothing to suggest.
    #[must_use]
    pub fn denied(code: &str, detail: String) -> Self {
        Self { by_policy: true, ..Self::by_ledger(code, detail) }
    }

    /// A denial by the ledger's own rules.
    #[must_use]
    pub fn by_ledger(code: &str, detail: String) -> Self {
        Self {
            kind: RefusalKind::Denied,
            code: code.to_owned(),
            by_policy: false,
            detail,
            retry_at: None,
            suggestions: Vec::new(),
        }
    }
}

impl Allowance {
    /// The name in the policy interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Carry => "carry",
            Self::Prorate => "prorate",
            Self::Full => "full",
        }
    }
}

impl Prepared {
    /// The credit type that a feature draws, as far as the policy said.
    #[must_use]
    pub fn credit_of(&self, feature: &Key) -> Option<&CreditType> {
        let named = self.features.iter().find(|item| item.feature.as_ref() == Some(feature));
        named.or_else(|| self.features.iter().find(|item| item.feature.is_none())).map(|item| &item.credit)
    }
}
