//! Billing periods and their resets.

use crate::{balance::Balance, decision::DecidingPolicy, grant::Grant, schema};
use proviso_ledger::{
    journal::{CloseReason, OpenReason},
    model::{amounts::Credits, answers::SettleMethod, ids::Key, time::Timestamp},
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

/// A period that began. What ended the one before it is the entry before this one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PeriodStart<'a> {
    /// Why.
    #[schema(value_type = String, example = "early")]
    pub reason: OpenReason,
    /// The period that began.
    pub period: Period,
    /// The nominal time in which plan allowances are given once.
    pub cycle: Cycle,
    /// Grants that began.
    pub grants: Vec<Grant<'a>>,
    /// When the plan's trial ends, where one begins or goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub trial_ends_at: Option<Timestamp>,
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

/// The nominal time in which plan allowances are given once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Cycle {
    /// Its start.
    #[schema(value_type = schema::Time)]
    pub start: Timestamp,
    /// Its end, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub end: Option<Timestamp>,
}

/// A period whose end was made good.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PeriodEnd<'a> {
    /// Why it ended.
    #[schema(value_type = String, example = "scheduled")]
    pub reason: CloseReason,
    /// The period.
    pub period: Period,
    /// Grants that carry credits over.
    pub grants: Vec<Grant<'a>>,
    /// Overage that was taken off.
    pub settled: Vec<Settled>,
    /// What the policy notes about it, for people.
    pub notes: Cow<'a, [String]>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// An end or a beginning of a period that a fault left undone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MissedPeriod {
    /// The number of the period.
    pub number: u32,
    /// `close` or `open`.
    #[schema(value_type = String, example = "open")]
    pub what: Cow<'static, str>,
}

/// How a period is ended early.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetInput {
    /// `now` counts periods from now on; without it, the next period ends where this one would have.
    #[serde(default)]
    pub anchor: Option<AnchorInput>,
}

/// Where periods are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorInput {
    /// From the instant of the request.
    Now,
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
