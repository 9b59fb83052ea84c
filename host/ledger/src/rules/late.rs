//! What late usage may draw of what has expired. Of plan allowances no more than the largest one of their cycle leaves, however
//! many of them expired in it: changes of plan make no credits, late usage or not.

use super::cycle::of_parts;
use crate::{
    journal::{Cycle, Period},
    model::{amounts::Credits, grant::CreditType},
    state::{CustomerState, GrantState, GrantStatus, PastPeriod, history::amount_of},
};

/// A cycle, and a credit type of its allowances.
#[derive(Clone, Copy)]
struct Place<'a> {
    cycle: &'a Cycle,
    /// The first period of the cycle that was last begun on request by then.
    fresh_from: u32,
    credit: &'a CreditType,
}

/// What one usage may draw of grants: what expired of a cycle's allowances is handed out once.
pub(crate) struct Leftovers<'a> {
    state: &'a CustomerState,
    /// What cycles have left.
    left: Vec<(Place<'a>, Credits)>,
}

impl Place<'_> {
    fn is(&self, other: &Self) -> bool {
        self.holds(other.cycle, other.fresh_from) && self.credit == other.credit
    }

    fn holds(&self, cycle: &Cycle, fresh_from: u32) -> bool {
        self.cycle.start == cycle.start
            && self.cycle.interval == cycle.interval
            && self.fresh_from == fresh_from
    }
}

impl<'a> Leftovers<'a> {
    pub(crate) fn of(state: &'a CustomerState) -> Self {
        Self { state, left: Vec::new() }
    }

    /// How much a usage may draw of a grant that was live when it occurred, beside what it may draw of those before.
    pub(crate) fn take(&mut self, grant: &'a GrantState) -> Credits {
        let most = match grant.status {
            GrantStatus::Live => return grant.remaining,
            GrantStatus::Expired => grant.expired,
            GrantStatus::Voided => return Credits::ZERO,
        };
        let Some(place) = self.state.place_of(grant).filter(|_| most.is_positive()) else { return most };
        let known = self.left.iter().position(|(other, _)| other.is(&place));
        let known = known.unwrap_or_else(|| {
            self.left.push((place, self.state.left_of_cycle(&place)));
            self.left.len() - 1
        });
        let Some((_, left)) = self.left.get_mut(known) else { return most };
        let part = most.min(*left);
        *left = left.saturating_sub(part);
        part
    }
}

impl CustomerState {
    /// The cycle whose allowance a grant is, or carries on; none once its period is forgotten.
    fn place_of<'a>(&'a self, grant: &'a GrantState) -> Option<Place<'a>> {
        let number = grant.allowance_of?;
        let credit = &grant.grant.credit;
        if self.period.as_ref().is_some_and(|period| period.number == number) {
            return Some(Place { cycle: self.cycle.as_ref()?, fresh_from: self.fresh_from, credit });
        }
        let past = self.past_period(number)?;
        Some(Place { cycle: past.cycle.as_ref()?, fresh_from: past.fresh_from, credit })
    }

    /// By how much the largest allowance of a cycle exceeds what was given since the cycle began, in it or, until its last period
    /// began, beside it. What came beside it has reduced its allowances, and still goes on into them when it comes back, so it must
    /// not be drawn in its place. What was given in full beside others comes on top.
    fn left_of_cycle(&self, place: &Place<'_>) -> Credits {
        let Place { cycle, fresh_from, credit } = *place;
        let of_cycle =
            |past: &&PastPeriod| past.cycle.as_ref().is_some_and(|cycle| place.holds(cycle, past.fresh_from));
        let running = self
            .period
            .as_ref()
            .filter(|_| self.cycle.as_ref().is_some_and(|cycle| place.holds(cycle, self.fresh_from)));
        let (mut largest, mut full, mut last) = (Credits::ZERO, Credits::ZERO, 0);
        for past in self.past.iter().filter(of_cycle) {
            largest = largest.max(past.largest(credit));
            full = full.saturating_add(amount_of(&past.full, credit));
            last = last.max(past.period.number);
        }
        let mut gave = Credits::ZERO;
        if let Some(period) = running {
            let own = amount_of(&self.full, credit);
            largest = largest.max(amount_of(&self.whole, credit).saturating_sub(own));
            full = full.saturating_add(own);
            last = period.number;
            let allowances = self
                .grants
                .iter()
                .filter(|state| state.allowance_of == Some(period.number) && &state.grant.credit == credit);
            gave = allowances.fold(gave, |sum, state| sum.saturating_add(state.given()));
        }
        let counts = |period: &Period| period.start >= cycle.start && period.number <= last;
        let counted = self.past.iter().filter(|past| past.fresh_from == fresh_from && counts(&past.period));
        let gave = counted.fold(gave, |sum, past| sum.saturating_add(amount_of(&past.given, credit)));
        of_parts(cycle, largest, |_| true).saturating_add(full).above(gave)
    }
}
