//! What was used, by whom and when.

use super::{ids::Key, time::Timestamp};
use proviso_amounts::Quantity;
use serde::{Deserialize, Serialize};

/// A usage of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The feature that was used.
    pub feature: Key,
    /// How much of what, sorted by name; names are unique.
    #[serde(with = "super::pairs")]
    pub quantities: Vec<(String, Quantity)>,
    /// What else is known of it, sorted by name; names are unique.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// The user, team or agent under the customer who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Key>,
    /// Who stood above the entity when this was decided, its parent first and the root last. It stays so wherever they move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Key>,
    /// When it was used.
    pub occurred_at: Timestamp,
}

/// What a usage is decided for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is charged at once.
    Charge,
    /// Credits are set aside for it.
    Reserve,
    /// It is what a reservation came to.
    Commit,
}

impl Usage {
    /// The entity, then who stood above it.
    pub fn entities(&self) -> impl Iterator<Item = &Key> {
        self.entity.iter().chain(&self.ancestors)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The amount of a quantity, zero when absent.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Quantity {
        self.quantities.iter().find(|(key, _)| key == name).map_or(Quantity::ZERO, |(_, amount)| *amount)
    }
}

impl Purpose {
    /// The name in the policy interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Reserve => "reserve",
            Self::Commit => "commit",
        }
    }
}
