//! Terms: which policy, with which settings, decides for a plan or for one customer, and when.

use crate::{
    any_json,
    canary::{Canary, CanaryInput},
    patch::Patch,
    schema,
};
use proviso_ledger::model::{
    ids::{Digest, Name, TermsId},
    json::JsonText,
    terms::{Mode, OnFault, TermsKey},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use utoipa::ToSchema;

/// Terms to bind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "policy": "standard",
    "version": 1,
    "settings": { "rates": [{ "feature": "chat", "quantity": "input_tokens", "price": { "per_unit": "0.001" } }] },
    "on_fault": "last_good"
}))]
pub struct TermsInput {
    /// The policy.
    #[schema(value_type = schema::Name)]
    pub policy: Name,
    /// Its version; defaults to the newest.
    #[serde(default)]
    pub version: Option<u32>,
    /// The settings, as the policy's manifest describes them; defaults to none.
    #[serde(default = "no_settings", deserialize_with = "settings")]
    #[schema(value_type = Option<schema::AnyObject>)]
    pub settings: Value,
    /// From when; defaults to now.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub effective_at: Option<Timestamp>,
    /// Until when, exclusive; null means without an end.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Patch<Timestamp>,
    /// `active` decides, `shadow` is only recorded beside what decides; defaults to `active`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "active")]
    pub mode: Patch<Mode>,
    /// What decides when the policy faults: `deny`, `plan` or `last_good`; defaults to `deny`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "deny")]
    pub on_fault: Patch<OnFault>,
    /// The contract that they belong to.
    #[serde(default)]
    pub contract: Option<ContractInput>,
    /// The zone in which they are read; defaults to the customer's.
    #[serde(default)]
    #[schema(value_type = Option<schema::TimeZone>)]
    pub time_zone: Option<Zone>,
    /// A remark, for people; at most 1024 bytes.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub note: Option<String>,
    /// Of a plan, bound by its own route: they decide for a share of its customers only.
    #[serde(default)]
    pub canary: Option<CanaryInput>,
}

/// A contract. Terms that name one that terms of the same owner name already need give its id only: its start and end stay
/// through amendments.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractInput {
    /// The caller's name for it, 1 to 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// When it began; defaults to when the first of its terms take effect.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub start: Option<Timestamp>,
    /// When it ends, exclusive.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub end: Option<Timestamp>,
}

/// A contract that terms belong to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Contract<'a> {
    /// The caller's name for it.
    pub id: Cow<'a, str>,
    /// When it began.
    #[schema(value_type = schema::Time)]
    pub start: Timestamp,
    /// When it ends, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub end: Option<Timestamp>,
}

fn no_settings() -> Value {
    Value::Object(serde_json::Map::new())
}

fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Ok(any_json::option(deserializer)?.unwrap_or_else(no_settings))
}

/// When terms end.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsEndInput {
    /// Their end, exclusive; defaults to now.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
}

/// Terms as they were agreed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Terms<'a> {
    /// Their id.
    #[schema(value_type = schema::Id, example = "terms_12")]
    pub id: TermsId,
    /// Their name in decisions.
    #[schema(value_type = String, example = "plan/pro/terms_12")]
    pub key: TermsKey,
    /// The policy.
    #[schema(value_type = schema::Name)]
    pub policy: Name,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    #[schema(value_type = schema::Digest)]
    pub digest: Digest,
    /// The settings as they were given.
    #[schema(value_type = schema::AnyObject)]
    pub settings: Cow<'a, JsonText>,
    /// From when.
    #[schema(value_type = schema::Time)]
    pub effective_at: Timestamp,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
    /// Whether they decide.
    #[schema(value_type = String, example = "active")]
    pub mode: Mode,
    /// What decides when the policy faults.
    #[schema(value_type = String, example = "deny")]
    pub on_fault: OnFault,
    /// The contract that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Contract<'a>>,
    /// The zone in which they are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Cow<'a, str>>,
    /// A remark, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Cow<'a, str>>,
    /// Of a plan: what makes them decide for a share of its customers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary<'a>>,
    /// When they were bound.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// Whether these are the ones that decide now, among those of the same plan or customer; only when terms are read. A canary's do
    /// once its share is 100 percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<bool>,
}

/// Terms that were given an end.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TermsEnded {
    /// The terms.
    #[schema(value_type = schema::Id, example = "terms_12")]
    pub id: TermsId,
    /// Their end, exclusive.
    #[schema(value_type = schema::Time)]
    pub ends_at: Timestamp,
}
