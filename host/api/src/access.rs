//! API keys.

use crate::{patch::null_is_default, schema};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet};
use utoipa::ToSchema;

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Check, charge, reserve.
    Usage,
    /// Read.
    Read,
    /// Customers, plans, grants, terms.
    Manage,
    /// Policies.
    Policies,
    /// API keys; and everything else.
    Admin,
}

impl Scope {
    /// The scope as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Policies => "policies",
            Self::Admin => "admin",
        }
    }
}

/// An API key to create.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "backend", "scopes": ["usage", "read"] }))]
pub struct ApiKeyInput {
    /// For people; not empty.
    #[schema(min_length = 1, max_length = 512)]
    pub name: String,
    /// What it may do; at least one.
    #[schema(value_type = Vec<Scope>)]
    pub scopes: BTreeSet<Scope>,
    /// The only customer it may touch; defaults to any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub customer: Option<CustomerId>,
    /// How the names of the only policies begin that it may touch; defaults to any. Needs the scope `policies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Name>)]
    pub policy_prefix: Option<Name>,
    /// Whether a key of one customer may decide what that customer gets: grants, adjustments, resets, terms, entitlements and
    /// another plan. Keys of no customer always may.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<bool>, default = false)]
    pub may_grant: bool,
    /// When it stops working; defaults to never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
}

/// An API key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKey<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "key_2")]
    pub id: Name,
    /// For people.
    pub name: Cow<'a, str>,
    /// What it may do.
    #[schema(value_type = Vec<Scope>)]
    pub scopes: BTreeSet<Scope>,
    /// The only customer it may touch.
    #[schema(value_type = Option<schema::Key>)]
    pub customer: Option<CustomerId>,
    /// How the names of the only policies begin that it may touch.
    #[schema(value_type = Option<schema::Name>)]
    pub policy_prefix: Option<Name>,
    /// Whether it may decide what its customer gets, when it is narrowed to one.
    pub may_grant: bool,
    /// When it stops working.
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<schema::Time>)]
    pub revoked_at: Option<Timestamp>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// What is sent as the bearer token. Only when the key is created, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Cow<'a, str>>,
}
