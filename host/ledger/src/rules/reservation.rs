//! Reservations: credits are set aside for a usage to come; then exactly one of commit, release and expiry wins.

use crate::{
    charge::{Decision, rated},
    credits::Credits,
    decision::Usage,
    error::{Denied, Rejection},
    ids::ReservationId,
    journal::{Committed, Draw, Event, Intent, Reserved},
    state::{CustomerState, Draft, GrantStatus, ReservationState},
    time::Timestamp,
    transfer::{Book, Transfer},
};

impl CustomerState {
    /// The entry that sets a usage's cost aside until `expires_at`.
    ///
    /// # Errors
    /// [`Denied::Refused`] when credits are missing; an expiry that is not ahead, too many reservations; else see
    /// [`Denied`].
    pub fn reserve(
        &self,
        at: Timestamp,
        usage: Usage,
        decision: Decision,
        expires_at: Timestamp,
    ) -> Result<Draft, Denied> {
        self.require_open()?;
        if expires_at <= at {
            return Err(Rejection::NotLater("expires_at", at).into());
        }
        if self.reservations.len() >= crate::customer::MOST_LIVE {
            return Err(Rejection::TooMany(self.reservations.len(), "reservations").into());
        }
        let Decision { record, rating, overage, counters: _ } = decision;
        let funding = match self.fund(at, Some(&usage.feature), &rating, rating.cost, overage.as_ref()) {
            Ok(funding) => funding,
            Err(unfunded) => return Err(self.unfunded(at, Intent::Reserve, usage, rating, record, unfunded)),
        };
        let id = ReservationId { entry: self.seq + 1, index: 0 };
        let credit = rating.credit.clone();
        let transfers = funding.transfers(&credit, Book::Reserved(id));
        let reserved =
            Reserved { usage, rated: rated(rating), decision: record, expires_at, top_up: funding.top_up() };
        Ok(Draft::moving(Event::Reserved(Box::new(reserved)), credit, transfers))
    }

    /// An open reservation.
    ///
    /// # Errors
    /// One that is closed, or never was.
    pub fn open_reservation(&self, id: ReservationId) -> Result<&ReservationState, Rejection> {
        self.reservations.get(&id).ok_or({
            // Whether an entry of the past made a reservation is for the journal to say; numbers ahead never did.
            if id.entry <= self.seq && id.index == 0 {
                Rejection::ReservationClosed(id)
            } else {
                Rejection::ReservationNotFound(id)
            }
        })
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
        let above = Credits(cost.0.saturating_sub(reservation.held().0).max(0));
        Ok(self.shortfall(&reservation.credit, Some(&usage.feature), above, at))
    }

    /// The entry that charges the actual usage: out of the hold as far as it goes, the rest as a normal charge; what
    /// the hold has left goes back.
    ///
    /// # Errors
    /// [`Denied::Refused`] when credits are missing above the hold (the reservation stays open), else see [`Denied`].
    pub fn commit(
        &self,
        at: Timestamp,
        id: ReservationId,
        usage: Usage,
        decision: Decision,
    ) -> Result<Draft, Denied> {
        let reservation = self.open_reservation(id)?;
        let Decision { record, rating, overage, counters } = decision;
        if rating.credit != reservation.credit {
            let detail =
                format!("the commit is rated in {}, the hold is in {}", rating.credit, reservation.credit);
            return Err(Denied::InvalidDecision(detail));
        }
        let above = Credits(rating.cost.0.saturating_sub(reservation.held().0).max(0));
        let funding = match self.fund(at, Some(&usage.feature), &rating, above, overage.as_ref()) {
            Ok(funding) => funding,
            Err(unfunded) => {
                return Err(self.unfunded(at, Intent::Commit(id), usage, rating, record, unfunded));
            }
        };
        let counts = self.counts(&counters, &usage, rating.cost, at);
        let credit = rating.credit.clone();
        let (taken, taken_overage, rest) = take(reservation, rating.cost);
        let spent = Credits(taken.iter().map(|draw| draw.amount.0).sum::<i64>() + taken_overage.0);
        let mut transfers = Vec::with_capacity(2);
        if !spent.is_zero() {
            transfers.push(Self::transfer(&credit, Book::Reserved(id), Book::Spent, spent));
        }
        let returned = rest.held();
        transfers.extend(self.give_back(id, &rest));
        transfers.extend(funding.transfers(&credit, Book::Spent));
        let committed = Committed {
            reservation: id,
            usage,
            rated: rated(rating),
            decision: record,
            taken,
            taken_overage,
            returned,
            top_up: funding.top_up(),
        };
        Ok(Draft { counts, ..Draft::moving(Event::Committed(Box::new(committed)), credit, transfers) })
    }

    /// The entry that gives a reservation back.
    ///
    /// # Errors
    /// A reservation that is closed, or never was.
    pub fn release(&self, id: ReservationId) -> Result<Draft, Rejection> {
        self.close_reservation(id, Event::Released { reservation: id })
    }

    pub(crate) fn close_reservation(&self, id: ReservationId, event: Event) -> Result<Draft, Rejection> {
        let reservation = self.open_reservation(id)?;
        Ok(Draft::moving(event, reservation.credit.clone(), self.give_back(id, reservation)))
    }

    /// The movements that empty a hold. What goes back to a grant that is expired or voided follows its credits there.
    fn give_back(&self, id: ReservationId, reservation: &ReservationState) -> Vec<Transfer> {
        let mut transfers = Vec::with_capacity(reservation.holds.len());
        let credit = &reservation.credit;
        for (grant, amount) in reservation.holds.iter().filter(|(_, amount)| !amount.is_zero()) {
            transfers.push(Self::transfer(credit, Book::Reserved(id), Book::Grant(*grant), *amount));
            let onward = match self.grant(*grant).map(|grant| grant.status) {
                Some(GrantStatus::Expired) => Book::Expired,
                Some(GrantStatus::Voided) => Book::Voided,
                Some(GrantStatus::Live) | None => continue,
            };
            transfers.push(Self::transfer(credit, Book::Grant(*grant), onward, *amount));
        }
        if !reservation.overage.is_zero() {
            transfers.push(Self::transfer(credit, Book::Reserved(id), Book::Overage, reservation.overage));
        }
        transfers
    }
}

/// Takes up to `cost` out of a hold, grants first and in the order they were drawn; returns what is left of it, too.
fn take(reservation: &ReservationState, cost: Credits) -> (Vec<Draw>, Credits, ReservationState) {
    let mut rest = reservation.clone();
    let mut left = cost.0;
    let mut taken = Vec::with_capacity(rest.holds.len());
    for (grant, hold) in &mut rest.holds {
        let amount = left.min(hold.0);
        if amount > 0 {
            left -= amount;
            hold.0 -= amount;
            taken.push(Draw { grant: *grant, amount: Credits(amount) });
        }
    }
    let overage = left.min(rest.overage.0);
    rest.overage.0 -= overage;
    (taken, Credits(overage), rest)
}
