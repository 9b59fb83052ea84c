//! Balances.

use crate::schema;
use proviso_ledger::model::{amounts::Credits, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One credit type's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// The amounts of all live grants, less what adjustments took of them, with what is still held of grants that have ended.
    #[schema(value_type = schema::Credits)]
    pub granted: Credits,
    /// What was spent of the live grants.
    #[schema(value_type = schema::Credits)]
    pub used: Credits,
    /// What open reservations hold, of grants and beyond them.
    #[schema(value_type = schema::Credits)]
    pub reserved: Credits,
    /// The part of `reserved` that is held beyond all grants; absent when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(value_type = Option<schema::Credits>)]
    pub reserved_overage: Credits,
    /// What may be drawn now without overage: in an answer about a usage or a feature, by that feature; else by any.
    #[schema(value_type = schema::Credits)]
    pub available: Credits,
    /// What only other features may draw; absent when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(value_type = Option<schema::Credits>)]
    pub restricted: Credits,
    /// Spent beyond all grants and not yet settled.
    #[schema(value_type = schema::Credits)]
    pub overage: Credits,
    /// When the period ends; null when it never does by itself.
    #[schema(value_type = Option<schema::Time>)]
    pub next_reset_at: Option<Timestamp>,
}

pub(crate) fn is_zero(amount: &Credits) -> bool {
    amount.is_zero()
}
