//! The beginning of a period, as the policy decides: allowances, less what was given in the cycle already.

use super::{
    closing::share,
    cycle::{CycleAt, part},
    rejection::Denied,
    scratch::{Scratch, check_amount},
};
use crate::{
    journal::{Carried, DecisionRecord, Event, OpenReason, Period, PeriodOpened},
    model::{
        amounts::Credits,
        answers::{Allowance, NewGrant, OpenOutcome},
        grant::{Category, CreditType, Grant, default_credit},
        time::Timestamp,
        transfer::Book,
        view::Expiry,
    },
    state::{CustomerState, Draft, history::add_given},
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
        scratch.state.refresh_ends(at);
        begin_grants(&mut scratch, &mut opened, cycle, outcome).map_err(Denied::InvalidDecision)?;
        opened.grants = scratch.grants;
        Ok(Draft::moving(Event::PeriodOpened(Box::new(opened)), main_credit, scratch.transfers))
    }
}

/// Carries out what a period begins with.
pub(super) fn begin_grants(
    scratch: &mut Scratch,
    opened: &mut PeriodOpened,
    cycle: CycleAt,
    outcome: OpenOutcome,
) -> Result<(), String> {
    let mut cycle = Remaining::of(cycle);
    let mut reduced = Vec::with_capacity(outcome.issue.len());
    for new in outcome.issue {
        check_amount("an issue", new.amount)?;
        if is_allowance(&new) {
            add_given(&mut opened.whole, &new.credit, new.amount);
        }
        let part = cycle.reduce(&scratch.state, opened, &new);
        reduced.push((new, part));
    }
    cycle.assign_returns(&mut reduced);
    for (new, part) in reduced {
        issue(scratch, opened, new, &part)?;
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
    new: NewGrant,
    reduced: &Reduced,
) -> Result<(), String> {
    let Reduced { amount, stands_in, skip, limit, held } = *reduced;
    if amount.is_zero() && limit.is_zero() {
        return Ok(());
    }
    let is_allowance = is_allowance(&new);
    // One that is made good begins when it should have.
    let effective_at = new.effective_at.map_or(opened.period.start, |from| from.max(opened.period.start));
    let Expiry { at: expires_at, with_period } = new.expires;
    let id = scratch.next_id()?;
    let grant = Grant {
        id,
        cost_basis: new.cost_basis.map(|basis| share(basis, amount.saturating_add(held), new.amount)),
        credit: new.credit,
        amount,
        category: new.category,
        priority: new.priority,
        effective_at,
        expires_at,
        expires_with_period: with_period
            .map(|n| scratch.state.period_number_at(effective_at).saturating_add(n)),
        features: new.features,
        metadata: Vec::new(),
    };
    let credit = grant.credit.clone();
    scratch.add(grant, opened.period.start)?;
    if stands_in {
        opened.carried.push(Carried { to: id, skip, limit });
    }
    if !is_allowance {
        opened.extras.push(id);
    }
    scratch.step(&credit, Book::Issued, Book::Grant(id), amount)
}

/// Whether a grant that a period opens with is a plan allowance, which is given once in a cycle.
fn is_allowance(new: &NewGrant) -> bool {
    new.allowance != Allowance::Full || matches!(new.category, Category::Plan | Category::Trial)
}

/// How an allowance is reduced.
struct Reduced {
    /// What is issued.
    amount: Credits,
    /// Whether it stands in the place of earlier allowances of the cycle.
    stands_in: bool,
    /// How much of what comes back of those expires first.
    skip: Credits,
    /// How much it takes after that: by so much it was reduced.
    limit: Credits,
    /// The part of `limit` that reservations hold.
    held: Credits,
}

/// What of a cycle's past is not yet taken off an allowance, by credit type.
struct Remaining {
    cycle: CycleAt,
    credits: Vec<RemainingOf>,
}

struct RemainingOf {
    credit: CreditType,
    /// What was given.
    given: Credits,
    /// The part of it that may still come back.
    held: Credits,
    /// What would remain of it beyond all allowances.
    skip: Credits,
}

impl Remaining {
    fn of(cycle: CycleAt) -> Self {
        let held = |credit: &CreditType| {
            let of_credit = cycle.held.iter().find(|(other, _)| other == credit);
            of_credit.map_or(Credits::ZERO, |(_, amount)| *amount)
        };
        let credits = cycle.given.iter().map(|(credit, given)| RemainingOf {
            credit: credit.clone(),
            given: *given,
            held: held(credit).min(*given),
            skip: Credits::ZERO,
        });
        Self { credits: credits.collect(), cycle }
    }

    fn reduce(&mut self, state: &CustomerState, opened: &PeriodOpened, new: &NewGrant) -> Reduced {
        let (amount, free) = match new.allowance {
            Allowance::Full => {
                let zero = Credits::ZERO;
                return Reduced { amount: new.amount, stands_in: false, skip: zero, limit: zero, held: zero };
            }
            Allowance::Carry => (new.amount, Credits::ZERO),
            Allowance::Prorate => {
                (rest_of_cycle(opened, new.amount), state.entitled(&self.cycle, &new.credit))
            }
        };
        let remaining = self.credits.iter_mut().find(|remaining| remaining.credit == new.credit);
        let Some(remaining) = remaining else {
            let zero = Credits::ZERO;
            return Reduced { amount, stands_in: false, skip: zero, limit: zero, held: zero };
        };
        // What the past periods were entitled to makes up for so much of what was given, whichever allowance is reduced by it.
        let counted = remaining.given.above(free);
        let taken = amount.min(counted);
        // Had nothing been held, so much less would be taken.
        let settled = remaining.given.saturating_sub(remaining.held).above(free);
        let held = taken.saturating_sub(amount.min(settled));
        remaining.given = remaining.given.saturating_sub(taken);
        remaining.held = remaining.held.saturating_sub(held);
        remaining.skip = counted.saturating_sub(taken);
        // Had it not been used or held, it would not be taken: it follows once it comes back.
        let (skip, limit) = (Credits::ZERO, taken);
        Reduced { amount: amount.saturating_sub(taken), stands_in: true, skip, limit, held }
    }

    /// What comes back has one way only: to the last allowance of its credit type that is reduced because of it.
    fn assign_returns(&self, reduced: &mut [(NewGrant, Reduced)]) {
        for RemainingOf { credit, skip, .. } in &self.credits {
            let (mut sum, mut all_held) = (Credits::ZERO, Credits::ZERO);
            let mut last = None;
            let of_credit = reduced.iter_mut().filter(|(new, part)| &new.credit == credit && part.stands_in);
            for (_, part) in of_credit.filter(|(_, part)| part.limit.is_positive()) {
                sum = sum.saturating_add(std::mem::replace(&mut part.limit, Credits::ZERO));
                all_held = all_held.saturating_add(std::mem::replace(&mut part.held, Credits::ZERO));
                last = Some(part);
            }
            if let Some(part) = last {
                (part.limit, part.skip, part.held) = (sum, *skip, all_held);
            }
        }
    }
}

/// The part of an allowance that belongs to what is left of the cycle.
fn rest_of_cycle(opened: &PeriodOpened, amount: Credits) -> Credits {
    let cycle = &opened.cycle;
    let Some(end) = cycle.end else { return amount };
    let left = end.0.saturating_sub(opened.period.start.0);
    part(amount, left, end.0.saturating_sub(cycle.start.0)).min(amount)
}
