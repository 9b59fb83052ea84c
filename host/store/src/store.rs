//! What every database promises to the engine.

use crate::{
    anchors::CheckpointStore,
    error::StoreError,
    redemptions::RedemptionStore,
    rollups::RollupStore,
    rows::{
        AuditQuery, AuditRow, Batch, CatalogChange, CatalogRows, Commit, CustomerRow, KeyHash,
        LoadedCustomer, StoredAnswer, StoredEntry, StoredSnapshot,
    },
};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Name, Seq},
    terms::TermsKey,
    time::Timestamp,
};
use std::time::Duration;

/// A database. Once a call has answered [`Commit::Durable`], every later call sees what it wrote.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether other processes may write to this database while it is open.
    fn is_shared(&self) -> bool;

    /// Brings each customer from its last known entry up to date, in the order asked: for a number above 0 it returns
    /// the entries after it; for 0 (nothing is known) the newest snapshot of this format and the entries after that.
    /// Snapshots of other formats are ignored.
    async fn load(&self, known: &[(CustomerId, Seq)], format: u32)
    -> Result<Vec<LoadedCustomer>, StoreError>;

    /// The entry that answered each key, in the order asked.
    async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError>;

    /// Up to `limit` of a customer's keys above `after`, in order, with the entry that answered each.
    async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError>;

    /// Writes a batch as a whole or not at all. It is a [`Commit::Conflict`] when an entry's number is not its
    /// customer's next, a key exists already, a key or snapshot names an entry that does not exist, or the catalog's
    /// revision is not the batch's. After an error the batch may have been written: load again before deciding again.
    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError>;

    /// Up to `limit` entries numbered above `after`, in order.
    async fn entries(
        &self,
        customer: &CustomerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// Up to `limit` entries numbered below `before` (None: from the last one), newest first.
    async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// The number of the customer's last entry at or before `at`, 0 when there is none.
    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError>;

    /// The newest snapshot of this format that includes no entry above `seq`.
    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
        format: u32,
    ) -> Result<Option<StoredSnapshot>, StoreError>;

    /// Up to `limit` customers with keys above `after`, by key.
    async fn customers(&self, after: Option<&CustomerId>, limit: u32)
    -> Result<Vec<CustomerRow>, StoreError>;

    /// Up to `limit` open customers with keys above `after` that are on this version of a plan, by key.
    async fn customers_of_plan(
        &self,
        plan: &Name,
        version: u32,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError>;

    /// Up to `limit` customers with keys above `after` of which a top-up awaits its payment, by key.
    async fn customers_awaiting_payment(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError>;

    /// How many open customers each version of a plan has, by version. Versions that have none are left out.
    async fn plan_customers(&self, plan: &Name) -> Result<Vec<(u32, u64)>, StoreError>;

    /// Up to `limit` customers that are due at or before `at`, earliest first, claimed for `claim`: until that time has
    /// passed on the database's clock, or a due time is written for them, no other process gets them.
    async fn due(&self, at: Timestamp, limit: u32, claim: Duration) -> Result<Vec<CustomerId>, StoreError>;

    /// Moves a customer's entries up to `through`, but never its last one, from the hot table to compressed segments.
    /// Returns how many. No answer changes. It is one transaction: pass some thousands of entries at once, not millions.
    async fn archive(&self, customer: &CustomerId, through: Seq) -> Result<u64, StoreError> {
        let _ = (customer, through);
        Err(StoreError::NoArchive)
    }

    /// The catalog rows that revisions above `since` wrote, without the modules' bytes, as of one moment. Rows are never
    /// deleted, so these and what was known at `since` are the whole catalog.
    async fn catalog(&self, since: u64) -> Result<CatalogRows, StoreError>;

    /// The catalog's revision.
    async fn catalog_revision(&self) -> Result<u64, StoreError>;

    /// Makes all changes in their order and stores the answer to the request for them, or does nothing. It is a
    /// [`Commit::Conflict`] when the catalog's revision is not `base`, a change finds a row that must not exist (or
    /// misses one that must), or the answer's key exists already.
    async fn change_catalog(
        &self,
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError>;

    /// A module's bytes.
    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// The answer that was stored under this key with a change of the catalog.
    async fn answer(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError>;

    /// Up to `limit` stored answers with keys above `after`, in order.
    async fn answers(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError>;

    /// Recorded changes of the catalog with their numbers: 1, 2, 3, with no gaps, in the order in which they were made. None is
    /// ever changed or deleted.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError>;

    /// Records that this open store is in use, and the newest format of entries that its host reads. To be repeated well
    /// within the age that [`oldest_live_format`](Self::oldest_live_format) is asked for. Closing the store takes it
    /// back.
    async fn announce(&self, reads_format: u32) -> Result<(), StoreError>;

    /// The lowest format that was announced for any store that is open on this database and was announced within
    /// `max_age` by the database's clock; None when there is none. Entries of newer formats must not be written. Where
    /// only one process may write, its own format is the answer however long ago it was announced.
    async fn oldest_live_format(&self, max_age: Duration) -> Result<Option<u32>, StoreError>;

    /// Replaces what this open store counted of a canary's decisions. What it counted before it was opened anew, and what others
    /// count, stays beside it.
    async fn put_rollout_counts(&self, terms: &TermsKey, body: &str) -> Result<(), StoreError>;

    /// What any open store ever counted of a canary's decisions, one text for each opening.
    async fn rollout_counts(&self, terms: &TermsKey) -> Result<Vec<String>, StoreError>;

    /// The part that keeps checkpoints; None where there is none.
    fn checkpoint_store(&self) -> Option<&dyn CheckpointStore> {
        None
    }

    /// The part that keeps usage totals; None where there is none.
    fn rollup_store(&self) -> Option<&dyn RollupStore> {
        None
    }

    /// The part that counts redemptions of promotions; None where there is none.
    fn redemption_store(&self) -> Option<&dyn RedemptionStore> {
        None
    }

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what is in progress and closes the database. Later calls fail.
    async fn close(&self);
}
