//! The end of a period, as the policy decides and as far as the ledger's rules allow.

use super::{
    rejection::{Denied, Rejection},
    scratch::{Scratch, check_amount},
};
use crate::{
    journal::{CloseReason, DecisionRecord, Event, Given, OverageSettled, Period, PeriodClosed, Rolled},
    model::{
        amounts::{Credits, Decimal, Money, Rounding},
        answers::{CloseOutcome, Fee, FeeMethod, Rollover},
        grant::{Category, Grant},
        ids::GrantId,
        time::Timestamp,
        transfer::Book,
        view::Expiry,
    },
    state::{CustomerState, Draft, GrantState, GrantStatus, history::add_given},
};
use std::collections::{BTreeMap, BTreeSet};

impl CustomerState {
    /// The entry that ends the running period at `at`.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] when the outcome breaks a rule: carries over more than remains or is held, names unknown
    /// grants, settles out of range. [`Denied::Rejected`] when no period runs.
    pub fn close_period(
        &self,
        at: Timestamp,
        reason: CloseReason,
        decision: Option<DecisionRecord>,
        outcome: CloseOutcome,
    ) -> Result<Draft, Denied> {
        let (closed, scratch) = self.closing(at, at, reason, decision, outcome)?;
        Ok(Draft::moving(Event::PeriodClosed(Box::new(closed)), self.main_credit(), scratch.transfers))
    }

    /// What ends the running period at `end`, worked out at `at`.
    pub(super) fn closing(
        &self,
        at: Timestamp,
        end: Timestamp,
        reason: CloseReason,
        decision: Option<DecisionRecord>,
        outcome: CloseOutcome,
    ) -> Result<(PeriodClosed, Scratch), Denied> {
        let running = self.period.as_ref().ok_or(Rejection::NoPeriod)?;
        let period = Period { end: Some(end), ..running.clone() };
        let mut closed = PeriodClosed {
            reason,
            period,
            retried: false,
            decision,
            grants: Vec::new(),
            rolled: Vec::new(),
            expired: Vec::new(),
            fees: Vec::new(),
            settled: Vec::new(),
            given: Vec::new(),
            notes: Vec::new(),
        };
        let mut scratch = Scratch::new(self, at);
        carry_out(&mut scratch, &mut closed, end, outcome).map_err(Denied::InvalidDecision)?;
        closed.grants.clone_from(&scratch.grants);
        Ok((closed, scratch))
    }

    /// The entry that takes overage off which came after the customer was closed: of all that the end of a period does, only that.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] when the outcome settles out of range.
    pub fn settle_after_closing(
        &self,
        at: Timestamp,
        decision: Option<DecisionRecord>,
        outcome: CloseOutcome,
    ) -> Result<Draft, Denied> {
        let mut scratch = Scratch::new(self, at);
        let mut settled = Vec::new();
        for settlement in outcome.settle {
            settled.extend(scratch.settle(settlement).map_err(Denied::InvalidDecision)?);
        }
        let event = Event::OverageSettled(Box::new(OverageSettled { decision, settled }));
        Ok(Draft::moving(event, self.main_credit(), scratch.transfers))
    }

    /// The state as the end of a closed customer's last period would find it now; none where nothing is to be settled.
    #[must_use]
    pub fn to_settle_after_closing(&self) -> Option<Self> {
        let last = self.past.last().filter(|_| self.closed)?;
        let owes = self.accounts.keys().any(|credit| self.outstanding(credit).is_positive());
        owes.then(|| Self { period: Some(last.period.clone()), ..self.clone() })
    }

    /// Checks that an early end of the period makes sense.
    ///
    /// # Errors
    /// A closed customer, or one without a period.
    pub fn check_early_reset(&self) -> Result<(), Rejection> {
        self.require_open()?;
        if self.period.is_some() { Ok(()) } else { Err(Rejection::NoPeriod) }
    }
}

