//! A second bookkeeper: keeps every book from the transfers alone, and knows the burn-down order by another way.

use proviso_ledger::{
    journal::{Entry, Event},
    model::{amounts::Credits, counter::Counted, time::Timestamp, transfer::Book},
    state::{CustomerState, Draft, GrantState, GrantStatus},
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
            assert!(transfer.amount.is_positive(), "{transfer:?}");
            let credit = transfer.credit.to_string();
            *self.books.entry((credit.clone(), transfer.from)).or_default() -= transfer.amount.units();
            *self.books.entry((credit, transfer.to)).or_default() += transfer.amount.units();
        }
        assert_eq!(self.books.values().sum::<i128>(), 0, "what leaves one book arrives in another");
        for ((credit, book), amount) in &self.books {
            let books =
                state.accounts.iter().find(|(name, _)| name.as_str() == credit).map(|(_, books)| *books);
            let books = books.unwrap_or_default();
            let (kept, may_be_below) = match book {
                Book::Issued => (-books.issued.units(), true),
                Book::Overage => (-books.overage.units(), true),
                Book::Spent => (books.spent.units(), false),
                Book::Expired => (books.expired.units(), false),
                Book::Voided => (books.voided.units(), false),
                // A grant that is forgotten has nothing left.
                Book::Grant(id) => (state.grant(*id).map_or(0, |grant| grant.remaining.units()), false),
                Book::Reserved(id) => {
                    let held = state.reservations.get(id).map_or(Credits::ZERO, |one| one.held());
                    (held.units(), false)
                }
            };
            assert_eq!(*amount, kept, "{credit} {book} after {entry:?}");
            assert!(may_be_below || *amount >= 0, "{credit} {book} is below zero");
        }
        state.check_books().unwrap();
        check_grants(state);
        let cost = match &entry.event {
            Event::Charged(charged) => Some(charged.rated.cost),
            Event::Committed(committed) => Some(committed.rated.cost),
            _ => None,
        };
        if let Some(cost) = cost {
            let drawn = sum(entry.draws().iter().map(|draw| draw.amount));
            assert_eq!(drawn + entry.overage().units(), cost.units(), "it costs what it draws");
        }
        if state.reservations.is_empty() {
            let held = state.counters.iter().find(|(.., Counted { held, .. })| !held.is_zero());
            assert_eq!(held, None, "nothing is held, yet a counter says so");
        }
    }

    /// Draws are greedy: each drawn grant but the last is emptied, and none that comes before them is passed over. Those that
    /// were live when the usage occurred come first, with what expired of them; of an expired allowance that may be less, since its
    /// cycle gives only so much in all, which the reference model knows.
    pub fn check_draws(&self, state: &CustomerState, at: Timestamp, draft: &Draft, in_host_order: bool) {
        let usage = match &draft.event {
            Event::Charged(charged) => &charged.usage,
            Event::Reserved(reserved) => &reserved.usage,
            _ => return,
        };
        let time = usage.occurred_at.max(state.created_at).min(at);
        let covered = |grant: &&GrantState| {
            Some(&grant.grant.credit) == draft.credit.as_ref()
                && (grant.grant.features.is_empty() || grant.grant.features.contains(&usage.feature))
        };
        let may_be_less =
            |grant: &GrantState| grant.status == GrantStatus::Expired && grant.allowance_of.is_some();
        let mut usable: Vec<(bool, &GrantState, Credits)> = Vec::new();
        for grant in state.grants.iter().filter(covered) {
            let then = grant.usable_since <= time && grant.ended_at.is_none_or(|end| time < end);
            let most = match grant.status {
                GrantStatus::Live if then || grant.grant.effective_at <= at => grant.remaining,
                GrantStatus::Expired if then => grant.expired,
                _ => Credits::ZERO,
            };
            if most.is_positive() {
                usable.push((!then, grant, most));
            }
        }
        usable.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(a.1, b.1)));
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
            let mut places = usable.iter();
            for (place, (id, amount)) in drawn.iter().enumerate() {
                let (_, grant, most) =
                    places.find(|(_, grant, _)| grant.grant.id == *id || !may_be_less(grant)).unwrap();
                assert_eq!(*id, grant.grant.id);
                let is_emptied = *amount == *most || may_be_less(grant) && *amount < *most;
                assert!(place + 1 == drawn.len() || is_emptied, "{id} is not emptied");
            }
        }
        // Neither overage nor a top-up while a grant that could be drawn has something left.
        let beyond =
            draft.transfers.iter().any(|transfer| matches!(transfer.from, Book::Overage | Book::Issued));
        if beyond {
            let sure = usable.iter().filter(|(_, grant, _)| !may_be_less(grant));
            let ids: Vec<_> = sure.clone().map(|(_, grant, _)| grant.grant.id).collect();
            let drawn = drawn.iter().filter(|(id, _)| ids.contains(id));
            assert_eq!(sum(drawn.map(|(_, amount)| *amount)), sum(sure.map(|(.., most)| *most)));
        }
    }
}

fn sum(amounts: impl Iterator<Item = Credits>) -> i128 {
    amounts.map(Credits::units).sum()
}

fn check_grants(state: &CustomerState) {
    for grant in state.grants.iter() {
        let held = sum(state
            .reservations
            .values()
            .flat_map(|reservation| &reservation.holds)
            .filter(|(id, _)| *id == grant.grant.id)
            .map(|(_, amount)| *amount));
        let id = grant.grant.id;
        assert_eq!(held, grant.held.units(), "what reservations hold of {id} is what it knows to be held");
        for part in [grant.remaining, grant.spent, grant.expired, grant.voided] {
            assert!(!part.is_negative(), "{grant:?}");
        }
        assert!(
            grant.status == GrantStatus::Live || grant.remaining.is_zero(),
            "a grant that has ended has nothing to give: {grant:?}"
        );
    }
    assert!(state.grants.iter().is_sorted_by(|a, b| order(a, b).is_le()));
}

/// The rule of the design, criterion by criterion.
fn order(a: &GrantState, b: &GrantState) -> Ordering {
    let expiry = |state: &GrantState| state.ends_at.map_or(i64::MAX, |expiry| expiry.0);
    let paid = |state: &GrantState| state.grant.cost_basis.is_some_and(|basis| !basis.is_zero());
    let scope = |state: &GrantState| match state.grant.features.len() {
        0 => usize::MAX,
        some => some,
    };
    let created = |state: &GrantState| (state.grant.id.entry, state.grant.id.index);
    a.grant
        .priority
        .cmp(&b.grant.priority)
        .then_with(|| expiry(a).cmp(&expiry(b)))
        .then_with(|| paid(a).cmp(&paid(b)))
        .then_with(|| scope(a).cmp(&scope(b)))
        .then_with(|| a.grant.effective_at.cmp(&b.grant.effective_at))
        .then_with(|| created(a).cmp(&created(b)))
}
