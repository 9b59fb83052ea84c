//! What a backtest came to: the same commands under other terms.

use crate::{any_json, decision::Line, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{CustomerId, Key, Name, Seq},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// What would change under other terms.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestReport<'a> {
    /// Customers that were looked at.
    pub customers: u64,
    /// How many of them would see another charge, refusal, period or balance.
    pub customers_changed: u64,
    /// Ledger entries that were followed.
    pub entries: u64,
    /// All usage together; credits of different types are added as they are.
    pub total: BacktestSums,
    /// Usage by feature, credit type and month.
    pub by_feature: Vec<BacktestRow<'a>>,
    /// What periods moved.
    pub periods: BacktestPeriods,
    /// The codes of refusals that would be new, and how often.
    pub new_refusals: &'a BTreeMap<String, u64>,
    /// Customers that change, those whose charges change most first, at most 200.
    pub by_customer: Vec<BacktestOfCustomer<'a>>,
    /// The decisions that change most, with both explanations, at most 20.
    pub changes: Vec<BacktestChange<'a>>,
    /// What was recorded and could not be asked of the candidate, and how often.
    pub left_out: &'a BTreeMap<String, u64>,
    /// Customers that can't be followed, and why; at most 100.
    pub failed: Vec<BacktestFailure<'a>>,
    /// How many those are.
    pub failures: u64,
}

/// Usage under both terms.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestSums {
    /// Decisions that were compared.
    pub decisions: u64,
    /// How many of them differ in outcome or cost.
    pub differ: u64,
    /// What was charged, less refunds.
    #[schema(value_type = schema::Credits)]
    pub recorded: Credits,
    /// What the candidate would have charged, less refunds.
    #[schema(value_type = schema::Credits)]
    pub candidate: Credits,
    /// The candidate's less what is recorded.
    #[schema(value_type = schema::Credits)]
    pub difference: Credits,
    /// Usage that was accepted, and that the candidate would have refused.
    pub newly_refused: u64,
    /// Usage that was refused, and that the candidate would have accepted.
    pub newly_accepted: u64,
}

/// Usage of a feature in a month.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestRow<'a> {
    /// The feature; empty for the rest, where there are more than 1,000 rows.
    #[schema(example = "chat")]
    pub feature: &'a str,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: &'a Key,
    /// The month of the usage, in the customer's zone.
    #[schema(example = "2026-11")]
    pub month: &'a str,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub sums: BacktestSums,
}

/// What the ends and beginnings of periods moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestPeriods {
    /// As recorded.
    pub recorded: BacktestFlow,
    /// By the candidate.
    pub candidate: BacktestFlow,
}

/// Credits that periods moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestFlow {
    /// Issued as periods began.
    #[schema(value_type = schema::Credits)]
    pub issued: Credits,
    /// Carried over as periods ended.
    #[schema(value_type = schema::Credits)]
    pub rolled_over: Credits,
    /// Fees that periods ended with.
    #[schema(value_type = schema::Credits)]
    pub fees: Credits,
}

/// A customer that changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestOfCustomer<'a> {
    /// Which.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: &'a CustomerId,
    /// All its usage.
    pub total: BacktestSums,
    /// The codes of refusals that would be new, and how often.
    pub new_refusals: &'a BTreeMap<String, u64>,
    /// What periods moved.
    pub periods: BacktestPeriods,
    /// Its usage by feature, credit type and month: the 20 rows that change most.
    pub by_feature: Vec<BacktestRow<'a>>,
    /// What it has at the end, by credit type.
    pub balances: Vec<BacktestBalance<'a>>,
}

/// What a customer has at the end.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestBalance<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: &'a Key,
    /// What it may draw, as recorded.
    #[schema(value_type = schema::Credits)]
    pub available: Credits,
    /// What it owes, as recorded.
    #[schema(value_type = schema::Credits)]
    pub overage: Credits,
    /// What it could draw under the candidate.
    #[schema(value_type = schema::Credits)]
    pub candidate_available: Credits,
    /// What it would owe under the candidate.
    #[schema(value_type = schema::Credits)]
    pub candidate_overage: Credits,
}

/// A decision that changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestChange<'a> {
    /// Whose.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: &'a CustomerId,
    /// The recorded ledger entry.
    pub entry: Seq,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// The feature that was used.
    #[schema(value_type = schema::Key, example = "chat")]
    pub feature: &'a Key,
    /// What was answered.
    pub recorded: BacktestDecision<'a>,
    /// What the candidate answers; null where it is not asked, since it refused the reservation.
    pub candidate: Option<BacktestDecision<'a>>,
}

/// What one policy answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestDecision<'a> {
    /// `charged`, `reserved`, `committed` or `refused`.
    pub outcome: &'a str,
    /// The cost; null when it was refused without a price.
    #[schema(value_type = Option<schema::Credits>)]
    pub cost: Option<Credits>,
    /// The code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// What explains the cost.
    pub lines: Vec<Line<'a>>,
}

/// A customer that can't be followed.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestFailure<'a> {
    /// Which.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: &'a CustomerId,
    /// Why not.
    pub detail: Cow<'a, str>,
}

/// What a version is tried on: a customer, or a plan; with neither, all terms that run its policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"plan": "pro", "from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}))]
pub struct BacktestInput {
    /// It stands in for all terms that decide for this customer.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    pub customer: Option<CustomerId>,
    /// It stands in for the terms of this plan.
    #[serde(default)]
    #[schema(value_type = Option<schema::Name>)]
    pub plan: Option<Name>,
    /// What was accepted at this time or later; defaults to the beginning.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub from: Option<Timestamp>,
    /// What was accepted before this time; defaults to now.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub to: Option<Timestamp>,
    /// Its settings; without them, each of the terms that it stands in for keeps its own.
    #[serde(default, deserialize_with = "any_json::option")]
    #[schema(value_type = Option<schema::AnyObject>)]
    pub settings: Option<Value>,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BacktestState {
    /// Others go first.
    Waiting,
    /// It is under way.
    Running,
    /// It has a report.
    Done,
    /// It can't be done.
    Failed,
}

/// A backtest.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestJob<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "backtest_3")]
    pub id: Name,
    /// The policy.
    #[schema(value_type = schema::Name)]
    pub policy: Name,
    /// The version that is tried.
    pub version: u32,
    /// How far it is.
    pub status: BacktestState,
    /// When it was asked for.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// Customers that are done.
    pub customers: u64,
    /// Ledger entries that were followed.
    pub entries: u64,
    /// Why it failed, for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// Why it failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<BacktestReport<'a>>,
}
