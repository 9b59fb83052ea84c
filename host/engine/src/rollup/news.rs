//! What this host has written of customers and is in no totals yet. It is counted as it is written, so that the [roller](super::roller)
//! need not read those entries again; where that can't be said for sure, it reads them from the journal.

use super::{
    additions::Additions,
    counted::{Counted, Paid, paid_by_known},
};
use proviso_ledger::{
    journal::Entry,
    model::ids::{CustomerId, Seq},
    state::CustomerState,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A customer with so many new entries is brought up to date in the next round...
const MANY: usize = 500;
/// ...others once the first of theirs is as old as this, so that who is charged now and then takes few writes.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Totals that are held for all customers together, each of some 300 bytes. What comes beyond is read from the journal.
const MOST_HELD: usize = 100_000;

/// An entry that is to be written, and who pays for its usage where the state knows.
pub(crate) struct Written {
    customer: CustomerId,
    entry: Arc<Entry>,
    paid: Option<Paid>,
}

impl Written {
    /// Of a customer with the state that the entry leads to.
    pub fn new(state: &CustomerState, entry: Arc<Entry>) -> Self {
        let counted = Counted::of(&entry).filter(|counted| !counted.is_refund);
        let paid = counted.and_then(|counted| paid_by_known(&entry, counted.cost, state));
        Self { customer: state.customer.clone(), entry, paid }
    }
}

/// Customers with entries that are in no totals yet.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    customers: HashMap<CustomerId, Waiting>,
    /// Totals that are held.
    totals: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    entries: usize,
    pending: Option<Pending>,
}

/// What the entries after one number up to another add.
#[derive(Debug)]
pub(super) struct Pending {
    /// The entry before the first.
    pub after: Seq,
    /// The last one.
    pub through: Seq,
    pub additions: Additions,
}

impl Pending {
    /// Takes in the next entry; says whether it could.
    fn add(&mut self, written: &Written) -> bool {
        let entry = &*written.entry;
        if entry.seq != self.through.saturating_add(1) {
            // Another host wrote between them, or this one does not know whether it did.
            return false;
        }
        if let Some(counted) = Counted::of(entry) {
            let Some(paid) = &written.paid else { return false };
            self.additions.add(entry.seq, &counted, paid);
        }
        self.through = entry.seq;
        true
    }
}

impl Held {
    fn note(&mut self, written: &Written) {
        let Self { customers, totals } = self;
        let has_room = *totals < MOST_HELD;
        let seq = written.entry.seq;
        let begin = || {
            let after = seq.saturating_sub(1);
            let pending =
                has_room.then(|| Pending { after, through: after, additions: Additions::default() });
            Waiting { since: Instant::now(), entries: 0, pending }
        };
        let waiting = match customers.get_mut(&written.customer) {
            Some(waiting) => waiting,
            None => customers.entry(written.customer.clone()).or_insert_with(begin),
        };
        waiting.entries = waiting.entries.saturating_add(1);
        let Some(pending) = &mut waiting.pending else { return };
        let before = pending.additions.len();
        if has_room && pending.add(written) {
            *totals = totals.saturating_add(pending.additions.len().saturating_sub(before));
        } else {
            *totals = totals.saturating_sub(before);
            waiting.pending = None;
        }
    }
}

impl News {
    /// Takes note of entries that were written.
    pub fn note(&self, entries: &[Written]) {
        let mut held = self.lock();
        for written in entries {
            held.note(written);
        }
    }

    /// Takes note that entries may have been written.
    pub fn note_uncertain(&self, entries: &[Written]) {
        for written in entries {
            self.put_back(written.customer.clone());
        }
    }

    /// Has a customer's entries read from the journal later.
    pub(super) fn put_back(&self, customer: CustomerId) {
        let mut held = self.lock();
        let Held { customers, totals } = &mut *held;
        let none = || Waiting { since: Instant::now(), entries: 0, pending: None };
        let pending = customers.entry(customer).or_insert_with(none).pending.take();
        *totals = totals.saturating_sub(pending.map_or(0, |pending| pending.additions.len()));
    }

    /// Takes those whose turn it is, or all.
    pub(super) fn take(&self, all: bool) -> Vec<(CustomerId, Option<Pending>)> {
        let mut held = self.lock();
        let Held { customers, totals } = &mut *held;
        let is_due = |waiting: &Waiting| all || waiting.entries >= MANY || waiting.since.elapsed() >= MAX_AGE;
        let due = customers.extract_if(|_, waiting| is_due(waiting));
        let due: Vec<_> = due.map(|(customer, waiting)| (customer, waiting.pending)).collect();
        let held = due.iter().filter_map(|(_, pending)| pending.as_ref());
        *totals = totals.saturating_sub(held.map(|pending| pending.additions.len()).sum());
        due
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of event, each with the state that it leads to.
    fn journal() -> Vec<Written> {
        let text = include_str!("../../../ledger/tests/golden/v1-every-event.jsonl");
        let mut state = CustomerState::new("acme".parse().unwrap());
        let mut written = Vec::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let Some(body) = line["body"].as_str() else { continue };
            let mut hash = [0; 32];
            hex::decode_to_slice(line["hash"].as_str().unwrap(), &mut hash).unwrap();
            let entry = Entry::parse(body).unwrap();
            state.fold(entry.seq, body, &hash).unwrap();
            written.push(Written::new(&state, Arc::new(entry)));
        }
        written
    }

    fn taken(news: &News) -> Option<(Seq, Seq, usize)> {
        let mut all = news.take(true);
        assert_eq!(news.lock().totals, 0);
        let (_, pending) = all.pop()?;
        pending.map(|pending| (pending.after, pending.through, pending.additions.len()))
    }

    #[test]
    fn entries_are_counted_as_long_as_nothing_is_missing_between_them() {
        let journal = journal();
        let refund = journal.iter().position(|written| written.entry.refunded().is_some()).unwrap();
        let news = News::default();
        news.note(&journal[..refund]);
        let (after, through, totals) = taken(&news).unwrap();
        assert_eq!((after, through), (0, refund as Seq));
        assert!(totals > 0);
        // What a refund gives back is in the entry of its charge.
        news.note(&journal[..=refund]);
        assert_eq!(taken(&news), None);
        // Another host wrote the second.
        news.note(&journal[..1]);
        news.note(&journal[2..3]);
        assert_eq!(taken(&news), None);
        // Nobody knows what was written.
        news.note(&journal[..refund]);
        news.note_uncertain(&journal[..1]);
        assert_eq!(news.take(true).len(), 1);
        assert_eq!(taken(&news), None);
        news.note(&journal[..1]);
        assert!(news.take(false).is_empty(), "it is too young, and too little");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let journal = journal();
        let news = News::default();
        news.lock().totals = MOST_HELD;
        news.note(&journal);
        news.lock().totals = 0;
        let all = news.take(true);
        assert!(all.iter().all(|(_, pending)| pending.is_none()));
    }
}
