//! What late usage may draw of what has expired. Of plan allowances no more than the largest one of their cycle leaves, however
//! many of them expired in it: changes of plan make no credits, late usage or not.

use crate::{
    journal::Cycle,
    model::{amounts::Credits, grant::CreditType},
    state::{CustomerState, GrantState, GrantStatus, PastPeriod, history::amount_of},
};

/// A cycle, and a credit type of its allowances.
#[derive(Clone, Copy)]
struct Place<'a> {
    cycle: &'a Cycle,
    /// Whether it began after the last cycle that was begun on request.
    is_fresh: bool,
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
        self.holds(other.cycle, other.is_fresh) && self.credit == other.credit
    }

    fn holds(&self, cycle: &Cycle, is_fresh: bool) -> bool {
        self.cycle.start == cycle.start && self.cycle.interval == cycle.interval && self.is_fresh == is_fresh
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
        let cycle = match self.period.as_ref().filter(|period| period.number == number) {
            Some(_) => self.cycle.as_ref()?,
            None => self.past_period(number)?.cycle.as_ref()?,
        };
        Some(Place { cycle, is_fresh: number >= self.fresh_from, credit: &grant.grant.credit })
    }

    /// By how much the largest allowance of a cycle exceeds what its allowances gave. What was given in full beside others comes
    /// on top.
    fn left_of_cycle(&self, place: &Place<'_>) -> Credits {
        let Place { credit, .. } = place;
        let (mut largest, mut full, mut gave) = (Credits::ZERO, Credits::ZERO, Credits::ZERO);
        let is_of_cycle = |past: &&PastPeriod| {
            let is_fresh = past.period.number >= self.fresh_from;
            past.cycle.as_ref().is_some_and(|cycle| place.holds(cycle, is_fresh))
        };
        for past in self.past.iter().filter(is_of_cycle) {
            largest = largest.max(past.largest(credit));
            full = full.saturating_add(amount_of(&past.full, credit));
            gave = gave.saturating_add(amount_of(&past.given, credit));
        }
        let running = self.period.as_ref().filter(|period| {
            let is_fresh = period.number >= self.fresh_from;
            self.cycle.as_ref().is_some_and(|cycle| place.holds(cycle, is_fresh))
        });
        if let Some(period) = running {
            let own = amount_of(&self.full, credit);
            largest = largest.max(amount_of(&self.whole, credit).saturating_sub(own));
            full = full.saturating_add(own);
            let allowances = self
                .grants
                .iter()
                .filter(|state| state.allowance_of == Some(period.number) && &state.grant.credit == *credit);
            gave = allowances.fold(gave, |sum, state| sum.saturating_add(state.given()));
        }
        largest.saturating_add(full).above(gave)
    }
}
