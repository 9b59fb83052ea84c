//! What was sold and what became of it, followed through a journal's transfers.
//!
//! Credits that were issued with a cost basis stay *lots of that grant* wherever they move: into reservations, into what is
//! carried over, into what a refund gives anew. So a grant's money follows its credits: `earned`, `breakage` and `voided` are the
//! shares of the basis that belong to the credits burnt, expired and voided so far, each rounded to the minor unit as a running
//! difference, and what is left is deferred. Nothing is lost to rounding: the four always add up to what was sold, and the last
//! credit to go takes the rest.

use proviso_ledger::{
    journal::{Entry, Event, GrantImported},
    model::{
        amounts::{Credits, Decimal, Money, Rounding},
        grant::Category,
        ids::{GrantId, ReservationId},
        transfer::{Book, Transfer},
    },
};
use std::collections::BTreeMap;

/// Amounts of money in one currency; what changes of them, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    /// Cost bases of grants that were issued.
    pub sold: Decimal,
    /// Of credits that were burnt.
    pub earned: Decimal,
    /// Of credits that expired.
    pub breakage: Decimal,
    /// Of credits that were voided.
    pub voided: Decimal,
    /// What of `earned` was taken back by refunds.
    pub refunded: Decimal,
}

impl Amounts {
    pub fn plus(self, other: Self) -> Self {
        self.with(other, Decimal::saturating_add)
    }

    pub fn minus(self, other: Self) -> Self {
        self.with(other, Decimal::saturating_sub)
    }

    fn with(self, other: Self, of: impl Fn(Decimal, Decimal) -> Decimal) -> Self {
        Self {
            sold: of(self.sold, other.sold),
            earned: of(self.earned, other.earned),
            breakage: of(self.breakage, other.breakage),
            voided: of(self.voided, other.voided),
            refunded: of(self.refunded, other.refunded),
        }
    }

    /// What is neither earned nor lost.
    pub fn deferred(self) -> Decimal {
        let gone = self.earned.saturating_add(self.breakage).saturating_add(self.voided);
        self.sold.saturating_sub(gone)
    }

    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// A grant that was sold.
#[derive(Debug, Clone)]
pub(super) struct Sold {
    /// What was paid.
    pub basis: Money,
    /// Why it exists.
    pub category: Category,
    /// What was issued, and what of that was burnt, expired and voided, in whichever grant it was by then.
    issued: Credits,
    spent: Credits,
    expired: Credits,
    voided: Credits,
    /// Money of what refunds took back.
    refunded: Decimal,
}

impl Sold {
    /// The share of the basis that belongs to so many of the credits.
    fn share(&self, part: Credits) -> Decimal {
        let part = part.max(Credits::ZERO).min(self.issued);
        let share = self.basis.share(part, self.issued, Rounding::HalfEven);
        share.map_or(Decimal::ZERO, Money::amount)
    }

    /// What became of it so far.
    pub fn amounts(&self) -> Amounts {
        let earned = self.share(self.spent);
        let to_expired = self.share(self.spent.saturating_add(self.expired));
        let gone = self.spent.saturating_add(self.expired).saturating_add(self.voided);
        Amounts {
            sold: self.basis.amount(),
            earned,
            breakage: to_expired.saturating_sub(earned),
            voided: self.share(gone).saturating_sub(to_expired),
            refunded: self.refunded,
        }
    }
}

/// Credits by the grant that they were issued as.
#[derive(Debug, Clone, Default)]
struct Lots(BTreeMap<GrantId, Credits>);

impl Lots {
    fn add(&mut self, origin: GrantId, amount: Credits) {
        let total = self.0.entry(origin).or_default();
        *total = total.saturating_add(amount);
    }

    fn add_all(&mut self, parts: &[(GrantId, Credits)]) {
        parts.iter().for_each(|(origin, amount)| self.add(*origin, *amount));
    }

    /// Takes so much, or what there is: from the oldest on, or back from the youngest.
    fn take(&mut self, amount: Credits, oldest_first: bool) -> Vec<(GrantId, Credits)> {
        let (mut left, mut parts) = (amount, Vec::new());
        while left.is_positive() {
            let entry = if oldest_first { self.0.first_entry() } else { self.0.last_entry() };
            let Some(mut entry) = entry else { break };
            let part = left.min(*entry.get());
            left = left.saturating_sub(part);
            parts.push((*entry.key(), part));
            let rest = entry.get().saturating_sub(part);
            if rest.is_positive() {
                entry.insert(rest);
            } else {
                entry.remove();
            }
        }
        parts
    }
}

/// Where the credits of a grant are.
#[derive(Debug, Clone, Default)]
struct Pool {
    left: Lots,
    spent: Lots,
    expired: Lots,
}

/// What became of credits.
#[derive(Clone, Copy)]
enum End {
    Spent,
    Expired,
    Voided,
}

/// A change of what became of a grant that was sold.
pub(super) type Change = (GrantId, Amounts);

/// The books of one customer's journal, up to some entry.
#[derive(Debug, Default)]
pub(super) struct Books {
    sold: BTreeMap<GrantId, Sold>,
    pools: BTreeMap<GrantId, Pool>,
    held: BTreeMap<(ReservationId, GrantId), Lots>,
}

impl Books {
    pub fn sold(&self, grant: GrantId) -> Option<&Sold> {
        self.sold.get(&grant)
    }

