//! Customers.

use crate::{
    maps::{Attributes, ExternalIds},
    patch::Patch,
    period::Period,
    schema,
};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// The longest name for people, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// What to change of a customer: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Acme Inc.", "plan": "pro", "time_zone": "Europe/Berlin" }))]
pub struct CustomerInput {
    /// For people; defaults to the customer's key.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 512)]
    pub name: Patch<String>,
    /// The plan. A change closes the running period and begins one on the new plan.
    #[serde(default)]
    #[schema(value_type = Option<schema::Name>)]
    pub plan: Patch<Name>,
    /// The zone in which periods and days are counted; defaults to UTC.
    #[serde(default)]
    #[schema(value_type = Option<schema::TimeZone>)]
    pub time_zone: Patch<Zone>,
    /// From where periods are counted; defaults to the customer's creation.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub anchor: Patch<Timestamp>,
    /// The caller's data, which policies may read; at most 64. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
    pub attributes: Patch<Attributes>,
    /// Its ids in other systems, by the system's name; at most 64. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({ "stripe": "cus_1" }))]
    pub external_ids: Patch<ExternalIds>,
}

/// A customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Customer<'a> {
    /// Its key.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// For people.
    pub name: Cow<'a, str>,
    /// The plan.
    #[schema(value_type = Option<schema::Name>)]
    pub plan: Option<Name>,
    /// The version of the plan that it was sold; null without a plan.
    #[serde(default)]
    pub plan_version: Option<u32>,
    /// The zone in which periods and days are counted.
    #[schema(value_type = schema::TimeZone)]
    pub time_zone: Cow<'a, str>,
    /// From where periods are counted.
    #[schema(value_type = schema::Time)]
    pub anchor: Timestamp,
    /// The caller's data.
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Its ids in other systems, by the system's name.
    pub external_ids: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Whether it was closed: no new charges; the ledger stays.
    pub closed: bool,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// The current period; null when there is none, absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Option<Period>>,
    /// The trial of its plan, as long as that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<CustomerTrial>,
}

/// The trial of a customer's plan. Where its end changes the plan, that is the customer's pending change of plan.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CustomerTrial {
    /// When it ends.
    #[schema(value_type = schema::Time)]
    pub ends_at: Timestamp,
}
