//! Who changed what, when, and from what to what. Changes of plans, policies and API keys are recorded with the change itself, in
//! one transaction, and nothing changes or deletes a record. What changed of a customer is in its journal, and read from there.

mod actor;
mod catalog;
mod journal;

pub use actor::acting_as;
pub(crate) use actor::{actor, inherit};
pub(crate) use catalog::{Told, migrated, records, told, value};

use crate::{engine::Engine, error::EngineError};
use proviso_ledger::model::{ids::Name, time::Timestamp};
use proviso_store::AuditQuery;
use serde_json::{Map, Value};

/// Kinds of changes that are recorded of plans, policies and API keys.
pub const CATALOG_KINDS: [&str; 19] = [
    "plan_created",
    "plan_changed",
    "plan_migrated",
    "add_on_created",
    "add_on_changed",
    "bundle_created",
    "bundle_changed",
    "promotion_created",
    "promotion_changed",
    "terms_bound",
    "terms_changed",
    "canary_rolled_back",
    "policy_created",
    "policy_changed",
    "version_uploaded",
    "version_deleted",
    "api_key_created",
    "api_key_changed",
    "api_key_revoked",
];

/// Types of journal entries that manage a customer. Ends and beginnings of periods count where someone asked for them.
pub const CUSTOMER_KINDS: [&str; 24] = [
    "configured",
    "closed",
    "plan_change_scheduled",
    "plan_change_cancelled",
    "terms_bound",
    "terms_ended",
    "override_set",
    "override_removed",
    "auto_top_up_changed",
    "auto_top_up_removed",
    "top_up_paid",
    "top_up_declined",
    "granted",
    "add_on_changed",
    "add_on_ended",
    "bundle_purchased",
    "promotion_redeemed",
    "grant_imported",
    "overage_imported",
    "voided",
    "adjusted",
    "refunded",
    "period_closed",
    "period_opened",
];

/// Which changes are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Made by this API key.
    pub actor: Option<Name>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Made at this time or later.
    pub from: Option<Timestamp>,
    /// Made before.
    pub to: Option<Timestamp>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number: among the changes of plans, policies and keys, or that of the customer's entry.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The id of the API key that asked; none for a host's own configuration, and for what time itself brought.
    pub actor: Option<String>,
    /// What kind of change.
    pub kind: String,
    /// What was changed, such as `plan/pro`.
    pub subject: String,
    /// What was there before: of a thing that stays, only what changed.
    pub before: Option<Value>,
    /// What was there afterwards, likewise.
    pub after: Option<Value>,
}

/// A page of changes, newest first.
#[derive(Debug, Default)]
pub struct AuditPage {
    /// The changes.
    pub entries: Vec<AuditEntry>,
    /// The number before which the next page begins; none on the last.
    pub next_before: Option<u64>,
}

impl Engine {
    /// A page of the changes of plans, policies and API keys that are numbered below `before`.
    ///
    /// # Errors
    /// The store's.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<AuditPage, EngineError> {
        let everything = AuditQuery::default();
        let query = AuditQuery {
            actor: filter.actor.as_ref().map(Name::to_string),
            kind: filter.kind.clone(),
            from: filter.from.unwrap_or(everything.from),
            to: filter.to.unwrap_or(everything.to),
            before: before.unwrap_or(everything.before),
            limit: limit.saturating_add(1),
            ..everything
        };
        let mut rows = self.shared.store.audit(&query).await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_before = rows.last().map(|(number, _)| *number).filter(|_| has_more);
        let entries = rows.into_iter().map(|(number, row)| catalog::read(number, row));
        Ok(AuditPage { entries: entries.collect::<Result<_, _>>()?, next_before })
    }
}

/// Of two objects only what differs; else both as they are.
fn difference(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let (Some(Value::Object(mut before)), Some(Value::Object(mut after))) = (before.clone(), after.clone())
    else {
        return (before, after);
    };
    let same: Vec<String> = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(*value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        before.remove(&name);
        after.remove(&name);
    }
    // A field that one of them lacks is null there.
    let names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    for name in names {
        before.entry(name.clone()).or_insert(Value::Null);
        after.entry(name).or_insert(Value::Null);
    }
    (Some(Value::Object(before)), Some(Value::Object(after)))
}

/// Takes out what the host makes for itself of what it was given.
fn without_internals(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        for name in ["prepared", "needs", "manifest", "decision"] {
            Map::remove(fields, name);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_told() {
        let told = |before: Value, after: Value| difference(Some(before), Some(after));
        assert_eq!(
            told(json!({"a": 1, "b": 2, "c": 3}), json!({"a": 1, "b": 4, "d": 5})),
            (Some(json!({"b": 2, "c": 3, "d": null})), Some(json!({"b": 4, "c": null, "d": 5})))
        );
        assert_eq!(difference(None, Some(json!({"a": 1}))), (None, Some(json!({"a": 1}))));
    }
}
