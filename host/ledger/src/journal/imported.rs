//! What was moved in from another system. It is as that system says: no policy is asked, and no counter or budget moves.

use super::record::no_credits;
use crate::model::{
    amounts::Credits,
    grant::{Category, CreditType, Grant},
    ids::Key,
    usage::Usage,
};
use serde::{Deserialize, Serialize};

/// A grant that another system gave, with what it had left there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrantImported {
    /// The import that it came with, as the caller named it.
    pub import: Key,
    /// Its id in the other system.
    pub external_id: Key,
    /// The grant.
    pub grant: Grant,
    /// What of it was spent there.
    #[serde(default, skip_serializing_if = "no_credits")]
    pub used: Credits,
    /// What of it was voided there.
    #[serde(default, skip_serializing_if = "no_credits")]
    pub voided: Credits,
    /// Whether it is a plan allowance of the running period, which is given once in a cycle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allowance: bool,
}

/// Overage that was outstanding in another system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverageImported {
    /// The import that it came with.
    pub import: Key,
    /// Its id in the other system.
    pub external_id: Key,
    /// The credit type.
    pub credit: CreditType,
    /// How much.
    pub amount: Credits,
}

/// Usage that another system billed. Reports show it; nothing is charged for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageImported {
    /// The import that it came with.
    pub import: Key,
    /// Its id in the other system.
    pub external_id: Key,
    /// What was used.
    pub usage: Usage,
    /// The credit type.
    pub credit: CreditType,
    /// What it cost there.
    #[serde(default, skip_serializing_if = "no_credits")]
    pub cost: Credits,
    /// What paid for it there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paid: Vec<PaidElsewhere>,
    /// Whether it takes earlier usage back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refund: bool,
    /// Whether it is the customer's first imported usage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// What paid for imported usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidElsewhere {
    /// Grants of this category; none for what was drawn beyond all grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// How much.
    pub amount: Credits,
}

impl GrantImported {
    /// What was left of it when it was moved in.
    #[must_use]
    pub const fn left(&self) -> Credits {
        self.grant.amount.saturating_sub(self.used).saturating_sub(self.voided)
    }
}
