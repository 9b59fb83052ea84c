//! A batch in, one statement out: one round trip, which checks what the batch rests on and writes all of it or nothing.
//!
//! The primary keys are the compare-and-swap, so no row is locked to be read and nothing is decided twice. A statement
//! whose answer is lost is sent once more: if the first one was written, the second conflicts, and what is stored tells
//! whose entries stand there.

use super::pool::{Lease, PgQuery, Pool, unavailable};
use crate::{
    StoreError,
    batch::{CustomerChanges, Demands},
    columns::{Columns, broken, integer},
    rows::{Batch, Commit},
};
use proviso_ledger::ids::{CustomerId, Seq};
use sqlx::postgres::PgRow;

/// The statement begins with the check. `$1..$5` are the entries, `$6..$8` the idempotency keys, `$9..$11` between which
/// numbers the last entry of each customer must be, `$12` is the revision. An entry's number is checked here too, not
/// only by the primary key, so that a host that comes late finds out without an error in the server's log.
macro_rules! statement {
    ($more:literal) => {
        concat!(
            "WITH checked AS MATERIALIZED (SELECT \
               ($12::bigint IS NULL OR $12 = (SELECT reference_revision FROM progress WHERE id = 1)) \
               AND NOT EXISTS (SELECT 1 \
                 FROM unnest($9::text[], $10::bigint[], $11::bigint[]) AS j (customer_id, lowest, highest) \
                 WHERE coalesce((SELECT seq FROM entries WHERE customer_id = j.customer_id \
                                 ORDER BY seq DESC LIMIT 1), 0) NOT BETWEEN j.lowest AND j.highest) AS passes), \
             new_entries AS (INSERT INTO entries (customer_id, seq, at, hash, body) \
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[]) \
               WHERE (SELECT passes FROM checked)), \
             new_keys AS (INSERT INTO idempotency (customer_id, key_hash, seq) \
               SELECT * FROM unnest($6::text[], $7::bytea[], $8::bigint[]) \
               WHERE (SELECT passes FROM checked))",
            $more,
            " SELECT passes FROM checked"
        )
    };
}

/// Two texts, because the tables that most batches leave alone cost time even so.
const ENTRIES: &str = statement!("");
const EVERYTHING: &str = statement!(
    ", new_snapshots AS (INSERT INTO snapshots (customer_id, seq, at, state) \
       SELECT * FROM unnest($13::text[], $14::bigint[], $15::bigint[], $16::text[]) \
       WHERE (SELECT passes FROM checked) \
       ON CONFLICT (customer_id, seq) DO UPDATE SET at = excluded.at, state = excluded.state), \
     new_customers AS (INSERT INTO customers (customer_id, created_at, due_at, closed, profile) \
       SELECT * FROM unnest($17::text[], $18::bigint[], $19::bigint[], $20::boolean[], $21::text[]) \
       WHERE (SELECT passes FROM checked) \
       ON CONFLICT (customer_id) DO UPDATE SET created_at = excluded.created_at, due_at = excluded.due_at, \
         closed = excluded.closed, profile = excluded.profile, claimed_by = NULL, claimed_until = NULL), \
     new_due AS (UPDATE customers AS c SET due_at = d.due_at, claimed_by = NULL, claimed_until = NULL \
       FROM unnest($22::text[], $23::bigint[]) AS d (customer_id, due_at) \
       WHERE c.customer_id = d.customer_id AND (SELECT passes FROM checked))"
);

/// Whether all of the keys and entries of a batch are stored, the entries with its hashes.
const STORED: &str = "\
SELECT NOT EXISTS (SELECT 1 FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS n (customer_id, seq, hash) \
    WHERE (SELECT hash FROM entries WHERE customer_id = n.customer_id AND seq = n.seq) IS DISTINCT FROM n.hash) \
  AND NOT EXISTS (SELECT 1 FROM unnest($4::text[], $5::bytea[], $6::bigint[]) AS n (customer_id, key_hash, seq) \
    WHERE (SELECT seq FROM idempotency WHERE customer_id = n.customer_id AND key_hash = n.key_hash) \
      IS DISTINCT FROM n.seq)";

pub async fn commit(pool: &Pool, mut batch: Batch) -> Result<Commit, StoreError> {
    let mut changes = CustomerChanges::default();
    changes.add(std::mem::take(&mut batch.customers), std::mem::take(&mut batch.due));
    let Some(rows) = Rows::of(&batch, &changes) else { return Ok(Commit::Conflict) };
    let mut lease = pool.lease().await?;
    let first = lease.fetch(rows.statement()).await;
    if !lease.is_lost() {
        return verdict(first);
    }
    lease.renew().await?;
    match verdict(lease.fetch(rows.statement()).await)? {
        Commit::Durable => Ok(Commit::Durable),
        Commit::Conflict if rows.are_stored(&mut lease).await? => Ok(Commit::Durable),
        // Most likely another host was quicker, but the first attempt may still be under way.
        Commit::Conflict => Err(unavailable("the connection was lost during a commit")),
    }
}

fn verdict(answer: sqlx::Result<Vec<PgRow>>) -> Result<Commit, StoreError> {
    match answer {
        Ok(rows) => match rows.first().ok_or_else(|| broken("a commit without an answer"))?.flag(0)? {
            true => Ok(Commit::Durable),
            false => Ok(Commit::Conflict),
        },
        // A number or key that was just taken, and what two hosts may do to each other over it.
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some("23505" | "40001" | "40P01")) =>
        {
            Ok(Commit::Conflict)
        }
        Err(error) => Err(error.into()),
    }
}

