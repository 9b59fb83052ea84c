//! Entities: users, teams, departments or agents under a customer, in a tree.

use super::ids::Key;
use serde::{Deserialize, Serialize};

/// The most levels of a customer's tree: an entity without a parent stands on the first.
pub const MOST_LEVELS: usize = 6;

/// An entity as the caller describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The entity above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Key>,
    /// The caller's data, which policies may read, sorted by name.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

impl Entity {
    /// What it takes under this key, in bytes.
    #[must_use]
    pub fn bytes(&self, id: &Key) -> usize {
        let parent = self.parent.as_ref().map_or(0, |parent| parent.as_str().len());
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        id.as_str().len() + parent + attributes.sum::<usize>()
    }
}
