//! Versions of a plan, and moves of customers from one to another.

use crate::{
    entitlement::EntitlementValue,
    maps::Attributes,
    patch::null_is_default,
    plan_grant::{PlanGrant, Trial},
    schema,
};
use proviso_ledger::model::{
    amounts::Credits,
    answers::Allowance,
    grant::CreditType,
    ids::{CustomerId, Key, Name},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most customers that a migration names.
pub const MAX_CUSTOMERS: usize = 1_000;

/// What a version of a plan sells. It never changes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanVersion {
    /// The plan.
    #[schema(value_type = schema::Name)]
    pub plan: Name,
    /// Its number: 1 for the first.
    pub version: u32,
    /// Whether it is sold now: the newest is.
    pub is_sold: bool,
    /// How many customers are on it that are not closed.
    pub customers: u64,
    /// What its customers are entitled to, by feature.
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// What it gives its customers beside what their policy issues.
    pub grants: Vec<PlanGrant>,
    /// Its trial; null for none.
    pub trial: Option<Trial>,
    /// Since when it was sold.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// Which customers are moved to another version of the plan, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from_version": 1, "when": "period_end", "dry_run": true }))]
pub struct MigrationInput {
    /// The version that is moved from; defaults to all but the one that is moved to.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub from_version: Option<u32>,
    /// The version that they get; defaults to the newest.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub to_version: Option<u32>,
    /// Only these customers, 1 to 1000; all of them in one page.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Key>>, min_items = 1, max_items = 1000)]
    pub customers: Option<Vec<CustomerId>>,
    /// Only customers that have all of these attributes.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>, example = json!({ "region": "eu" }))]
    pub attributes: Option<Attributes>,
    /// `now` (the default), or `period_end`: each when its running period ends.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<String>, example = "period_end")]
    pub when: MigrationTime,
    /// What of the version's allowance is given to those who are moved within a cycle: `carry` (the default) gives what exceeds
    /// what was given in the cycle, `prorate` the rest of the cycle in proportion, `full` all of it.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<String>, example = "carry")]
    pub allowance: Allowance,
    /// Whether to only say what it would do. Nothing is written then, and no `Idempotency-Key` is needed.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<bool>)]
    pub dry_run: bool,
    /// How many customers are moved with this request at most, 1 to 1000; defaults to 100.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// When customers are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationTime {
    /// Now.
    #[default]
    Now,
    /// Each when its running period ends.
    PeriodEnd,
}

/// What a page of a migration did, or would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Migration {
    /// The plan.
    #[schema(value_type = schema::Name)]
    pub plan: Name,
    /// The version that is moved from; null for all others.
    pub from_version: Option<u32>,
    /// The version that they get.
    pub to_version: u32,
    /// When they are moved.
    pub when: MigrationTime,
    /// What of the version's allowance is given.
    #[schema(value_type = String, example = "carry")]
    pub allowance: Allowance,
    /// Whether it was only asked what it would do.
    pub dry_run: bool,
    /// How many customers of this page came to what.
    pub outcomes: MigrationCounts,
    /// What changes in credits, of all customers of this page.
    pub credits: Vec<MigratedCredits>,
    /// The customers of this page.
    pub data: Vec<MigratedCustomer>,
    /// How many open customers are on the versions that are moved from, after this page and whatever the filter.
    pub customers_left: u64,
    /// Where the next page begins; null after the last.
    pub next_cursor: Option<String>,
}

/// How many customers came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigrationCounts {
    /// Were moved.
    pub migrated: u64,
    /// Will be moved when their period ends.
    pub pending: u64,
    /// Would be moved.
    pub would_migrate: u64,
    /// Are not on a version that is moved from.
    pub unchanged: u64,
    /// Can't be moved.
    pub failed: u64,
}

/// What became of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationOutcome {
    /// It was moved.
    Migrated,
    /// It will be moved when its period ends.
    Pending,
    /// It would be moved.
    WouldMigrate,
    /// It is not, or not any more, on a version that is moved from.
    Unchanged,
    /// It can't be moved: `code` says why.
    Failed,
}

/// A customer of a migration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MigratedCustomer {
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The version that it was on; null where it is not on the plan.
    pub from_version: Option<u32>,
    /// What became of it.
    pub outcome: MigrationOutcome,
    /// When it is moved; null where it is not.
    #[schema(value_type = Option<schema::Time>)]
    pub effective_at: Option<Timestamp>,
    /// What changes in credits; not known yet while it is pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credits: Vec<MigratedCredits>,
    /// Why it can't be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What changes in credits of one type when periods end and begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigratedCredits {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: CreditType,
    /// What expires with the period that ends.
    #[schema(value_type = schema::Credits)]
    pub expired: Credits,
    /// What is carried over from it.
    #[schema(value_type = schema::Credits)]
    pub rolled_over: Credits,
    /// What is given with the period that begins.
    #[schema(value_type = schema::Credits)]
    pub given: Credits,
}
