//! Reservations: credits are set aside for a usage to come; then exactly one of commit, release and expiry wins. A commit
//! reports work that was done, so it always bills.

use super::{
    charge::{Decision, Paid, rated},
    draw::Obligation,
    rejection::{Denied, Rejection},
};
use crate::{
    journal::{Committed, Draw, Event, Intent, Reserved, Shape},
    model::{
        amounts::Credits,
        grant::CreditType,
        ids::{GrantId, ReservationId},
        terms::TermsKey,
        time::Timestamp,
        transfer::{Book, Transfer},
        usage::Usage,
    },
    state::{CustomerState, Draft, GrantState, GrantStatus, HeldFor, ReservationState},
};
use std::collections::BTreeMap;

/// The longest that credits are held, extensions included: seven days, in microseconds. A hold keeps a grant's credits from the
/// customer, and the past that it refers to from being forgotten.
pub const LONGEST_HOLD: i64 = 7 * 86_400 * Timestamp::SECOND;

impl CustomerState {
    /// The entry that sets a usage's cost aside until `expires_at`. `reduced_from` has the quantities that were asked for, when
    /// the usage was reduced to what is allowed.
    ///
    /// # Errors
    /// [`Denied::Refused`] when credits are missing; an expiry that is not ahead, too many reservations; else see
    /// [`Denied`].
    pub fn reserve(
        &self,
        at: Timestamp,
        usage: Usage,
        reduced_from: Option<Shape>,
        decision: Decision,
        expires_at: Timestamp,
    ) -> Result<Draft, Denied> {
        self.require_open()?;
        if expires_at <= at {
            return Err(Rejection::NotLater("expires_at", at).into());
        }
        self.require_place_for_reservation(&usage)?;
        let Paid { usage, rating, decision, funding, counts, budgets } =
            self.pay(at, Intent::Reserve, usage, decision)?;
        let id = ReservationId { entry: self.seq + 1, index: 0 };
        let credit = rating.credit.clone();
        let transfers = funding.transfers(&credit, Book::Reserved(id));
        let late = self.late(&usage);
        let reserved = Reserved {
            usage,
            late,
            reduced_from,
            rated: rated(rating),
            decision,
            expires_at,
            top_up: funding.top_up(),
        };
        Ok(Draft { counts, budgets, ..Draft::moving(Event::Reserved(Box::new(reserved)), credit, transfers) })
    }

    /// An open reservation.
    ///
    /// # Errors
    /// One that is closed, or never was.
    pub fn open_reservation(&self, id: ReservationId) -> Result<&ReservationState, Rejection> {
        self.reserved_usage(id).map(|(reservation, ..)| reservation)
    }

    /// An open reservation with the usage that it is for and the terms that rated it.
    ///
    /// # Errors
    /// One that is closed, or never was.
    pub fn reserved_usage(
        &self,
        id: ReservationId,
    ) -> Result<(&ReservationState, &Usage, &TermsKey), Rejection> {
        match self.reservations.get(&id) {
            Some(reservation) => match &reservation.held_for {
                HeldFor::Usage { usage, terms } => Ok((reservation, usage, terms)),
                HeldFor::Lease(_) => Err(Rejection::ReservationNotFound(id)),
            },
            // Whether an entry of the past made a reservation is for the journal to say; numbers ahead never did.
            None if id.entry <= self.seq && id.index == 0 => Err(Rejection::ReservationClosed(id)),
            None => Err(Rejection::ReservationNotFound(id)),
        }
    }

    /// By how much the actual cost exceeds the hold and what else is available to it.
    ///
    /// # Errors
    /// A reservation that is closed, or never was.
    pub fn commit_shortfall(
        &self,
        id: ReservationId,
        usage: &Usage,
        cost: Credits,
        at: Timestamp,
    ) -> Result<Credits, Rejection> {
        let reservation = self.open_reservation(id)?;
        let above = cost.saturating_sub(reservation.held()).max(Credits::ZERO);
        Ok(self.shortfall(self.using(&reservation.credit, usage, at), above))
    }

    /// By how much the cost of a new usage exceeds what is available to it.
    #[must_use]
    pub fn charge_shortfall(
        &self,
        usage: &Usage,
        credit: &CreditType,
        cost: Credits,
        at: Timestamp,
    ) -> Credits {
        self.shortfall(self.using(credit, usage, at), cost)
    }

