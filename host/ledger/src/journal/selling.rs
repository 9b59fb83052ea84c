//! What entries say of what is sold beside plans.

use super::record::Given;
use crate::model::{
    add_on::{AddOnCycle, Attachment},
    amounts::Credits,
    grant::Grant,
    ids::{GrantId, Key, Name},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A pack of credits was bought, and the credits were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundlePurchased {
    /// Which bundle.
    pub bundle: Name,
    /// How many of it.
    pub quantity: u32,
    /// The payment's id, for people and other systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// The credits, with what was paid for them.
    pub grant: Grant,
}

/// A promotion was redeemed: once for each customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionRedeemed {
    /// Which.
    pub promotion: Name,
    /// Its place among all redemptions of the promotion, whoever redeemed it, from 1.
    pub number: u64,
    /// The credits.
    pub grant: Grant,
}

/// An add-on was attached to the customer, or changed, and gave what is due at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnChanged {
    /// Which add-on.
    pub add_on: Name,
    /// Whether the customer did not have it just before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// How the customer has it from now on.
    #[serde(flatten)]
    pub attachment: Attachment,
    /// What it gives at once, and when it gives next.
    #[serde(flatten)]
    pub giving: AddOnGiving,
}

/// A cycle of an add-on began, or its first one at a time that was put off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnGiven {
    /// Which add-on.
    pub add_on: Name,
    /// What it gives, and when it gives next.
    #[serde(flatten)]
    pub giving: AddOnGiving,
}

/// What an add-on gives, and what it has given by then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnGiving {
    /// The cycle that runs from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<AddOnCycle>,
    /// The credits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// What it has given in that cycle, these included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// What its one-time grants have ever given, these included, by their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<(Key, Credits)>,
    /// When it gives again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// An add-on was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnEnded {
    /// Which add-on.
    pub add_on: Name,
    /// What it had given and was voided with it; else that lives on until its own end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voided: Vec<GrantId>,
}
