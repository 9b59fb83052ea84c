//! Problem details, RFC 9457.

use crate::{
    budget::OverBudget,
    decision::{DecidingPolicy, Late, Offer, Suggestion},
    schema,
    top_up::PendingTopUp,
};
use proviso_ledger::model::{amounts::Credits, entitlement::Source, ids::Key, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the request.
    pub pointer: String,
    /// For people.
    pub detail: String,
    /// For machines; findings about a module have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
}

impl FieldError {
    /// An error without a code of its own.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), code: None }
    }
}

/// Problem details, RFC 9457.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails<'a> {
    /// A name of the kind of problem.
    #[schema(example = "urn:proviso:problem:insufficient_credits")]
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: Cow<'a, str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, for people.
    pub detail: Cow<'a, str>,
    /// The path of the request.
    pub instance: Cow<'a, str>,
    /// The kind of problem, for machines: one of the published list or, with status 402, a policy's own.
    #[schema(example = "insufficient_credits")]
    pub code: Cow<'a, str>,
    /// Of a refused charge: the code that the policy gave, where that is the name of another problem of the published list; `code` is
    /// `policy_denied` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_code: Option<Cow<'a, str>>,
    /// Fields that are wrong.
    #[serde(default, skip_serializing_if = "errors_are_empty")]
    pub errors: Cow<'a, [FieldError]>,
    /// Of a refused charge: what it would have cost; 0 when the policy refused it without a cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub required: Option<Credits>,
    /// Of a refused charge: what was available to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub available: Option<Credits>,
    /// Of a refused charge: the credit type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// Of a refused charge: the earliest time at which asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub retry_at: Option<Timestamp>,
    /// Of a refused charge: when the customer's period ends, and the next one's allowance is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub next_reset_at: Option<Timestamp>,
    /// Of a feature that is switched off: what says so, `plan`, `add_on` or `override`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "plan")]
    pub source: Option<Source>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub over_budget: OverBudget<'a>,
    /// Of a refused charge: what may be bought to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer<'a>>,
    /// Of a refused charge that lacks credits: the top-up that awaits its payment, or is asked for because of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_top_up: Option<PendingTopUp>,
    /// Of a refused charge: what to change so that it would be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion<'a>>,
    /// Of a refused charge: when it occurred in a period that had ended, which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// Of a refused charge: the policy that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<DecidingPolicy>,
    /// Of a refused charge: the number of the journal's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Of a refused charge: whether a fault put other terms, or none, in the place of those in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<bool>,
    /// After how many seconds another attempt may succeed, as in the header `Retry-After`: of 429 and 503, in a batch of each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub retry_after_seconds: Option<u64>,
}

fn errors_are_empty(errors: &[FieldError]) -> bool {
    errors.is_empty()
}
