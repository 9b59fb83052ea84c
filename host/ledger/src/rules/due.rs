//! What time itself brings: expiries, and the ends and beginnings of periods. Each is due at an instant of its own and yields
//! the same entry whether it is found late or on time, by a request or by the sweeper.

use super::{rejection::Rejection, top_up::TopUpStep};
use crate::{
    journal::{Event, OpenReason},
    model::{
        answers::Allowance,
        ids::{GrantId, LeaseId, ReservationId},
        time::Timestamp,
        transfer::{Book, Transfer},
    },
    state::{CustomerState, Draft, GrantState, GrantStatus, Starting},
};

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A reservation's hold ends, or a lease's.
    ReservationExpiry(ReservationId),
    /// The period ends; the terms in force until then decide what that does.
    PeriodEnd,
    /// A pending change of plan takes effect: the running period ends first, if there is one.
    PlanChange,
    /// One or more grants' time runs out.
    GrantExpiry,
    /// An add-on gives something.
    AddOn,
    /// A period begins, for this reason and with this allowance asked for; the terms in force from then on decide what that
    /// does.
    PeriodStart(OpenReason, Allowance),
    /// A step of an automatic top-up.
    TopUp(TopUpStep),
}

impl CustomerState {
    /// What is due next, and when. At one instant reservations expire first, so that the end of the period sees what they give
    /// back; that comes before a change of plan, which then cuts nothing off, and before the expiry of grants, so that it may carry
    /// them over; then add-ons give what is due, the next period begins, and what is left by then is topped up last.
    #[must_use]
    pub fn next_due(&self) -> Option<(Timestamp, Due)> {
        let top_up = self.next_top_up().map(|(at, _, step)| (at, Due::TopUp(step)));
        [self.next_due_but_top_ups(), top_up].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// What is due next, as far as it is no top-up.
    #[must_use]
    pub fn next_due_but_top_ups(&self) -> Option<(Timestamp, Due)> {
        let reservation = self.reservations.next_to_end();
        let reservation = reservation.map(|(end, id)| (end, Due::ReservationExpiry(id)));
        let period = self.next_reset_at().filter(|_| !self.closed).map(|end| (end, Due::PeriodEnd));
        let grant = self.next_grant_expiry().map(|expiry| (expiry, Due::GrantExpiry));
        let change = self.plan_change_at().filter(|_| !self.closed).map(|at| (at, Due::PlanChange));
        let add_on = self.next_add_on().map(|(at, _)| (at, Due::AddOn));
        let start = self.next_period_start();
        // `min_by_key` keeps the first of equals.
        [reservation, period, change, grant, add_on, start].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// A customer with a plan is never without a period for long: the next begins where the last ended.
    fn next_period_start(&self) -> Option<(Timestamp, Due)> {
        if self.closed || self.period.is_some() || self.plan().is_none() {
            return None;
        }
        if let Some(Starting { at, allowance, same_plan }) = self.starting {
            let reason = OpenReason::of_change_after(self.periods, same_plan);
            return Some((at, Due::PeriodStart(reason, allowance)));
        }
        let start = |reason| Due::PeriodStart(reason, Allowance::Carry);
        match self.past.last().and_then(|past| past.period.end) {
            Some(end) => Some((end, start(OpenReason::Scheduled))),
            None => Some((self.created_at, start(OpenReason::Started))),
        }
    }

    fn next_grant_expiry(&self) -> Option<Timestamp> {
        let live = self.grants.iter().filter(|grant| grant.status == GrantStatus::Live);
        live.filter_map(|grant| grant.grant.expires_at).min()
    }

    /// The entry for the expiry of a reservation or a lease at its time.
    ///
    /// # Errors
    /// One that is closed.
    pub fn expire_reservation(&self, id: ReservationId) -> Result<Draft, Rejection> {
        let lease = LeaseId::of_hold(id);
        if self.lease(lease).is_some() {
            return self.end_lease(lease, true);
        }
        self.close_reservation(id, Event::ReservationExpired { reservation: id })
    }

    /// The entry for the expiry of all grants whose time runs out at or before `at`.
    #[must_use]
    pub fn expire_grants(&self, at: Timestamp) -> Draft {
        let is_due = |state: &GrantState| state.grant.expires_at.is_some_and(|expiry| expiry <= at);
        self.end_live(is_due, Book::Expired, |grants| Event::GrantsExpired { grants })
    }

    /// The entry that ends live grants: what they have left goes into `book`.
    pub(super) fn end_live(
        &self,
        ends: impl Fn(&GrantState) -> bool,
        book: Book,
        event: impl FnOnce(Vec<GrantId>) -> Event,
    ) -> Draft {
        let (mut grants, mut transfers, mut credit) = (Vec::new(), Vec::new(), None);
        for state in self.grants.iter().filter(|state| state.status == GrantStatus::Live && ends(state)) {
            let id = state.grant.id;
            grants.push(id);
            credit.get_or_insert_with(|| state.grant.credit.clone());
            if !state.remaining.is_zero() {
                transfers.push(Transfer::new(&state.grant.credit, Book::Grant(id), book, state.remaining));
            }
        }
        Draft { transfers, credit, ..Draft::new(event(grants)) }
    }
}
