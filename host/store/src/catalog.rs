//! The SQL of plans, policies, modules, API keys and stored answers that both databases share. Nothing is executed here.

use crate::{
    columns::{Columns, bytes, corrupt, name, number},
    error::StoreError,
    rows::{
        ApiKeyRow, AuditQuery, AuditRow, CatalogChange, CatalogRows, PlanRow, PlanTermsRow, PlanVersionRow,
        PolicyRow, PolicyVersionRow, ProductKind, ProductRow, StoredAnswer,
    },
};
use proviso_ledger::model::{ids::Digest, time::Timestamp};

pub const REVISION: &str = "SELECT catalog_revision FROM progress WHERE id = 1";
/// Counts a change of revision `$1`, unless the revision has changed. The row's lock puts the changes of all hosts in
/// order.
pub const COUNT_CHANGE: &str = "UPDATE progress SET catalog_revision = catalog_revision + 1 \
     WHERE id = 1 AND coalesce(catalog_revision = $1, true) RETURNING catalog_revision";
pub const MODULE: &str = "SELECT bytes FROM modules WHERE digest = $1";
pub const ANSWER: &str = "SELECT key_hash, request_hash, at, answer FROM answers WHERE key_hash = $1";
pub const ANSWERS: &str = "SELECT key_hash, request_hash, at, answer FROM answers \
     WHERE key_hash > $1 ORDER BY key_hash LIMIT $2";

/// Takes the arguments of [`audit_arguments`].
const AUDIT: &str = "SELECT number, at, actor, kind, subject, body FROM audit \
     WHERE ($1 = '' OR actor = $1) AND ($2 = '' OR kind = $2) AND at >= $3 AND at < $4 AND number > $5 AND number < $6 \
     ORDER BY number DESC LIMIT $7";
const AUDIT_OLDEST_FIRST: &str = "SELECT number, at, actor, kind, subject, body FROM audit \
     WHERE ($1 = '' OR actor = $1) AND ($2 = '' OR kind = $2) AND at >= $3 AND at < $4 AND number > $5 AND number < $6 \
     ORDER BY number LIMIT $7";

/// The statement that reads recorded changes.
pub const fn audit(query: &AuditQuery) -> &'static str {
    if query.oldest_first { AUDIT_OLDEST_FIRST } else { AUDIT }
}

/// Texts and numbers, in their order.
pub fn audit_arguments(query: &AuditQuery) -> ([&str; 2], [i64; 5]) {
    let AuditQuery { actor, kind, from, to, after, before, limit, .. } = query;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let texts = [actor.as_deref().unwrap_or_default(), kind.as_deref().unwrap_or_default()];
    (texts, [from.0, to.0, number(*after), number(*before), (*limit).into()])
}

/// Decodes a recorded change.
pub fn audit_row(row: &impl Columns) -> Result<(u64, AuditRow), StoreError> {
    let text = |column| row.text(column).map(str::to_owned);
    let at = Timestamp(row.integer(1)?);
    Ok((number(row, 0)?, AuditRow { at, actor: text(2)?, kind: text(3)?, subject: text(4)?, body: text(5)? }))
}

/// A table that hosts hold in memory.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    Plans,
    PlanVersions,
    PlanTerms,
    Policies,
    PolicyVersions,
    ApiKeys,
    Products,
}

impl Table {
    pub const ALL: [Self; 7] = [
        Self::Plans,
        Self::PlanVersions,
        Self::PlanTerms,
        Self::Policies,
        Self::PolicyVersions,
        Self::ApiKeys,
        Self::Products,
    ];

