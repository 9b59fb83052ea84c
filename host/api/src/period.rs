//! Billing periods and their resets.

use crate::{balance::Balance, charge::DecidingPolicy, grant::Grant, schema};
use proviso_ledger::{
    credits::Credits,
    decision::SettleMethod,
    ids::{GrantId, Key},
    journal::ResetReason,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// One billing period.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Period {
    /// 1 for the first.
    pub number: u32,
    /// Its start.
    #[schema(value_type = schema::Time)]
    pub start: Timestamp,
    /// Its end, exclusive; null when it never ends by itself.
    #[schema(value_type = Option<schema::Time>)]
    pub end: Option<Timestamp>,
}

/// A period that began.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reset<'a> {
    /// Why.
    #[schema(value_type = String, example = "early")]
    pub reason: ResetReason,
    /// The period that closed.
    pub closed: Option<Period>,
    /// The period that began.
    pub period: Period,
    /// Grants that began.
    pub grants: Vec<Grant<'a>>,
    /// Grants that expired with what was left of them.
    #[schema(value_type = Vec<schema::Id>)]
    pub expired: Cow<'a, [GrantId]>,
    /// Grants that carry on credits of older ones.
    pub rolled_over: Vec<RolledOver>,
    /// Costs of the reset.
    pub fees: Vec<Fee<'a>>,
    /// Overage that was taken off.
    pub settled: Vec<Settled>,
    /// What the policy notes about it, for people.
    pub notes: Cow<'a, [String]>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The policy that decided; null when no terms were in force.
    pub policy: Option<DecidingPolicy>,
    /// The number of the journal's entry.
    pub entry: u64,
    /// Whether a fault put other terms, or none, in the place of those in force.
    pub degraded: bool,
}

/// Where the credits of a rollover come from and where they are now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RolledOver {
    /// The older grant.
    #[schema(value_type = schema::Id)]
    pub from: GrantId,
    /// The grant that carries its credits on.
    #[schema(value_type = schema::Id)]
    pub to: GrantId,
}

/// A cost that a reset brought.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Fee<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key)]
    pub credit: Key,
    /// For people.
    pub label: Cow<'a, str>,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

/// Overage that a reset took off.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// The credit type.
    #[schema(value_type = schema::Key)]
    pub credit: Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// `invoice`, `waive` or `deduct`.
    #[schema(value_type = String, example = "invoice")]
    pub method: SettleMethod,
}
