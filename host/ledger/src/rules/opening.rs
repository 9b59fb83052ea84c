//! The beginning of a period, as the policy decides: allowances, less what was given in the cycle already.

use super::{
    closing::share,
    cycle::{CycleAt, in_proportion, of_parts, share_of},
    rejection::Denied,
    scratch::{Scratch, check_amount},
};
use crate::{
    journal::{Carried, CyclePart, DecisionRecord, Event, Given, OpenReason, Period, PeriodOpened, Trial},
    model::{
        amounts::Credits,
        answers::{Allowance, NewGrant, OpenOutcome},
        grant::{Category, CreditType, Grant, default_credit},
        ids::Key,
        plan_grant::Recurrence,
        time::Timestamp,
        transfer::Book,
        view::Expiry,
    },
    state::{CustomerState, Draft, history::add_given},
};

/// The name under which a grant's metadata has the key of the plan's grant that it comes from.
pub const PLAN_GRANT: &str = "plan_grant";

/// What a plan itself gives when a period begins, whatever its policy does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Its grants.
    pub grants: Vec<PlannedGrant>,
    /// Its trial, where that begins or goes on.
    pub trial: Option<Trial>,
}

/// A grant that a plan itself gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGrant {
    /// Its key.
    pub key: Key,
    /// How often it is given.
    pub recurrence: Recurrence,
    /// The grant.
    pub grant: NewGrant,
}

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
    /// What the plan itself gives.
    pub planned: Planned,
}

impl CustomerState {
    /// The period that begins at `at`, without what the plan itself gives; none for a customer without a plan.
    #[must_use]
    pub fn next_period(&self, at: Timestamp, reason: OpenReason, allowance: Allowance) -> Option<NextPeriod> {
        let profile = self.profile.as_ref().filter(|profile| profile.plan.is_some())?;
        let period = Period {
            number: self.periods.saturating_add(1),
            start: at,
            end: profile.schedule().and_then(|schedule| schedule.next_after(at)),
        };
        let (cycle, planned) = (self.cycle_at(at, reason), Planned::default());
        Some(NextPeriod { period, reason, cycle, allowance, planned })
    }

    /// The entry that begins a period with what the plan itself gives and what its policy decided.
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
        let planned = next.planned.grants.iter().map(|planned| &planned.grant);
        let main_credit = match outcome.issue.iter().chain(planned).next() {
            Some(grant) => grant.credit.clone(),
            None if self.accounts.is_empty() => default_credit(),
            None => self.main_credit(),
        };
        let (mut opened, cycle, planned) = PeriodOpened::begin(next, decision);
        let mut scratch = Scratch::new(self, at);
        // The ends of grants are counted from the period that begins.
        scratch.state.period = Some(opened.period.clone());
        scratch.state.refresh_ends(at);
        begin_grants(&mut scratch, &mut opened, cycle, planned, outcome).map_err(Denied::InvalidDecision)?;
        opened.grants = scratch.grants;
        Ok(Draft::moving(Event::PeriodOpened(Box::new(opened)), main_credit, scratch.transfers))
    }
}

/// Carries out what a period begins with: first what the plan itself gives.
pub(super) fn begin_grants(
    scratch: &mut Scratch,
    opened: &mut PeriodOpened,
    cycle: CycleAt,
    planned: Planned,
    outcome: OpenOutcome,
) -> Result<(), String> {
    let mut cycle = Remaining::of(cycle);
    let planned = begin_planned(scratch, opened, planned, outcome.issue.len());
    let mut reduced: Vec<(Issue, Reduced)> = Vec::with_capacity(planned.len() + outcome.issue.len());
    for issue in planned.into_iter().chain(outcome.issue.into_iter().map(Issue::from)) {
        check_amount("an issue", issue.new.amount)?;
        if issue.is_allowance {
            add_given(&mut opened.whole, &issue.new.credit, issue.new.amount);
        }
        reduced.push((issue, Reduced::default()));
    }
    // What the plan itself gave when a period began that is made good.
    let own = if opened.retried { scratch.state.whole.clone() } else { Vec::new() };
    // Those in proportion come first: what past periods were entitled to must not make up for what others have taken off already.
    for in_proportion in [true, false] {
        let is_next = |allowance: Allowance| (allowance == Allowance::Prorate) == in_proportion;
        for Given { credit, amount } in own.iter().filter(|_| is_next(opened.allowance)) {
            cycle.reduce(&scratch.state, opened, credit, *amount, opened.allowance);
        }
        for (Issue { new, .. }, part) in reduced.iter_mut().filter(|(one, _)| is_next(one.new.allowance)) {
            *part = cycle.reduce(&scratch.state, opened, &new.credit, new.amount, new.allowance);
        }
    }
    cycle.assign_returns(&scratch.state, opened, &mut reduced);
    let bridges: Vec<Issue> = reduced.iter().flat_map(|(issue, _)| bridges(opened, issue)).collect();
    for (issue, part) in reduced {
        issue_grant(scratch, opened, issue, &part)?;
    }
    for bridge in bridges.into_iter().take(scratch.free_places()) {
        let amount = cycle.above(&bridge.new.credit, bridge.new.amount);
        let part = Reduced { amount, ..Reduced::default() };
        let before = scratch.grants.len();
        issue_grant(scratch, opened, bridge, &part)?;
        opened.bridging.extend(scratch.grants.iter().skip(before).map(|grant| grant.id));
    }
    for settlement in outcome.settle {
        opened.settled.extend(scratch.settle(settlement)?);
    }
    opened.notes.extend(outcome.notes);
    Ok(())
}

/// A grant to issue.
struct Issue {
    new: NewGrant,
    /// Whether it is a plan allowance, which is given once in a cycle.
    is_allowance: bool,
    /// The key of a plan's own grant.
    key: Option<Key>,
}

