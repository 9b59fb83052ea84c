//! How much a policy may use, as an operator sets it.

use serde::{Deserialize, Serialize};

/// How much fuel, memory and size a policy may have. The numbers are the sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceClass {
    /// For policies that do little and of which there are many.
    Small,
    /// For most: about a millisecond of work for a decision, three at most.
    #[default]
    Default,
    /// For those that bring an interpreter with them.
    Large,
}

impl ResourceClass {
    /// Whether nobody has set another one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}