    /// Takes in the next entry; `charge` is the entry of the charge that it refunds. Returns what changed.
    pub fn take(&mut self, entry: &Entry, charge: Option<&Entry>) -> Vec<Change> {
        if entry.transfers.is_empty() {
            return Vec::new();
        }
        if let Event::GrantImported(imported) = &entry.event {
            return self.move_in(imported);
        }
        let mut changed: BTreeMap<GrantId, Amounts> = BTreeMap::new();
        let mut drawn = charge.zip(entry.refunded()).map(|(charge, refunded)| {
            given_back(charge, refunded.total.saturating_sub(refunded.amount), refunded.amount)
        });
        for transfer in &entry.transfers {
            match (transfer.from, &mut drawn) {
                (Book::Spent, Some(drawn)) => self.give_back(transfer, drawn, &mut changed),
                _ => self.follow(entry, transfer, &mut changed),
            }
        }
        let mut changes = Vec::new();
        for (grant, before) in changed {
            let Some(sold) = self.sold.get_mut(&grant) else { continue };
            let mut after = sold.amounts();
            if entry.refunded().is_some() && after.earned < before.earned {
                let back = before.earned.saturating_sub(after.earned);
                sold.refunded = sold.refunded.saturating_add(back);
                after.refunded = sold.refunded;
            }
            let change = after.minus(before);
            if !change.is_zero() {
                changes.push((grant, change));
            }
        }
        changes
    }

    /// What another system had sold counts as sold here as far as it was still deferred there: what was burnt there was earned there.
    fn move_in(&mut self, imported: &GrantImported) -> Vec<Change> {
        let (grant, left) = (&imported.grant, imported.left());
        self.pool(grant.id).left.add(grant.id, left);
        let basis = grant.cost_basis.and_then(|basis| {
            basis.share(left, grant.amount, Rounding::HalfEven).ok().filter(|share| !share.is_zero())
        });
        let Some(basis) = basis else { return Vec::new() };
        let zero = Credits::ZERO;
        let (category, refunded) = (grant.category, Decimal::ZERO);
        let sold = Sold { basis, category, issued: left, spent: zero, expired: zero, voided: zero, refunded };
        let change = sold.amounts();
        self.sold.insert(grant.id, sold);
        vec![(grant.id, change)]
    }

    fn follow(&mut self, entry: &Entry, transfer: &Transfer, changed: &mut BTreeMap<GrantId, Amounts>) {
        let amount = transfer.amount;
        match (transfer.from, transfer.to) {
            (Book::Issued, Book::Grant(id)) => {
                self.pool(id).left.add(id, amount);
                if let Some(sold) = self.sold.get_mut(&id) {
                    changed.entry(id).or_insert_with(|| sold.amounts());
                    sold.issued = sold.issued.saturating_add(amount);
                    return;
                }
                let Some(grant) = entry.grants().iter().find(|grant| grant.id == id) else { return };
                let Some(basis) = grant.cost_basis.filter(|basis| !basis.is_zero()) else { return };
                let sold = Sold {
                    basis,
                    category: grant.category,
                    issued: amount,
                    spent: Credits::ZERO,
                    expired: Credits::ZERO,
                    voided: Credits::ZERO,
                    refunded: Decimal::ZERO,
                };
                self.sold.insert(id, sold);
                changed.entry(id).or_default();
            }
            (Book::Grant(from), Book::Grant(to)) => {
                let parts = self.pool(from).left.take(amount, true);
                self.pool(to).left.add_all(&parts);
            }
            (Book::Grant(id), Book::Reserved(reservation)) => {
                let parts = self.pool(id).left.take(amount, true);
                self.held.entry((reservation, id)).or_default().add_all(&parts);
            }
            (Book::Grant(id), to) => {
                let parts = self.pool(id).left.take(amount, true);
                self.end(id, to, &parts, changed);
            }
            (Book::Reserved(reservation), Book::Grant(id)) => {
                let parts = self.unhold(reservation, id, amount);
                self.pool(id).left.add_all(&parts);
            }
            // What a commit or a settlement spends of each grant is named by the event; this moves the sum.
            (Book::Reserved(reservation), Book::Spent) => {
                let taken = match &entry.event {
                    Event::Committed(committed) => &committed.taken,
                    Event::Charged(charged) => match &charged.settled {
                        Some(settled) => &settled.taken,
                        None => return,
                    },
                    _ => return,
                };
                for draw in taken {
                    let parts = self.unhold(reservation, draw.grant, draw.amount);
                    self.end(draw.grant, Book::Spent, &parts, changed);
                }
            }
            (Book::Expired, Book::Grant(id)) => {
                let parts = self.pool(id).expired.take(amount, false);
                self.resume(End::Expired, &parts, changed);
                self.pool(id).left.add_all(&parts);
            }
            (Book::Spent, Book::Grant(id)) => {
                let parts = self.pool(id).spent.take(amount, false);
                self.resume(End::Spent, &parts, changed);
                self.pool(id).left.add_all(&parts);
            }
            _ => {}
        }
    }

