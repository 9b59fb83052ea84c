//! All that a policy knows beside the usage.

use crate::{
    calendar::{Expiry, Instant, Moment, Period},
    counter::Counted,
    usage::{Attribute, value_of},
};
use alloc::{string::String, vec::Vec};
use proviso_amounts::{Credits, Decimal, Money, Quantity};
use serde::Deserialize;

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The operator's key for it.
    pub id: String,
    /// The plan's key.
    pub plan: Option<String>,
    /// Filled when the manifest needs [`crate::Need::CustomerAttributes`]. Sorted by name.
    pub attributes: Vec<Attribute>,
}

impl Customer {
    /// The value of an attribute; the manifest must need [`crate::Need::CustomerAttributes`].
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }
}

/// A contract that terms belong to: its start and end stay the same through amendments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The operator's key for it.
    pub id: String,
    /// When it begins.
    pub start: Moment,
    /// When it ends, if it does.
    pub end: Option<Moment>,
}

/// What a grant is, for burn-down reports and for what a period's end does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// An allowance of a plan.
    #[default]
    Plan,
    /// Given to try the product.
    Trial,
    /// Paid in advance.
    Prepaid,
    /// Given away.
    Promotional,
    /// Bought when credits ran out.
    TopUp,
    /// Given by a contract.
    Contract,
    /// Carried over from another grant.
    Rollover,
    /// A correction.
    Adjustment,
}

/// One credit type's balance: `granted = used + (reserved - held_overage) + available + restricted`, over the grants that
/// are live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The credit type.
    pub credit: String,
    /// The amounts of all grants.
    pub granted: Credits,
    /// Spent of them.
    pub used: Credits,
    /// What open reservations hold, of grants and beyond them; for a commit without its own reservation.
    pub reserved: Credits,
    /// What may be drawn without overage: by this usage's feature; when a period closes or opens, by any. A commit's own
    /// hold counts.
    pub available: Credits,
    /// What only other features may draw.
    pub restricted: Credits,
    /// Spent beyond all grants and not yet settled.
    pub overage: Credits,
    /// The part of `reserved` that is held beyond all grants.
    pub held_overage: Credits,
}

/// A grant as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To name it in what the policy answers.
    pub id: String,
    /// The credit type.
    pub credit: String,
    /// What it is.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// What was granted.
    pub amount: Credits,
    /// Neither spent nor held.
    pub remaining: Credits,
    /// Held by open reservations.
    pub held: Credits,
    /// From when on it may be drawn.
    pub effective_at: Instant,
    /// When what is left of it expires.
    pub expires: Expiry,
    /// The features that may draw on it; empty means all.
    pub features: Vec<String>,
    /// What the customer paid for it.
    pub cost_basis: Option<Money>,
}

/// All that a policy knows beside the usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who pays.
    pub customer: Customer,
    /// When the host decides; never earlier than the customer's last entry.
    pub now: Moment,
    /// The period that holds `now`; at its end the one that closes, at its beginning the one that opens.
    pub period: Period,
    /// When the terms that run this policy took effect. An amendment moves it; see `contract`.
    pub terms_effective_at: Moment,
    /// The contract that the terms belong to.
    pub contract: Option<Contract>,
    /// The IANA name of the zone in which all moments are read.
    pub time_zone: String,
    /// Filled when the manifest needs [`crate::Need::Balances`]; always filled for `overage`, `close` and `open`.
    pub balances: Vec<Balance>,
    /// Filled when the manifest needs [`crate::Need::Grants`]; always filled for `close` and `open`. In burn-down order.
    pub grants: Vec<Grant>,
    /// The counters that the policy declared, in that order; see [`Context::cost_counter`].
    pub counters: Vec<Counted<Decimal>>,
}

impl Context {
    /// The balance of a credit type; in `rate` the manifest must need [`crate::Need::Balances`].
    #[must_use]
    pub fn balance(&self, credit: &str) -> Option<&Balance> {
        self.balances.iter().find(|balance| balance.credit == credit)
    }

    /// The outstanding overage of a credit type, without what reservations hold of it.
    #[must_use]
    pub fn overage(&self, credit: &str) -> Credits {
        self.balance(credit).map_or(Credits::ZERO, |balance| balance.overage)
    }

    /// The outstanding and the held overage of a credit type.
    #[must_use]
    pub fn overage_with_held(&self, credit: &str) -> Credits {
        let sum = |balance: &Balance| balance.overage.saturating_add(balance.held_overage);
        self.balance(credit).map_or(Credits::ZERO, sum)
    }

    /// The value of the counter of costs that was declared at this place, before this usage. When a period closes or
    /// opens, the total of the closing period.
    #[must_use]
    pub fn cost_counter(&self, place: usize) -> Counted<Credits> {
        self.counters.get(place).copied().unwrap_or_default().into()
    }

    /// The value of the counter of a quantity that was declared at this place; see [`Context::cost_counter`].
    #[must_use]
    pub fn quantity_counter(&self, place: usize) -> Counted<Quantity> {
        self.counters.get(place).copied().unwrap_or_default().into()
    }
}
