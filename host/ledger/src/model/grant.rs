//! Grants: immutable allocations of credits, and the order in which charges burn them down.

use super::{
    ids::{GrantId, Key},
    time::Timestamp,
};
use proviso_amounts::{Credits, Money};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The name of a credit type; `credits` unless a customer holds several.
pub type CreditType = Key;

/// The credit type of customers that hold only one: `credits`.
#[must_use]
pub fn default_credit() -> CreditType {
    static CREDITS: std::sync::LazyLock<CreditType> = std::sync::LazyLock::new(|| Key::known("credits"));
    CREDITS.clone()
}

/// Why a grant exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A plan's allowance.
    Plan,
    /// A trial's allowance.
    Trial,
    /// Paid before use.
    Prepaid,
    /// Given away.
    Promotional,
    /// Bought when credits ran short.
    TopUp,
    /// Promised in a contract.
    Contract,
    /// Carried over from an earlier period.
    Rollover,
    /// A correction.
    Adjustment,
}

impl Category {
    /// The name in JSON and in the policy interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Trial => "trial",
            Self::Prepaid => "prepaid",
            Self::Promotional => "promotional",
            Self::TopUp => "top_up",
            Self::Contract => "contract",
            Self::Rollover => "rollover",
            Self::Adjustment => "adjustment",
        }
    }

    /// The category of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        use Category::{Adjustment, Contract, Plan, Prepaid, Promotional, Rollover, TopUp, Trial};
        [Plan, Trial, Prepaid, Promotional, TopUp, Contract, Rollover, Adjustment]
            .into_iter()
            .find(|category| category.as_str() == name)
    }
}

/// An allocation of credits. Nothing in it changes; what is left of it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Its credit type.
    pub credit: CreditType,
    /// How many credits, above zero.
    pub amount: Credits,
    /// Why it exists.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When it becomes usable.
    pub effective_at: Timestamp,
    /// When its rest expires, after `effective_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The number of the period with which its rest expires, wherever that period's end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_with_period: Option<u32>,
    /// The features that may draw on it; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// What the customer paid for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_basis: Option<Money>,
    /// The caller's own data.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
}

impl Grant {
    /// Whether the customer paid for it.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.cost_basis.is_some_and(|basis| !basis.is_zero())
    }

    /// Whether the customer bought it.
    #[must_use]
    pub fn is_purchase(&self) -> bool {
        self.is_paid() || matches!(self.category, Category::Prepaid | Category::TopUp)
    }

    /// Whether `feature` may draw on it; a cost of no feature (a fee, an adjustment) draws on unscoped grants only.
    #[must_use]
    pub fn covers(&self, feature: Option<&Key>) -> bool {
        self.features.is_empty() || feature.is_some_and(|feature| self.features.contains(feature))
    }

    /// The burn-down order of grants that end at these times: lower priority number, then earlier end (none last), then
    /// zero cost basis before paid, then narrower scope, then earlier effective, then earlier created, then id (an id tells
    /// when it was created).
    #[must_use]
    pub fn burn_down_order(
        &self,
        ends_at: Option<Timestamp>,
        other: &Self,
        other_ends_at: Option<Timestamp>,
    ) -> Ordering {
        let key = |grant: &Self, ends_at: Option<Timestamp>| {
            (
                grant.priority,
                ends_at.map_or((1, 0), |end| (0, end.0)),
                grant.is_paid(),
                if grant.features.is_empty() { usize::MAX } else { grant.features.len() },
                grant.effective_at,
                grant.id,
            )
        };
        key(self, ends_at).cmp(&key(other, other_ends_at))
    }
}
