//! The batches that share one transaction: decides which of them conflict, and writes the others down as a script.
//!
//! In come batches with what is known of the tables, out come statements and what the tail takes in once they are
//! durable. Nothing is executed here.

use super::{
    reads::Known,
    script::Script,
    tail::{Appended, Place, Pos, View},
};
use crate::{
    batch::{CustomerChanges, Demands},
    columns::integer,
    rows::{Batch, KeyHash, NewEntry, NewKey, NewSnapshot},
};
use proviso_ledger::ids::{CustomerId, Seq};
use std::collections::{HashMap, HashSet};

/// Batches that go together.
#[derive(Debug, Default)]
pub struct Group {
    heads: HashMap<CustomerId, Seq>,
    taken: HashSet<(CustomerId, KeyHash)>,
    entries: Vec<NewEntry>,
    keys: Vec<NewKey>,
    snapshots: Vec<NewSnapshot>,
    customers: CustomerChanges,
}

/// The bytes that a page holds of entries, for estimates.
const PAGE_BYTES: usize = 4096;

impl Group {
    /// Takes a batch in, unless it conflicts with the journal or with a batch that was taken in before.
    pub fn admit(&mut self, view: &View, known: &Known, batch: Batch) -> bool {
        let Some((heads, taken)) = self.check(view, known, &batch) else { return false };
        self.heads.extend(heads);
        self.taken.extend(taken);
        self.entries.extend(batch.entries);
        self.keys.extend(batch.keys);
        self.snapshots.extend(batch.snapshots);
        self.customers.add(batch.customers, batch.due);
        true
    }

    /// The heads and keys that the batch adds, none when it conflicts.
    fn check(&self, view: &View, known: &Known, batch: &Batch) -> Option<Additions> {
        if known.key_exists {
            return None;
        }
        let demands = Demands::of(batch)?;
        let head = |customer: &CustomerId| {
            let recent = self.heads.get(customer).copied().or_else(|| view.head(customer));
            recent.or_else(|| known.heads.get(customer).copied()).unwrap_or(0)
        };
        if !demands.journals.iter().all(|(customer, demand)| demand.heads.contains(&head(customer))) {
            return None;
        }
        let taken: HashSet<_> =
            demands.keys.keys().map(|(customer, hash)| ((*customer).clone(), *hash)).collect();
        let is_new =
            |key: &(CustomerId, KeyHash)| !self.taken.contains(key) && view.key(&key.0, &key.1).is_none();
        let heads = demands
            .journals
            .into_iter()
            .filter_map(|(customer, demand)| Some((customer.clone(), demand.last?)));
        taken.iter().all(is_new).then(|| (heads.collect(), taken))
    }

    /// Adds everything to `script`, with positions from `last_pos` on. Returns what is appended then, and about how
    /// many pages are written.
    pub fn write(self, script: &mut Script, last_pos: Pos) -> (Vec<Appended>, usize) {
        let entries = self.entries.iter().zip(last_pos + 1..).map(|(entry, pos)| Appended::Entry {
            customer: entry.customer.clone(),
            place: Place { seq: entry.seq, at: entry.at, pos },
            key_hash: entry.key_hash,
        });
        let mut appended: Vec<_> = entries.collect();
        let first_key = (last_pos + 1..).nth(appended.len()).unwrap_or(Pos::MAX);
        appended.extend(self.keys.iter().map(|key| Appended::Key {
            customer: key.customer.clone(),
            key_hash: key.key_hash,
            seq: key.seq,
        }));
        let bytes: usize = self.entries.iter().map(|entry| entry.body.len() + 128).sum();
        let states: usize = self.snapshots.iter().map(|snapshot| snapshot.state.len() + PAGE_BYTES).sum();
        let pages =
            (bytes + states) / PAGE_BYTES + 2 * (self.customers.rows.len() + self.customers.due.len()) + 2;

        let entries = self.entries.into_iter().zip(last_pos + 1..).collect();
        script.rows(ENTRIES, 7, entries, |(entry, pos): (NewEntry, Pos), row| {
            row.bind(pos)
                .bind(text(&entry.customer))
                .bind(integer(entry.seq))
                .bind(entry.at.0)
                .bind(entry.key_hash.map(|hash| hash.to_vec()))
                .bind(entry.hash.to_vec())
                .bind(entry.body);
        });
        let keys = self.keys.into_iter().zip(first_key..).collect();
        script.rows(FURTHER_KEYS, 4, keys, |(key, pos): (NewKey, Pos), row| {
            row.bind(pos).bind(text(&key.customer)).bind(key.key_hash.to_vec()).bind(integer(key.seq));
        });
        script.rows(SNAPSHOTS, 4, self.snapshots, |snapshot, row| {
            row.bind(text(&snapshot.customer))
                .bind(integer(snapshot.seq))
                .bind(snapshot.at.0)
                .bind(snapshot.state);
        });
        script.rows(CUSTOMERS, 5, self.customers.rows.into_values().collect(), |customer, row| {
            row.bind(text(&customer.customer))
                .bind(customer.created_at.0)
                .bind(customer.due_at.map(|at| at.0))
                .bind(customer.closed)
                .bind(customer.profile);
        });
        script.rows(DUE, 2, self.customers.due.into_iter().collect(), |(customer, due_at), row| {
            row.bind(text(&customer)).bind(due_at.map(|at| at.0));
        });
        (appended, pages)
    }
}

type Additions = (HashMap<CustomerId, Seq>, HashSet<(CustomerId, KeyHash)>);

fn text(customer: &CustomerId) -> String {
    customer.as_str().to_owned()
}

const ENTRIES: (&str, &str) = (
    "INSERT INTO entries (pos, customer_id, seq, at, key_hash, hash, body) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);
const FURTHER_KEYS: (&str, &str) =
    ("INSERT INTO further_keys (pos, customer_id, key_hash, seq) SELECT * FROM", "WHERE column1 IS NOT NULL");
const SNAPSHOTS: (&str, &str) = (
    "INSERT INTO snapshots (customer_id, seq, at, state) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT DO UPDATE SET at = excluded.at, state = excluded.state",
);
const CUSTOMERS: (&str, &str) = (
    "INSERT INTO customers (customer_id, created_at, due_at, closed, profile) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT DO UPDATE SET \
     created_at = excluded.created_at, due_at = excluded.due_at, closed = excluded.closed, profile = excluded.profile",
);
// An UPDATE with a FROM may scan all customers; this looks each one up.
const DUE: (&str, &str) = (
    "INSERT INTO customers (customer_id, created_at, due_at, closed, profile) \
     SELECT c.customer_id, c.created_at, changed.column2, c.closed, c.profile FROM",
    "AS changed CROSS JOIN customers AS c ON c.customer_id = changed.column1 WHERE changed.column1 IS NOT NULL \
     ON CONFLICT DO UPDATE SET due_at = excluded.due_at",
);
