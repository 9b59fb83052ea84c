//! The rows that a batch of decisions becomes, and what must be undone when they can't be committed.

use super::cache::{Cache, Cached};
use crate::{
    command::{Idempotency, Request},
    decide::{Journal, Written},
    shared::Shared,
};
use proviso_ledger::{
    ids::{CustomerId, Digest, IdempotencyKey, Seq},
    journal::Event,
    time::Timestamp,
};
use proviso_store::{Batch, CustomerRow, KeyHash, NewEntry, NewSnapshot};
use std::collections::{BTreeMap, HashMap};
use tracing::warn;

/// A snapshot is due after this many entries...
const SNAPSHOT_EVERY: Seq = 256;
/// ...once the entries after the last one outweigh it by this much, so that large states are not written too often.
const SNAPSHOT_TAIL_FACTOR: usize = 4;

/// Whether a key was used earlier in the same batch.
pub(crate) enum Keyed {
    Fresh,
    SameAs(usize),
    Reused,
}

/// What happened to one customer in the batch.
#[derive(Default)]
struct Touched {
    profile_changed: bool,
    swept: bool,
    broken: bool,
    entries: u64,
}

#[derive(Default)]
pub(crate) struct Work {
    entries: Vec<NewEntry>,
    touched: BTreeMap<CustomerId, Touched>,
    keys: HashMap<(CustomerId, IdempotencyKey), (Digest, usize)>,
}

/// The first 16 bytes of the key's SHA-256.
pub(crate) fn key_hash(key: &IdempotencyKey) -> KeyHash {
    let digest = Digest::of(key.as_str().as_bytes()).0;
    let mut hash = KeyHash::default();
    for (to, from) in hash.iter_mut().zip(digest) {
        *to = from;
    }
    hash
}

impl Work {
    pub fn keyed(&self, request: &Request) -> Keyed {
        let Some((key, digest)) = &request.idempotency else { return Keyed::Fresh };
        match self.keys.get(&(request.customer.clone(), key.clone())) {
            None => Keyed::Fresh,
            Some((first, place)) if first == digest => Keyed::SameAs(*place),
            Some(_) => Keyed::Reused,
        }
    }

    pub fn remember(&mut self, customer: &CustomerId, (key, digest): &Idempotency, place: usize) {
        self.keys.insert((customer.clone(), key.clone()), (*digest, place));
    }

    /// Takes in the entries that a decision wrote.
    pub fn record(&mut self, cached: &mut Cached, customer: &CustomerId, journal: Journal, swept: bool) {
        if journal.written.is_empty() && !swept {
            return;
        }
        let touched = self.touched.entry(customer.clone()).or_default();
        touched.swept |= swept;
        for Written { entry, body, hash } in journal.written {
            touched.profile_changed |= matches!(entry.event, Event::Configured(_) | Event::Closed {});
            cached.tail_bytes += body.len();
            let key_hash = entry.key.as_ref().map(key_hash);
            self.entries.push(NewEntry {
                customer: customer.clone(),
                seq: entry.seq,
                at: entry.at,
                key_hash,
                hash,
                body,
            });
            touched.entries += 1;
        }
    }

    pub fn mark_broken(&mut self, customer: &CustomerId) {
        self.touched.entry(customer.clone()).or_default().broken = true;
    }

    pub fn is_broken(&self, customer: &CustomerId) -> bool {
        self.touched.get(customer).is_some_and(|touched| touched.broken)
    }

    /// The batch to commit: the entries, and with them snapshots and rows that follow from the states.
    pub fn finish(&mut self, cache: &mut Cache) -> Batch {
        let mut batch = Batch { entries: std::mem::take(&mut self.entries), ..Batch::default() };
        for (customer, touched) in &self.touched {
            if touched.broken {
                cache.remove(customer);
                continue;
            }
            let Some(cached) = cache.get_mut(customer) else { continue };
            let due_at = cached.state.next_due().map(|(at, _)| at);
            if touched.profile_changed {
                batch.customers.extend(customer_row(cached, due_at));
                cached.stored_due = Some(due_at);
            } else if touched.swept || sooner(due_at, cached.stored_due) {
                batch.due.push((customer.clone(), due_at));
                cached.stored_due = Some(due_at);
            }
            batch.snapshots.extend(snapshot(cached));
        }
        cache.trim();
        batch
    }

    /// Counts what was written. Called once the batch is durable.
    pub fn publish(&self, shared: &Shared) {
        shared.committed(self.touched.values().map(|touched| touched.entries).sum());
    }

    /// Drops the states that hold what was not committed.
    pub fn forget(&self, cache: &mut Cache) {
        for customer in self.touched.keys() {
            cache.remove(customer);
        }
    }
}

/// Whether the store must learn of a due time: it may know one that is too early, never one that is too late.
fn sooner(due_at: Option<Timestamp>, stored: Option<Option<Timestamp>>) -> bool {
    match (due_at, stored) {
        (None, _) => false,
        (Some(_), None | Some(None)) => true,
        (Some(due_at), Some(Some(stored))) => due_at < stored,
    }
}

fn customer_row(cached: &Cached, due_at: Option<Timestamp>) -> Option<CustomerRow> {
    let state = &cached.state;
    let profile = serde_json::to_string(state.profile.as_ref()?);
    match profile {
        Ok(profile) => Some(CustomerRow {
            customer: state.customer.clone(),
            created_at: state.created_at,
            due_at,
            closed: state.closed,
            profile,
        }),
        Err(error) => {
            warn!(customer = %state.customer, %error, "a profile can't be written as JSON");
            None
        }
    }
}

fn snapshot(cached: &mut Cached) -> Option<NewSnapshot> {
    let state = &cached.state;
    let entries = state.seq.saturating_sub(cached.snapshot_seq);
    if entries < SNAPSHOT_EVERY
        || cached.tail_bytes < cached.snapshot_bytes.saturating_mul(SNAPSHOT_TAIL_FACTOR)
    {
        return None;
    }
    let text = serde_json::to_string(state).ok()?;
    cached.snapshot_seq = state.seq;
    cached.snapshot_bytes = text.len();
    cached.tail_bytes = 0;
    Some(NewSnapshot { customer: state.customer.clone(), seq: state.seq, at: state.at, state: text })
}
