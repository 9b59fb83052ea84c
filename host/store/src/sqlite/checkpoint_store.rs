//! [Checkpoints](crate::anchors) in a SQLite file, as the engine asks for them.

use super::{
    anchors::newest,
    catalog::revision,
    memtable::View,
    reads::{all, entries, first, stored_head},
    store::SqliteStore,
    writer::Job,
};
use crate::{
    anchors::{
        ANCHORS, Anchor, CHECKPOINTS, CatalogStamp, CheckpointRow, CheckpointStore, JournalEnd, JournalRow,
        NEWEST, anchor, checkpoint, end, stamp,
    },
    catalog::Table,
    columns::{corrupt, integer, key},
    error::StoreError,
    rows::Commit,
};
use proviso_ledger::model::ids::CustomerId;
use rusqlite::Connection;
use std::time::Duration;

const KNOWN: &str = "SELECT customer_id FROM ( \
     SELECT * FROM (SELECT customer_id FROM customers WHERE customer_id > ?1 ORDER BY customer_id LIMIT ?2) UNION \
     SELECT * FROM (SELECT DISTINCT customer_id FROM anchors WHERE customer_id > ?1 ORDER BY customer_id LIMIT ?2)) \
     ORDER BY customer_id LIMIT ?2";
const ANCHORED: &str = "SELECT seq, hash FROM anchors \
     WHERE customer_id = ?1 AND checkpoint <= (SELECT coalesce(max(number), 0) FROM checkpoints) \
     ORDER BY checkpoint DESC LIMIT 1";

/// Ends that are inserted in one transaction: commits wait no longer than for one of these.
const CHUNK: usize = 1_000;

#[async_trait::async_trait]
impl CheckpointStore for SqliteStore {
    /// There is no other host.
    async fn claim_checkpoint(&self, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release_checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn journal_ends(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let (after, reads) = (after.cloned(), self.reads());
        let view = reads.memtables.view();
        let read = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            // Every key is above the empty text.
            let after = after.as_ref().map_or("", CustomerId::as_str);
            let customers = all(&transaction, KNOWN, (after, limit), |row| key(row, 0))?;
            customers.into_iter().map(|customer| journal(&transaction, &view, customer)).collect()
        };
        reads.readers.read(read).await
    }

    async fn catalog_stamps(&self) -> Result<(u64, Vec<CatalogStamp>), StoreError> {
        let read = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut stamps = Vec::new();
            for table in Table::ALL {
                stamps.extend(all(&transaction, table.select(), [0], |row| stamp(table, row))?);
            }
            stamps.sort_unstable();
            Ok((revision(&transaction)?, stamps))
        };
        self.reads().readers.read(read).await
    }

    async fn add_checkpoint(
        &self,
        checkpoint: CheckpointRow,
        ends: Vec<(CustomerId, JournalEnd)>,
    ) -> Result<Commit, StoreError> {
        // One after another: ends of a number that is taken must not be touched.
        let _alone = self.adding_checkpoint().lock().await;
        let newest = self.reads().readers.read(|connection| newest(connection)).await?;
        if integer(checkpoint.number) != newest.saturating_add(1) {
            return Ok(Commit::Conflict);
        }
        // They count once the checkpoint is there. An attempt that is interrupted leaves ends that nobody reads, and the
        // next one replaces: a journal that had moved has moved then, too.
        for chunk in ends.chunks(CHUNK) {
            let (number, ends) = (checkpoint.number, chunk.to_vec());
            self.write(|reply| Job::AddAnchors { number, ends, reply }).await?;
        }
        self.write(|reply| Job::AddCheckpoint { checkpoint, reply }).await
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<CheckpointRow>, StoreError> {
        let bounds = (integer(after), self.last_checkpoint(), limit);
        let read =
            move |connection: &mut Connection| all(connection, CHECKPOINTS, bounds, |row| checkpoint(row));
        self.reads().readers.read(read).await
    }

    async fn newest_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        let last = self.last_checkpoint();
        self.reads()
            .readers
            .read(move |connection| first(connection, NEWEST, [last], |row| checkpoint(row)))
            .await
    }

    async fn anchors(
        &self,
        after: Option<(&CustomerId, u64)>,
        limit: u32,
    ) -> Result<Vec<Anchor>, StoreError> {
        let after = after.map(|(customer, number)| (customer.clone(), integer(number)));
        let last = self.last_checkpoint();
        let read = move |connection: &mut Connection| {
            let (customer, number) =
                after.as_ref().map_or(("", 0), |(customer, number)| (customer.as_str(), *number));
            all(connection, ANCHORS, (customer, number, last, limit), |row| anchor(row))
        };
        self.reads().readers.read(read).await
    }
}

fn journal(connection: &Connection, view: &View, customer: CustomerId) -> Result<JournalRow, StoreError> {
    let head = match view.head(&customer) {
        Some(head) => head,
        None => stored_head(connection, &customer)?,
    };
    let end_now = match head {
        0 => JournalEnd::GONE,
        seq => {
            let last = entries(connection, view, &customer, seq..=seq)?.pop();
            let last = last.ok_or_else(|| corrupt(format!("entry {seq} of {customer} is missing")))?;
            JournalEnd { seq, hash: last.hash }
        }
    };
    let anchored = first(connection, ANCHORED, [customer.as_str()], |row| end(row, 0))?;
    Ok(JournalRow { customer, end: end_now, anchored })
}