/// A batch column by column. Rows of a table are in the order of their key, so that all hosts wait for each other in
/// one direction.
#[derive(Debug, Default)]
struct Rows<'a> {
    entries: (Vec<&'a str>, Vec<i64>, Vec<i64>, Vec<&'a [u8]>, Vec<&'a str>),
    keys: (Vec<&'a str>, Vec<&'a [u8]>, Vec<i64>),
    journals: (Vec<&'a str>, Vec<i64>, Vec<i64>),
    revision: Option<i64>,
    snapshots: (Vec<&'a str>, Vec<i64>, Vec<i64>, Vec<&'a str>),
    customers: (Vec<&'a str>, Vec<i64>, Vec<Option<i64>>, Vec<bool>, Vec<&'a str>),
    due: (Vec<&'a str>, Vec<Option<i64>>),
}

impl<'a> Rows<'a> {
    /// None when the batch contradicts itself or holds a number that the database can't.
    fn of(batch: &'a Batch, changes: &'a CustomerChanges) -> Option<Self> {
        let Demands { journals, keys } = Demands::of(batch)?;
        let bigint = |seq: Seq| i64::try_from(seq).ok();
        let mut rows = Self { revision: batch.revision.map(integer), ..Self::default() };

        let mut entries: Vec<_> = batch.entries.iter().collect();
        entries.sort_by(|a, b| (&a.customer, a.seq).cmp(&(&b.customer, b.seq)));
        for entry in entries {
            rows.entries.0.push(entry.customer.as_str());
            rows.entries.1.push(bigint(entry.seq)?);
            rows.entries.2.push(entry.at.0);
            rows.entries.3.push(&entry.hash);
            rows.entries.4.push(&entry.body);
        }
        let own = batch.entries.iter().filter_map(|e| Some((&e.customer, e.key_hash.as_ref()?, e.seq)));
        let further = batch.keys.iter().map(|key| (&key.customer, &key.key_hash, key.seq));
        let mut sorted = Vec::with_capacity(keys.len());
        sorted.extend(own.chain(further));
        sorted.sort_unstable();
        for (customer, key_hash, seq) in sorted {
            rows.keys.0.push(customer.as_str());
            rows.keys.1.push(key_hash);
            rows.keys.2.push(bigint(seq)?);
        }
        for (customer, demand) in journals {
            rows.journals.0.push(customer.as_str());
            rows.journals.1.push(bigint(*demand.heads.start())?);
            rows.journals.2.push(integer(*demand.heads.end()));
        }
        rows.add_caches(batch, changes);
        Some(rows)
    }

    fn add_caches(&mut self, batch: &'a Batch, changes: &'a CustomerChanges) {
        let mut snapshots: Vec<_> = batch.snapshots.iter().collect();
        // The last of two for one entry counts, as for one after another.
        snapshots.reverse();
        snapshots.sort_by(|a, b| (&a.customer, a.seq).cmp(&(&b.customer, b.seq)));
        snapshots.dedup_by(|b, a| (&a.customer, a.seq) == (&b.customer, b.seq));
        for snapshot in snapshots {
            self.snapshots.0.push(snapshot.customer.as_str());
            self.snapshots.1.push(integer(snapshot.seq));
            self.snapshots.2.push(snapshot.at.0);
            self.snapshots.3.push(&snapshot.state);
        }
        for row in changes.rows.values() {
            self.customers.0.push(row.customer.as_str());
            self.customers.1.push(row.created_at.0);
            self.customers.2.push(row.due_at.map(|at| at.0));
            self.customers.3.push(row.closed);
            self.customers.4.push(&row.profile);
        }
        for (customer, due_at) in &changes.due {
            self.due.0.push(CustomerId::as_str(customer));
            self.due.1.push(due_at.map(|at| at.0));
        }
    }

    fn statement(&self) -> PgQuery<'_> {
        let more = !(self.snapshots.0.is_empty() && self.customers.0.is_empty() && self.due.0.is_empty());
        let (customers, seqs, ats, hashes, bodies) = &self.entries;
        let query = sqlx::query(if more { EVERYTHING } else { ENTRIES });
        let query = query.bind(customers).bind(seqs).bind(ats).bind(hashes).bind(bodies);
        let (customers, hashes, seqs) = &self.keys;
        let query = query.bind(customers).bind(hashes).bind(seqs);
        let (customers, lowest, highest) = &self.journals;
        let query = query.bind(customers).bind(lowest).bind(highest).bind(self.revision);
        if !more {
            return query;
        }
        let (customers, seqs, ats, states) = &self.snapshots;
        let query = query.bind(customers).bind(seqs).bind(ats).bind(states);
        let (customers, created_at, due_at, closed, profiles) = &self.customers;
        let query = query.bind(customers).bind(created_at).bind(due_at).bind(closed).bind(profiles);
        let (customers, due_at) = &self.due;
        query.bind(customers).bind(due_at)
    }

    /// Whether a batch that conflicts does so because it was written before.
    async fn are_stored(&self, lease: &mut Lease<'_>) -> Result<bool, StoreError> {
        let (customers, seqs, _, hashes, _) = &self.entries;
        let query = sqlx::query(STORED).bind(customers).bind(seqs).bind(hashes);
        let (keys_of, key_hashes, key_seqs) = &self.keys;
        let rows = lease.fetch(query.bind(keys_of).bind(key_hashes).bind(key_seqs)).await?;
        let all = rows.first().ok_or_else(|| broken("a question without an answer"))?.flag(0)?;
        // Of a batch without either nothing can be said.
        Ok(all && !(customers.is_empty() && keys_of.is_empty()))
    }
}
