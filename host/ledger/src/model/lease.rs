//! A lease: credits that were handed to a client.

use super::{amounts::Credits, ids::Key};
use serde::{Deserialize, Serialize};

/// How much a client was handed, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// All that was handed out under it, what was spent included.
    pub amount: Credits,
    /// Only usage of these features is paid by it, sorted; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// The user, team or agent under the customer in whose budgets it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Key>,
}

impl Lease {
    /// Whether it pays usage of a feature.
    #[must_use]
    pub fn covers(&self, feature: &Key) -> bool {
        self.features.is_empty() || self.features.contains(feature)
    }

    /// What its keys take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let keys = self.features.iter().chain(&self.entity);
        keys.map(|key| key.as_str().len()).sum()
    }
}
