//! Policies and their versions.

use crate::{patch::Patch, schema};
use proviso_ledger::model::{
    answers::Needs,
    ids::{Digest, Name},
    json::JsonText,
    resources::ResourceClass,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// What to change of a policy: an absent field stays as it is, null clears it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "description": "Rates, tiers and allowances by settings" }))]
pub struct PolicyInput {
    /// For people.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 512)]
    pub description: Patch<String>,
    /// How much its versions may use: `small`, `default` or `large`. Needs the scope `admin`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "default")]
    pub resource_class: Patch<ResourceClass>,
}

/// A policy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Policy<'a> {
    /// Its name.
    #[schema(value_type = schema::Name)]
    pub policy: Name,
    /// For people.
    pub description: Cow<'a, str>,
    /// How much its versions may use.
    #[schema(value_type = String, example = "default")]
    pub resource_class: ResourceClass,
    /// The newest version that may be bound; null when there is none.
    pub latest_version: Option<u32>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// A version of a policy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyVersion<'a> {
    /// The policy.
    #[schema(value_type = schema::Name)]
    pub policy: Name,
    /// Counted from 1.
    pub version: u32,
    /// SHA-256 of the module.
    #[schema(value_type = schema::Digest)]
    pub digest: Digest,
    /// The module's size.
    pub size_bytes: u64,
    /// What the policy declares of itself.
    pub manifest: Manifest<'a>,
    /// How long it took to inspect, compile and try, in milliseconds.
    pub compile_ms: u64,
    /// Who signed the module; null where the host that took it was given no keys.
    pub signed_by: Option<SignedBy<'a>>,
    /// Whether it may no longer be bound. What it decided can still be replayed.
    pub deleted: bool,
    /// When it was uploaded.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// Who signed a module.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedBy<'a> {
    /// As the host's keys name it.
    #[schema(value_type = schema::Name)]
    pub name: Cow<'a, str>,
    /// The Ed25519 key, as 64 hexadecimal digits.
    pub public_key: Cow<'a, str>,
    /// The signature, as it was sent.
    pub signature: Cow<'a, str>,
}

/// What a policy declares of itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Manifest<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its author's version.
    pub version: Cow<'a, str>,
    /// One sentence.
    pub summary: Cow<'a, str>,
    /// JSON Schema of its settings.
    #[schema(value_type = schema::AnyObject)]
    pub settings_schema: Cow<'a, JsonText>,
    /// What of the context it reads: `balances`, `grants`, `customer_attributes`.
    #[schema(value_type = schema::AnyObject)]
    pub needs: Needs,
}
