//! Records of changes of plans, policies and API keys, made of the rows that a change writes. Secrets are in none of them: a
//! key's hash is no part of its body.

use super::{AuditEntry, actor, difference, without_internals};
use crate::{catalog::Catalog, changes::json, error::EngineError};
use proviso_decide::catalog::Plans as _;
use proviso_ledger::model::{
    ids::{Name, TermsId},
    time::Timestamp,
};
use proviso_store::{AuditRow, CatalogChange, PlanTermsRow, PolicyVersionRow, ProductKind, ProductRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A record's body.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// The records of changes that are made of `catalog` at `at`.
pub(crate) fn records(
    catalog: &Catalog,
    changes: &[CatalogChange],
    at: Timestamp,
) -> Result<Vec<CatalogChange>, EngineError> {
    let actor = actor().map(|name| name.to_string()).unwrap_or_default();
    let mut records = Vec::new();
    for Told { kind, subject, before, after } in told(catalog, changes)? {
        let body = json(&Body { before, after })?;
        let actor = actor.clone();
        records.push(CatalogChange::AddAudit(AuditRow { at, actor, kind, subject, body }));
    }
    Ok(records)
}

/// What a record tells of a change.
pub(crate) struct Told {
    pub kind: String,
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What records tell of changes that are made of `catalog`.
pub(crate) fn told(catalog: &Catalog, changes: &[CatalogChange]) -> Result<Vec<Told>, EngineError> {
    let mut all = Vec::new();
    for change in changes {
        let Some(Record { kind, subject, before, after }) = record(catalog, change)? else { continue };
        let (before, after) = difference(before, after);
        all.push(Told { kind: kind.to_owned(), subject, before, after });
    }
    Ok(all)
}

/// The record that customers of a plan were moved to another version.
pub(crate) fn migrated(plan: &Name, at: Timestamp, after: Value) -> Result<CatalogChange, EngineError> {
    let (actor, kind) =
        (actor().map(|name| name.to_string()).unwrap_or_default(), "plan_migrated".to_owned());
    let body = json(&Body { before: None, after: Some(after) })?;
    Ok(CatalogChange::AddAudit(AuditRow { at, actor, kind, subject: format!("plan/{plan}"), body }))
}

/// A stored record.
pub(super) fn read(number: u64, row: AuditRow) -> Result<AuditEntry, EngineError> {
    let AuditRow { at, actor, kind, subject, body } = row;
    let body: Body = serde_json::from_str(&body)
        .map_err(|error| EngineError::Internal(format!("record {number} can't be read: {error}")))?;
    let actor = Some(actor).filter(|actor| !actor.is_empty());
    Ok(AuditEntry { number, at, actor, kind, subject, before: body.before, after: body.after })
}

struct Record {
    kind: &'static str,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

fn record(catalog: &Catalog, change: &CatalogChange) -> Result<Option<Record>, EngineError> {
    let made = |known: bool, created, changed| if known { changed } else { created };
    Ok(Some(match change {
        CatalogChange::PutPlan(row) => {
            let before = catalog.plans.get(&row.plan).map(|plan| value(&**plan)).transpose()?;
            let kind = made(before.is_some(), "plan_created", "plan_changed");
            Record { kind, subject: format!("plan/{}", row.plan), before, after: Some(parsed(&row.body)?) }
        }
        CatalogChange::AddPlanTerms(row) | CatalogChange::SetPlanTerms(row) => {
            let PlanTermsRow { plan, number, body } = row;
            let id = TermsId { entry: *number, index: 0 };
            let known = catalog.terms_of(plan).iter().find(|terms| terms.key.id == id);
            let before = known.map(|terms| value(&**terms)).transpose()?;
            let after = parsed(body)?;
            let was_rolled_back =
                |terms: &Value| terms.pointer("/canary/rolled_back").is_some_and(|ended| !ended.is_null());
            let kind = if was_rolled_back(&after) && !before.as_ref().is_some_and(was_rolled_back) {
                "canary_rolled_back"
            } else {
                made(before.is_some(), "terms_bound", "terms_changed")
            };
            Record { kind, subject: format!("plan/{plan}/{id}"), before, after: Some(after) }
        }
        CatalogChange::PutPolicy(row) => {
            let before = catalog.policies.get(&row.policy).map(|policy| value(&**policy)).transpose()?;
            let kind = made(before.is_some(), "policy_created", "policy_changed");
            let subject = format!("policy/{}", row.policy);
            Record { kind, subject, before, after: Some(parsed(&row.body)?) }
        }
        CatalogChange::AddPolicyVersion(row) => {
            let subject = version(row);
            Record { kind: "version_uploaded", subject, before: None, after: Some(parsed(&row.body)?) }
        }
        CatalogChange::SetPolicyVersion(row) => {
            let deleted = |deleted: bool| Some(serde_json::json!({ "deleted": deleted }));
            let known = catalog.version(&row.policy, row.version).is_some_and(|version| version.deleted);
            let (before, after) = (deleted(known), deleted(row.deleted));
            Record { kind: "version_deleted", subject: version(row), before, after }
        }
        CatalogChange::PutProduct(row) => {
            let ProductRow { kind, product, body } = row;
            let before = match kind {
                ProductKind::AddOn => catalog.add_ons.get(product).map(|one| value(&**one)),
                ProductKind::Bundle => catalog.bundles.get(product).map(|one| value(&**one)),
                ProductKind::Promotion => catalog.promotions.get(product).map(|(one, _)| value(&**one)),
            };
            let before = before.transpose()?;
            let told = match kind {
                ProductKind::AddOn => made(before.is_some(), "add_on_created", "add_on_changed"),
                ProductKind::Bundle => made(before.is_some(), "bundle_created", "bundle_changed"),
                ProductKind::Promotion => made(before.is_some(), "promotion_created", "promotion_changed"),
            };
            let subject = format!("{}/{product}", kind.as_str());
            Record { kind: told, subject, before, after: Some(parsed(body)?) }
        }
        CatalogChange::AddApiKey(row) => {
            let (subject, after) = (key(&row.id), Some(parsed(&row.body)?));
            Record { kind: "api_key_created", subject, before: None, after }
        }
        CatalogChange::SetApiKey(row) => {
            let known = catalog.api_keys.get(&row.secret_hash);
            let after = parsed(&row.body)?;
            let was_revoked = known.is_some_and(|key| key.revoked_at.is_some());
            let revokes = !was_revoked && after.get("revoked_at").is_some_and(|at| !at.is_null());
            let before = known.map(|key| value(&**key)).transpose()?;
            let kind = made(!revokes, "api_key_revoked", "api_key_changed");
            Record { kind, subject: key(&row.id), before, after: Some(after) }
        }
        // A module comes with its version, a plan's version with the plan; a record is not recorded.
        CatalogChange::AddPlanVersion(_) | CatalogChange::PutModule { .. } | CatalogChange::AddAudit(_) => {
            return Ok(None);
        }
    }))
}

fn version(row: &PolicyVersionRow) -> String {
    format!("policy/{}/{}", row.policy, row.version)
}

fn key(id: &Name) -> String {
    format!("api_key/{id}")
}

/// A thing as records show it.
pub(crate) fn value(thing: &impl Serialize) -> Result<Value, EngineError> {
    let value = serde_json::to_value(thing);
    value.map(without_internals).map_err(|error| EngineError::Internal(error.to_string()))
}

fn parsed(body: &str) -> Result<Value, EngineError> {
    let value = serde_json::from_str(body);
    value.map(without_internals).map_err(|error| EngineError::Internal(error.to_string()))
}
