//! Plans, policies, modules, API keys and management requests: small tables, written seldom and read at once.
//!
//! In come changes and questions, out come rows. What is changed here never touches a journal.

use super::{
    connect::broken,
    reads::{bytes, key},
};
use crate::{
    StoreError,
    rows::{
        ApiKeyRow, Commit, KeyHash, PlanRow, PlanTermsRow, PolicyRow, PolicyVersionRow, Reference,
        ReferenceChange, StoredRequest,
    },
};
use proviso_ledger::{ids::Digest, time::Timestamp};
use sqlx::{Connection, Row, SqliteConnection, SqlitePool, error::ErrorKind, sqlite::SqliteRow};

const REVISION: &str = "SELECT reference_revision FROM progress";

/// Everything but the modules' bytes, in one read snapshot.
pub async fn read(pool: &SqlitePool) -> Result<Reference, StoreError> {
    let mut snapshot = pool.begin().await?;
    let revision = sqlx::query_scalar::<_, i64>(REVISION).fetch_one(&mut *snapshot).await?;
    let mut rows = async |sql: &'static str| sqlx::query(sql).fetch_all(&mut *snapshot).await;
    let plans = rows("SELECT plan_id, body FROM plans ORDER BY plan_id").await?;
    let terms = rows("SELECT plan_id, number, body FROM plan_terms ORDER BY plan_id, number").await?;
    let policies = rows("SELECT policy_id, body FROM policies ORDER BY policy_id").await?;
    let versions = rows(
        "SELECT policy_id, version, digest, deleted, body FROM policy_versions ORDER BY policy_id, version",
    )
    .await?;
    let api_keys = rows("SELECT key_id, secret_hash, body FROM api_keys ORDER BY key_id").await?;
    snapshot.rollback().await?;
    Ok(Reference {
        revision: u64::try_from(revision).map_err(broken)?,
        plans: all(&plans, |row| Ok(PlanRow { plan: key(row, 0)?, body: row.try_get(1)? }))?,
        plan_terms: all(&terms, |row| {
            let number = u64::try_from(row.try_get::<i64, _>(1)?).map_err(broken)?;
            Ok(PlanTermsRow { plan: key(row, 0)?, number, body: row.try_get(2)? })
        })?,
        policies: all(&policies, |row| Ok(PolicyRow { policy: key(row, 0)?, body: row.try_get(1)? }))?,
        policy_versions: all(&versions, |row| {
            Ok(PolicyVersionRow {
                policy: key(row, 0)?,
                version: row.try_get(1)?,
                digest: Digest(bytes(row, 2)?),
                deleted: row.try_get(3)?,
                body: row.try_get(4)?,
            })
        })?,
        api_keys: all(&api_keys, |row| {
            Ok(ApiKeyRow { id: key(row, 0)?, secret_hash: bytes(row, 1)?, body: row.try_get(2)? })
        })?,
    })
}

fn all<T>(
    rows: &[SqliteRow],
    decode: impl FnMut(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(decode).collect()
}

pub async fn revision(pool: &SqlitePool) -> Result<u64, StoreError> {
    u64::try_from(sqlx::query_scalar::<_, i64>(REVISION).fetch_one(pool).await?).map_err(broken)
}

pub async fn module(pool: &SqlitePool, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT bytes FROM modules WHERE digest = ?1";
    Ok(sqlx::query_scalar(sql).bind(digest.0.as_slice()).fetch_optional(pool).await?)
}

pub async fn request(pool: &SqlitePool, key_hash: KeyHash) -> Result<Option<StoredRequest>, StoreError> {
    let sql = "SELECT request_hash, at, status, body FROM requests WHERE key_hash = ?1";
    let row = sqlx::query(sql).bind(key_hash.as_slice()).fetch_optional(pool).await?;
    row.map(|row| {
        Ok(StoredRequest {
            key_hash,
            request_hash: bytes(&row, 0)?,
            at: Timestamp(row.try_get(1)?),
            status: row.try_get(2)?,
            body: row.try_get(3)?,
        })
    })
    .transpose()
}

/// Makes all changes and keeps the request, or does nothing.
pub async fn change(
    connection: &mut SqliteConnection,
    changes: Vec<ReferenceChange>,
    request: Option<StoredRequest>,
) -> Result<Commit, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        if !apply(&mut transaction, change).await? {
            transaction.rollback().await?;
            return Ok(Commit::Conflict);
        }
    }
    if let Some(request) = request
        && !keep(&mut transaction, request).await?
    {
        transaction.rollback().await?;
        return Ok(Commit::Conflict);
    }
    sqlx::query("UPDATE progress SET reference_revision = reference_revision + 1")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Commit::Durable)
}