    /// The entry that charges the actual usage: out of the hold as far as it goes, then of what is available, the rest as the
    /// policy's answer funds it and else as overage. What the hold has left goes back.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] for a rating that can't be carried out; a reservation that is closed, or never was.
    pub fn commit(
        &self,
        at: Timestamp,
        id: ReservationId,
        usage: Usage,
        decision: Decision,
    ) -> Result<Draft, Denied> {
        let reservation = self.open_reservation(id)?;
        let Decision { record, rating, overage, counters, settle_from, unrated } = decision;
        if rating.credit != reservation.credit {
            let detail =
                format!("the commit is rated in {}, the hold is in {}", rating.credit, reservation.credit);
            return Err(Denied::InvalidDecision(detail));
        }
        let above = rating.cost.saturating_sub(reservation.held()).max(Credits::ZERO);
        let using = self.using(&rating.credit, &usage, at);
        let funding =
            match self.fund(using, &rating, above, overage.as_ref(), Obligation::Billed, settle_from) {
                Ok(funding) => funding,
                Err(unfunded) => {
                    return Err(self.unfunded(at, Intent::Commit(id), usage, rating, record, unfunded));
                }
            };
        let counts = self.counts(&counters, &usage, rating.cost, Some(id));
        let budgets = self.budget_counts(&usage, &rating.credit, rating.cost, Some(id));
        let credit = rating.credit.clone();
        let (taken, taken_overage, rest) = take(reservation, rating.cost);
        let spent = taken.iter().fold(taken_overage, |sum, draw| sum.saturating_add(draw.amount));
        let mut transfers = Vec::with_capacity(2);
        if !spent.is_zero() {
            transfers.push(Transfer::new(&credit, Book::Reserved(id), Book::Spent, spent));
        }
        let returned = rest.held();
        transfers.extend(self.give_back(id, &rest));
        transfers.extend(funding.transfers(&credit, Book::Spent));
        let committed = Committed {
            reservation: id,
            late: self.late(&usage),
            usage,
            rated: rated(rating),
            decision: record,
            taken,
            taken_overage,
            returned,
            exceeded: funding.exceeded,
            as_reserved: unrated,
            top_up: funding.top_up(),
        };
        Ok(Draft {
            counts,
            budgets,
            ..Draft::moving(Event::Committed(Box::new(committed)), credit, transfers)
        })
    }

    /// The entry that gives a reservation back.
    ///
    /// # Errors
    /// A reservation that is closed, or never was.
    pub fn release(&self, id: ReservationId) -> Result<Draft, Rejection> {
        self.close_reservation(id, Event::Released { reservation: id })
    }

    /// The entry that moves the end of a hold.
    ///
    /// # Errors
    /// A reservation that is closed, or never was; an end that is not ahead, or more than [`LONGEST_HOLD`] after the beginning.
    pub fn extend_reservation(
        &self,
        at: Timestamp,
        id: ReservationId,
        expires_at: Timestamp,
    ) -> Result<Draft, Rejection> {
        let reservation = self.open_reservation(id)?;
        if expires_at <= at {
            return Err(Rejection::NotLater("expires_at", at));
        }
        let latest = reservation.reserved_at.plus_micros(LONGEST_HOLD);
        if expires_at > latest {
            return Err(Rejection::ReservationTooLong(id, latest));
        }
        let credit = reservation.credit.clone();
        Ok(Draft::moving(Event::ReservationExtended { reservation: id, expires_at }, credit, Vec::new()))
    }

    pub(crate) fn close_reservation(&self, id: ReservationId, event: Event) -> Result<Draft, Rejection> {
        Ok(self.close_hold(id, self.open_reservation(id)?, event))
    }

    /// The entry that ends a hold and gives all that it has left back.
    pub(crate) fn close_hold(&self, id: ReservationId, hold: &ReservationState, event: Event) -> Draft {
        Draft::moving(event, hold.credit.clone(), self.give_back(id, hold))
    }

    /// The movements that empty a hold. What goes back to a grant that has ended goes where it would have gone had it not been
    /// held: on into what was carried over of the grant or into the allowance after it, else it expires or is voided with it. What
    /// had expired before late usage held it would have stayed expired.
    fn give_back(&self, id: ReservationId, reservation: &ReservationState) -> Vec<Transfer> {
        let is_live =
            |grant: GrantId| self.grant(grant).is_none_or(|state| state.status == GrantStatus::Live);
        let mut transfers = Vec::with_capacity(reservation.holds.len());
        if reservation.holds.iter().all(|(grant, amount)| amount.is_zero() || is_live(*grant)) {
            let back = reservation.holds.iter().filter(|(_, amount)| !amount.is_zero());
            transfers.extend(back.map(|(grant, amount)| {
                Transfer::new(&reservation.credit, Book::Reserved(id), Book::Grant(*grant), *amount)
            }));
        } else {
            // Limits of what goes on change with each step, so a copy takes them in.
            transfers = self.clone().give_back_to_ended(id, reservation);
        }
        if !reservation.overage.is_zero() {
            let credit = &reservation.credit;
            transfers.push(Transfer::new(credit, Book::Reserved(id), Book::Overage, reservation.overage));
        }
        transfers
    }

