//! What entries say of what is sold beside plans.

use crate::model::{grant::Grant, ids::Name};
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
