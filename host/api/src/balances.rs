//! All that a customer has: balances with the grants behind them, and open reservations.

use crate::{balance::Balance, grant::Grant, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{CustomerId, Key, ReservationId},
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
