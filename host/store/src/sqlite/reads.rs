//! Every question to the journal and its caches.
//!
//! In come ids, out come rows. Each answer asks the [tail](super::tail) first and the tables second, never the other
//! way round, so that an entry which moves from one to the other meanwhile is seen. Nothing is written here.

use super::tail::{Pos, Tail, View};
use crate::{
    StoreError,
    columns::{self, above, answered_key, broken, customer_row, in_order, integer, key, seq, snapshot},
    rows::{CustomerRow, KeyHash, LoadedCustomer, StoredEntry, StoredSnapshot},
};
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};
use sqlx::{Row, SqlitePool, sqlite::SqliteRow};
use std::{ops::RangeInclusive, sync::Arc};

/// Reads through a pool of connections and a tail.
#[derive(Debug, Clone)]
pub struct Reads {
    pub pool: SqlitePool,
    pub tail: Arc<Tail>,
}

impl Reads {
    pub async fn load(&self, known: &[(CustomerId, Seq)]) -> Result<Vec<LoadedCustomer>, StoreError> {
        let mut loaded = self.newest_snapshots(known).await?;
        let view = self.tail.view();
        let mut ask = Ask::default();
        let first = |seq: Seq, loaded: &LoadedCustomer| {
            loaded.snapshot.as_ref().map_or(seq, |snapshot| snapshot.seq).saturating_add(1)
        };
        for (index, ((customer, seq), loaded)) in known.iter().zip(&loaded).enumerate() {
            ask.entries(index, customer, first(*seq, loaded)..=Seq::MAX, &view);
        }
        for (index, entry) in ask.fetch(&self.pool).await? {
            let tail = loaded.get_mut(index).ok_or_else(|| broken("an entry that was not asked for"))?;
            tail.tail.push(entry);
        }
        for ((customer, seq), loaded) in known.iter().zip(&mut loaded) {
            let first = first(*seq, loaded);
            in_order(customer, &mut loaded.tail, first)?;
        }
        Ok(loaded)
    }

    /// The snapshots of those of whom nothing is known.
    async fn newest_snapshots(&self, known: &[(CustomerId, Seq)]) -> Result<Vec<LoadedCustomer>, StoreError> {
        let sql = "SELECT wanted.key, s.seq, s.at, s.state \
                   FROM json_each(?1) AS wanted CROSS JOIN snapshots AS s ON s.customer_id = wanted.value \
                   AND s.seq = (SELECT max(seq) FROM snapshots WHERE customer_id = wanted.value)";
        let mut loaded = vec![LoadedCustomer::default(); known.len()];
        let unknown: Vec<_> = known.iter().enumerate().filter(|(_, (_, seq))| *seq == 0).collect();
        if unknown.is_empty() {
            return Ok(loaded);
        }
        let customers = json_keys(unknown.iter().map(|(_, (customer, _))| customer));
        for row in sqlx::query(sql).bind(customers).fetch_all(&self.pool).await? {
            let index: i64 = row.try_get(0)?;
            let wanted = usize::try_from(index).ok().and_then(|index| unknown.get(index));
            let wanted = wanted.and_then(|(index, _)| loaded.get_mut(*index));
            wanted.ok_or_else(|| broken("a snapshot that was not asked for"))?.snapshot =
                Some(snapshot(&row, 1)?);
        }
        Ok(loaded)
    }

