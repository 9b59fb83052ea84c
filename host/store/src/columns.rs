//! Decodes rows of either database. A column that holds what it must not is reported as corrupt.

use crate::{
    error::StoreError,
    rows::{CustomerRow, KeyHash, StoredAnswer, StoredEntry, StoredSnapshot},
};
use proviso_ledger::model::{
    ids::{CustomerId, Name, Seq},
    time::Timestamp,
};
use sqlx::{Row, postgres::PgRow};

/// A row whose columns are read by position.
pub trait Columns {
    fn integer(&self, column: usize) -> Result<i64, StoreError>;
    fn optional(&self, column: usize) -> Result<Option<i64>, StoreError>;
    fn flag(&self, column: usize) -> Result<bool, StoreError>;
    fn text(&self, column: usize) -> Result<&str, StoreError>;
    fn blob(&self, column: usize) -> Result<&[u8], StoreError>;
}

impl Columns for PgRow {
    fn integer(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn optional(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(column)?)
    }
}

impl Columns for rusqlite::Row<'_> {
    fn integer(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.get(column)?)
    }

    fn optional(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.get_ref(column)?.as_str().map_err(corrupt)
    }

    fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        self.get_ref(column)?.as_blob().map_err(corrupt)
    }
}

pub fn corrupt(detail: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { detail: detail.to_string() }
}

/// An entry's number as a database stores it. No entry has a higher one than a database can store.
pub fn integer(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A lower bound, itself excluded, for all keys above `after`: every key is above the empty one.
pub fn above(after: Option<&KeyHash>) -> &[u8] {
    after.map_or(&[], |key| key)
}

/// Any other type of whole numbers.
pub fn number<T: TryFrom<i64, Error: std::fmt::Display>>(
    row: &impl Columns,
    column: usize,
) -> Result<T, StoreError> {
    T::try_from(row.integer(column)?).map_err(corrupt)
}

pub fn seq(row: &impl Columns, column: usize) -> Result<Seq, StoreError> {
    number(row, column)
}

pub fn key(row: &impl Columns, column: usize) -> Result<CustomerId, StoreError> {
    row.text(column)?.parse().map_err(corrupt)
}

pub fn name(row: &impl Columns, column: usize) -> Result<Name, StoreError> {
    row.text(column)?.parse().map_err(corrupt)
}

pub fn bytes<const N: usize>(row: &impl Columns, column: usize) -> Result<[u8; N], StoreError> {
    row.blob(column)?.try_into().map_err(corrupt)
}

/// `seq, at, hash, body`, from a column on.
pub fn entry(row: &impl Columns, from: usize) -> Result<StoredEntry, StoreError> {
    let at = Timestamp(row.integer(from + 1)?);
    let body = row.text(from + 3)?.to_owned();
    Ok(StoredEntry { seq: seq(row, from)?, at, hash: bytes(row, from + 2)?, body })
}

/// `seq, at, state` of a snapshot of this format.
pub fn snapshot(row: &impl Columns, format: u32) -> Result<StoredSnapshot, StoreError> {
    let at = Timestamp(row.integer(1)?);
    Ok(StoredSnapshot { format, seq: seq(row, 0)?, at, state: row.text(2)?.to_owned() })
}

pub const CUSTOMERS: &str = "\
    SELECT customer_id, created_at, due_at, closed, profile, plan_id, plan_version, awaits_payment FROM customers \
    WHERE customer_id > $1 ORDER BY customer_id LIMIT $2";
/// The same columns.
pub const CUSTOMERS_AWAITING_PAYMENT: &str = "\
    SELECT customer_id, created_at, due_at, closed, profile, plan_id, plan_version, awaits_payment FROM customers \
    WHERE awaits_payment AND customer_id > $1 ORDER BY customer_id LIMIT $2";
/// The same columns. `closed` is no number on one of the databases.
pub const CUSTOMERS_OF_PLAN: &str = "\
    SELECT customer_id, created_at, due_at, closed, profile, plan_id, plan_version, awaits_payment FROM customers \
    WHERE plan_id = $1 AND plan_version = $2 AND customer_id > $3 AND NOT closed ORDER BY customer_id LIMIT $4";
pub const PLAN_CUSTOMERS: &str = "SELECT plan_version, count(*) FROM customers \
     WHERE plan_id = $1 AND NOT closed GROUP BY plan_version ORDER BY plan_version";

/// `customer_id, created_at, due_at, closed, profile, plan_id, plan_version, awaits_payment`.
pub fn customer_row(row: &impl Columns) -> Result<CustomerRow, StoreError> {
    Ok(CustomerRow {
        customer: key(row, 0)?,
        created_at: Timestamp(row.integer(1)?),
        due_at: row.optional(2)?.map(Timestamp),
        closed: row.flag(3)?,
        profile: row.text(4)?.to_owned(),
        awaits_payment: row.flag(7)?,
        plan: match row.optional(6)? {
            Some(version) => {
                let version =
                    u32::try_from(version).map_err(|_| corrupt("a plan's version is out of range"))?;
                Some((name(row, 5)?, version))
            }
            None => None,
        },
    })
}

/// `key_hash, request_hash, at, answer`.
pub fn answer(row: &impl Columns) -> Result<StoredAnswer, StoreError> {
    Ok(StoredAnswer {
        key_hash: bytes(row, 0)?,
        request_hash: bytes(row, 1)?,
        at: Timestamp(row.integer(2)?),
        answer: row.text(3)?.to_owned(),
    })
}

/// `key_hash, seq`.
pub fn key_and_seq(row: &impl Columns) -> Result<(KeyHash, Seq), StoreError> {
    Ok((bytes(row, 0)?, seq(row, 1)?))
}

/// Sorts entries and makes sure that none is missing.
pub fn in_order(customer: &CustomerId, entries: &mut [StoredEntry], first: Seq) -> Result<(), StoreError> {
    entries.sort_unstable_by_key(|entry| entry.seq);
    let mut expected = first;
    for entry in entries {
        if entry.seq != expected {
            return Err(corrupt(format!("entry {expected} of {customer} is missing")));
        }
        expected = expected.saturating_add(1);
    }
    Ok(())
}
