//! What explains a decision: who decided, what a cost is made of, what paid it, and what would be allowed instead.

use crate::schema;
use proviso_ledger::model::{
    amounts::{Credits, Money, Price, Quantity},
    ids::{Digest, GrantId, Name},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// A line that explains a part of a cost.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Line<'a> {
    /// For people.
    pub label: Cow<'a, str>,
    /// How much.
    #[schema(value_type = schema::Amount)]
    pub quantity: Quantity,
    /// The price of one whole unit.
    #[schema(value_type = schema::Price)]
    pub unit_cost: Price,
    /// What it comes to.
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
}

/// Credits drawn from one grant.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Draw {
    /// The grant.
    #[schema(value_type = schema::Id)]
    pub grant: GrantId,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

/// The policy that decided.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DecidingPolicy {
    /// The policy.
    #[schema(value_type = schema::Name)]
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    #[schema(value_type = schema::Digest)]
    pub digest: Digest,
}

/// Something that the customer may buy to go on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Offer<'a> {
    /// For machines.
    pub code: Cow<'a, str>,
    /// For people.
    pub label: Cow<'a, str>,
    /// What it brings.
    #[schema(value_type = schema::Credits)]
    pub credits: Credits,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Money>)]
    pub price: Option<Money>,
}

/// A usage that would be allowed, or cheaper.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Suggestion<'a> {
    /// For people.
    pub detail: Cow<'a, str>,
    /// Attributes to change, with their new values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Quantities to change, with their new amounts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    pub quantities: BTreeMap<Cow<'a, str>, Quantity>,
}

/// A period that had ended when a usage of it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Late {
    /// Its number.
    pub period: u32,
}

/// Something in a request that was not taken as it was sent, and did not stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// A JSON pointer into the request.
    #[schema(example = "/data/entity")]
    pub pointer: String,
    /// What was done about it.
    pub detail: String,
}
