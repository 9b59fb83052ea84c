//! Entities: users, teams, departments or agents under a customer, in a tree.

use crate::{maps::Attributes, patch::Patch, schema};
use proviso_ledger::model::ids::Key;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// What to change of an entity: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "parent": "team-a", "attributes": { "role": "developer" } }))]
pub struct EntityInput {
    /// The entity above it, which must be known; null makes it a root. A tree has up to six levels.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    pub parent: Patch<Key>,
    /// The caller's data, which policies may read; at most 64.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
    pub attributes: Patch<Attributes>,
}

/// An entity.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Entity<'a> {
    /// Its key.
    #[schema(value_type = schema::Key, example = "user-7")]
    pub entity: Key,
    /// The entity above it; null for a root.
    #[schema(value_type = Option<schema::Key>, example = "team-a")]
    pub parent: Option<Key>,
    /// The caller's data.
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}
