//! What entries say of leases: credits that a client draws down by itself and settles later.

use super::record::Draw;
use crate::model::{amounts::Credits, grant::CreditType, ids::LeaseId, lease::Lease, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Credits were handed to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOpened {
    /// The credit type.
    pub credit: CreditType,
    /// How much, and for what.
    #[serde(flatten)]
    pub lease: Lease,
    /// When the lease ends by itself.
    pub expires_at: Timestamp,
}

/// A lease got more credits, or more time. Both are absolute, and neither ever becomes less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseExtended {
    /// Which.
    pub lease: LeaseId,
    /// All that was handed out under it by now, what was spent included.
    pub amount: Credits,
    /// What of that is spent.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub drawn: Credits,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A lease ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEnded {
    /// Which.
    pub lease: LeaseId,
    /// Whether its time ran out. Else it was closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// All that was handed out under it.
    pub amount: Credits,
    /// What of that was spent until then.
    pub drawn: Credits,
}

/// The lease that a charge was settled under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which.
    pub lease: LeaseId,
    /// Whether it had ended before: then all was drawn as any charge is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Which of the credits that it held were spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Draw>,
    /// What became overage although the terms would not have allowed it to new usage.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub exceeded: Credits,
}

impl Settled {
    /// What the lease paid.
    #[must_use]
    pub fn drawn(&self) -> Credits {
        self.taken.iter().fold(Credits::ZERO, |sum, draw| sum.saturating_add(draw.amount))
    }
}
