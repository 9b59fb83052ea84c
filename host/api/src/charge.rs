//! Charges, checks and reservations.

use crate::{
    balance::Balance,
    budget::OverBudget,
    decision::{DecidingPolicy, Draw, Late, Line, Offer, Suggestion, Warning},
    grant::Grant,
    lease::SettledUnder,
    maps::Quantities,
    patch::null_is_default,
    problem::ProblemDetails,
    schema,
    top_up::PendingTopUp,
};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{ChargeId, CustomerId, Key, RefundId, ReservationId},
    terms::TermsKey,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// A charge that was made, or a reservation's commit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Charge<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "chg_42")]
    pub id: ChargeId,
    /// Of a commit: the reservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>)]
    pub reservation: Option<ReservationId>,
    /// Of usage that was settled under a lease: that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<SettledUnder>,
    /// The customer who pays.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The feature that was used.
    #[schema(value_type = schema::Key, example = "chat")]
    pub feature: Key,
    /// The user, team or agent under the customer who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// When it was used.
    #[schema(value_type = schema::Time)]
    pub occurred_at: Timestamp,
    /// When it occurred in a period that had ended: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// What it cost.
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// The explanation of the cost.
    pub lines: Vec<Line<'a>>,
    /// What was drawn from which grant.
    pub draws: Vec<Draw>,
    /// What was drawn beyond all grants.
    #[schema(value_type = schema::Credits)]
    pub overage: Credits,
    /// Of a commit or a settlement: what became overage although the terms would not have allowed it to new usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub exceeded: Option<Credits>,
    /// Of a commit: what of the hold went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub returned: Option<Credits>,
    /// Of a commit: why the policy gave the usage no price, so that it cost what was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_reserved: Option<AsReserved<'a>>,
    /// A grant that was issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant<'a>>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The policy that decided.
    pub policy: DecidingPolicy,
    /// The terms that decided.
    #[schema(value_type = String, example = "plan/pro/terms_3")]
    pub terms: TermsKey,
    /// The number of the journal's entry.
    pub entry: u64,
    /// Whether a fault put other terms in the place of those in force.
    pub degraded: bool,
    /// Of an event: what was not taken as it was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Why a commit was billed as it was reserved: the policy refused to rate what was reported.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AsReserved<'a> {
    /// The code of the policy's refusal.
    pub code: Cow<'a, str>,
    /// For people.
    pub detail: Cow<'a, str>,
    /// Whether the policy called the usage invalid: it has no price whatever is available. Then what was reserved counts as used,
    /// too, in counters, budgets and reports.
    pub invalid: bool,
    /// The quantities that were reported, where they are invalid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    pub reported: BTreeMap<String, Quantity>,
}

/// A charge as it was answered, with what was refunded of it since.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChargeRead<'a> {
    /// The charge; its balance is the one of then.
    #[serde(flatten)]
    pub charge: Charge<'a>,
    /// What was refunded of it in all.
    pub refunded: RefundedOf,
}

/// What was refunded of a charge in all.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RefundedOf {
    /// How much of the cost.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// Which quantities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    pub quantities: BTreeMap<String, Quantity>,
    /// How many refunds that were.
    pub refunds: u32,
}

/// What of a charge is refunded: an amount, quantities, or, with neither, all that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount": "0.6", "reason": "the answer was cut off" }))]
pub struct RefundInput {
    /// How much of the cost, above zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub amount: Option<Credits>,
    /// How much of which quantities, with their share of the cost; not together with `amount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, schema::Quantity>>)]
    pub quantities: Option<Quantities>,
    /// Why, for people.
    pub reason: String,
    /// Whether credits of grants that have expired are given anew, as a grant of category `adjustment`. Else they stay
    /// expired.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<bool>)]
    pub reissue_expired: bool,
}

