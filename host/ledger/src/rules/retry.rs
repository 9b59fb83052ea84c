//! Ends and beginnings of periods that a fault left undone, made good once: as if they had been done in time.

use super::{
    cycle::CycleAt,
    late::Leftovers,
    opening::{NextPeriod, Planned, begin_grants},
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
    state::{CustomerState, Draft, GrantStatus, Meanwhile, Missed, MissedCall},
};

/// What the end of a past period would have found.
#[derive(Debug)]
pub struct BeforeClose {
    /// The state: its period runs, and what expired with it is there.
    pub state: CustomerState,
    /// When the period ended.
    pub end: Timestamp,
    /// Why.
    pub reason: CloseReason,
    /// The movements that lead from the state as it is to that one.
    pub transfers: Vec<Transfer>,
}

/// Tells an end from a beginning.
type IsWhat = fn(&MissedCall) -> bool;

fn is_close(what: &MissedCall) -> bool {
    matches!(what, MissedCall::Close { .. })
}

fn is_open(what: &MissedCall) -> bool {
    matches!(what, MissedCall::Open { .. })
}

impl CustomerState {
    /// What a fault left undone of a period and may still be made good: its end, or its beginning while it runs.
    #[must_use]
    pub fn missed_of(&self, number: u32) -> Option<&Missed> {
        let runs = self.period.as_ref().is_some_and(|period| period.number == number);
        let may = |what: &MissedCall| runs || matches!(what, MissedCall::Close { .. });
        self.missed.iter().find(|missed| missed.number == number && may(&missed.what))
    }

    /// The state as the end of a past period would have found it.
    ///
    /// # Errors
    /// When nothing of the period's end was left undone.
    pub fn before_missed_close(&self, number: u32) -> Result<BeforeClose, Rejection> {
        let nothing = Rejection::NothingMissed(number);
        let missed = self.missed.iter().filter(|missed| missed.number == number);
        let mut close = missed.filter_map(|missed| match &missed.what {
            MissedCall::Close { reason, scheduled_end, cycle } => Some((*reason, *scheduled_end, cycle)),
            MissedCall::Open { .. } => None,
        });
        let (reason, scheduled_end, cycle) = close.next_back().ok_or(nothing.clone())?;
        let past = self.past_period(number).ok_or(nothing.clone())?;
        let end = past.period.end.ok_or(nothing)?;
        let mut before = self.without_meanwhile(number, is_close);
        before.period = Some(Period { end: scheduled_end, ..past.period.clone() });
        before.cycle.clone_from(cycle);
        before.cycle_window = past.cycle_window;
        let mut transfers = Vec::new();
        // What the cycle gave since elsewhere is not there a second time.
        let mut leftovers = Leftovers::of(self);
        for state in self.grants.iter() {
            let ended_with = state.status == GrantStatus::Expired
                && state.ended_at == past.period.end
                && state.ends_with_by(number);
            if !ended_with {
                continue;
            }
            let id = state.grant.id;
            let expired = leftovers.take(state);
            if expired.is_positive() {
                let transfer = Transfer::new(&state.grant.credit, Book::Expired, Book::Grant(id), expired);
                // The grant has what it gives, so this can't fail.
                let _ = before.move_credits(&transfer);
                transfers.push(transfer);
            }
            if let Ok(grant) = before.grant_mut(id) {
                grant.status = GrantStatus::Live;
            }
        }
        Ok(BeforeClose { state: before, end, reason, transfers })
    }

