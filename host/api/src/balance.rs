//! Balances.

use crate::{grant::Grant, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{CustomerId, Key, ReservationId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One credit type's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// The amounts of all live grants.
    #[schema(value_type = schema::Credits)]
    pub granted: Credits,
    /// What was spent of them.
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

/// What a customer has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Balances<'a> {
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The instant that the balances are of.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// By credit type.
    pub balances: Vec<CreditBalance<'a>>,
    /// Open reservations.
    pub reservations: Vec<OpenReservation>,
}

/// One credit type's balance and grants.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreditBalance<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub balance: Balance,
    /// The grants behind it, in burn-down order.
    pub grants: Vec<Grant<'a>>,
}

/// An open reservation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenReservation {
    /// Its id.
    #[schema(value_type = schema::Id, example = "res_42")]
    pub id: ReservationId,
    /// The feature that will be used.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// The user, team or agent under the customer who will use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// What is held.
    #[schema(value_type = schema::Credits)]
    pub reserved: Credits,
    /// When the hold ends by itself.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
}

pub(crate) fn is_zero(amount: &Credits) -> bool {
    amount.is_zero()
}
