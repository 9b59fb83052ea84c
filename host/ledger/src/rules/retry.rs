//! Ends and beginnings of periods that a fault left undone, made good once: as if they had been done in time.

use super::{
    cycle::CycleAt,
    opening::{NextPeriod, begin_grants},
    rejection::{Denied, Rejection},
    scratch::Scratch,
};
use crate::{
    journal::{CloseReason, DecisionRecord, Event, Period, PeriodOpened},
    model::{
        amounts::Credits,
        answers::{CloseOutcome, OpenOutcome},
        time::Timestamp,
        transfer::{Book, Transfer},
    },
    state::{CustomerState, Draft, GrantStatus, Meanwhile, Missed, MissedCall, Since},
};

impl CustomerState {
    /// What a fault left undone of a period.
    #[must_use]
    pub fn missed_of(&self, number: u32) -> Option<&Missed> {
        self.missed.iter().find(|missed| missed.number == number)
    }

    /// The state as the end of a past period would have found it: its period runs, and what expired with it is there.
    /// Returns the movements that bring that about, too.
    ///
    /// # Errors
    /// When nothing of the period's end was left undone.
    pub fn before_missed_close(&self, number: u32) -> Result<(Self, Vec<Transfer>, CloseReason), Rejection> {
        let nothing = Rejection::NothingMissed(number);
        let Some(Missed { what: MissedCall::Close(reason), .. }) = self.missed_of(number) else {
            return Err(nothing);
        };
        let past = self.past.iter().find(|past| past.period.number == number).ok_or(nothing)?;
        let mut before = self.clone();
        before.period = Some(past.period.clone());
        let mut transfers = Vec::new();
        for state in &self.grants {
            let ended_with = state.status == GrantStatus::Expired
                && state.grant.expires_with_period == Some(number)
                && state.expired.is_positive();
            if ended_with {
                let id = state.grant.id;
                let transfer =
                    Transfer::new(&state.grant.credit, Book::Expired, Book::Grant(id), state.expired);
                // The grant has what it gives, so this can't fail.
                let _ = before.move_credits(&transfer);
                if let Ok(grant) = before.grant_mut(id) {
                    grant.status = GrantStatus::Live;
                }
                transfers.push(transfer);
            }
        }
        Ok((before, transfers, *reason))
    }

    /// The entry that makes a period's end good.
    ///
    /// # Errors
    /// When nothing of it was left undone; see [`CustomerState::close_period`].
    pub fn retry_close(
        &self,
        at: Timestamp,
        number: u32,
        decision: Option<DecisionRecord>,
        outcome: CloseOutcome,
    ) -> Result<Draft, Denied> {
        let (before, mut transfers, reason) = self.before_missed_close(number)?;
        let mut draft = before.close_period(at, reason, decision, outcome)?;
        transfers.append(&mut draft.transfers);
        draft.transfers = transfers;
        if let Event::PeriodClosed(closed) = &mut draft.event {
            closed.retried = true;
            closed.period.end =
                self.past.iter().find(|past| past.period.number == number).and_then(|past| past.period.end);
        }
        Ok(draft)
    }

    /// The running period whose beginning a fault left undone.
    ///
    /// # Errors
    /// When nothing of it was left undone, or it has ended.
    pub fn missed_open(&self, number: u32) -> Result<NextPeriod, Rejection> {
        let nothing = Rejection::NothingMissed(number);
        let missed = self
            .missed
            .iter()
            .find(|missed| missed.number == number && matches!(missed.what, MissedCall::Open(..)));
        let Some(Missed { what: MissedCall::Open(reason, allowance), .. }) = missed else {
            return Err(nothing);
        };
        let period = self.period.as_ref().filter(|period| period.number == number).ok_or(nothing.clone())?;
        let cycle = self.cycle.clone().ok_or(nothing)?;
        let since = Since { start: cycle.start, number: self.fresh_from };
        let cycle =
            CycleAt { given: self.given_since(since), held: Vec::new(), cycle, since, entitled: Vec::new() };
        Ok(NextPeriod { period: period.clone(), reason: *reason, cycle, allowance: *allowance })
    }

    /// The entry that makes a period's beginning good: its grants are there from its start on, and what was drawn elsewhere
    /// meanwhile is drawn from them.
    ///
    /// # Errors
    /// When nothing of it was left undone; see [`CustomerState::open_period`].
    pub fn retry_open(
        &self,
        at: Timestamp,
        number: u32,
        decision: Option<DecisionRecord>,
        outcome: OpenOutcome,
    ) -> Result<Draft, Denied> {
        self.require_open()?;
        let next = self.missed_open(number)?;
        let meanwhile: Vec<Meanwhile> = self
            .missed
            .iter()
            .filter(|missed| missed.number == number)
            .flat_map(|missed| missed.meanwhile.iter().cloned())
            .collect();
        let (mut opened, cycle) = PeriodOpened::begin(next, decision);
        opened.retried = true;
        let mut scratch = Scratch::new(self, at);
        begin_grants(&mut scratch, &mut opened, cycle, outcome).map_err(Denied::InvalidDecision)?;
        for drawn in &meanwhile {
            redraw(&mut scratch, drawn).map_err(Denied::InvalidDecision)?;
        }
        opened.grants = scratch.grants;
        let credit = opened.grants.first().map_or_else(|| self.main_credit(), |grant| grant.credit.clone());
        Ok(Draft::moving(Event::PeriodOpened(Box::new(opened)), credit, scratch.transfers))
    }
}

impl PeriodOpened {
    /// The event of a period that begins, without its grants; and its cycle.
    pub(super) fn begin(next: NextPeriod, decision: Option<DecisionRecord>) -> (Self, CycleAt) {
        let NextPeriod { period, reason, cycle, allowance } = next;
        let opened = Self {
            reason,
            period: Period { ..period },
            cycle: cycle.cycle.clone(),
            retried: false,
            allowance,
            decision,
            grants: Vec::new(),
            whole: Vec::new(),
            carried: Vec::new(),
            settled: Vec::new(),
            notes: Vec::new(),
        };
        (opened, cycle)
    }
}

/// Draws from the new grants what was drawn from overage or from grants that come after them in burn-down order.
fn redraw(scratch: &mut Scratch, drawn: &Meanwhile) -> Result<(), String> {
    let mut left = drawn.amount;
    for new in scratch.grants.clone() {
        let Some(state) = scratch.state.grant(new.id) else { continue };
        if new.credit != drawn.credit || !new.covers(drawn.feature.as_ref()) {
            continue;
        }
        let most = left.min(state.remaining);
        let amount = match drawn.grant {
            None => most.min(scratch.state.outstanding(&drawn.credit)),
            Some(id) => {
                let Some(other) = scratch.state.grant(id).filter(|other| other.status == GrantStatus::Live)
                else {
                    continue;
                };
                let later = new.burn_down_order(state.ends_at, &other.grant, other.ends_at).is_lt();
                if later { most.min(other.spent) } else { Credits::ZERO }
            }
        };
        if amount.is_zero() {
            continue;
        }
        match drawn.grant {
            None => scratch.step(&drawn.credit, Book::Grant(new.id), Book::Overage, amount)?,
            Some(id) => {
                scratch.step(&drawn.credit, Book::Spent, Book::Grant(id), amount)?;
                scratch.step(&drawn.credit, Book::Grant(new.id), Book::Spent, amount)?;
            }
        }
        left = left.saturating_sub(amount);
    }
    Ok(())
}