    /// The entry that makes a period's end good. What was drawn elsewhere meanwhile is drawn from what is carried over.
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
        let BeforeClose { state: before, end, reason, mut transfers } = self.before_missed_close(number)?;
        let (mut closed, mut scratch) = before.closing(at, end, reason, decision, outcome)?;
        closed.retried = true;
        self.redraw_missed(&mut scratch, number, is_close).map_err(Denied::InvalidDecision)?;
        transfers.append(&mut scratch.transfers);
        Ok(Draft::moving(Event::PeriodClosed(Box::new(closed)), self.main_credit(), transfers))
    }

    /// What was drawn since something was missed, in the order in which it first was.
    fn meanwhile(&self, number: u32, is_what: IsWhat) -> impl Iterator<Item = &Meanwhile> {
        let missed =
            self.missed.iter().filter(move |missed| missed.number == number && is_what(&missed.what));
        missed.flat_map(|missed| &missed.meanwhile)
    }

    /// The state without the overage that came since something was missed: what ends and begins must not settle that.
    fn without_meanwhile(&self, number: u32, is_what: IsWhat) -> Self {
        let mut before = self.clone();
        for drawn in self.meanwhile(number, is_what).filter(|drawn| drawn.grant.is_none()) {
            let later = drawn.amount.min(before.outstanding(&drawn.credit));
            if let Some(account) = before.accounts.get_mut(&drawn.credit) {
                account.overage = account.overage.saturating_sub(later);
            }
        }
        before
    }

    /// Draws from the new grants what was drawn elsewhere meanwhile.
    fn redraw_missed(&self, scratch: &mut Scratch, number: u32, is_what: IsWhat) -> Result<(), String> {
        let without = self.without_meanwhile(number, is_what);
        for (credit, account) in &self.accounts {
            let before = without.accounts.get(credit).map_or(account.overage, |before| before.overage);
            let later = account.overage.saturating_sub(before);
            if let Some(account) = scratch.state.accounts.get_mut(credit) {
                account.overage = account.overage.saturating_add(later);
            }
        }
        self.meanwhile(number, is_what).try_for_each(|drawn| redraw(scratch, drawn))
    }

    /// The running period whose beginning a fault left undone.
    ///
    /// # Errors
    /// When nothing of it was left undone, or it has ended.
    pub fn missed_open(&self, number: u32) -> Result<NextPeriod, Rejection> {
        let nothing = Rejection::NothingMissed(number);
        let missed = self.missed.iter().find(|missed| missed.number == number && is_open(&missed.what));
        let Some(Missed { what: MissedCall::Open { reason, allowance }, .. }) = missed else {
            return Err(nothing);
        };
        let period = self.period.as_ref().filter(|period| period.number == number).ok_or(nothing.clone())?;
        let cycle = self.cycle.clone().ok_or(nothing)?;
        let since = self.counts_since(&cycle);
        let (given, held) = (self.given_since(since), self.held_since(since));
        let cycle = CycleAt { given, held, cycle, since };
        // What the plan itself gives was given when the period began, whatever its policy did.
        let planned = Planned::default();
        Ok(NextPeriod { period: period.clone(), reason: *reason, cycle, allowance: *allowance, planned })
    }

    /// The state as the beginning of the running period would have found it, as far as overage is concerned.
    #[must_use]
    pub fn before_missed_open(&self, number: u32) -> Self {
        self.without_meanwhile(number, is_open)
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
        let (mut opened, cycle, planned) = PeriodOpened::begin(next, decision);
        opened.retried = true;
        let mut scratch = Scratch::new(&self.before_missed_open(number), at);
        begin_grants(&mut scratch, &mut opened, cycle, planned, outcome).map_err(Denied::InvalidDecision)?;
        self.redraw_missed(&mut scratch, number, is_open).map_err(Denied::InvalidDecision)?;
        opened.grants = scratch.grants;
        let credit = opened.grants.first().map_or_else(|| self.main_credit(), |grant| grant.credit.clone());
        Ok(Draft::moving(Event::PeriodOpened(Box::new(opened)), credit, scratch.transfers))
    }
}

impl PeriodOpened {
    /// The event of a period that begins, without its grants; its cycle; and what the plan itself gives.
    pub(super) fn begin(next: NextPeriod, decision: Option<DecisionRecord>) -> (Self, CycleAt, Planned) {
        let NextPeriod { period, reason, cycle, allowance, planned } = next;
        let opened = Self {
            reason,
            period,
            cycle: cycle.cycle.clone(),
            retried: false,
            moved_in: false,
            allowance,
            decision,
            grants: Vec::new(),
            whole: Vec::new(),
            extras: Vec::new(),
            bridging: Vec::new(),
            carried: Vec::new(),
            once: Vec::new(),
            trial: None,
            settled: Vec::new(),
            notes: Vec::new(),
        };
        (opened, cycle, planned)
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