    pub async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
        let view = self.tail.view();
        let mut found: Vec<_> = keys.iter().map(|(customer, hash)| view.key(customer, hash)).collect();
        let missing: Vec<_> = (found.iter().zip(keys).enumerate())
            .filter(|(_, (seq, (customer, _)))| seq.is_none() && !view.is_whole(customer))
            .map(|(index, (_, key))| (index, key))
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let sql = "SELECT wanted.key, i.seq FROM json_each(?1) AS wanted CROSS JOIN idempotency AS i \
                   ON i.customer_id = wanted.value AND i.key_hash = substr(?2, wanted.key * 16 + 1, 16)";
        let customers = json_keys(missing.iter().map(|(_, (customer, _))| customer));
        let hashes: Vec<u8> = missing.iter().flat_map(|(_, (_, hash))| *hash).collect();
        for row in sqlx::query(sql).bind(customers).bind(hashes).fetch_all(&self.pool).await? {
            let index: i64 = row.try_get(0)?;
            let asked = usize::try_from(index).ok().and_then(|index| missing.get(index));
            let slot = asked.and_then(|(index, _)| found.get_mut(*index));
            *slot.ok_or_else(|| broken("a key that was not asked for"))? = Some(seq(&row, 1)?);
        }
        Ok(found)
    }

    pub async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
        let recent = self.tail.view().keys(customer);
        let sql = "SELECT key_hash, seq FROM idempotency WHERE customer_id = ?1 AND key_hash > ?2 \
                   ORDER BY key_hash LIMIT ?3";
        let query = sqlx::query(sql).bind(customer.as_str()).bind(above(after.as_ref())).bind(limit);
        let mut keys =
            query.fetch_all(&self.pool).await?.iter().map(answered_key).collect::<Result<Vec<_>, _>>()?;
        keys.extend(recent.into_iter().filter(|(key, _)| after.is_none_or(|after| *key > after)));
        keys.sort_unstable();
        // What is on its way from the tail to the table is in both.
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
        let first = *range.start();
        let mut ask = Ask::default();
        ask.entries(0, customer, range, &self.tail.view());
        let mut entries: Vec<_> = ask.fetch(&self.pool).await?.into_iter().map(|(_, entry)| entry).collect();
        in_order(customer, &mut entries, first)?;
        Ok(entries)
    }

    pub async fn head(&self, customer: &CustomerId) -> Result<Seq, StoreError> {
        if let Some(head) = self.tail.view().head(customer) {
            return Ok(head);
        }
        let sql = "SELECT coalesce(max(seq), 0) FROM entry_index WHERE customer_id = ?1";
        seq(&sqlx::query(sql).bind(customer.as_str()).fetch_one(&self.pool).await?, 0)
    }

    pub async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        if let Some(seq) = self.tail.view().seq_at(customer, at) {
            return Ok(seq);
        }
        // A binary search: numbers have no gaps and times never go backwards. The answer lies in low..=high.
        let sql = "WITH RECURSIVE search (low, high) AS ( \
                     SELECT 0, coalesce((SELECT max(seq) FROM entry_index WHERE customer_id = ?1), 0) \
                     UNION ALL \
                     SELECT iif(e.at <= ?2, x.seq, low), iif(e.at <= ?2, high, x.seq - 1) \
                     FROM search CROSS JOIN entry_index AS x \
                       ON x.customer_id = ?1 AND x.seq = (low + high + 1) / 2 \
                     CROSS JOIN entries AS e ON e.pos = x.pos \
                     WHERE low < high) \
                   SELECT low FROM search WHERE low = high";
        let found = sqlx::query(sql).bind(customer.as_str()).bind(at.0).fetch_optional(&self.pool).await?;
        seq(&found.ok_or_else(|| broken(format!("the journal of {customer} has a gap")))?, 0)
    }

    pub async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        let sql = "SELECT seq, at, state FROM snapshots WHERE customer_id = ?1 AND seq <= ?2 \
                   ORDER BY seq DESC LIMIT 1";
        let row =
            sqlx::query(sql).bind(customer.as_str()).bind(integer(seq)).fetch_optional(&self.pool).await?;
        row.map(|row| snapshot(&row, 0)).transpose()
    }

    pub async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let sql = "SELECT customer_id, created_at, due_at, closed, profile FROM customers \
                   WHERE customer_id > ?1 ORDER BY customer_id LIMIT ?2";
        // Every key is above the empty text.
        let after = after.map_or("", CustomerId::as_str);
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(customer_row).collect()
    }

    pub async fn customer(&self, customer: &CustomerId) -> Result<Option<CustomerRow>, StoreError> {
        let sql =
            "SELECT customer_id, created_at, due_at, closed, profile FROM customers WHERE customer_id = ?1";
        let row = sqlx::query(sql).bind(customer.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(customer_row).transpose()
    }

    pub async fn due(&self, at: Timestamp, limit: u32) -> Result<Vec<CustomerId>, StoreError> {
        let sql =
            "SELECT customer_id FROM customers WHERE due_at <= ?1 ORDER BY due_at, customer_id LIMIT ?2";
        let rows = sqlx::query(sql).bind(at.0).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(|row| key(row, 0)).collect()
    }
}

/// Entries of several customers, asked for in one statement and so as of one moment.
#[derive(Default)]
struct Ask {
    /// `[index, customer, first, last]` to look up in the index.
    indexed: String,
    /// `[index, pos]` from the tail.
    placed: String,
}

impl Ask {
    fn entries(&mut self, index: usize, customer: &CustomerId, range: RangeInclusive<Seq>, view: &View) {
        let places = view.places(customer, &range);
        // The index goes up to the view's first entry at least.
        let last = places.first().map_or(*range.end(), |place| place.seq.saturating_sub(1));
        if *range.start() <= last {
            let (first, last) = (integer(*range.start()), integer(last));
            push(&mut self.indexed, format_args!("[{index},\"{customer}\",{first},{last}]"));
        }
        for place in places {
            let pos: Pos = place.pos;
            push(&mut self.placed, format_args!("[{index},{pos}]"));
        }
    }

    async fn fetch(self, pool: &SqlitePool) -> Result<Vec<(usize, StoredEntry)>, StoreError> {
        let sql = "SELECT wanted.value ->> 0, e.seq, e.at, e.hash, e.body \
                   FROM json_each(?1) AS wanted CROSS JOIN entry_index AS x ON x.customer_id = wanted.value ->> 1 \
                     AND x.seq BETWEEN wanted.value ->> 2 AND wanted.value ->> 3 \
                   CROSS JOIN entries AS e ON e.pos = x.pos \
                   UNION ALL \
                   SELECT wanted.value ->> 0, e.seq, e.at, e.hash, e.body \
                   FROM json_each(?2) AS wanted CROSS JOIN entries AS e ON e.pos = wanted.value ->> 1";
        let query = sqlx::query(sql).bind(format!("[{}]", self.indexed)).bind(format!("[{}]", self.placed));
        let rows = query.fetch_all(pool).await?;
        let decode = |row: &SqliteRow| {
            let index = usize::try_from(row.try_get::<i64, _>(0)?).map_err(broken)?;
            Ok((index, columns::entry(row, 1)?))
        };
        rows.iter().map(decode).collect()
    }
}

/// A JSON array of keys, whose characters need no escapes.
fn json_keys<'a>(keys: impl IntoIterator<Item = &'a CustomerId>) -> String {
    let mut list = String::new();
    keys.into_iter().for_each(|key| push(&mut list, format_args!("\"{key}\"")));
    format!("[{list}]")
}

fn push(list: &mut String, item: std::fmt::Arguments<'_>) {
    use std::fmt::Write as _;
    if !list.is_empty() {
        list.push(',');
    }
    // Writing to a string does not fail.
    let _ = list.write_fmt(item);
}
