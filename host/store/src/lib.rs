//! The only room that knows SQL: journals, their caches and the reference data, durably.
//!
//! In come rows and questions, out come rows and whether a commit is durable. What the JSON texts in the rows mean is
//! never looked at here, and nothing is decided here but conflicts.

mod address;
mod batch;
mod columns;
mod copy;
mod error;
mod postgres;
mod reference;
mod rows;
mod sql_error;
mod sqlite;

pub use address::{Access, open};
pub use copy::{Copied, copy};
pub use error::StoreError;
pub use rows::{
    ApiKeyRow, Batch, Commit, CustomerRow, KeyHash, LoadedCustomer, NewEntry, NewKey, NewSnapshot, PlanRow,
    PlanTermsRow, PolicyRow, PolicyVersionRow, Reference, ReferenceChange, StoredAnswer, StoredEntry,
    StoredSnapshot,
};

pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::{SqliteOptions, SqliteStore};

use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use std::time::Duration;

/// A database. Whatever a call answered [`Commit::Durable`] for, every later call sees.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether other processes may write to this database while it is open.
    fn is_shared(&self) -> bool;

    /// What is needed to bring each customer's state from the entry that is known of it to its last one, in the order
    /// asked: for a known number above 0 the entries after it, and for 0, when nothing is known, the newest snapshot
    /// with the entries after that.
    async fn load(&self, known: &[(CustomerId, Seq)]) -> Result<Vec<LoadedCustomer>, StoreError>;

    /// The entry that answered each key, in the order asked.
    async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError>;

    /// Up to `limit` of a customer's keys above `after`, in order, with the entry that answered each.
    async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError>;

    /// Writes a batch, or nothing of it. A [`Commit::Conflict`] when an entry's number is not the next of its
    /// customer, when a key exists already, when a key or snapshot is of an entry that does not exist, or when the
    /// reference data has another revision by now than the batch names. After an error the batch may have been written
    /// all the same: load again before deciding again.
    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError>;

    /// Up to `limit` entries numbered above `after`, in order.
    async fn entries(
        &self,
        customer: &CustomerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// Up to `limit` entries numbered below `before` (none: from the last one), newest first.
    async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// The number of the customer's last entry at or before `at`, 0 when there is none.
    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError>;

    /// The newest snapshot that holds no entry above `seq`.
    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
    ) -> Result<Option<StoredSnapshot>, StoreError>;

    /// Up to `limit` customers with keys above `after`, by key.
    async fn customers(&self, after: Option<&CustomerId>, limit: u32)
    -> Result<Vec<CustomerRow>, StoreError>;

    /// One customer.
    async fn customer(&self, customer: &CustomerId) -> Result<Option<CustomerRow>, StoreError>;

    /// Up to `limit` customers that are due at or before `at`, earliest first, claimed for `claim`: for so long, by the
    /// database's clock, or until a due time is written for them, no other process is handed them.
    async fn due(&self, at: Timestamp, limit: u32, claim: Duration) -> Result<Vec<CustomerId>, StoreError>;

    /// Moves a customer's entries up to `through`, but never the last one, to where they take less room and are out of
    /// the way of new ones. Returns how many. Every answer stays what it was. It is one transaction: ask for some
    /// thousands at once, not for millions.
    async fn archive(&self, customer: &CustomerId, through: Seq) -> Result<u64, StoreError> {
        let _ = (customer, through);
        Err(StoreError::NoArchive)
    }

    /// The reference data as of one moment, without the modules' bytes: those rows that later revisions than `since`
    /// wrote. Rows are never deleted, so what was known at `since` and these are all there is.
    async fn reference(&self, since: u64) -> Result<Reference, StoreError>;

    /// The revision of the reference data.
    async fn reference_revision(&self) -> Result<u64, StoreError>;

    /// Makes all changes in their order, or none, and keeps the request that asked for them. A [`Commit::Conflict`]
    /// when the reference data has another revision by now than `base`, when a change meets a row (or misses one) that
    /// it must not, or when the request's key exists already.
    async fn change_reference(
        &self,
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError>;

    /// A module's bytes.
    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// The management request that came with this key.
    async fn request(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError>;

    /// Up to `limit` management requests with keys above `after`, in order.
    async fn requests(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what is under way and lets go of the database. Later calls fail.
    async fn close(&self);
}
