//! Leases: credits that a client is handed, draws down by itself and settles in batches.

use crate::{balance::Balance, patch::null_is_default, schema};
use proviso_ledger::model::{
    amounts::Credits,
    ids::{CustomerId, Key, LeaseId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Credits to hand to a client.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount": "500", "ttl_seconds": 3600, "features": ["chat"], "entity": "gateway-eu-1" }))]
pub struct LeaseInput {
    /// How many credits. They must be available: neither overage nor a top-up is handed out.
    #[schema(value_type = schema::Credits, example = "500")]
    pub amount: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// How long the lease lasts, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400, default = 900)]
    pub ttl_seconds: Option<u32>,
    /// Only usage of these features is paid by it, at most 64; empty means all. Grants that not all of them may draw are left alone.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<schema::Key>>)]
    pub features: Vec<Key>,
    /// The user, team or agent under the customer in whose budgets it holds, and of those above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
}

/// More credits, or more time, for a lease. Both are absolute, and neither ever becomes less: repeats and extensions that overtake
/// each other do no harm.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount": "1000", "ttl_seconds": 3600 }))]
pub struct LeaseExtension {
    /// How many credits it shall have in all, with those that are spent: a total, not what is added. Less than it has changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>, example = "1000")]
    pub amount: Option<Credits>,
    /// How long it lasts from now on at least, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_seconds: Option<u32>,
}

/// What has become of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseStatus {
    /// It holds.
    Open,
    /// It was closed, and what was not spent came back.
    Closed,
    /// Its time ran out, and what was not spent came back.
    Expired,
}

/// A lease that was opened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenedLease<'a> {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub lease: Lease<'a>,
    /// The customer who pays.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Lease<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "lease_42")]
    pub id: LeaseId,
    /// What has become of it.
    pub status: LeaseStatus,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// All that was handed out under it.
    #[schema(value_type = schema::Credits, example = "500")]
    pub amount: Credits,
    /// What of that is settled; of one that has ended, what was settled until then.
    #[schema(value_type = schema::Credits, example = "120")]
    pub drawn: Credits,
    /// What it still holds; of one that has ended, nothing.
    #[schema(value_type = schema::Credits, example = "380")]
    pub remaining: Credits,
    /// Only usage of these features is paid by it; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Cow<'a, [Key]>,
    /// The user, team or agent under the customer in whose budgets it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// When it was opened.
    #[schema(value_type = schema::Time)]
    pub opened_at: Timestamp,
    /// When it ends by itself; of one that has ended, when it ended.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// Of one that has ended: what came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub returned: Option<Credits>,
}

/// A lease that was extended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExtendedLease {
    /// The lease.
    #[schema(value_type = schema::Id, example = "lease_42")]
    pub id: LeaseId,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// All that was handed out under it by now.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// What of that this extension added.
    #[schema(value_type = schema::Credits)]
    pub added: Credits,
    /// What is settled.
    #[schema(value_type = schema::Credits)]
    pub drawn: Credits,
    /// What it holds.
    #[schema(value_type = schema::Credits)]
    pub remaining: Credits,
    /// When it ends by itself.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A lease that was closed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClosedLease {
    /// The lease.
    #[schema(value_type = schema::Id, example = "lease_42")]
    pub id: LeaseId,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// All that was handed out under it.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// What of that was settled.
    #[schema(value_type = schema::Credits)]
    pub drawn: Credits,
    /// What came back.
    #[schema(value_type = schema::Credits)]
    pub returned: Credits,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// Of a charge: the lease under which it was settled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SettledUnder {
    /// The lease.
    #[schema(value_type = schema::Id, example = "lease_42")]
    pub id: LeaseId,
    /// What of the cost it paid.
    #[schema(value_type = schema::Credits)]
    pub drawn: Credits,
    /// Whether it had ended before, so that all was drawn as any charge is.
    pub ended: bool,
}