    /// What a refund moves comes out of what its charge drew, part by part.
    fn give_back(
        &mut self,
        transfer: &Transfer,
        drawn: &mut Vec<(Option<GrantId>, Credits)>,
        changed: &mut BTreeMap<GrantId, Amounts>,
    ) {
        let mut left = transfer.amount;
        while left.is_positive()
            && let Some((grant, rest)) = drawn.first_mut()
        {
            let part = left.min(*rest);
            left = left.saturating_sub(part);
            *rest = rest.saturating_sub(part);
            let from = *grant;
            if !rest.is_positive() {
                drawn.remove(0);
            }
            // What no grant paid is nobody's.
            let Some(from) = from else { continue };
            let parts = self.pool(from).spent.take(part, false);
            self.resume(End::Spent, &parts, changed);
            match transfer.to {
                Book::Grant(id) => self.pool(id).left.add_all(&parts),
                to => self.end(from, to, &parts, changed),
            }
        }
    }

    fn pool(&mut self, id: GrantId) -> &mut Pool {
        self.pools.entry(id).or_default()
    }

    fn unhold(
        &mut self,
        reservation: ReservationId,
        grant: GrantId,
        amount: Credits,
    ) -> Vec<(GrantId, Credits)> {
        let Some(lots) = self.held.get_mut(&(reservation, grant)) else { return Vec::new() };
        let parts = lots.take(amount, false);
        if lots.0.is_empty() {
            self.held.remove(&(reservation, grant));
        }
        parts
    }

    /// Credits that were in a grant are burnt, expire or are voided.
    fn end(
        &mut self,
        from: GrantId,
        to: Book,
        parts: &[(GrantId, Credits)],
        changed: &mut BTreeMap<GrantId, Amounts>,
    ) {
        let end = match to {
            Book::Spent | Book::Overage => End::Spent,
            Book::Expired => End::Expired,
            Book::Voided => End::Voided,
            Book::Issued | Book::Grant(_) | Book::Reserved(_) => return,
        };
        match end {
            End::Spent => self.pool(from).spent.add_all(parts),
            End::Expired => self.pool(from).expired.add_all(parts),
            End::Voided => {}
        }
        self.note(end, parts, changed, Credits::saturating_add);
    }

    /// Credits come back from where they had ended.
    fn resume(&mut self, end: End, parts: &[(GrantId, Credits)], changed: &mut BTreeMap<GrantId, Amounts>) {
        self.note(end, parts, changed, Credits::saturating_sub);
    }

    fn note(
        &mut self,
        end: End,
        parts: &[(GrantId, Credits)],
        changed: &mut BTreeMap<GrantId, Amounts>,
        sum: impl Fn(Credits, Credits) -> Credits,
    ) {
        for (origin, amount) in parts {
            let Some(sold) = self.sold.get_mut(origin) else { continue };
            changed.entry(*origin).or_insert_with(|| sold.amounts());
            let total = match end {
                End::Spent => &mut sold.spent,
                End::Expired => &mut sold.expired,
                End::Voided => &mut sold.voided,
            };
            *total = sum(*total, *amount);
        }
    }
}

/// What a refund gives back of what its charge drew: the last first, after what earlier refunds gave back.
pub(crate) fn given_back(
    charge: &Entry,
    before: Credits,
    amount: Credits,
) -> Vec<(Option<GrantId>, Credits)> {
    let (mut skip, mut left, mut parts) = (before, amount, Vec::new());
    for (grant, amount) in drawn(charge).into_iter().rev() {
        let skipped = skip.min(amount);
        skip = skip.saturating_sub(skipped);
        let part = amount.saturating_sub(skipped).min(left);
        left = left.saturating_sub(part);
        if part.is_positive() {
            parts.push((grant, part));
        }
    }
    parts
}

/// What a charge or commit drew, from the first grant to the last and then beyond all grants.
pub(crate) fn drawn(entry: &Entry) -> Vec<(Option<GrantId>, Credits)> {
    let draws = entry.draws().into_iter().map(|draw| (Some(draw.grant), draw.amount));
    draws.chain([(None, entry.overage())]).filter(|(_, amount)| amount.is_positive()).collect()
}