    /// Selects the rows that revisions above `$1` wrote.
    pub const fn select(self) -> &'static str {
        match self {
            Self::Plans => "SELECT plan_id, body, revision FROM plans WHERE revision > $1 ORDER BY plan_id",
            Self::PlanVersions => {
                "SELECT plan_id, version, body, revision FROM plan_versions WHERE revision > $1 ORDER BY plan_id, version"
            }
            Self::PlanTerms => {
                "SELECT plan_id, number, body, revision FROM plan_terms WHERE revision > $1 ORDER BY plan_id, number"
            }
            Self::Policies => {
                "SELECT policy_id, body, revision FROM policies WHERE revision > $1 ORDER BY policy_id"
            }
            Self::PolicyVersions => {
                "SELECT policy_id, version, digest, deleted, body, revision FROM policy_versions WHERE revision > $1 \
                 ORDER BY policy_id, version"
            }
            Self::ApiKeys => {
                "SELECT key_id, secret_hash, body, revision FROM api_keys WHERE revision > $1 ORDER BY key_id"
            }
            Self::Products => {
                "SELECT kind, product_id, body, revision FROM products WHERE revision > $1 ORDER BY kind, product_id"
            }
        }
    }

    /// Where these rows have the revision that wrote them.
    pub const fn revision_column(self) -> usize {
        match self {
            Self::Plans | Self::Policies => 2,
            Self::PlanVersions | Self::PlanTerms | Self::ApiKeys | Self::Products => 3,
            Self::PolicyVersions => 5,
        }
    }

    /// Decodes one of these rows.
    pub fn add_row(self, catalog: &mut CatalogRows, row: &impl Columns) -> Result<(), StoreError> {
        match self {
            Self::Plans => {
                catalog.plans.push(PlanRow { plan: name(row, 0)?, body: row.text(1)?.to_owned() });
            }
            Self::PlanVersions => catalog.plan_versions.push(PlanVersionRow {
                plan: name(row, 0)?,
                version: number(row, 1)?,
                body: row.text(2)?.to_owned(),
            }),
            Self::PlanTerms => catalog.plan_terms.push(PlanTermsRow {
                plan: name(row, 0)?,
                number: number(row, 1)?,
                body: row.text(2)?.to_owned(),
            }),
            Self::Policies => {
                catalog.policies.push(PolicyRow { policy: name(row, 0)?, body: row.text(1)?.to_owned() });
            }
            Self::PolicyVersions => catalog.policy_versions.push(PolicyVersionRow {
                policy: name(row, 0)?,
                version: number(row, 1)?,
                digest: Digest(bytes(row, 2)?),
                deleted: row.flag(3)?,
                body: row.text(4)?.to_owned(),
            }),
            Self::ApiKeys => catalog.api_keys.push(ApiKeyRow {
                id: name(row, 0)?,
                secret_hash: bytes(row, 1)?,
                body: row.text(2)?.to_owned(),
            }),
            Self::Products => {
                let kind = row.text(0)?;
                let kind = ProductKind::ALL.into_iter().find(|known| known.as_str() == kind);
                let kind = kind.ok_or_else(|| corrupt("a product of an unknown kind"))?;
                let product = ProductRow { kind, product: name(row, 1)?, body: row.text(2)?.to_owned() };
                catalog.products.push((product, number(row, 3)?));
            }
        }
        Ok(())
    }
}

/// A statement with its arguments.
#[derive(Debug)]
pub struct Statement {
    pub sql: &'static str,
    pub arguments: Vec<Argument>,
    /// Whether it is a conflict when no row was written.
    pub must_write: bool,
}

#[derive(Debug)]
pub enum Argument {
    Text(String),
    Blob(Vec<u8>),
    Integer(i64),
    Flag(bool),
}

/// Makes one change, as part of `revision`. A missing plan, policy or module that the row belongs to shows as a violated
/// foreign key.
pub fn change(change: CatalogChange, revision: i64) -> Statement {
    use Argument::{Blob, Integer, Text};
    use CatalogChange::{
        AddApiKey, AddAudit, AddPlanTerms, AddPlanVersion, AddPolicyVersion, PutModule, PutPlan, PutPolicy,
        PutProduct, SetApiKey, SetPlanTerms, SetPolicyVersion,
    };
    let text = |key: &proviso_ledger::model::ids::Name| Text(key.to_string());
    let written = Integer(revision);
    let must_write = !matches!(change, PutModule { .. });
    let (sql, arguments) = match change {
        PutPlan(row) => (
            "INSERT INTO plans (plan_id, body, revision) VALUES ($1, $2, $3) ON CONFLICT (plan_id) \
             DO UPDATE SET body = excluded.body, revision = excluded.revision",
            vec![text(&row.plan), Text(row.body), written],
        ),
        AddPlanVersion(row) => (
            "INSERT INTO plan_versions (plan_id, version, body, revision) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
            vec![text(&row.plan), Integer(row.version.into()), Text(row.body), written],
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
        PutProduct(row) => (
            "INSERT INTO products (kind, product_id, body, revision) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (kind, product_id) DO UPDATE SET body = excluded.body, revision = excluded.revision",
            vec![Text(row.kind.as_str().to_owned()), text(&row.product), Text(row.body), written],
        ),
        // Changes are made one after another, so that the numbers have no gaps.
        AddAudit(row) => (
            "INSERT INTO audit (number, at, actor, kind, subject, body) \
             SELECT coalesce(max(number), 0) + 1, $1, $2, $3, $4, $5 FROM audit",
            vec![Integer(row.at.0), Text(row.actor), Text(row.kind), Text(row.subject), Text(row.body)],
        ),
    };
    Statement { sql, arguments, must_write }
}

fn version(row: PolicyVersionRow, written: Argument) -> Vec<Argument> {
    vec![
        Argument::Text(row.policy.to_string()),
        Argument::Integer(row.version.into()),
        Argument::Blob(row.digest.0.to_vec()),
        Argument::Flag(row.deleted),
        Argument::Text(row.body),
        written,
    ]
}

/// Stores an answer.
pub fn store_answer(answer: StoredAnswer) -> Statement {
    Statement {
        sql: "INSERT INTO answers (key_hash, request_hash, at, answer) VALUES ($1, $2, $3, $4) \
              ON CONFLICT DO NOTHING",
        arguments: vec![
            Argument::Blob(answer.key_hash.to_vec()),
            Argument::Blob(answer.request_hash.to_vec()),
            Argument::Integer(answer.at.0),
            Argument::Text(answer.answer),
        ],
        must_write: true,
    }
}
