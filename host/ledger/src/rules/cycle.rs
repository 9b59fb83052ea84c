//! Cycles: the nominal time in which plan allowances are given once, wherever plan, anchor and zone move the periods.

use crate::{
    journal::{Cycle, Given, OpenReason},
    model::{
        amounts::{Credits, Decimal, Rounding},
        customer::Profile,
        grant::CreditType,
        ids::GrantId,
        period::Schedule,
        time::Timestamp,
    },
    state::{CustomerState, GrantState, GrantStatus, Since},
};
use std::collections::BTreeMap;

/// The cycle of a period that begins, and what counts as given in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CycleAt {
    /// The cycle.
    pub cycle: Cycle,
    /// What plan allowances gave in it: used, held, or carried over.
    pub given: Vec<(CreditType, Credits)>,
    /// The part of `given` that open reservations hold and that goes nowhere else when it comes back.
    pub held: Vec<(CreditType, Credits)>,
    /// The first period that counts.
    pub since: Since,
    /// Of which credit types an allowance was reduced by what the periods were entitled to.
    pub entitled: Vec<CreditType>,
}

impl CustomerState {
    /// The cycle of a period that begins at `at`, by the profile as it is.
    ///
    /// A cycle runs for one interval, from boundary to boundary. One that has begun is not cut short by a moved anchor: until an
    /// interval has passed since its beginning, it goes on.
    #[must_use]
    pub fn cycle_at(&self, at: Timestamp, reason: OpenReason) -> CycleAt {
        let schedule = self.profile.as_ref().and_then(Profile::schedule);
        let cycle = match (reason, schedule) {
            (OpenReason::Early, schedule) => {
                Cycle { start: at, end: schedule.and_then(|schedule| schedule.next_after(at)) }
            }
            (_, None) => Cycle { start: self.cycle.as_ref().map_or(at, |cycle| cycle.start), end: None },
            (_, Some(schedule)) => self.scheduled_cycle(at, &schedule),
        };
        let number =
            if reason == OpenReason::Early { self.periods.saturating_add(1) } else { self.fresh_from };
        let since = Since { start: cycle.start, number };
        CycleAt {
            given: self.given_since(since),
            held: self.held_since(since),
            cycle,
            since,
            entitled: Vec::new(),
        }
    }

    fn scheduled_cycle(&self, at: Timestamp, schedule: &Schedule) -> Cycle {
        let start = schedule.last_at(at).unwrap_or(at);
        let running_end = |cycle: &Cycle| {
            let end = schedule.interval.after(cycle.start, &schedule.zone)?;
            // Clock changes may move a boundary by hours, which cuts nothing short.
            let slack = (3 * 3_600).min(schedule.interval.least_seconds() / 8) * Timestamp::SECOND;
            (end > at.plus_micros(slack)).then_some(end)
        };
        match &self.cycle {
            Some(cycle) if cycle.start < start => match running_end(cycle) {
                Some(end) => Cycle { start: cycle.start, end: Some(end) },
                None => Cycle { start, end: schedule.next_after(at) },
            },
            _ => Cycle { start, end: schedule.next_after(at) },
        }
    }

    /// What may still come back to ended plan allowances of the periods that count, and that goes nowhere else then: what
    /// reservations hold of them and of those before them, without what follows a rollover.
    pub(crate) fn may_return(&self, since: Since) -> Vec<(&GrantState, Credits)> {
        let of_cycle = |number: u32| {
            self.past.iter().any(|past| past.period.number == number && since.counts(&past.period))
        };
        let mut ended: Vec<&GrantState> =
            self.grants.iter().filter(|state| state.status == GrantStatus::Expired).collect();
        // A grant hands on to younger ones only.
        ended.sort_by_key(|state| state.grant.id);
        let mut handed_on: BTreeMap<GrantId, Credits> = BTreeMap::new();
        let mut found = Vec::new();
        for state in ended {
            let through = handed_on.remove(&state.grant.id).unwrap_or_default();
            let received = state
                .incoming
                .map_or(Credits::ZERO, |incoming| through.above(incoming.skip).min(incoming.limit));
            let back = state.held.saturating_add(received);
            let back = back.saturating_sub(state.onward.map_or(Credits::ZERO, |onward| onward.follows(back)));
            match state.next {
                _ if back.is_zero() => {}
                Some(next) => {
                    let sum = handed_on.entry(next).or_default();
                    *sum = sum.saturating_add(back);
                }
                None if state.allowance_of.is_some_and(of_cycle) => found.push((state, back)),
                None => {}
            }
        }
        found
    }

    fn held_since(&self, since: Since) -> Vec<(CreditType, Credits)> {
        let mut sums: Vec<(CreditType, Credits)> = Vec::new();
        for (state, back) in self.may_return(since) {
            match sums.iter_mut().find(|(credit, _)| credit == &state.grant.credit) {
                Some((_, sum)) => *sum = sum.saturating_add(back),
                None => sums.push((state.grant.credit.clone(), back)),
            }
        }
        sums
    }

    /// What the cycle's past periods were entitled to, in proportion to their part of it. It makes up for what was given once,
    /// however many allowances of the credit type begin.
    pub(crate) fn entitled(&self, cycle: &mut CycleAt, credit: &CreditType) -> Credits {
        if cycle.entitled.contains(credit) {
            return Credits::ZERO;
        }
        cycle.entitled.push(credit.clone());
        let Some(end) = cycle.cycle.end else { return Credits::ZERO };
        let length = end.0.saturating_sub(cycle.cycle.start.0).max(1);
        let mut sum = Credits::ZERO;
        for past in self.past.iter().filter(|past| cycle.since.counts(&past.period)) {
            let ran = past.period.end.map_or(0, |end| end.0.saturating_sub(past.period.start.0));
            for Given { credit: of, amount } in &past.whole {
                if of == credit {
                    sum = sum.saturating_add(part(*amount, ran, length));
                }
            }
        }
        sum
    }
}

/// `amount × time / whole`, rounded down.
pub(crate) fn part(amount: Credits, time: i64, whole: i64) -> Credits {
    let units = |time: i64| Decimal::from_units(i128::from(time));
    amount.mul_div(units(time.max(0)), units(whole.max(1)), Rounding::Down).unwrap_or(amount)
}
