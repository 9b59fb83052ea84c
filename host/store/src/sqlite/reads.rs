//! Every question to the journal and its caches.
//!
//! Each looks into the [memtables](super::memtable) first and into the tables second, never the other way round, so that
//! it finds a row that is flushed from one to the other meanwhile.

use super::{
    memtable::{Memtables, View},
    readers::Readers,
};
use crate::{
    columns::{self, above, corrupt, customer_row, in_order, integer, key, key_and_seq, seq, snapshot},
    error::StoreError,
    rows::{CustomerRow, KeyHash, LoadedCustomer, StoredEntry, StoredSnapshot},
};
use proviso_ledger::model::{
    ids::{CustomerId, Name, Seq},
    time::Timestamp,
};
use rusqlite::{Connection, Params, Row};
use std::{ops::RangeInclusive, sync::Arc};

/// Reads through the memtables and a few connections.
#[derive(Debug, Clone)]
pub struct Reads {
    pub readers: Readers,
    pub memtables: Arc<Memtables>,
}

impl Reads {
    pub async fn load(
        &self,
        known: &[(CustomerId, Seq)],
        format: u32,
    ) -> Result<Vec<LoadedCustomer>, StoreError> {
        let known = known.to_vec();
        let view = self.memtables.view();
        let load = move |connection: &mut Connection| {
            // One transaction, since each begin and end takes locks.
            let transaction = connection.transaction()?;
            known.iter().map(|(customer, seq)| load(&transaction, &view, customer, *seq, format)).collect()
        };
        self.readers.read(load).await
    }

    pub async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
        let view = self.memtables.view();
        let mut found: Vec<_> = keys.iter().map(|(customer, hash)| view.key(customer, hash)).collect();
        let missing: Vec<_> = (found.iter().zip(keys).enumerate())
            .filter(|(_, (seq, (customer, _)))| seq.is_none() && !view.has_whole(customer))
            .map(|(index, (_, key))| (index, key.clone()))
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let find = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let sql = "SELECT seq FROM idempotency WHERE customer_id = ?1 AND key_hash = ?2";
            let find = |(index, (customer, hash)): (usize, (CustomerId, KeyHash))| {
                Ok((index, first(&transaction, sql, (customer.as_str(), hash), |row| seq(row, 0))?))
            };
            missing.into_iter().map(find).collect::<Result<Vec<_>, StoreError>>()
        };
        for (index, seq) in self.readers.read(find).await? {
            *found.get_mut(index).ok_or_else(|| corrupt("a key that was not asked for"))? = seq;
        }
        Ok(found)
    }

    pub async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
        let recent = self.memtables.view().keys(customer);
        let customer = customer.clone();
        let stored = move |connection: &mut Connection| {
            let sql = "SELECT key_hash, seq FROM idempotency WHERE customer_id = ?1 AND key_hash > ?2 \
                       ORDER BY key_hash LIMIT ?3";
            all(connection, sql, (customer.as_str(), above(after.as_ref()), limit), |row| key_and_seq(row))
        };
        let mut keys = self.readers.read(stored).await?;
        keys.extend(recent.into_iter().filter(|(key, _)| after.is_none_or(|after| *key > after)));
        keys.sort_unstable();
        // A key of which the row is being merged is in both.
        keys.dedup();
        keys.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(keys)
    }

    pub async fn entries(
        &self,
        customer: &CustomerId,
        range: RangeInclusive<Seq>,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (customer, view) = (customer.clone(), self.memtables.view());
        let read =
            move |connection: &mut Connection| entries(&*connection.transaction()?, &view, &customer, range);
        self.readers.read(read).await
    }

    /// Up to `limit` entries below `before`, newest first.
    pub async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let (customer, view) = (customer.clone(), self.memtables.view());
        let read = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let head = match view.head(&customer) {
                Some(head) => head,
                None => stored_head(&transaction, &customer)?,
            };
            let last = before.map_or(head, |before| head.min(before.saturating_sub(1)));
            let first = last.saturating_sub(limit.into()).saturating_add(1);
            let mut entries = entries(&transaction, &view, &customer, first..=last)?;
            entries.reverse();
            Ok(entries)
        };
        self.readers.read(read).await
    }

    pub async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        if let Some(seq) = self.memtables.view().seq_at(customer, at) {
            return Ok(seq);
        }
        let customer = customer.clone();
        let search = move |connection: &mut Connection| {
            // A binary search: numbers have no gaps and times never go backwards. The answer is in low..=high.
            let sql = "WITH RECURSIVE search (low, high) AS ( \
                         SELECT 0, coalesce((SELECT max(seq) FROM entry_index WHERE customer_id = ?1), 0) \
                         UNION ALL \
                         SELECT iif(e.at <= ?2, x.seq, low), iif(e.at <= ?2, high, x.seq - 1) \
                         FROM search CROSS JOIN entry_index AS x \
                           ON x.customer_id = ?1 AND x.seq = (low + high + 1) / 2 \
                         CROSS JOIN entries AS e ON e.pos = x.pos \
                         WHERE low < high) \
                       SELECT low FROM search WHERE low = high";
            let found = first(connection, sql, (customer.as_str(), at.0), |row| seq(row, 0))?;
            found.ok_or_else(|| corrupt(format!("the journal of {customer} has a gap")))
        };
        self.readers.read(search).await
    }

    pub async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
        format: u32,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        let customer = customer.clone();
        let find = move |connection: &mut Connection| newest_snapshot(connection, &customer, seq, format);
        self.readers.read(find).await
    }

    pub async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let after = after.cloned();
        let list = move |connection: &mut Connection| {
            // Every key is above the empty text.
            let after = after.as_ref().map_or("", CustomerId::as_str);
            all(connection, columns::CUSTOMERS, (after, limit), |row| customer_row(row))
        };
        self.readers.read(list).await
    }

    pub async fn customers_of_plan(
        &self,
        plan: &Name,
        version: u32,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let (plan, after) = (plan.clone(), after.cloned());
        let list = move |connection: &mut Connection| {
            let after = after.as_ref().map_or("", CustomerId::as_str);
            let arguments = (plan.as_str(), version, after, limit);
            all(connection, columns::CUSTOMERS_OF_PLAN, arguments, |row| customer_row(row))
        };
        self.readers.read(list).await
    }

    pub async fn customers_awaiting_payment(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let after = after.cloned();
        let list = move |connection: &mut Connection| {
            let after = after.as_ref().map_or("", CustomerId::as_str);
            all(connection, columns::CUSTOMERS_AWAITING_PAYMENT, (after, limit), |row| customer_row(row))
        };
        self.readers.read(list).await
    }

    pub async fn plan_customers(&self, plan: &Name) -> Result<Vec<(u32, u64)>, StoreError> {
        let plan = plan.clone();
        let count = move |connection: &mut Connection| {
            let counts = |row: &Row<'_>| Ok((columns::number(row, 0)?, columns::number(row, 1)?));
            all(connection, columns::PLAN_CUSTOMERS, [plan.as_str()], counts)
        };
        self.readers.read(count).await
    }

    pub async fn due(&self, at: Timestamp, limit: u32) -> Result<Vec<CustomerId>, StoreError> {
        let list = move |connection: &mut Connection| {
            let sql = "SELECT customer_id FROM customers WHERE due_at <= ?1 \
                       ORDER BY due_at, customer_id LIMIT ?2";
            all(connection, sql, (at.0, limit), |row| key(row, 0))
        };
        self.readers.read(list).await
    }
}

