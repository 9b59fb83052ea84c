//! What entries say of automatic top-ups: the rule, and each step from asking for a payment to its answer.

use crate::model::{
    amounts::{Credits, Money},
    grant::{CreditType, Grant},
    ids::TopUpId,
    time::Timestamp,
    top_up::AutoTopUp,
};
use serde::{Deserialize, Serialize};

/// The rule for the top-ups of a credit type was put in force or changed. It ends what earlier failures held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoTopUpChanged {
    /// Of which credit type.
    pub credit: CreditType,
    /// Whether there was none before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// What it is from now on.
    #[serde(flatten)]
    pub rule: AutoTopUp,
}

/// A payment for a top-up is asked for. This is said once for each: whoever takes money carries it out once, by the entry's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpRequested {
    /// Of which credit type.
    pub credit: CreditType,
    /// How many credits.
    pub amount: Credits,
    /// How many were available to any feature.
    pub available: Credits,
    /// What it costs, where the rule names a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Its place among those of its window, from 1.
    pub number: u32,
    /// What the refused usage cost that it is asked for; none where less than the threshold is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Credits>,
    /// How long an answer is awaited.
    pub expires_at: Timestamp,
}

/// A top-up was paid, and its credits were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpPaid {
    /// Which.
    pub top_up: TopUpId,
    /// The payment's id, for people and other systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Whether it had expired before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired_before: bool,
    /// The credits.
    pub grant: Grant,
}

/// The payment of a top-up was declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpDeclined {
    /// Which.
    pub top_up: TopUpId,
    /// Of which credit type.
    pub credit: CreditType,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why no top-up is asked for although one is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltReason {
    /// As many as may be were asked for in the window: usage, or the rule, runs away.
    LimitReached,
    /// Too many in a row were not paid.
    PaymentsFailed,
}

/// The alarm: a top-up is due and none is asked for. It is raised once in each window, or until the rule is put anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpsHalted {
    /// Of which credit type.
    pub credit: CreditType,
    /// Why.
    pub reason: HaltReason,
    /// How many credits were available to any feature.
    pub available: Credits,
    /// When the next window begins; none where that is not known, or waiting does not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A top-up that awaits its payment while a usage is refused: buying something else beside it may be once too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingTopUp {
    /// Which.
    pub id: TopUpId,
    /// How many credits it brings.
    pub amount: Credits,
    /// How long its payment is awaited.
    pub expires_at: Timestamp,
}