/// A refund that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Refund<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "refund_43")]
    pub id: RefundId,
    /// The charge.
    #[schema(value_type = schema::Id, example = "chg_42")]
    pub charge: ChargeId,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The feature that the charge was for.
    #[schema(value_type = schema::Key, example = "chat")]
    pub feature: Key,
    /// How much of the cost.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// Which quantities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    pub quantities: BTreeMap<Cow<'a, str>, Quantity>,
    /// Why.
    pub reason: Cow<'a, str>,
    /// What went to which live grant.
    pub returned: Vec<Draw>,
    /// By how much it reduced the overage.
    #[schema(value_type = schema::Credits)]
    pub overage: Credits,
    /// What expired at once, since its grant had expired.
    #[schema(value_type = schema::Credits)]
    pub expired: Credits,
    /// What was voided at once, since its grant had been voided, or since it was overage that had been waived.
    #[schema(value_type = schema::Credits)]
    pub voided: Credits,
    /// The part of `voided` that was overage and had been waived, so that nobody had paid for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub waived: Option<Credits>,
    /// Grants that were made for what could go back to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant<'a>>,
    /// What was refunded of the charge in all.
    pub refunded: RefundedOf,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// What a charge would do now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Check<'a> {
    /// Whether it would be charged.
    pub allowed: bool,
    /// `ok`, or the code with which the charge would be refused.
    pub reason: Cow<'a, str>,
    /// The code that the policy gave, where that is the name of another problem of the published list; `reason` is `policy_denied`
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_code: Option<Cow<'a, str>>,
    /// For people; empty when it is allowed.
    pub detail: Cow<'a, str>,
    /// The cost; null when it could not be rated.
    #[schema(value_type = Option<schema::Credits>)]
    pub cost: Option<Credits>,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// The explanation of the cost.
    pub lines: Vec<Line<'a>>,
    /// What may be bought to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer<'a>>,
    /// What to change so that it would be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion<'a>>,
    /// The earliest time at which asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub retry_at: Option<Timestamp>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub over_budget: OverBudget<'a>,
    /// Where credits are missing: the top-up that awaits its payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_top_up: Option<PendingTopUp>,
    /// When it occurred in a period that had ended: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// The balance as it is.
    pub balance: Balance,
    /// The policy that decided; null when none was asked.
    pub policy: Option<DecidingPolicy>,
    /// Whether a fault put other terms, or none, in the place of those in force.
    pub degraded: bool,
}

/// Credits that were set aside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reservation<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "res_42")]
    pub id: ReservationId,
    /// The customer who pays.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The feature that will be used.
    #[schema(value_type = schema::Key, example = "chat")]
    pub feature: Key,
    /// The user, team or agent under the customer who will use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// When it is used.
    #[schema(value_type = schema::Time)]
    pub occurred_at: Timestamp,
    /// When it occurred in a period that had ended: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// The quantities that are reserved, when the policy allows less than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, schema::Amount>>)]
    pub reduced_to: Option<BTreeMap<Cow<'a, str>, Quantity>>,
    /// What is held: the expected cost.
    #[schema(value_type = schema::Credits)]
    pub reserved: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// The explanation of the expected cost.
    pub lines: Vec<Line<'a>>,
    /// What is held of which grant.
    pub draws: Vec<Draw>,
    /// What is held beyond all grants.
    #[schema(value_type = schema::Credits)]
    pub overage: Credits,
    /// When the hold ends by itself.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// A grant that was issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant<'a>>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The policy that decided, and that will rate the commit.
    pub policy: DecidingPolicy,
    /// The terms that decided.
    #[schema(value_type = String, example = "plan/pro/terms_3")]
    pub terms: TermsKey,
    /// The number of the journal's entry.
    pub entry: u64,
    /// Whether a fault put other terms in the place of those in force.
    pub degraded: bool,
}

/// A reservation that was given back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// The reservation.
    #[schema(value_type = schema::Id, example = "res_42")]
    pub id: ReservationId,
    /// What it held.
    #[schema(value_type = schema::Credits)]
    pub returned: Credits,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A reservation whose end was moved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Extended {
    /// The reservation.
    #[schema(value_type = schema::Id, example = "res_42")]
    pub id: ReservationId,
    /// When the hold ends by itself.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// The balance as it is.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// What one item of a batch came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult<'a> {
    /// The status that the item alone would have had.
    pub status: u16,
    /// Whether an earlier request with the same key was answered so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The answer that the item alone would have had.
    pub body: ChargeOrProblem<'a>,
}

/// A charge, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ChargeOrProblem<'a> {
    /// It was charged.
    #[schema(value_type = Charge)]
    Charge(&'a Charge<'a>),
    /// It was not.
    #[schema(value_type = ProblemDetails)]
    Problem(Box<ProblemDetails<'a>>),
}
