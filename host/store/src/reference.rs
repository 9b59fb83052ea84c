//! Plans, policies, modules, API keys and management requests, as far as both databases say the same.
//!
//! In come changes and rows, out come statements to run and reference data. Nothing is executed here.

use crate::{
    StoreError,
    columns::{Columns, bytes, name, number},
    rows::{
        ApiKeyRow, PlanRow, PlanTermsRow, PolicyRow, PolicyVersionRow, Reference, ReferenceChange,
        StoredRequest,
    },
};
use proviso_ledger::ids::Digest;

pub const REVISION: &str = "SELECT reference_revision FROM progress WHERE id = 1";
/// Counts a change to `$1` of the reference data, unless others have changed it since. That row's lock makes the changes
/// of all hosts one line.
pub const COUNT_CHANGE: &str = "UPDATE progress SET reference_revision = reference_revision + 1 \
     WHERE id = 1 AND coalesce(reference_revision = $1, true) RETURNING reference_revision";
pub const MODULE: &str = "SELECT bytes FROM modules WHERE digest = $1";
pub const REQUEST: &str = "SELECT key_hash, request_hash, at, status, body FROM requests WHERE key_hash = $1";
pub const REQUESTS: &str = "SELECT key_hash, request_hash, at, status, body FROM requests \
     WHERE key_hash > $1 ORDER BY key_hash LIMIT $2";

/// What [`decode`] wants to see, in this order: of each table the rows that were written after revision `$1`.
pub const TABLES: [&str; 5] = [
    "SELECT plan_id, body FROM plans WHERE revision > $1 ORDER BY plan_id",
    "SELECT plan_id, number, body FROM plan_terms WHERE revision > $1 ORDER BY plan_id, number",
    "SELECT policy_id, body FROM policies WHERE revision > $1 ORDER BY policy_id",
    "SELECT policy_id, version, digest, deleted, body FROM policy_versions WHERE revision > $1 ORDER BY policy_id, version",
    "SELECT key_id, secret_hash, body FROM api_keys WHERE revision > $1 ORDER BY key_id",
];

/// The rows of [`TABLES`] as reference data.
pub fn decode<R: Columns>(revision: u64, tables: &[Vec<R>; 5]) -> Result<Reference, StoreError> {
    let [plans, terms, policies, versions, api_keys] = tables;
    Ok(Reference {
        revision,
        plans: all(plans, |row| Ok(PlanRow { plan: name(row, 0)?, body: row.text(1)?.to_owned() }))?,
        plan_terms: all(terms, |row| {
            Ok(PlanTermsRow { plan: name(row, 0)?, number: number(row, 1)?, body: row.text(2)?.to_owned() })
        })?,
        policies: all(policies, |row| {
            Ok(PolicyRow { policy: name(row, 0)?, body: row.text(1)?.to_owned() })
        })?,
        policy_versions: all(versions, |row| {
            Ok(PolicyVersionRow {
                policy: name(row, 0)?,
                version: number(row, 1)?,
                digest: Digest(bytes(row, 2)?),
                deleted: row.flag(3)?,
                body: row.text(4)?.to_owned(),
            })
        })?,
        api_keys: all(api_keys, |row| {
            Ok(ApiKeyRow { id: name(row, 0)?, secret_hash: bytes(row, 1)?, body: row.text(2)?.to_owned() })
        })?,
    })
}

fn all<R, T>(rows: &[R], decode: impl FnMut(&R) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(decode).collect()
}

/// A statement with its arguments.
#[derive(Debug)]
pub struct Statement {
    pub sql: &'static str,
    pub values: Vec<Value>,
    /// Whether it is a conflict when no row was written.
    pub must_write: bool,
}

/// An argument.
#[derive(Debug)]
pub enum Value {
    Text(String),
    Blob(Vec<u8>),
    Integer(i64),
    Flag(bool),
}

/// Makes one change, as part of `revision`. That a plan, policy or module is missing to which it belongs shows as a violated foreign key.
pub fn change(change: ReferenceChange, revision: i64) -> Statement {
    use ReferenceChange::{
        AddApiKey, AddPlanTerms, AddPolicyVersion, PutModule, PutPlan, PutPolicy, SetApiKey, SetPlanTerms,
        SetPolicyVersion,
    };
    use Value::{Blob, Integer, Text};
    let text = |name: &proviso_ledger::ids::Name| Text(name.to_string());
    let written = Integer(revision);
    let must_write = !matches!(change, PutModule { .. });
    let (sql, values) = match change {
        PutPlan(row) => (
            "INSERT INTO plans (plan_id, body, revision) VALUES ($1, $2, $3) ON CONFLICT (plan_id) \
             DO UPDATE SET body = excluded.body, revision = excluded.revision",
            vec![text(&row.plan), Text(row.body), written],
        ),
        AddPlanTerms(row) => (
            "INSERT INTO plan_terms (plan_id, number, body, revision) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
            vec![text(&row.plan), Integer(row.number.cast_signed()), Text(row.body), written],
        ),
        SetPlanTerms(row) => (
            "UPDATE plan_terms SET body = $3, revision = $4 WHERE plan_id = $1 AND number = $2",
            vec![text(&row.plan), Integer(row.number.cast_signed()), Text(row.body), written],
        ),
        PutPolicy(row) => (
            "INSERT INTO policies (policy_id, body, revision) VALUES ($1, $2, $3) ON CONFLICT (policy_id) \
             DO UPDATE SET body = excluded.body, revision = excluded.revision",
            vec![text(&row.policy), Text(row.body), written],
        ),
        PutModule { digest, bytes } => (
            "INSERT INTO modules (digest, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            vec![Blob(digest.0.to_vec()), Blob(bytes)],
        ),
        AddPolicyVersion(row) => (
            "INSERT INTO policy_versions (policy_id, version, digest, deleted, body, revision) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            version(row, written),
        ),
        SetPolicyVersion(row) => (
            "UPDATE policy_versions SET deleted = $4, body = $5, revision = $6 \
             WHERE policy_id = $1 AND version = $2 AND digest = $3",
            version(row, written),
        ),
        AddApiKey(row) => (
            "INSERT INTO api_keys (key_id, secret_hash, body, revision) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
            vec![text(&row.id), Blob(row.secret_hash.to_vec()), Text(row.body), written],
        ),
        SetApiKey(row) => (
            "UPDATE api_keys SET body = $3, revision = $4 WHERE key_id = $1 AND secret_hash = $2",
            vec![text(&row.id), Blob(row.secret_hash.to_vec()), Text(row.body), written],
        ),
    };
    Statement { sql, values, must_write }
}

fn version(row: PolicyVersionRow, written: Value) -> Vec<Value> {
    vec![
        Value::Text(row.policy.to_string()),
        Value::Integer(row.version.into()),
        Value::Blob(row.digest.0.to_vec()),
        Value::Flag(row.deleted),
        Value::Text(row.body),
        written,
    ]
}

/// Keeps a management request and its answer.
pub fn keep(request: StoredRequest) -> Statement {
    Statement {
        sql: "INSERT INTO requests (key_hash, request_hash, at, status, body) VALUES ($1, $2, $3, $4, $5) \
              ON CONFLICT DO NOTHING",
        values: vec![
            Value::Blob(request.key_hash.to_vec()),
            Value::Blob(request.request_hash.to_vec()),
            Value::Integer(request.at.0),
            Value::Integer(request.status.into()),
            Value::Text(request.body),
        ],
        must_write: true,
    }
}
