//! Cycles: the nominal time in which plan allowances are given once, wherever plan, anchor and zone move the periods.

use crate::{
    journal::{Cycle, Given, OpenReason},
    model::{
        amounts::{Credits, Decimal, Rounding},
        counter::WindowId,
        customer::Profile,
        grant::CreditType,
        period::Schedule,
        time::Timestamp,
    },
    state::{CustomerState, GrantState, GrantStatus, Since, history::add_given},
};

/// The cycle of a period that begins, and what counts as given in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CycleAt {
    /// The cycle.
    pub cycle: Cycle,
    /// What plan allowances gave in it: all but what expired of them.
    pub given: Vec<(CreditType, Credits)>,
    /// The part of `given` that open reservations hold and that goes nowhere else when it comes back.
    pub held: Vec<(CreditType, Credits)>,
    /// The first period that counts.
    pub since: Since,
}

impl CustomerState {
    /// The cycle of a period that begins at `at`, by the profile as it is.
    ///
    /// A cycle runs for one interval, from boundary to boundary. One that has begun goes on until its end, wherever an anchor moves
    /// boundaries and whatever other plans come in between. One that was begun on request ends at the next boundary. Without an
    /// interval it never ends.
    #[must_use]
    pub fn cycle_at(&self, at: Timestamp, reason: OpenReason) -> CycleAt {
        let cycle = self.begun_or_running(at, reason);
        let number =
            if reason == OpenReason::Early { self.periods.saturating_add(1) } else { self.fresh_from };
        let since = Since { start: cycle.start, number };
        let (given, held) = (self.given_since(since), self.held_since(since));
        CycleAt { given, held, cycle, since }
    }

    fn begun_or_running(&self, at: Timestamp, reason: OpenReason) -> Cycle {
        let schedule = self.profile.as_ref().and_then(Profile::schedule);
        let interval = schedule.as_ref().map(|schedule| schedule.interval);
        let running = self.running_cycles(at, schedule.as_ref()).find(|cycle| cycle.interval == interval);
        match (reason, running, schedule) {
            (OpenReason::Early, _, schedule) => {
                let end = schedule.and_then(|schedule| schedule.next_after(at));
                Cycle { start: at, end, interval }
            }
            (_, Some(running), _) => running.clone(),
            (_, None, Some(schedule)) => {
                let start = schedule.last_at(at).unwrap_or(at);
                Cycle { start, end: schedule.next_after(at), interval }
            }
            // What was given in the cycle of another plan counts in one that never ends.
            (_, None, None) => {
                let start = self.running_cycles(at, None).next().map_or(at, |cycle| cycle.start);
                Cycle { start, end: None, interval }
            }
        }
    }

    /// When the next cycle begins by itself: with the first of the periods to come that the running cycle does not reach.
    #[must_use]
    pub fn next_cycle_at(&self) -> Option<Timestamp> {
        let schedule = self.profile.as_ref().and_then(Profile::schedule)?;
        let mut next = self.next_reset_at()?;
        let running = self.cycle.as_ref().map(|cycle| cycle.start);
        let goes_on = |at: Timestamp| Some(self.begun_or_running(at, OpenReason::Scheduled).start) == running;
        // It lasts for less than two intervals, so this is found in a few steps.
        for _ in 0..3 {
            if !goes_on(next) {
                break;
            }
            next = schedule.next_after(next)?;
        }
        Some(next)
    }

    /// Cycles that go on at `at`, the newest first.
    fn running_cycles(&self, at: Timestamp, schedule: Option<&Schedule>) -> impl Iterator<Item = &Cycle> {
        // Clock changes may move a boundary by hours, which cuts nothing short.
        let least_seconds = schedule.map_or(0, |schedule| schedule.interval.least_seconds());
        let slack = (3 * 3_600).min(least_seconds / 8) * Timestamp::SECOND;
        let past = self.past.iter().rev().filter_map(|past| past.cycle.as_ref());
        let goes_on = move |cycle: &&Cycle| cycle.end.is_none_or(|end| end > at.plus_micros(slack));
        self.cycle.iter().chain(past).filter(goes_on)
    }

    /// From when periods count in a cycle: not before a new one was last begun on request.
    pub(crate) fn counts_since(&self, cycle: &Cycle) -> Since {
        Since { start: cycle.start, number: self.fresh_from }
    }

    /// The name of a cycle's windows, for a period that begins: from when usage counts in it.
    pub(crate) fn window_of(&self, cycle: &Cycle) -> WindowId {
        cycle.start.max(self.fresh_at).0
    }

    /// What reservations hold of ended plan allowances of periods that began at `since` or later, and that was not carried over.
    pub(super) fn held_since(&self, since: Since) -> Vec<(CreditType, Credits)> {
        let mut sums: Vec<Given> = Vec::new();
        for state in self.grants.iter().filter(|state| self.is_allowance_since(state, since)) {
            let held = state.held.saturating_sub(state.rolls_on(state.held));
            if held.is_positive() {
                add_given(&mut sums, &state.grant.credit, held);
            }
        }
        sums.into_iter().map(|given| (given.credit, given.amount)).collect()
    }

    /// Whether it is an ended plan allowance of a period that began at `since` or later.
    pub(crate) fn is_allowance_since(&self, state: &GrantState, since: Since) -> bool {
        let of_cycle = |number: u32| self.past_period(number).is_some_and(|past| since.counts(&past.period));
        state.status == GrantStatus::Expired && state.allowance_of.is_some_and(of_cycle)
    }

    /// What the cycle's past periods were entitled to, in proportion to their part of it.
    pub(crate) fn entitled(&self, cycle: &CycleAt, credit: &CreditType) -> Credits {
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
