//! Periods that have ended: what late usage, changes of plan and repeated tries need to know of them.

use super::CustomerState;
use crate::{
    journal::{CloseReason, Cycle, Given, OpenReason, Period},
    model::{
        amounts::Credits,
        answers::Allowance,
        counter::{WindowId, Within},
        grant::CreditType,
        ids::{GrantId, Key, Name},
        time::{Timestamp, Zone},
    },
};
use serde::{Deserialize, Serialize};

/// A period that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastPeriod {
    /// The period, with its actual end.
    pub period: Period,
    /// The plan that it was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// The cycle that it belongs to. While that goes on, what it gave counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<Cycle>,
    /// The name of that cycle's windows: from when usage counts in it.
    pub cycle_window: WindowId,
    /// What its plan allowances gave: all but what expired of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// The whole plan allowances of its plan, for a whole cycle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole: Vec<Given>,
    /// The part of `whole` that was given in full, whatever the cycle had given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<Given>,
    /// The first period of the cycle that was last begun on request by then: what was given before that does not count with it.
    pub fresh_from: u32,
    /// The largest allowances of the periods whose `given` it has taken in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peak: Vec<Given>,
}

impl PastPeriod {
    /// The largest allowance of a credit type, beside what was given in full.
    pub(crate) fn largest(&self, credit: &CreditType) -> Credits {
        let own = amount_of(&self.whole, credit).saturating_sub(amount_of(&self.full, credit));
        own.max(amount_of(&self.peak, credit))
    }

    /// Takes in what another period of its cycle, one without an end, gave.
    pub(crate) fn take_in(&mut self, other: &Self) {
        other.given.iter().for_each(|given| add_given(&mut self.given, &given.credit, given.amount));
        other.full.iter().for_each(|given| add_given(&mut self.full, &given.credit, given.amount));
        for Given { credit, .. } in other.whole.iter().chain(&other.peak) {
            let largest = other.largest(credit);
            match self.peak.iter_mut().find(|peak| &peak.credit == credit) {
                Some(peak) => peak.amount = peak.amount.max(largest),
                None => self.peak.push(Given { credit: credit.clone(), amount: largest }),
            }
        }
    }
}

/// A zone that was the customer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastZone {
    /// Until when, exclusive.
    pub until: Timestamp,
    /// The zone.
    pub zone: Zone,
}

/// From which period on what allowances gave counts: those that began at `start` or later, but for those before `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The cycle's start.
    pub start: Timestamp,
    /// The first period of the cycle that was last begun on request.
    pub number: u32,
}

impl Since {
    /// Whether a period counts.
    #[must_use]
    pub fn counts(self, period: &Period) -> bool {
        period.start >= self.start && period.number >= self.number
    }
}

/// An end or a beginning of a period that a fault left undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The number of the period.
    pub number: u32,
    /// What is to be made good.
    pub what: MissedCall,
    /// What was drawn since that should have happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meanwhile: Vec<Meanwhile>,
}

/// Which call of a policy failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedCall {
    /// `close`.
    Close {
        /// Why.
        reason: CloseReason,
        /// The end that the period was to have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduled_end: Option<Timestamp>,
        /// The cycle that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// `open`.
    Open {
        /// Why.
        reason: OpenReason,
        /// The allowance that was asked for.
        allowance: Allowance,
    },
}

/// Credits that were drawn while grants were missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meanwhile {
    /// The grant that gave them; none for overage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The credit type.
    pub credit: CreditType,
    /// The feature that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Key>,
    /// How much.
    pub amount: Credits,
}

/// The period that an instant lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodAt<'a> {
    /// The period.
    pub period: &'a Period,
    /// The plan that it was on.
    pub plan: Option<&'a Name>,
    /// The name of its cycle's windows.
    pub cycle_window: WindowId,
    /// Whether it has ended.
    pub is_past: bool,
}

