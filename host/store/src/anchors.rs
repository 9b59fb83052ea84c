//! What a database keeps of checkpoints: signed statements, and the ends of journals that they name. The statements are
//! opaque here.

use crate::{
    catalog::Table,
    columns::{self, Columns, bytes, number, seq},
    error::StoreError,
    rows::{CatalogRows, Commit},
};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use std::time::Duration;

/// The last entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalEnd {
    /// Its number; 0 for a journal that is gone.
    pub seq: Seq,
    /// Its hash in the chain; zeros for a journal that is gone.
    pub hash: [u8; 32],
}

impl JournalEnd {
    /// Of a journal that is gone.
    pub const GONE: Self = Self { seq: 0, hash: [0; 32] };
}

/// A journal's end now, and at the newest checkpoint that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Whose.
    pub customer: CustomerId,
    /// Now.
    pub end: JournalEnd,
    /// What the newest checkpoint with this journal says.
    pub anchored: Option<JournalEnd>,
}

/// What a checkpoint says of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Whose.
    pub customer: CustomerId,
    /// The checkpoint's number.
    pub checkpoint: u64,
    /// Where the journal ended.
    pub end: JournalEnd,
}

/// A row of the catalog, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogStamp {
    /// Its table.
    pub table: &'static str,
    /// The plan, policy or API key; of a product, its kind and key.
    pub key: String,
    /// The number of a plan's terms, or a policy's version; 0 for others.
    pub number: u64,
    /// The catalog's revision that wrote it.
    pub revision: u64,
    /// SHA-256 of all its columns but the revision.
    pub digest: Digest,
}

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// 1, 2, 3, with no gaps.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// JSON: what is signed.
    pub statement: String,
    /// JSON.
    pub catalog: String,
    /// Over the statement.
    pub signature: Vec<u8>,
    /// The public part of the key that signed.
    pub public_key: [u8; 32],
}

/// The part of a store that keeps checkpoints.
#[async_trait::async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Whether this host may write a checkpoint. Then no other host may until one is written, the claim is released, or `claim`
    /// has passed on the database's clock.
    async fn claim_checkpoint(&self, claim: Duration) -> Result<bool, StoreError>;

    /// Lets others write the next checkpoint.
    async fn release_checkpoint(&self) -> Result<(), StoreError>;

    /// Up to `limit` journals of customers above `after`, by customer: of all that there are or that a checkpoint names.
    async fn journal_ends(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError>;

    /// The catalog's revision and all its rows, as of one moment, in order.
    async fn catalog_stamps(&self) -> Result<(u64, Vec<CatalogStamp>), StoreError>;

    /// Stores a checkpoint with the ends that it names, as a whole or not at all. It is a [`Commit::Conflict`] when its
    /// number is not the next one.
    async fn add_checkpoint(
        &self,
        checkpoint: CheckpointRow,
        ends: Vec<(CustomerId, JournalEnd)>,
    ) -> Result<Commit, StoreError>;

    /// Up to `limit` checkpoints numbered above `after`, in order. A store that was opened to read a file while another
    /// process writes it knows those that name no entry that it can't see.
    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<CheckpointRow>, StoreError>;

    /// The newest of them.
    async fn newest_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError>;

    /// Up to `limit` ends after this customer and checkpoint, by customer and checkpoint, of the same checkpoints.
    async fn anchors(&self, after: Option<(&CustomerId, u64)>, limit: u32)
    -> Result<Vec<Anchor>, StoreError>;
}

pub const CHECKPOINTS: &str = "SELECT number, at, statement, catalog, signature, public_key FROM checkpoints \
     WHERE number > $1 AND number <= $2 ORDER BY number LIMIT $3";
pub const NEWEST: &str = "SELECT number, at, statement, catalog, signature, public_key FROM checkpoints \
     WHERE number <= $1 ORDER BY number DESC LIMIT 1";
/// Writes nothing when the number is not the next one.
pub const ADD: &str = "INSERT INTO checkpoints (number, at, statement, catalog, signature, public_key) \
     SELECT $1, $2, $3, $4, $5, $6 WHERE $1 = 1 + (SELECT coalesce(max(number), 0) FROM checkpoints)";
pub const ANCHORS: &str = "SELECT customer_id, checkpoint, seq, hash FROM anchors \
     WHERE (customer_id, checkpoint) > ($1, $2) AND checkpoint <= $3 \
       AND checkpoint <= (SELECT coalesce(max(number), 0) FROM checkpoints) ORDER BY customer_id, checkpoint LIMIT $4";

pub fn checkpoint(row: &impl Columns) -> Result<CheckpointRow, StoreError> {
    Ok(CheckpointRow {
        number: number(row, 0)?,
        at: Timestamp(row.integer(1)?),
        statement: row.text(2)?.to_owned(),
        catalog: row.text(3)?.to_owned(),
        signature: row.blob(4)?.to_vec(),
        public_key: bytes(row, 5)?,
    })
}

pub fn anchor(row: &impl Columns) -> Result<Anchor, StoreError> {
    Ok(Anchor { customer: columns::key(row, 0)?, checkpoint: number(row, 1)?, end: end(row, 2)? })
}

/// `seq, hash`, from a column on.
pub fn end(row: &impl Columns, from: usize) -> Result<JournalEnd, StoreError> {
    Ok(JournalEnd { seq: seq(row, from)?, hash: bytes(row, from + 1)? })
}

/// The digest of a catalog row as [`Table::select`] gives it.
pub fn stamp(table: Table, row: &impl Columns) -> Result<CatalogStamp, StoreError> {
    let mut rows = CatalogRows::default();
    table.add_row(&mut rows, row)?;
    let revision = number(row, table.revision_column())?;
    let found = match table {
        Table::Plans => {
            rows.plans.pop().map(|row| ("plans", row.plan.to_string(), 0, parts(&[row.body.as_bytes()])))
        }
        Table::PlanVersions => rows.plan_versions.pop().map(|row| {
            ("plan_versions", row.plan.to_string(), row.version.into(), parts(&[row.body.as_bytes()]))
        }),
        Table::PlanTerms => rows
            .plan_terms
            .pop()
            .map(|row| ("plan_terms", row.plan.to_string(), row.number, parts(&[row.body.as_bytes()]))),
        Table::Policies => rows
            .policies
            .pop()
            .map(|row| ("policies", row.policy.to_string(), 0, parts(&[row.body.as_bytes()]))),
        Table::PolicyVersions => rows.policy_versions.pop().map(|row| {
            let content = parts(&[&row.digest.0, &[u8::from(row.deleted)], row.body.as_bytes()]);
            ("policy_versions", row.policy.to_string(), row.version.into(), content)
        }),
        Table::ApiKeys => rows
            .api_keys
            .pop()
            .map(|row| ("api_keys", row.id.to_string(), 0, parts(&[&row.secret_hash, row.body.as_bytes()]))),
        Table::Products => rows.products.pop().map(|(row, _)| {
            let key = format!("{}/{}", row.kind.as_str(), row.product);
            ("products", key, 0, parts(&[row.body.as_bytes()]))
        }),
    };
    let (table, key, number, content) = found.ok_or_else(|| columns::corrupt("a row without content"))?;
    Ok(CatalogStamp { table, key, number, revision, digest: Digest::of(&content) })
}

/// Each part after its length, so that no two lists of parts are the same bytes.
fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_le_bytes());
        all.extend_from_slice(part);
    }
    all
}
