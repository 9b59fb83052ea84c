//! A second bookkeeper: keeps every book from the transfers alone, and knows the burn-down order by another way.

use proviso_ledger::{
    grant::Grant,
    journal::{Entry, Event},
    state::{CustomerState, Draft, GrantStatus},
    time::Timestamp,
    transfer::Book,
};
use std::{cmp::Ordering, collections::BTreeMap};

#[derive(Default)]
pub struct Oracle {
    books: BTreeMap<(String, Book), i128>,
}

impl Oracle {
    /// Takes an entry in and compares its books with those of the state.
    pub fn take(&mut self, entry: &Entry, state: &CustomerState) {
        for transfer in &entry.transfers {
            assert!(transfer.amount.0 > 0, "{transfer:?}");
            let credit = transfer.credit.to_string();
            *self.books.entry((credit.clone(), transfer.from)).or_default() -= i128::from(transfer.amount.0);
            *self.books.entry((credit, transfer.to)).or_default() += i128::from(transfer.amount.0);
        }
        assert_eq!(self.books.values().sum::<i128>(), 0, "what leaves one book arrives in another");
        for ((credit, book), amount) in &self.books {
            let books =
                state.accounts.iter().find(|(name, _)| name.as_str() == credit).map(|(_, books)| *books);
            let books = books.unwrap_or_default();
            let (kept, floor) = match book {
                Book::Issued => (-books.issued.0, i128::MIN),
                Book::Overage => (-books.overage.0, i128::MIN),
                Book::Spent => (books.spent.0, 0),
                Book::Expired => (books.expired.0, 0),
                Book::Voided => (books.voided.0, 0),
                // A grant that is forgotten has nothing left.
                Book::Grant(id) => (state.grant(*id).map_or(0, |grant| grant.remaining.0), 0),
                Book::Reserved(id) => {
                    (state.reservations.get(id).map_or(0, |reservation| reservation.held().0), 0)
                }
            };
            assert_eq!(*amount, i128::from(kept), "{credit} {book} after {entry:?}");
            assert!(*amount >= floor, "{credit} {book} is below zero");
        }
        state.check_books().unwrap();
        check_grants(state);
        if let Event::Charged(charged) = &entry.event {
            let drawn: i64 = entry.draws().iter().map(|draw| draw.amount.0).sum();
            assert_eq!(drawn + entry.overage().0, charged.rated.cost.0, "a charge costs what it draws");
        }
        if let Event::Committed(committed) = &entry.event {
            let drawn: i64 = entry.draws().iter().map(|draw| draw.amount.0).sum();
            assert_eq!(drawn + entry.overage().0, committed.rated.cost.0, "a commit costs what it draws");
        }
    }

    /// Draws are greedy: each drawn grant but the last is emptied, and none that comes before them is passed over.
    pub fn check_draws(&self, state: &CustomerState, at: Timestamp, draft: &Draft, in_host_order: bool) {
        let (Event::Charged(_) | Event::Reserved(_)) = &draft.event else { return };
        let usage = match &draft.event {
            Event::Charged(charged) => &charged.usage,
            Event::Reserved(reserved) => &reserved.usage,
            _ => return,
        };
        let mut usable: Vec<_> = state
            .grants
            .iter()
            .filter(|state| {
                let grant = &state.grant;
                let covered = grant.features.is_empty() || grant.features.contains(&usage.feature);
                let in_time = grant.effective_at <= at && grant.expires_at.is_none_or(|expiry| at < expiry);
                Some(&grant.credit) == draft.credit.as_ref()
                    && covered
                    && in_time
                    && state.status == GrantStatus::Live
            })
            .filter(|state| state.remaining.0 > 0)
            .collect();
        usable.sort_by(|a, b| order(&a.grant, &b.grant));
        let drawn: Vec<_> = draft
            .transfers
            .iter()
            .filter_map(|transfer| match (transfer.from, transfer.to) {
                (Book::Grant(id), Book::Spent | Book::Reserved(_)) => Some((id, transfer.amount)),
                _ => None,
            })
            .filter(|(id, _)| id.entry <= state.seq)
            .collect();
        if in_host_order {
            for (place, (id, amount)) in drawn.iter().enumerate() {
                assert_eq!(*id, usable[place].grant.id);
                assert!(
                    place + 1 == drawn.len() || *amount == usable[place].remaining,
                    "{id} is not emptied"
                );
            }
        }
        // Neither overage nor a top-up while a grant that could be drawn has something left.
        let beyond =
            draft.transfers.iter().any(|transfer| matches!(transfer.from, Book::Overage | Book::Issued));
        if beyond {
            let all: i128 = usable.iter().map(|state| i128::from(state.remaining.0)).sum();
            assert_eq!(drawn.iter().map(|(_, amount)| i128::from(amount.0)).sum::<i128>(), all);
        }
    }
}

fn check_grants(state: &CustomerState) {
    for grant in &state.grants {
        let held: i64 = state
            .reservations
            .values()
            .flat_map(|reservation| &reservation.holds)
            .filter(|(id, _)| *id == grant.grant.id)
            .map(|(_, amount)| amount.0)
            .sum();
        assert_eq!(
            held, grant.held.0,
            "what reservations hold of {} is what it knows to be held",
            grant.grant.id
        );
        assert!(grant.remaining.0 >= 0 && grant.spent.0 >= 0);
        assert!(
            grant.status == GrantStatus::Live || grant.remaining.is_zero(),
            "a dead grant has nothing to give"
        );
        let sum = grant.remaining.0 + grant.held.0 + grant.spent.0;
        assert!(sum <= grant.grant.amount.0, "{} gave more than it had", grant.grant.id);
    }
    assert!(state.grants.is_sorted_by(|a, b| order(&a.grant, &b.grant).is_le()));
}

/// The rule of the design, criterion by criterion.
fn order(a: &Grant, b: &Grant) -> Ordering {
    let expiry = |grant: &Grant| grant.expires_at.map_or(i64::MAX, |expiry| expiry.0);
    let paid = |grant: &Grant| grant.cost_basis.as_ref().is_some_and(|basis| basis.amount.0 > 0);
    let scope = |grant: &Grant| match grant.features.len() {
        0 => usize::MAX,
        some => some,
    };
    a.priority
        .cmp(&b.priority)
        .then_with(|| expiry(a).cmp(&expiry(b)))
        .then_with(|| paid(a).cmp(&paid(b)))
        .then_with(|| scope(a).cmp(&scope(b)))
        .then_with(|| a.effective_at.cmp(&b.effective_at))
        .then_with(|| (a.id.entry, a.id.index).cmp(&(b.id.entry, b.id.index)))
}
