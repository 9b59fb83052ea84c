//! Where a grant's credits are, when it ends, and where credits go that come back after that.

use super::CustomerState;
use crate::{
    journal::CloseReason,
    model::{
        amounts::{Credits, Decimal},
        grant::Grant,
        ids::GrantId,
        time::Timestamp,
    },
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whether a grant may still be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It may (once it is effective).
    Live,
    /// Its time ran out; what comes back goes on or expires.
    Expired,
    /// It was voided; what comes back is voided.
    Voided,
}

/// A grant and where its credits are. `amount` is not the sum of these once credits rolled over or were voided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantState {
    /// The grant.
    pub grant: Arc<Grant>,
    /// Neither spent nor held.
    pub remaining: Credits,
    /// Held by reservations.
    pub held: Credits,
    /// Spent.
    pub spent: Credits,
    /// What of it expired and no later allowance of its cycle stands in the place of. Usage that occurred while it was live
    /// may still draw it.
    pub expired: Credits,
    /// What of it was voided.
    pub voided: Credits,
    /// Whether it may still be drawn.
    pub status: GrantStatus,
    /// Since when its credits may be used: of a rollover, since when the grant could that they came from.
    pub usable_since: Timestamp,
    /// The period with whose end it ends, as plan, anchor and zone are now.
    pub ends_with: Option<EndsWith>,
    /// When its time runs out, as they are now.
    pub ends_at: Option<Timestamp>,
    /// When it stopped being live.
    pub ended_at: Option<Timestamp>,
    /// The number of the period whose plan allowance it is, or was carried over from.
    pub allowance_of: Option<u32>,
    /// Whether it only begins with a later part of that period's cycle. If the period ends before, it ends, too: the next one
    /// brings it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bridges: bool,
    /// The grant that carries on what was left of it when a period ended.
    pub rolled_to: Option<GrantId>,
    /// What was carried over of it takes a part of the credits that come back after its end.
    pub onward: Option<Onward>,
    /// The later allowance of its cycle that takes the rest of them.
    pub carried_to: Option<CarriedTo>,
    /// What it takes of credits that come back to the allowances before it.
    pub incoming: Option<Incoming>,
}

/// The period with whose end a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndsWith {
    /// Its number.
    pub number: u32,
    /// How many periods that is after the one in which the grant becomes usable.
    pub after: u32,
}

/// Where a part of the credits goes that reservations and refunds give back to a grant that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    /// To this grant.
    pub to: GrantId,
    /// This part (0 to 1) of each amount, rounded down.
    pub share: Decimal,
    /// Still at most this much.
    pub limit: Credits,
}

/// The allowance that was reduced because of what a grant gave, and so takes what comes back to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedTo {
    /// This one.
    pub to: GrantId,
    /// Still at most this much: what of the grant was used or held when the allowance began. What comes to the grant from others
    /// that the allowance's cycle does not count has not reduced it.
    pub limit: Credits,
}

/// What an allowance takes of credits that come back to earlier allowances of its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// So much expires first.
    pub skip: Credits,
    /// So much it takes after that.
    pub limit: Credits,
}

impl GrantState {
    /// Whether it may be drawn at `at` by new usage.
    #[must_use]
    pub fn is_usable(&self, at: Timestamp) -> bool {
        self.status == GrantStatus::Live && self.grant.effective_at <= at
    }

    /// Whether a usage that occurred at `at` could have drawn it, or the grant that its credits came from.
    #[must_use]
    pub fn was_usable(&self, at: Timestamp) -> bool {
        self.usable_since <= at
            && self.status != GrantStatus::Voided
            && self.ended_at.is_none_or(|end| at < end)
    }

    /// What it gave as an allowance so far: all but what expired of it or was carried over.
    pub(crate) fn given(&self) -> Credits {
        let parts = [self.remaining, self.held, self.spent, self.voided];
        Credits::checked_sum(parts).unwrap_or(Credits::LARGEST)
    }

    /// Whether it ends with the period of that number, or one before it.
    pub(crate) fn ends_with_by(&self, number: u32) -> bool {
        self.ends_with.is_some_and(|with| with.number <= number)
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.remaining.is_zero() && self.held.is_zero()
    }
}

/// Where what was left of a grant that has ended is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarriedOn {
    /// In this live grant.
    Live(GrantId),
    /// It was voided.
    Voided,
    /// Nowhere.
    Ended,
}

impl CustomerState {
    /// A grant that still matters.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<&GrantState> {
        self.grants.get(id)
    }

    /// Whether a grant that the state has forgotten has ended by its own terms.
    #[must_use]
    pub fn has_ended(&self, grant: &Grant, at: Timestamp) -> bool {
        let first = self.running_or_next();
        grant.expires_at.is_some_and(|end| end <= at)
            || grant.expires_with_period.is_some_and(|number| number < first)
    }

    /// Where what was left of a grant that has ended is by now, over as many periods as passed since.
    pub(crate) fn carried_on(&self, state: &GrantState) -> CarriedOn {
        let mut next = state.rolled_to;
        // Each step leads to a younger grant, so this ends.
        while let Some(id) = next {
            if self.voided.contains(&id) {
                return CarriedOn::Voided;
            }
            match self.grant(id).map(|target| (target.status, target.rolled_to)) {
                Some((GrantStatus::Live, _)) => return CarriedOn::Live(id),
                Some((GrantStatus::Voided, _)) => return CarriedOn::Voided,
                Some((GrantStatus::Expired, onward)) => next = onward,
                None => break,
            }
        }
        CarriedOn::Ended
    }

    /// Whether the end of the running period at `end` concerns a grant: not one that only becomes usable with the next.
    pub(crate) fn is_concerned_by_end(
        &self,
        state: &GrantState,
        end: Timestamp,
        reason: CloseReason,
    ) -> bool {
        let number = self.period.as_ref().map_or(0, |period| period.number);
        if state.grant.effective_at < end || state.ends_with_by(number) {
            return true;
        }
        // What was given at the instant of an end that nobody foresaw was given before that end, unless it is made good by now.
        let ended_before = self.past_period(number).is_some();
        state.grant.effective_at == end && reason != CloseReason::Scheduled && !ended_before
    }

    /// When a period ends, as anchor and zone are now; none when it does not end by itself, or no plan runs.
    #[must_use]
    pub fn period_end(&self, number: u32) -> Option<Timestamp> {
        let period = self.period.as_ref()?;
        let end = period.end?;
        match number.checked_sub(period.number) {
            None => self.past_period(number).and_then(|past| past.period.end),
            Some(0) => Some(end),
            Some(after) => self.profile.as_ref()?.schedule()?.nth_after(end, after - 1),
        }
    }

    /// The number of the period in which a grant becomes usable that is effective at `at`: the running one, or the one that
    /// will hold that instant; without one, the next that begins.
    #[must_use]
    pub fn period_number_at(&self, at: Timestamp) -> u32 {
        let Some(period) = &self.period else { return self.periods + 1 };
        let Some(end) = period.end.filter(|end| at >= *end) else { return period.number };
        let schedule = self.profile.as_ref().and_then(crate::model::customer::Profile::schedule);
        let ahead = schedule.and_then(|schedule| schedule.between(end, at)).unwrap_or(0);
        period.number.saturating_add(1).saturating_add(ahead)
    }
}
