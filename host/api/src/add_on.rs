//! Add-ons: entitlements and credits on top of whatever plan a customer has.

use crate::{
    entitlement::EntitlementValue,
    patch::{Given, Patch},
    plan::{Interval, IntervalInput, IntervalUnits},
    plan_grant::PlanGrant,
    schema,
};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{Key, Name},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// The most of an add-on that a customer has.
pub const MAX_QUANTITY: u32 = 1_000_000;

/// What to change of an add-on: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "More chats", "interval": "month", "grants": [{ "key": "more", "amount": "500" }],
    "entitlements": { "export": { "type": "boolean", "value": true } }, "max_quantity": 10
}))]
pub struct AddOnInput {
    /// For people; defaults to the key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// How long its cycle is, counted from each customer's start: its grants of each `period` are given once in it. Required where
    /// there are such grants.
    #[serde(default)]
    #[schema(value_type = Option<IntervalInput>)]
    pub interval: Patch<Interval>,
    /// What one gives, as grants of a plan, up to 64: of each `period`, which is the add-on's cycle here, or `once`. Their category
    /// defaults to `prepaid`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PlanGrant>>)]
    pub grants: Patch<Vec<PlanGrant>>,
    /// What its customers are entitled to, whatever the quantity, by feature.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, EntitlementValue>>)]
    pub entitlements: Patch<BTreeMap<Key, EntitlementValue>>,
    /// The most of it that a customer may have; defaults to 1000000.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub max_quantity: Patch<u32>,
    /// Whether customers may take it; defaults to true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub for_sale: Patch<bool>,
}

/// Entitlements and credits on top of whatever plan a customer has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AddOn<'a> {
    /// Its key.
    #[schema(value_type = schema::Name, example = "more-chats")]
    pub add_on: Name,
    /// For people.
    pub name: Cow<'a, str>,
    /// The version that is sold. Another cycle, other grants or entitlements make the next one.
    pub version: u32,
    /// How long its cycle is.
    pub interval: Option<IntervalUnits>,
    /// What one gives.
    pub grants: Vec<PlanGrant>,
    /// What its customers are entitled to.
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// The most of it that a customer may have.
    pub max_quantity: Option<u32>,
    /// Whether customers may take it.
    pub for_sale: bool,
    /// When it was first put.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// What to change of an add-on that a customer has: an absent field stays as it is, null clears it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantity": 2 }))]
pub struct CustomerAddOnInput {
    /// How many of it, from 1; defaults to 1. More gives the difference for the running cycle at once; less gives less from the next
    /// cycle on.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub quantity: Patch<u32>,
    /// The add-on's newest version: without it, the customer stays on the one that it was sold.
    #[serde(default)]
    #[schema(value_type = u32)]
    pub version: Given<u32>,
    /// From when; defaults to now. What has begun stays begun.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Patch<Timestamp>,
    /// Until when, exclusive; defaults to for ever.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Patch<Timestamp>,
}

/// Whether a customer has an add-on already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerAddOnStatus {
    /// From `starts_at` on.
    Scheduled,
    /// Now.
    Active,
}

/// An add-on as a customer has it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CustomerAddOn {
    /// The add-on.
    #[schema(value_type = schema::Name, example = "more-chats")]
    pub add_on: Name,
    /// The version that the customer was sold.
    pub version: u32,
    /// How many of it.
    pub quantity: u32,
    /// Whether it has begun.
    pub status: CustomerAddOnStatus,
    /// From when.
    #[schema(value_type = schema::Time)]
    pub starts_at: Timestamp,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
    /// When it gives credits next.
    #[schema(value_type = Option<schema::Time>)]
    pub next_grant_at: Option<Timestamp>,
    /// What it has given in the running cycle, by credit type: what one gives again is no more than exceeds this.
    #[schema(value_type = BTreeMap<String, schema::Credits>)]
    pub given: BTreeMap<Key, Credits>,
}