fn load(
    connection: &Connection,
    view: &View,
    customer: &CustomerId,
    known: Seq,
    format: u32,
) -> Result<LoadedCustomer, StoreError> {
    let snapshot = match known {
        0 => newest_snapshot(connection, customer, Seq::MAX, format)?,
        _ => None,
    };
    let last = snapshot.as_ref().map_or(known, |snapshot| snapshot.seq);
    let tail = entries(connection, view, customer, last.saturating_add(1)..=Seq::MAX)?;
    Ok(LoadedCustomer { snapshot, tail })
}

fn newest_snapshot(
    connection: &Connection,
    customer: &CustomerId,
    seq: Seq,
    format: u32,
) -> Result<Option<StoredSnapshot>, StoreError> {
    let sql = "SELECT seq, at, state FROM snapshots WHERE customer_id = ?1 AND format = ?2 AND seq <= ?3 \
               ORDER BY seq DESC LIMIT 1";
    first(connection, sql, (customer.as_str(), format, integer(seq)), |row| snapshot(row, format))
}

/// The entries whose numbers are in `range`, in order.
pub fn entries(
    connection: &Connection,
    view: &View,
    customer: &CustomerId,
    range: RangeInclusive<Seq>,
) -> Result<Vec<StoredEntry>, StoreError> {
    let recent = view.entries(customer, &range);
    // The index goes up to the first of these at least.
    let last = recent.first().map_or(*range.end(), |entry| entry.seq.saturating_sub(1));
    let decode = |row: &Row<'_>| columns::entry(row, 0);
    let mut entries = Vec::new();
    if *range.start() <= last {
        let sql = "SELECT e.seq, e.at, e.hash, e.body FROM entry_index AS x CROSS JOIN entries AS e \
                   ON e.pos = x.pos WHERE x.customer_id = ?1 AND x.seq BETWEEN ?2 AND ?3 ORDER BY x.seq";
        let bounds = (customer.as_str(), integer(*range.start()), integer(last));
        entries = all(connection, sql, bounds, decode)?;
    }
    for entry in recent {
        let found =
            first(connection, "SELECT seq, at, hash, body FROM entries WHERE pos = ?1", [entry.pos], decode)?;
        entries.push(found.ok_or_else(|| corrupt(format!("entry {} of {customer} is missing", entry.seq)))?);
    }
    in_order(customer, &mut entries, *range.start())?;
    Ok(entries)
}

/// The last entry in the index.
pub fn stored_head(connection: &Connection, customer: &CustomerId) -> Result<Seq, StoreError> {
    let sql = "SELECT max(seq) FROM entry_index WHERE customer_id = ?1";
    let head = first(connection, sql, [customer.as_str()], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Seq::try_from(head.flatten().unwrap_or(0)).map_err(corrupt)
}

/// The first row, decoded.
pub fn first<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map(decode).transpose()
}

/// All rows, decoded.
pub fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    mut decode: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(row)?);
    }
    Ok(decoded)
}
