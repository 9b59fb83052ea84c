//! All that a customer has: balances with the grants behind them, open reservations and leases.

use crate::{balance::Balance, grant::Grant, lease::Lease, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{ChargeId, CustomerId, Key, ReservationId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Open leases.
    pub leases: Vec<Lease<'a>>,
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

/// What has become of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReservationStatus {
    /// It holds.
    Open,
    /// Its actual usage was charged.
    Committed,
    /// It was given back.
    Released,
    /// Its time ran out, and it was given back.
    Expired,
}

/// A reservation with what has become of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservationRead {
    /// The reservation; of one that has ended, `reserved` is what it held at first, and `expires_at` is when it was to end then.
    #[serde(flatten)]
    pub reservation: OpenReservation,
    /// What has become of it.
    pub status: ReservationStatus,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub ended_at: Option<Timestamp>,
    /// Once committed: the charge, which can be read and refunded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>)]
    pub charge: Option<ChargeId>,
    /// Once committed: what the actual usage cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub cost: Option<Credits>,
    /// Once committed: what of the cost was drawn beyond all grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub overage: Option<Credits>,
    /// Once it has ended: what of the hold went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub returned: Option<Credits>,
    /// Once it has ended: the number of the journal's entry that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}