impl From<NewGrant> for Issue {
    fn from(new: NewGrant) -> Self {
        Self { is_allowance: is_allowance(&new), new, key: None }
    }
}

/// The plan's own grants, as far as there is place for them beside so many others: they must not keep the period from beginning.
fn begin_planned(
    scratch: &Scratch,
    opened: &mut PeriodOpened,
    planned: Planned,
    others: usize,
) -> Vec<Issue> {
    let Planned { mut grants, trial } = planned;
    let most = scratch.free_places().saturating_sub(others);
    if grants.len() > most {
        let missing = grants.len() - most;
        opened
            .notes
            .push(format!("{missing} grants of the plan were not given: there are too many live ones"));
        grants.truncate(most);
    }
    let once = grants.iter().filter(|planned| planned.recurrence == Recurrence::Once);
    opened.once = once.map(|planned| planned.key.clone()).collect();
    opened.trial = trial;
    let issue = |planned: PlannedGrant| Issue {
        is_allowance: planned.recurrence == Recurrence::Period,
        new: planned.grant,
        key: Some(planned.key),
    };
    grants.into_iter().map(issue).collect()
}

fn issue_grant(
    scratch: &mut Scratch,
    opened: &mut PeriodOpened,
    issue: Issue,
    reduced: &Reduced,
) -> Result<(), String> {
    let Reduced { amount, stands_in, skip, limit, held } = *reduced;
    if amount.is_zero() && limit.is_zero() {
        return Ok(());
    }
    let Issue { new, is_allowance, key } = issue;
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
        metadata: key.map(|key| (PLAN_GRANT.to_owned(), key.to_string())).into_iter().collect(),
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

/// Whether a grant that a policy opens a period with is a plan allowance, which is given once in a cycle.
fn is_allowance(new: &NewGrant) -> bool {
    new.allowance != Allowance::Full || matches!(new.category, Category::Plan | Category::Trial)
}

/// How an allowance is reduced.
#[derive(Default)]
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

    fn reduce(
        &mut self,
        state: &CustomerState,
        opened: &PeriodOpened,
        credit: &CreditType,
        whole: Credits,
        allowance: Allowance,
    ) -> Reduced {
        let (amount, free) = match allowance {
            Allowance::Full => {
                let zero = Credits::ZERO;
                return Reduced { amount: whole, stands_in: false, skip: zero, limit: zero, held: zero };
            }
            Allowance::Carry => (begun(opened, whole), Credits::ZERO),
            Allowance::Prorate => (rest_of_cycle(opened, whole), state.entitled(&self.cycle, credit)),
        };
        let remaining = self.credits.iter_mut().find(|remaining| &remaining.credit == credit);
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

    /// What is left of an amount once what was given beyond all that has begun is taken off.
    fn above(&mut self, credit: &CreditType, amount: Credits) -> Credits {
        let remaining = self.credits.iter_mut().find(|remaining| &remaining.credit == credit);
        let Some(remaining) = remaining else { return amount };
        let taken = amount.min(remaining.skip);
        remaining.skip = remaining.skip.saturating_sub(taken);
        amount.saturating_sub(taken)
    }

    /// What comes back has one way only: to the last allowance of its credit type that is reduced because of it.
    fn assign_returns(&self, state: &CustomerState, opened: &PeriodOpened, reduced: &mut [(Issue, Reduced)]) {
        for RemainingOf { credit, skip, .. } in &self.credits {
            // One that is made good takes over what the plan's own awaits.
            let before = state.grants.iter().filter(|before| {
                before.allowance_of == Some(opened.period.number) && &before.grant.credit == credit
            });
            let awaited = before.filter_map(|before| before.incoming).map(|incoming| incoming.limit);
            let mut sum = awaited.fold(Credits::ZERO, Credits::saturating_add);
            let mut all_held = Credits::ZERO;
            let mut last = None;
            let of_credit =
                reduced.iter_mut().filter(|(issue, part)| &issue.new.credit == credit && part.stands_in);
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

/// What an allowance gives in the parts of the cycle that have begun.
fn begun(opened: &PeriodOpened, amount: Credits) -> Credits {
    of_parts(&opened.cycle, amount, |one| one.from <= opened.period.start)
}

/// The part of an allowance that belongs to what is left of the cycle, as far as that has begun.
fn rest_of_cycle(opened: &PeriodOpened, amount: Credits) -> Credits {
    let PeriodOpened { cycle, period, .. } = opened;
    let last = cycle.parts().filter(|one| one.from <= period.start).last();
    match last {
        Some(last) => in_proportion(cycle, amount, period.start, last.until).min(begun(opened, amount)),
        None => amount,
    }
}

/// What an allowance gives in the parts of the cycle that begin later. A part that has not begun when its period ends is taken back.
fn bridges(opened: &PeriodOpened, issue: &Issue) -> Vec<Issue> {
    let Issue { new, is_allowance, key } = issue;
    let later =
        |one: &CyclePart| one.from > opened.period.start && new.expires.at.is_none_or(|end| end > one.from);
    if !is_allowance || new.allowance == Allowance::Full || opened.cycle.parts.is_empty() {
        return Vec::new();
    }
    let bridge = |one: CyclePart| {
        let amount = share_of(&one, new.amount);
        let cost_basis = new.cost_basis.map(|basis| share(basis, amount, new.amount));
        let effective_at = Some(new.effective_at.map_or(one.from, |from| from.max(one.from)));
        Issue {
            new: NewGrant { amount, cost_basis, effective_at, ..new.clone() },
            is_allowance: true,
            key: key.clone(),
        }
    };
    let all = opened.cycle.parts().filter(later).map(bridge);
    all.filter(|bridge| bridge.new.amount.is_positive()).collect()
}
