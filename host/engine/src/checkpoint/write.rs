//! Makes checkpoints: from time to time for the database, and on demand for a file.

use super::{
    CheckpointOptions,
    file::CheckpointFile,
    merkle::Merkle,
    sign::SigningKey,
    statement::{self, FORMAT, Previous, Stamp, Statement, journal_leaf},
};
use crate::{error::EngineError, shared::Shared};
use proviso_ledger::model::{
    ids::{CustomerId, Digest},
    time::Timestamp,
};
use proviso_store::{CheckpointRow, CheckpointStore, Commit, JournalEnd, Store, StoreError};
use std::{sync::Arc, time::Duration};
use tracing::{error, info, warn};

/// Journals that are read at a time.
const PAGE: u32 = 2_000;
/// The longest time between two looks at whether a checkpoint is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long other hosts leave it to one that began to write a checkpoint.
const CLAIM: Duration = Duration::from_secs(600);

/// What all journals and the catalog come to.
struct Read {
    journals: u64,
    journals_root: Digest,
    anchors_root: Digest,
    /// The ends that differ from what the newest checkpoint says.
    changed: Vec<(CustomerId, JournalEnd)>,
    catalog_revision: u64,
    stamps: Vec<Stamp>,
}

/// Writes checkpoints when they are due, until it is aborted.
pub(crate) async fn run(shared: Arc<Shared>, options: CheckpointOptions) {
    loop {
        tokio::time::sleep(options.every.min(LOOK_EVERY)).await;
        match write_due(&shared, &options).await {
            Ok(Some(number)) => info!(number, "wrote a checkpoint"),
            Ok(None) => {}
            Err(error) => warn!(%error, "no checkpoint can be written; it is tried again"),
        }
    }
}

/// Writes a checkpoint when the newest one is old enough and no other host is at it. Returns its number.
pub(crate) async fn write_due(
    shared: &Shared,
    options: &CheckpointOptions,
) -> Result<Option<u64>, EngineError> {
    let Some(store) = shared.store.checkpoint_store() else { return Ok(None) };
    let now = shared.clock.now();
    let every = i64::try_from(options.every.as_micros()).unwrap_or(i64::MAX);
    let is_due = |newest: &CheckpointRow| now.0.saturating_sub(newest.at.0) >= every;
    if !store.newest_checkpoint().await?.as_ref().is_none_or(is_due)
        || !store.claim_checkpoint(CLAIM.min(options.every)).await?
    {
        return Ok(None);
    }
    // Read again: another host may have written one just before the claim.
    let newest = store.newest_checkpoint().await?;
    if !newest.as_ref().is_none_or(is_due) {
        // Its claim was released before this one was made.
        store.release_checkpoint().await?;
        return Ok(None);
    }
    write(store, newest.as_ref(), now, &options.key).await
}

/// Writes the checkpoint after `newest`. None when another host did.
async fn write(
    store: &dyn CheckpointStore,
    newest: Option<&CheckpointRow>,
    now: Timestamp,
    key: &SigningKey,
) -> Result<Option<u64>, EngineError> {
    let read = read(store, |_, _| {}).await?;
    let (number, at) =
        newest.map_or((1, now), |newest| (newest.number.saturating_add(1), now.max(newest.at)));
    let since = newest.map_or(0, catalog_revision);
    let news: Vec<&Stamp> = read.stamps.iter().filter(|stamp| stamp.revision > since).collect();
    let catalog = serde_json::to_string(&news)
        .map_err(|error| EngineError::Internal(format!("a checkpoint can't be written: {error}")))?;
    let statement = Statement {
        number: Some(number),
        anchors_root: Some(read.anchors_root),
        catalog_news: Some(Digest::of(catalog.as_bytes())),
        ..read.statement(at, newest)
    };
    let signed = statement.sign(key)?;
    let row = CheckpointRow {
        number,
        at,
        statement: signed.statement,
        catalog,
        signature: signed.signature,
        public_key: signed.public_key.0,
    };
    match store.add_checkpoint(row, read.changed).await? {
        Commit::Durable => Ok(Some(number)),
        Commit::Conflict => Ok(None),
    }
}

/// The catalog's revision at a checkpoint; 0 when it can't be read, so that all rows are named again.
fn catalog_revision(row: &CheckpointRow) -> u64 {
    serde_json::from_str::<Statement>(&row.statement).map_or(0, |statement| statement.catalog_revision)
}

/// A checkpoint of now, to be kept outside the database. Nothing is written to it.
///
/// # Errors
/// The store's.
pub async fn checkpoint_file(
    store: &dyn Store,
    now: Timestamp,
    key: &SigningKey,
) -> Result<CheckpointFile, EngineError> {
    let store = store.checkpoint_store().ok_or_else(no_checkpoints)?;
    let newest = store.newest_checkpoint().await?;
    let mut journals = Vec::new();
    let read = read(store, |customer, end| journals.push((customer.clone(), *end))).await?;
    let signed = read.statement(now, newest.as_ref()).sign(key)?;
    Ok(CheckpointFile { signed, journals, stamps: read.stamps })
}

fn no_checkpoints() -> EngineError {
    StoreError::Unsupported { detail: "it keeps no checkpoints".to_owned() }.into()
}

/// Reads all journals' ends and the catalog. Each journal is read at its own moment: entries are only appended, so what a
/// checkpoint says of one holds from then on.
async fn read(
    store: &dyn CheckpointStore,
    mut see: impl FnMut(&CustomerId, &JournalEnd) + Send,
) -> Result<Read, EngineError> {
    let (catalog_revision, stamps) = store.catalog_stamps().await?;
    let (mut all, mut anchors) = (Merkle::default(), Merkle::default());
    let (mut journals, mut changed) = (0, Vec::new());
    let mut after: Option<CustomerId> = None;
    loop {
        let page = store.journal_ends(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.customer.clone());
        for row in page {
            let leaf = journal_leaf(&row.customer, &row.end);
            see(&row.customer, &row.end);
            all.add(&leaf);
            journals += 1;
            if row.anchored != Some(row.end) {
                warn_of_loss(&row.customer, &row.end, row.anchored.as_ref());
                anchors.add(&leaf);
                changed.push((row.customer, row.end));
            }
        }
    }
    let stamps = stamps.into_iter().map(Stamp::from).collect();
    let (journals_root, anchors_root) = (all.root(), anchors.root());
    Ok(Read { journals, journals_root, anchors_root, changed, catalog_revision, stamps })
}

/// What the last checkpoint names stays on record; `verify` says it again.
fn warn_of_loss(customer: &CustomerId, now: &JournalEnd, before: Option<&JournalEnd>) {
    if let Some(before) = before
        && before.seq >= now.seq
    {
        let (before, now) = (before.seq, now.seq);
        error!(%customer, before, now, "a journal has lost what a checkpoint names: run `proviso verify`");
    }
}

impl Read {
    fn statement(&self, at: Timestamp, newest: Option<&CheckpointRow>) -> Statement {
        Statement {
            proviso_checkpoint: FORMAT,
            number: None,
            at,
            previous: newest.map(Previous::from),
            journals: self.journals,
            journals_root: self.journals_root,
            anchors_root: None,
            catalog_revision: self.catalog_revision,
            catalog_root: statement::catalog_root(&self.stamps),
            catalog_news: None,
        }
    }
}