    /// Empties what a reservation holds of grants.
    fn give_back_to_ended(&mut self, id: ReservationId, reservation: &ReservationState) -> Vec<Transfer> {
        let credit = &reservation.credit;
        let mut transfers = Vec::with_capacity(reservation.holds.len() * 2);
        for (grant, amount) in reservation.holds.iter().filter(|(_, amount)| !amount.is_zero()) {
            if reservation.revived.contains(grant) {
                for (from, to) in
                    [(Book::Reserved(id), Book::Grant(*grant)), (Book::Grant(*grant), Book::Expired)]
                {
                    let transfer = Transfer::new(credit, from, to, *amount);
                    // A step that can't be made is found when the draft is sealed.
                    let _ = self.move_credits(&transfer);
                    transfers.push(transfer);
                }
                continue;
            }
            let returned = self.return_through(credit, Book::Reserved(id), *grant, *amount, None);
            transfers.extend(returned);
        }
        transfers
    }

    /// The movements by which credits come back to a grant, and go on from it when it has ended. What would expire stays spent of the
    /// grant where it would, and goes into the new grant `instead`, where there is one.
    pub(super) fn return_through(
        &mut self,
        credit: &CreditType,
        from: Book,
        grant: GrantId,
        amount: Credits,
        instead: Option<GrantId>,
    ) -> Vec<Transfer> {
        let mut transfers = Vec::with_capacity(2);
        // Each step leads to a younger grant, so this ends.
        let mut steps = vec![(from, grant, amount)];
        while let Some((from, to, amount)) = steps.pop() {
            // Where it goes on to is settled before its arrival uses the limits up.
            let state = self.grant(to);
            let flow = state.map(|state| self.flow(state, amount)).unwrap_or_default();
            let end = match state.map(|state| state.status) {
                Some(GrantStatus::Expired) if instead.is_some() => Some(Book::Spent),
                Some(GrantStatus::Expired) => Some(Book::Expired),
                Some(GrantStatus::Voided) => Some(Book::Voided),
                Some(GrantStatus::Live) | None => None,
            };
            let mut step = |transfer: Transfer| {
                // A step that can't be made is found when the draft is sealed.
                let _ = self.move_credits(&transfer);
                transfers.push(transfer);
            };
            step(Transfer::new(credit, from, Book::Grant(to), amount));
            let Some(end) = end else { continue };
            let goes_on = flow.parts().fold(Credits::ZERO, |sum, (_, part)| sum.saturating_add(part));
            let ends = amount.saturating_sub(goes_on);
            if ends.is_positive() {
                step(Transfer::new(credit, Book::Grant(to), end, ends));
                if let (Book::Spent, Some(new)) = (end, instead) {
                    transfers.push(Transfer::new(credit, Book::Spent, Book::Grant(new), ends));
                }
            }
            steps.extend(flow.parts().map(|(next, part)| (Book::Grant(to), next, part)));
        }
        transfers
    }

    /// What would come to live grants by way of others, if reservations gave back all that they hold.
    pub(crate) fn coming_back(&self) -> BTreeMap<GrantId, Credits> {
        let mut coming = BTreeMap::new();
        let goes_on = |state: &GrantState| {
            !state.held.is_zero() && (state.onward.is_some() || state.carried_to.is_some())
        };
        if !self.grants.iter().any(goes_on) {
            return coming;
        }
        let mut scratch = self.clone();
        for (id, reservation) in self.reservations.iter() {
            for transfer in scratch.give_back_to_ended(*id, reservation) {
                if let (Book::Grant(_), Book::Grant(to)) = (transfer.from, transfer.to) {
                    let sum: &mut Credits = coming.entry(to).or_default();
                    *sum = sum.saturating_add(transfer.amount);
                }
            }
        }
        coming
    }
}

/// Takes up to `cost` out of a hold, grants first and in the order they were drawn; returns what is left of it, too.
fn take(reservation: &ReservationState, cost: Credits) -> (Vec<Draw>, Credits, ReservationState) {
    let mut rest = reservation.clone();
    let mut left = cost;
    let mut taken = Vec::with_capacity(rest.holds.len());
    for (grant, hold) in &mut rest.holds {
        let amount = left.min(*hold);
        if amount.is_positive() {
            left = left.saturating_sub(amount);
            *hold = hold.saturating_sub(amount);
            taken.push(Draw { grant: *grant, amount });
        }
    }
    let overage = left.min(rest.overage);
    rest.overage = rest.overage.saturating_sub(overage);
    (taken, overage, rest)
}
