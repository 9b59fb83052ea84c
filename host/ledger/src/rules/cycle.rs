//! Cycles: the nominal time in which plan allowances are given once, wherever plan, anchor and zone move the periods.

use crate::{
    journal::{Cycle, CyclePart, Given, OpenReason, Period},
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
    /// A cycle runs for one interval, from boundary to boundary. One that has begun goes on until its end, whatever other plans come
    /// in between. Where an anchor or a zone brought a boundary before that end, it goes on to the next one, and gives more in
    /// proportion from that end on. One that was begun on request ends at the next boundary. Without an interval it never ends.
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
                Cycle { start: at, end, interval, parts: Vec::new() }
            }
            (_, Some(running), Some(schedule)) => Self::going_on(running, &schedule, at),
            (_, Some(running), None) => running.clone(),
            (_, None, Some(schedule)) => {
                let start = schedule.last_at(at).unwrap_or(at);
                Cycle { start, end: schedule.next_after(at), interval, parts: Vec::new() }
            }
            // What was given in the cycle of another plan counts in one that never ends.
            (_, None, None) => {
                let start = self.running_cycles(at, None).next().map_or(at, |cycle| cycle.start);
                Cycle { start, end: None, interval, parts: Vec::new() }
            }
        }
    }

    /// A cycle that goes on at `at`. A boundary before its end lets it go on to the boundary after that. So nobody waits without an
    /// allowance for a boundary that has moved away, and nobody has one sooner than the last one was for.
    fn going_on(running: &Cycle, schedule: &Schedule, at: Timestamp) -> Cycle {
        let is_boundary = schedule.last_at(at) == Some(at);
        let next = schedule.next_after(at).filter(|_| is_boundary);
        let (Some(end), Some(next)) = (running.end, next) else { return running.clone() };
        if end >= next {
            return running.clone();
        }
        let mut parts: Vec<CyclePart> = running.parts().collect();
        // A part that has not begun gives nothing yet.
        let from = match parts.last() {
            Some(last) if parts.len() > 1 && last.from > at => last.from,
            _ => end,
        };
        parts.retain(|part| part.from < from);
        parts.push(CyclePart { from, until: next, length: next.0.saturating_sub(at.0).max(1) });
        Cycle { end: Some(next), parts, ..running.clone() }
    }

    /// When the next cycle begins by itself for what is counted: with the first of the periods to come whose windows are others.
    #[must_use]
    pub fn next_cycle_at(&self) -> Option<Timestamp> {
        let schedule = self.profile.as_ref().and_then(Profile::schedule)?;
        let mut next = self.next_reset_at()?;
        let goes_on = |at: Timestamp| {
            self.window_of(&self.begun_or_running(at, OpenReason::Scheduled), at) == self.cycle_window
        };
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

    /// The name of the windows of a cycle in which a period begins at `at`: the instant from which on usage counts in them.
    ///
    /// A cycle that is known keeps its windows, unless a boundary extends it about when it would have ended. Two that go on at once
    /// and count since the same instant count the same. No other two share a name, whether the older is remembered or not: a new
    /// name is that of the instant, and of more than one cycle that begins at it each has its own.
    pub(crate) fn window_of(&self, cycle: &Cycle, at: Timestamp) -> WindowId {
        let is_it = |known: &Cycle| known.start == cycle.start && known.interval == cycle.interval;
        let last = self.cycle.iter().filter(|_| self.periods >= self.fresh_from);
        let last = last.map(|cycle| (cycle, self.cycle_window));
        let past = self.past.iter().rev().filter(|past| past.fresh_from == self.fresh_from);
        let past = past.filter_map(|past| Some((past.cycle.as_ref()?, past.cycle_window)));
        let known: Vec<(&Cycle, WindowId)> = last.chain(past).collect();
        if let Some((before, window)) = known.iter().find(|(known, _)| is_it(known)) {
            let added = cycle.parts.last().filter(|_| before.end != cycle.end);
            let is_over = |added: &CyclePart| {
                let short_of = added.length.saturating_sub(at.0.saturating_sub(*window));
                short_of <= added.length / 8
            };
            if !added.is_some_and(is_over) {
                return *window;
            }
        } else {
            let since = cycle.start.max(self.fresh_at);
            let same = known.iter().find(|(known, _)| {
                known.start.max(self.fresh_at) == since && known.end.is_none_or(|end| end > at)
            });
            if let Some((_, window)) = same {
                return *window;
            }
        }
        let is_used =
            |name| name == self.cycle_window || self.past.iter().any(|past| past.cycle_window == name);
        let mut name = at.0;
        while is_used(name) {
            name = name.saturating_add(1);
        }
        name
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

    /// What the past periods that count in a cycle were entitled to, in proportion to their time: each by its own cycle or by this one,
    /// whichever is longer. Else a day on a plan that gives much in a year would be worth all of that to one that gives little in a
    /// day, and flipping plans would bring that little anew each time.
    pub(crate) fn entitled(&self, cycle: &CycleAt, credit: &CreditType) -> Credits {
        let mut sum = Credits::ZERO;
        for past in self.past.iter().filter(|past| cycle.since.counts(&past.period)) {
            let Period { start, end, .. } = past.period;
            let end = end.unwrap_or(start);
            for Given { amount, .. } in past.whole.iter().filter(|given| &given.credit == credit) {
                let here = in_proportion(&cycle.cycle, *amount, start, end);
                let own = past.cycle.as_ref().map_or(here, |own| in_proportion(own, *amount, start, end));
                sum = sum.saturating_add(here.min(own));
            }
        }
        sum
    }
}

/// What a cycle gives of an allowance in the parts of it that are asked for.
pub(super) fn of_parts(cycle: &Cycle, amount: Credits, which: impl Fn(&CyclePart) -> bool) -> Credits {
    if cycle.parts.is_empty() {
        return amount;
    }
    let parts = cycle.parts().filter(which);
    parts.fold(Credits::ZERO, |sum, one| sum.saturating_add(share_of(&one, amount)))
}

/// What a part of a cycle gives of an allowance.
pub(super) fn share_of(one: &CyclePart, amount: Credits) -> Credits {
    part(amount, one.until.0.saturating_sub(one.from.0), one.length)
}

/// The part of an allowance that belongs to the time from `start` to `end`; nothing where the cycle never ends.
pub(super) fn in_proportion(cycle: &Cycle, amount: Credits, start: Timestamp, end: Timestamp) -> Credits {
    cycle.parts().fold(Credits::ZERO, |sum, one| {
        let time = end.min(one.until).0.saturating_sub(start.max(one.from).0);
        sum.saturating_add(part(amount, time, one.length))
    })
}

/// `amount × time / whole`, rounded down.
pub(crate) fn part(amount: Credits, time: i64, whole: i64) -> Credits {
    let units = |time: i64| Decimal::from_units(i128::from(time));
    amount.mul_div(units(time.max(0)), units(whole.max(1)), Rounding::Down).unwrap_or(amount)
}