impl CustomerState {
    /// The period that an instant lies in: of one that lies between two, the later; none when no period ran since.
    #[must_use]
    pub fn period_at(&self, at: Timestamp) -> Option<PeriodAt<'_>> {
        let running = self.period.as_ref().filter(|period| period.start <= at);
        if let Some(period) = running {
            return Some(self.running(period));
        }
        let past = self.past.iter().find(|past| past.period.end.is_none_or(|end| at < end));
        match (past, &self.period) {
            (Some(PastPeriod { period, plan, cycle_window, .. }), _) => {
                let (plan, cycle_window) = (plan.as_ref(), *cycle_window);
                Some(PeriodAt { period, plan, cycle_window, is_past: true })
            }
            (None, Some(period)) => Some(self.running(period)),
            (None, None) => None,
        }
    }

    fn running<'a>(&'a self, period: &'a Period) -> PeriodAt<'a> {
        PeriodAt { period, plan: self.plan(), cycle_window: self.cycle_window, is_past: false }
    }

    /// Where an instant lies: in the last period that began, and in its cycle, when none ran since.
    pub(crate) fn within(&self, at: Timestamp) -> Within {
        self.period_at(at).map_or(Within { period: self.periods, cycle: self.cycle_window }, |found| Within {
            period: found.period.number,
            cycle: found.cycle_window,
        })
    }

    /// A period of that number, the running one or one that has ended, and its cycle.
    pub(crate) fn within_period(&self, period: u32) -> Within {
        let running = self.period.as_ref().is_some_and(|running| running.number == period);
        let past = self.past_period(period).filter(|_| !running);
        Within { period, cycle: past.map_or(self.cycle_window, |past| past.cycle_window) }
    }

    /// A period that has ended, as long as it is remembered.
    #[must_use]
    pub fn past_period(&self, number: u32) -> Option<&PastPeriod> {
        self.past.get(self.place_of_past(number)?)
    }

    pub(crate) fn past_period_mut(&mut self, number: u32) -> Option<&mut PastPeriod> {
        let place = self.place_of_past(number)?;
        self.past.get_mut(place)
    }

    /// They are kept in the order of their numbers.
    fn place_of_past(&self, number: u32) -> Option<usize> {
        self.past.binary_search_by_key(&number, |past| past.period.number).ok()
    }

    /// The number of the running period; without one, of the next that begins.
    pub(crate) fn running_or_next(&self) -> u32 {
        self.period.as_ref().map_or(self.periods.saturating_add(1), |period| period.number)
    }

    /// The number of the first period that ended at `oldest` or later; without one, of the last that began.
    pub(crate) fn first_ended_since(&self, oldest: Timestamp) -> u32 {
        let first = self.past.iter().find(|past| past.period.end.is_none_or(|end| end >= oldest));
        first.map_or(self.periods, |past| past.period.number)
    }

    /// The zone that was the customer's at an instant.
    #[must_use]
    pub fn zone_at(&self, at: Timestamp) -> Zone {
        self.zones.iter().find(|past| at < past.until).map_or_else(|| self.zone(), |past| past.zone.clone())
    }

    /// The plan that the customer was on at an instant; none when it was on none, or before it existed.
    #[must_use]
    pub fn plan_at(&self, at: Timestamp) -> Option<&Name> {
        self.period_at(at).filter(|found| found.period.start <= at).and_then(|found| found.plan)
    }

    /// What plan allowances gave in the periods that count.
    #[must_use]
    pub fn given_since(&self, since: Since) -> Vec<(CreditType, Credits)> {
        let mut sums: Vec<Given> = Vec::new();
        let periods = self.past.iter().filter(|past| since.counts(&past.period));
        for given in periods.flat_map(|past| &past.given) {
            add_given(&mut sums, &given.credit, given.amount);
        }
        sums.into_iter().map(|given| (given.credit, given.amount)).collect()
    }
}

/// What of a credit type is in a list.
pub(crate) fn amount_of(list: &[Given], credit: &CreditType) -> Credits {
    list.iter().find(|given| &given.credit == credit).map_or(Credits::ZERO, |given| given.amount)
}

/// Adds to what was given of a credit type.
pub(crate) fn add_given(sums: &mut Vec<Given>, credit: &CreditType, amount: Credits) {
    match sums.iter_mut().find(|given| &given.credit == credit) {
        Some(given) => given.amount = given.amount.saturating_add(amount),
        None => sums.push(Given { credit: credit.clone(), amount }),
    }
}
