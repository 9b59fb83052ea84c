//! The parts of entries that several events share: who decided, and what explains it.

use crate::model::{
    amounts::{Credits, Decimal, Money, Price, Quantity},
    answers::{self, FeeMethod, SettleMethod},
    grant::CreditType,
    ids::{Digest, GrantId},
    terms::{PolicyRef, TermsKey},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// How a policy came to its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The terms that decided.
    pub terms: TermsKey,
    /// What they were: the digest of module, settings, zone and contract.
    #[serde(with = "crate::model::ids::short_digest")]
    pub digest: Digest,
    /// The policy of those terms.
    pub policy: PolicyRef,
    /// Units of fuel that were burnt: the same for the same arguments, always.
    pub fuel: u64,
    /// What the policy logged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The fault that put other terms, or none, in the place of those in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultRecord>,
    /// What shadows would have decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowRecord>,
}

/// A policy's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The terms whose policy faulted.
    pub terms: TermsKey,
    /// Which kind, such as `out_of_fuel`.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// What a shadow would have decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// The shadow.
    pub terms: TermsKey,
    /// What it would have cost, or carried over and issued; none when refused or faulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Credits>,
    /// The code of its refusal or fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether it failed, so that the code is a fault's: a policy may refuse with a code of the same name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Units of fuel that were burnt.
    pub fuel: u64,
}

/// Quantities by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(#[serde(with = "crate::model::pairs")] pub Vec<(String, Quantity)>);

impl Shape {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
    pub price: Option<Money>,
}

/// A cost that the end of a period brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Overage that was taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The credit type.
    pub credit: CreditType,
    /// How much.
    pub amount: Credits,
    /// How.
    pub method: SettleMethod,
}

/// What plan allowances of one credit type gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The credit type.
    pub credit: CreditType,
    /// How much.
    pub amount: Credits,
}

/// Credits drawn from one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The grant.
    pub grant: GrantId,
    /// How much.
    pub amount: Credits,
}

/// A balance of one credit type. `granted = used + available + what reservations hold of grants`, over the grants now live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The credit type.
    pub credit: CreditType,
    /// The amounts of all live grants.
    pub granted: Credits,
    /// What was spent of them (to settle overage, too).
    pub used: Credits,
    /// What open reservations hold, of grants and beyond them.
    pub reserved: Credits,
    /// What may be drawn without overage: after an entry about a usage, by its feature; else by any.
    pub available: Credits,
    /// What only other features may draw.
    #[serde(default, skip_serializing_if = "no_credits")]
    pub restricted: Credits,
    /// Spent beyond all grants and not yet settled.
    pub overage: Credits,
    /// The part of `reserved` that is held beyond all grants.
    #[serde(default, skip_serializing_if = "no_credits")]
    pub held_overage: Credits,
}

/// A balance after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The balance.
    pub balance: Balance,
    /// When the period that holds the entry ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_reset_at: Option<Timestamp>,
}

pub(super) fn no_credits(amount: &Credits) -> bool {
    amount.is_zero()
}

pub(super) fn nothing(amount: &Decimal) -> bool {
    amount.is_zero()
}

impl From<answers::Line> for Line {
    fn from(line: answers::Line) -> Self {
        let answers::Line { label, quantity, unit_cost, cost } = line;
        Self { label, quantity, unit_cost, cost }
    }
}

impl From<answers::Offer> for Offer {
    fn from(offer: answers::Offer) -> Self {
        let answers::Offer { code, label, credits, price } = offer;
        Self { code, label, credits, price }
    }
}

impl From<answers::Fee> for Fee {
    fn from(fee: answers::Fee) -> Self {
        let answers::Fee { credit, label, amount, method } = fee;
        Self { credit, label, amount, method }
    }
}

impl DecisionRecord {
    /// Whether a fault put other terms, or none, in the place of those in force.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        self.fault.is_some()
    }

    /// Whether a fault left the decision unmade: the terms that failed are those that the record names.
    #[must_use]
    pub fn is_unmade(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.terms == self.terms)
    }
}
