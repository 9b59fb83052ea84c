//! The beginning of a period, as the policy decides: allowances, less what was given in the cycle already.

use super::{
    cycle::{CycleAt, part},
    rejection::Denied,
    scratch::{Scratch, check_amount},
};
use crate::{
    journal::{Carried, DecisionRecord, Event, Given, OpenReason, Period, PeriodOpened},
    model::{
        amounts::Credits,
        answers::{Allowance, NewGrant, OpenOutcome},
        grant::{Category, CreditType, Grant, default_credit},
        time::Timestamp,
        transfer::Book,
        view::Expiry,
    },
    state::{CustomerState, Draft},
};

/// A period that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPeriod {
    /// The period.
    pub period: Period,
    /// Why it begins.
    pub reason: OpenReason,
    /// Its cycle, and what was given in that.
    pub cycle: CycleAt,
    /// What was asked for with a change of plan.
    pub allowance: Allowance,
}

/// How an allowance is reduced: what is issued, and what of returned credits follows.
struct Reduced {
    amount: Credits,
    skip: Credits,
    limit: Credits,
}

impl CustomerState {
    /// The period that begins at `at`; none for a customer without a plan.
    #[must_use]
    pub fn next_period(&self, at: Timestamp, reason: OpenReason, allowance: Allowance) -> Option<NextPeriod> {
        let profile = self.profile.as_ref().filter(|profile| profile.plan.is_some())?;
        let period = Period {
            number: self.periods.saturating_add(1),
            start: at,
            end: profile.schedule().and_then(|schedule| schedule.next_after(at)),
        };
        Some(NextPeriod { period, reason, cycle: self.cycle_at(at, reason), allowance })
    }

    /// The entry that begins a period.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] when the outcome breaks a rule: issues or settles out of range. [`Denied::Rejected`] for a
    /// closed customer.
    pub fn open_period(
        &self,
        at: Timestamp,
        next: NextPeriod,
        decision: Option<DecisionRecord>,
        outcome: OpenOutcome,
    ) -> Result<Draft, Denied> {
        self.require_open()?;
        let main_credit = match outcome.issue.first() {
            Some(grant) => grant.credit.clone(),
            None if self.accounts.is_empty() => default_credit(),
            None => self.main_credit(),
        };
        let (mut opened, cycle) = PeriodOpened::begin(next, decision);
        let mut scratch = Scratch::new(self, at);
        // The ends of grants are counted from the period that begins.
        scratch.state.period = Some(opened.period.clone());
        begin_grants(&mut scratch, &mut opened, cycle, outcome).map_err(Denied::InvalidDecision)?;
        opened.grants = scratch.grants;
        Ok(Draft::moving(Event::PeriodOpened(Box::new(opened)), main_credit, scratch.transfers))
    }
}

/// Carries out what a period begins with.
pub(super) fn begin_grants(
    scratch: &mut Scratch,
    opened: &mut PeriodOpened,
    mut cycle: CycleAt,
    outcome: OpenOutcome,
) -> Result<(), String> {
    for new in outcome.issue {
        issue(scratch, opened, &mut cycle, new)?;
    }
    for settlement in outcome.settle {
        opened.settled.extend(scratch.settle(settlement)?);
    }
    opened.notes = outcome.notes;
    Ok(())
}

fn issue(
    scratch: &mut Scratch,
    opened: &mut PeriodOpened,
    cycle: &mut CycleAt,
    new: NewGrant,
) -> Result<(), String> {
    check_amount("an issue", new.amount)?;
    let is_allowance = is_allowance(new.category);
    if is_allowance {
        match opened.whole.iter_mut().find(|whole| whole.credit == new.credit) {
            Some(whole) => whole.amount = whole.amount.saturating_add(new.amount),
            None => opened.whole.push(Given { credit: new.credit.clone(), amount: new.amount }),
        }
    }
    let reduced = match new.allowance {
        Allowance::Full => Reduced { amount: new.amount, skip: Credits::ZERO, limit: Credits::ZERO },
        Allowance::Carry => reduce(cycle, &new.credit, new.amount, Credits::ZERO),
        Allowance::Prorate => {
            let free = scratch.state.entitled(cycle, &new.credit);
            let rest = rest_of_cycle(opened, new.amount);
            reduce(cycle, &new.credit, rest, free)
        }
    };
    let Reduced { amount, skip, limit } = reduced;
    if amount.is_zero() && limit.is_zero() {
        return Ok(());
    }
    // One that is made good begins when it should have.
    let effective_at = new.effective_at.map_or(opened.period.start, |from| from.max(opened.period.start));
    let Expiry { at: expires_at, with_period } = new.expires;
    let grant = Grant {
        id: scratch.next_id()?,
        credit: new.credit,
        amount,
        category: new.category,
        priority: new.priority,
        effective_at,
        expires_at,
        expires_with_period: with_period
            .map(|n| scratch.state.period_number_at(effective_at).saturating_add(n)),
        features: new.features,
        cost_basis: new.cost_basis,
        metadata: Vec::new(),
    };
    let (to, credit) = (grant.id, grant.credit.clone());
    if limit.is_positive() {
        opened.carried.push(Carried { to, skip, limit });
        scratch.add_unchecked(grant);
    } else {
        scratch.add(grant)?;
    }
    scratch.step(&credit, Book::Issued, Book::Grant(to), amount)
}

/// Whether grants of a category that a period opens with are plan allowances.
pub(crate) const fn is_allowance(category: Category) -> bool {
    matches!(category, Category::Plan | Category::Trial)
}

/// Takes what was given off an allowance, but for the part of it that is `free`, and says what of held credits follows once
/// they come back: as much as the allowance would have been larger.
fn reduce(cycle: &mut CycleAt, credit: &CreditType, amount: Credits, free: Credits) -> Reduced {
    let of = |list: &mut Vec<(CreditType, Credits)>| {
        list.iter_mut()
            .find(|(other, _)| other == credit)
            .map(|(_, sum)| std::mem::replace(sum, Credits::ZERO))
    };
    let given = of(&mut cycle.given).unwrap_or_default();
    let counted = given.above(free);
    let held = of(&mut cycle.held).unwrap_or_default().min(counted);
    let taken = amount.min(counted);
    // The next allowance of this credit type is reduced by what is left.
    if let Some((_, sum)) = cycle.given.iter_mut().find(|(other, _)| other == credit) {
        *sum = counted.saturating_sub(taken);
    }
    Reduced {
        amount: amount.saturating_sub(taken),
        skip: counted.above(amount),
        limit: if held.is_zero() { Credits::ZERO } else { taken.above(counted.saturating_sub(held)) },
    }
}

/// The part of an allowance that belongs to what is left of the cycle.
fn rest_of_cycle(opened: &PeriodOpened, amount: Credits) -> Credits {
    let cycle = &opened.cycle;
    let Some(end) = cycle.end else { return amount };
    let left = end.0.saturating_sub(opened.period.start.0);
    part(amount, left, end.0.saturating_sub(cycle.start.0)).min(amount)
}
