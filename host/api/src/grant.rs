//! Grants and corrections: credits that a customer is given or that are taken back.

use crate::{balance::Balance, decision::Draw, maps::Attributes, patch::null_is_default, schema};
use proviso_ledger::model::{
    amounts::{Credits, Money},
    grant::Category,
    ids::{GrantId, Key},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// The most features that one grant is scoped to.
pub const MAX_FEATURES: usize = 64;

/// Credits to give.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "amount": "500",
    "category": "prepaid",
    "expires_at": "2027-11-23T00:00:00Z",
    "cost_basis": { "amount": "49.9", "currency": "EUR" }
}))]
pub struct GrantInput {
    /// How many credits, above zero.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// Why it exists: `plan`, `trial`, `prepaid`, `promotional`, `top_up`, `contract`, `rollover` or `adjustment`.
    #[schema(value_type = String, example = "prepaid")]
    pub category: Category,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<i32>)]
    pub priority: i32,
    /// When it becomes usable; defaults to now. It may lie in the past as far as late usage may: usage of that time may draw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub effective_at: Option<Timestamp>,
    /// When what is left of it expires; defaults to never, or to what the terms say of its category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
    /// With the end of which period what is left of it expires, wherever that is: 0 is the one in which it becomes usable, 1
    /// the one after, and so on. With `expires_at` as well, whichever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_with_period: Option<u32>,
    /// The features that may draw on it, at most 64; empty means all.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<Vec<schema::Key>>)]
    pub features: Vec<Key>,
    /// What the customer paid for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
    /// The caller's own data; at most 64.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
    pub metadata: Attributes,
}

/// Whether a grant may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// From `effective_at` on.
    Scheduled,
    /// Now.
    Live,
    /// No longer: all of it was spent, and its period has ended.
    UsedUp,
    /// No longer: its time ran out.
    Expired,
    /// No longer: it was voided.
    Voided,
}

/// A grant and where its credits are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Grant<'a> {
    /// Its id.
    #[schema(value_type = schema::Id)]
    pub id: GrantId,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// Why it exists.
    #[schema(value_type = String, example = "prepaid")]
    pub category: Category,
    /// How many credits were granted.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// Neither spent nor held.
    #[schema(value_type = schema::Credits)]
    pub remaining: Credits,
    /// Held by reservations.
    #[schema(value_type = schema::Credits)]
    pub held: Credits,
    /// Spent; absent for a grant of long ago, of which only the journal tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub spent: Option<Credits>,
    /// Whether it may be drawn.
    pub status: GrantStatus,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When it becomes usable.
    #[schema(value_type = schema::Time)]
    pub effective_at: Timestamp,
    /// When what is left of it expires, as anchor and zone are now.
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
    /// The number of the period with whose end it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_with_period: Option<u32>,
    /// The features that may draw on it; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Cow<'a, [Key]>,
    /// What the customer paid for it.
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
    /// The caller's own data.
    pub metadata: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// A grant that was given.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Granted<'a> {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub grant: Grant<'a>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A grant of which nothing is left, since it was voided.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Voided {
    /// The grant.
    #[schema(value_type = schema::Id, example = "grant_12")]
    pub id: GrantId,
    /// What it had left.
    #[schema(value_type = schema::Credits)]
    pub voided: Credits,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A correction to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount": "-2.5", "reason": "double delivery, ticket 4711" }))]
pub struct AdjustmentInput {
    /// Above zero gives, as a grant; below takes, from grants in burn-down order.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// Why, for people.
    pub reason: String,
}

/// A balance that was corrected.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Adjustment<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// Above zero: given. Below: taken.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// Why.
    pub reason: Cow<'a, str>,
    /// The grant that carries what was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant<'a>>,
    /// What was taken from which grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draws: Vec<Draw>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}