fn carry_out(
    scratch: &mut Scratch,
    closed: &mut PeriodClosed,
    end: Timestamp,
    outcome: CloseOutcome,
) -> Result<(), String> {
    let state = &scratch.state;
    let later = state.grants.iter().filter(|grant| !state.is_concerned_by_end(grant, end, closed.reason));
    scratch.barred = later.map(|state| state.grant.id).collect();
    if !outcome.roll_over.is_empty() {
        let coming = scratch.state.coming_back();
        for rollover in &outcome.roll_over {
            roll_over(scratch, closed, end, rollover, &coming)?;
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = closed.rolled.iter().find(|rolled| !named.insert(rolled.from)) {
            return Err(format!("{} is carried over twice", twice.from));
        }
    }
    for id in outcome.expire {
        if scratch.barred.contains(&id) {
            return Err(format!("{id} is not of this period"));
        }
        scratch.expire(id)?;
        closed.expired.push(id);
    }
    expire_with_period(scratch, closed)?;
    closed.given = given(&scratch.state, closed);
    let later = scratch.barred.clone();
    scratch.barred.extend(scratch.grants.iter().map(|grant| grant.id));
    for fee in outcome.fees {
        pay(scratch, &fee)?;
        closed.fees.push(fee.into());
    }
    scratch.barred = later;
    for settlement in outcome.settle {
        closed.settled.extend(scratch.settle(settlement)?);
    }
    closed.notes = outcome.notes;
    Ok(())
}

fn roll_over(
    scratch: &mut Scratch,
    closed: &mut PeriodClosed,
    end: Timestamp,
    rollover: &Rollover,
    coming: &BTreeMap<GrantId, Credits>,
) -> Result<(), String> {
    let Rollover { grant, amount, held_share, held_limit, priority, expires } = *rollover;
    let older = scratch.live(grant)?;
    if scratch.barred.contains(&grant) {
        return Err(format!("{grant} is not of this period"));
    }
    let GrantState { remaining, held: own, spent, .. } =
        *scratch.state.grant(grant).ok_or_else(|| format!("{grant} is no live grant"))?;
    let held = own.saturating_add(coming.get(&grant).copied().unwrap_or_default());
    // What was used of it may be refunded.
    let used = older.amount.saturating_sub(remaining).saturating_sub(own).max(spent);
    let most = held.saturating_add(used);
    if held_share.is_negative() || held_share > Decimal::ONE {
        return Err(format!("a share of {held_share} of what comes back is not between 0 and 1"));
    }
    if held_limit > most {
        return Err(format!("a rollover of {held_limit} of the {most} that are held or used of {grant}"));
    }
    let follows = held_limit.is_positive() && held_share.is_positive();
    if !follows {
        check_amount("a rollover", amount)?;
    } else if amount.is_negative() {
        return Err(format!("a rollover of {amount} is negative"));
    }
    let Expiry { at: expires_at, with_period } = expires;
    // What is held is expected back; what was used is not.
    let moved = if follows { amount.saturating_add(held_limit.min(held)) } else { amount };
    let newer = Grant {
        id: scratch.next_id()?,
        amount,
        category: Category::Rollover,
        priority,
        effective_at: end,
        expires_at,
        expires_with_period: with_period.map(|n| closed.period.number.saturating_add(1).saturating_add(n)),
        cost_basis: older.cost_basis.map(|basis| share(basis, moved, older.amount)),
        ..older
    };
    let (to, credit) = (newer.id, newer.credit.clone());
    scratch.add(newer, end)?;
    scratch.step(&credit, Book::Grant(grant), Book::Grant(to), amount)?;
    closed.rolled.push(Rolled { from: grant, to, held_share, held_limit });
    Ok(())
}

/// The part of a cost basis that belongs to a part of a grant, to the minor unit.
pub(super) fn share(basis: Money, part: Credits, whole: Credits) -> Money {
    basis.share(part.min(whole), whole, Rounding::HalfEven).unwrap_or(basis)
}

fn expire_with_period(scratch: &mut Scratch, closed: &mut PeriodClosed) -> Result<(), String> {
    let number = closed.period.number;
    let ending: Vec<GrantId> = scratch
        .state
        .grants
        .iter()
        .filter(|state| {
            let is_early = state.bridges
                && state.allowance_of == Some(number)
                && closed.period.end.is_some_and(|end| state.grant.effective_at >= end);
            state.status == GrantStatus::Live && (is_early || state.ends_with_by(number))
        })
        .map(|state| state.grant.id)
        .collect();
    for id in ending {
        scratch.expire(id)?;
        closed.expired.push(id);
    }
    Ok(())
}

fn pay(scratch: &mut Scratch, fee: &Fee) -> Result<(), String> {
    check_amount("a fee", fee.amount)?;
    match fee.method {
        FeeMethod::Drawn => scratch.draw(&fee.credit, fee.amount),
        FeeMethod::Invoiced => {
            scratch.step(&fee.credit, Book::Overage, Book::Spent, fee.amount)?;
            scratch.step(&fee.credit, Book::Issued, Book::Overage, fee.amount)
        }
    }
}

/// What the closing period's plan allowances gave: all that did not expire, and so what lives on beyond the period, too.
fn given(state: &CustomerState, closed: &PeriodClosed) -> Vec<Given> {
    let rolled: BTreeMap<GrantId, GrantId> =
        closed.rolled.iter().map(|rolled| (rolled.from, rolled.to)).collect();
    let mut sums: Vec<Given> = Vec::new();
    for allowance in state.grants.iter().filter(|state| state.allowance_of == Some(closed.period.number)) {
        let moved = rolled.get(&allowance.grant.id).and_then(|to| state.grant(*to)).map(|to| to.remaining);
        let amount = allowance.given().saturating_add(moved.unwrap_or_default());
        add_given(&mut sums, &allowance.grant.credit, amount);
    }
    sums
}
