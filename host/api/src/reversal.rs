//! Reversals: many charges refunded at once, each of them once.

use crate::{charge::Refund, patch::null_is_default, problem::ProblemDetails, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{ChargeId, CustomerId, IdempotencyKey, Key},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The charges of a batch that are to be undone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "reason": "the batch was sent with the wrong model",
    "charges": [{ "customer": "acme", "idempotency_key": "7f9c2e" }, { "customer": "beta", "charge": "chg_12" }]
}))]
pub struct ReversalInput {
    /// Why, for people.
    pub reason: String,
    /// Whether credits of grants that have expired are given anew, as a grant of category `adjustment`. Else they stay expired.
    #[serde(default, deserialize_with = "null_is_default")]
    pub reissue_expired: bool,
    /// Which, up to 1000.
    #[schema(max_items = 1000)]
    pub charges: Vec<ReversedCharge>,
}

/// A charge, named by its id or by the key that it was sent with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReversedCharge {
    /// The customer who paid.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The key of the charge, as the batch had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The charge's id; not together with `idempotency_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>, example = "chg_42")]
    pub charge: Option<ChargeId>,
}

/// What a reversal came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reversal<'a> {
    /// How many charges were undone now.
    pub reversed: u64,
    /// How many an earlier reversal had undone.
    pub repeated: u64,
    /// How many could not be undone.
    pub refused: u64,
    /// What was given back now.
    pub refunded: Vec<RefundedCredits>,
    /// One for each charge, in order.
    pub results: Vec<ReversalResult<'a>>,
}

/// Credits of one type that were given back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RefundedCredits {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// How many.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

/// What became of one charge.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReversalResult<'a> {
    /// The status that the refund alone would have had.
    pub status: u16,
    /// Whether an earlier reversal had undone it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The refund, or why there is none.
    pub body: RefundOrProblem<'a>,
}

/// A refund, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RefundOrProblem<'a> {
    /// It was refunded.
    #[schema(value_type = Refund)]
    Refund(Box<Refund<'a>>),
    /// It was not.
    #[schema(value_type = ProblemDetails)]
    Problem(Box<ProblemDetails<'a>>),
}