/// True when the change found what it must find and missed what it must miss.
async fn apply(connection: &mut SqliteConnection, change: ReferenceChange) -> Result<bool, StoreError> {
    use ReferenceChange::{
        AddApiKey, AddPlanTerms, AddPolicyVersion, PutModule, PutPlan, PutPolicy, SetApiKey, SetPlanTerms,
        SetPolicyVersion,
    };
    let (query, always) = match change {
        PutPlan(row) => {
            let sql = "INSERT INTO plans (plan_id, body) VALUES (?1, ?2) \
                       ON CONFLICT DO UPDATE SET body = excluded.body";
            (sqlx::query(sql).bind(row.plan.to_string()).bind(row.body), false)
        }
        AddPlanTerms(row) => {
            let sql =
                "INSERT INTO plan_terms (plan_id, number, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            (sqlx::query(sql).bind(row.plan.to_string()).bind(row.number.cast_signed()).bind(row.body), false)
        }
        SetPlanTerms(row) => {
            let sql = "UPDATE plan_terms SET body = ?3 WHERE plan_id = ?1 AND number = ?2";
            (sqlx::query(sql).bind(row.plan.to_string()).bind(row.number.cast_signed()).bind(row.body), false)
        }
        PutPolicy(row) => {
            let sql = "INSERT INTO policies (policy_id, body) VALUES (?1, ?2) \
                       ON CONFLICT DO UPDATE SET body = excluded.body";
            (sqlx::query(sql).bind(row.policy.to_string()).bind(row.body), false)
        }
        PutModule { digest, bytes } => {
            let sql = "INSERT INTO modules (digest, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            (sqlx::query(sql).bind(digest.0.to_vec()).bind(bytes), true)
        }
        AddPolicyVersion(row) => {
            let sql = "INSERT INTO policy_versions (policy_id, version, digest, deleted, body) \
                       VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let query =
                sqlx::query(sql).bind(row.policy.to_string()).bind(row.version).bind(row.digest.0.to_vec());
            (query.bind(row.deleted).bind(row.body), false)
        }
        SetPolicyVersion(row) => {
            let sql = "UPDATE policy_versions SET deleted = ?4, body = ?5 \
                       WHERE policy_id = ?1 AND version = ?2 AND digest = ?3";
            let query =
                sqlx::query(sql).bind(row.policy.to_string()).bind(row.version).bind(row.digest.0.to_vec());
            (query.bind(row.deleted).bind(row.body), false)
        }
        AddApiKey(row) => {
            let sql =
                "INSERT INTO api_keys (key_id, secret_hash, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            (sqlx::query(sql).bind(row.id.to_string()).bind(row.secret_hash.to_vec()).bind(row.body), false)
        }
        SetApiKey(row) => {
            let sql = "UPDATE api_keys SET body = ?3 WHERE key_id = ?1 AND secret_hash = ?2";
            (sqlx::query(sql).bind(row.id.to_string()).bind(row.secret_hash.to_vec()).bind(row.body), false)
        }
    };
    match query.execute(connection).await {
        Ok(done) => Ok(always || done.rows_affected() == 1),
        // The plan, policy or module that it belongs to is missing.
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::ForeignKeyViolation => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn keep(connection: &mut SqliteConnection, request: StoredRequest) -> Result<bool, StoreError> {
    let sql = "INSERT INTO requests (key_hash, request_hash, at, status, body) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT DO NOTHING";
    let query = sqlx::query(sql).bind(request.key_hash.to_vec()).bind(request.request_hash.to_vec());
    let done = query.bind(request.at.0).bind(request.status).bind(request.body).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
