//! A refused usage, and the same one refused again.

use super::{
    budget::OverBudget,
    event::{Intent, Rated},
    record::{DecisionRecord, Offer},
    top_up::PendingTopUp,
};
use crate::model::{
    amounts::Credits, answers::Suggestion, entitlement::Source, grant::CreditType, ids::Seq, time::Timestamp,
    usage::Usage,
};
use serde::{Deserialize, Serialize};

/// A charge, reservation or commit was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// What was asked.
    pub intent: Intent,
    /// For which usage.
    pub usage: Usage,
    /// The number of the period that it occurred in, when that had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u32>,
    /// Whether such a usage has no price at all, so that more credits don't help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    /// `insufficient_credits`, `purchase_required`, `budget_exceeded`, `policy_fault` or a code of the policy.
    pub code: String,
    /// Whether the policy gave the code, which then means what that policy says, whatever else has the same name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_policy: bool,
    /// For people.
    pub detail: String,
    /// The credit type concerned.
    pub credit: CreditType,
    /// What it would have cost, when that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rated: Option<Rated>,
    /// What was available to it.
    pub available: Credits,
    /// Who switches the feature off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The budget that does not allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<Box<OverBudget>>,
    /// The top-up that awaits its payment, where credits are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_top_up: Option<PendingTopUp>,
    /// The earliest time at which asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What may be bought to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer>,
    /// What to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion>,
    /// Who decided; none when no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
}

/// A request that had been refused was made again within [a minute](crate::rules::repeat::WINDOW), under other idempotency keys,
/// and was refused for the same reason. Their answers are the refusal that stands in the entry named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsRepeated {
    /// The number of the entry that records the refusal.
    pub of: Seq,
    /// How often it came again, the recorded one not counted.
    pub times: u64,
    /// When it came again for the first time.
    pub first_at: Timestamp,
    /// And for the last.
    pub last_at: Timestamp,
}
