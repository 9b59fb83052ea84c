//! The end and the beginning of periods. The terms in force just before an end close the period, those in force from the
//! beginning open the next. A policy that fails can't hold a period open: what `on_fault` names decides instead, or else
//! nothing is carried over or issued, the entry says so, and it is made good once terms work again.

use crate::{
    Decider, Journal, Stop,
    decider::unexpected,
    policy::{Decided, Failure, Lookup, Policy},
};
use proviso_ledger::{
    journal::{CloseReason, DecisionRecord, FaultRecord, OpenReason, ShadowRecord},
    model::{
        amounts::Credits,
        answers::{Allowance, CloseOutcome, OpenOutcome},
        ids::Name,
        terms::{self, Terms},
        time::Timestamp,
    },
    rules::{
        opening::NextPeriod,
        rejection::{Denied, Rejection},
    },
    state::{CustomerState, Draft, Missed, MissedCall},
};
use std::sync::Arc;

/// The most shadows that run beside one decision.
pub(crate) const MOST_SHADOWS: usize = 4;

/// One call of a policy and what the ledger makes of the answer.
trait Turn {
    type Outcome: Default;

    /// Asks.
    fn ask(&self, policy: &dyn Policy, terms: &Terms) -> Result<Decided<Self::Outcome>, Failure>;

    /// Makes the entry.
    fn make(&self, decision: Option<DecisionRecord>, outcome: Self::Outcome) -> Result<Draft, Denied>;

    /// The credits that an outcome moves or issues, to compare shadows by, with what the plan itself gives whatever its terms are.
    fn weight(&self, outcome: &Self::Outcome) -> Credits;
}

struct Close<'a> {
    state: &'a CustomerState,
    at: Timestamp,
    reason: CloseReason,
    retries: Option<u32>,
}

struct Open<'a> {
    state: &'a CustomerState,
    at: Timestamp,
    next: NextPeriod,
    retries: bool,
}

impl Turn for Close<'_> {
    type Outcome = CloseOutcome;

    fn ask(&self, policy: &dyn Policy, terms: &Terms) -> Result<Decided<CloseOutcome>, Failure> {
        let nothing =
            || Failure { code: "internal", detail: "no period runs".to_owned(), fuel: 0, log: Vec::new() };
        let view = match self.retries {
            Some(number) => {
                let before = self.state.before_missed_close(number).map_err(|_| nothing())?;
                before.state.closing_view(terms, before.end, before.reason)
            }
            None => self.state.closing_view(terms, self.at, self.reason),
        };
        let (closing, context) = view.ok_or_else(nothing)?;
        policy.close(&closing, &context, &terms.prepared.form)
    }

    fn make(&self, decision: Option<DecisionRecord>, outcome: CloseOutcome) -> Result<Draft, Denied> {
        match self.retries {
            Some(number) => self.state.retry_close(self.at, number, decision, outcome),
            None => self.state.close_period(self.at, self.reason, decision, outcome),
        }
    }

    fn weight(&self, outcome: &CloseOutcome) -> Credits {
        carried(outcome)
    }
}

impl Turn for Open<'_> {
    type Outcome = OpenOutcome;

    fn ask(&self, policy: &dyn Policy, terms: &Terms) -> Result<Decided<OpenOutcome>, Failure> {
        let (opening, context) = if self.retries {
            let before = self.state.before_missed_open(self.next.period.number);
            before.opening_view(terms, self.at, &self.next)
        } else {
            self.state.opening_view(terms, self.at, &self.next)
        };
        policy.open(&opening, &context, &terms.prepared.form)
    }

    fn make(&self, decision: Option<DecisionRecord>, outcome: OpenOutcome) -> Result<Draft, Denied> {
        if self.retries {
            self.state.retry_open(self.at, self.next.period.number, decision, outcome)
        } else {
            self.state.open_period(self.at, self.next.clone(), decision, outcome)
        }
    }

    fn weight(&self, outcome: &OpenOutcome) -> Credits {
        // A period that is made good was given the plan's own grants when it began.
        let own = self.next.planned.grants.iter().filter(|_| !self.retries).map(|planned| &planned.grant);
        own.chain(&outcome.issue).fold(Credits::ZERO, |sum, grant| sum.saturating_add(grant.amount))
    }
}

/// What the end of a closed customer's last period settles of what came later.
struct Settle<'a> {
    state: &'a CustomerState,
    /// With that period running.
    before: &'a CustomerState,
    at: Timestamp,
}

impl Turn for Settle<'_> {
    type Outcome = CloseOutcome;

    fn ask(&self, policy: &dyn Policy, terms: &Terms) -> Result<Decided<CloseOutcome>, Failure> {
        Close { state: self.before, at: self.at, reason: CloseReason::Closed, retries: None }
            .ask(policy, terms)
    }

    fn make(&self, decision: Option<DecisionRecord>, outcome: CloseOutcome) -> Result<Draft, Denied> {
        self.state.settle_after_closing(self.at, decision, outcome)
    }

    fn weight(&self, outcome: &CloseOutcome) -> Credits {
        carried(outcome)
    }
}

/// What the end of a period carries over.
fn carried(outcome: &CloseOutcome) -> Credits {
    outcome.roll_over.iter().fold(Credits::ZERO, |sum, rollover| sum.saturating_add(rollover.amount))
}

/// When a missed call was due, and whose terms were to decide.
struct When<'a> {
    due_at: Timestamp,
    plan: Option<&'a Name>,
    terms_at: Timestamp,
}

impl<'a> When<'a> {
    fn of(state: &'a CustomerState, missed: &Missed) -> Option<Self> {
        match missed.what {
            MissedCall::Close { .. } => {
                let past = state.past_period(missed.number)?;
                let due_at = past.period.end?;
                let terms_at = due_at.plus_micros(-1).max(past.period.start);
                Some(Self { due_at, plan: past.plan.as_ref(), terms_at })
            }
            MissedCall::Open { .. } => {
                let due_at = state.period.as_ref()?.start;
                Some(Self { due_at, plan: state.plan(), terms_at: due_at })
            }
        }
    }
}

/// How an attempt by one policy ended.
enum Attempt {
    Draft(Box<Draft>),
    Failed(FaultRecord, u64, Vec<String>),
}

impl Decider<'_> {
    /// The entry that ends the running period.
    pub(crate) fn close_period(
        &self,
        state: &CustomerState,
        at: Timestamp,
        reason: CloseReason,
    ) -> Result<Draft, Stop> {
        // A period that has just begun is closed by what it began with.
        let start = state.period.as_ref().map_or(at, |period| period.start);
        let just_before = at.plus_micros(-1).max(start);
        self.turn(state, state.plan(), (just_before, at), &Close { state, at, reason, retries: None })
    }

    /// The entry that settles what a closed customer owes since, by the terms that closed its last period; none when nothing is
    /// owed, or the terms settle nothing.
    pub(crate) fn settle_after_closing(
        &self,
        state: &CustomerState,
        at: Timestamp,
    ) -> Result<Option<Draft>, Stop> {
        let Some(before) = state.to_settle_after_closing() else { return Ok(None) };
        let last = state.past.last().map(|past| &past.period);
        let just_before = last.map_or(at, |last| last.end.unwrap_or(at).plus_micros(-1).max(last.start));
        let draft =
            self.turn(state, state.plan(), (just_before, at), &Settle { state, before: &before, at })?;
        // Where no terms are in force, there is nothing that could have failed.
        let failed = draft.event.decision().is_some_and(DecisionRecord::is_unmade);
        Ok(Some(draft).filter(|draft| failed || !draft.transfers.is_empty()))
    }

    /// The entry that begins the next period.
    pub(crate) fn open_period(
        &self,
        state: &CustomerState,
        at: Timestamp,
        reason: OpenReason,
        allowance: Allowance,
    ) -> Result<Draft, Stop> {
        let mut next = state.next_period(at, reason, allowance).ok_or(Rejection::NoPeriod)?;
        next.planned = self.planned(state, at, reason, allowance);
        self.turn(state, state.plan(), (at, at), &Open { state, at, next, retries: false })
    }

    /// The entry that makes the end or the beginning of a period good that a fault left undone: by the terms of then, or, where
    /// they still fail, by those that were bound since.
    pub(crate) fn retry_period(
        &self,
        state: &CustomerState,
        number: u32,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let missed = state.missed_of(number).ok_or(Rejection::NothingMissed(number))?;
        match &missed.what {
            MissedCall::Close { reason, .. } => {
                let turn = Close { state, at, reason: *reason, retries: Some(number) };
                self.retry_turn(state, missed, at, &turn)
            }
            MissedCall::Open { .. } => {
                let next = state.missed_open(number)?;
                self.retry_turn(state, missed, at, &Open { state, at, next, retries: true })
            }
        }
    }

    fn retry_turn<T: Turn>(
        &self,
        state: &CustomerState,
        missed: &Missed,
        at: Timestamp,
        turn: &T,
    ) -> Result<Draft, Stop> {
        let When { plan, terms_at, .. } =
            When::of(state, missed).ok_or(Rejection::NothingMissed(missed.number))?;
        let draft = self.turn(state, plan, (terms_at, at), turn)?;
        if is_made(&draft) || !self.is_bound_since(state, missed, at) {
            return Ok(draft);
        }
        self.turn(state, plan, (at, at), turn)
    }

    /// Whether the terms in force were bound after what was missed, or took over from a canary that was rolled back since, so that
    /// they may do better.
    fn is_bound_since(&self, state: &CustomerState, missed: &Missed, at: Timestamp) -> bool {
        When::of(state, missed).is_some_and(|When { plan, due_at, terms_at }| {
            let failed = self.terms_at(state, plan, terms_at);
            self.terms_at(state, plan, at).is_some_and(|terms| terms.created_at > due_at)
                || failed.is_some_and(|terms| terms.is_rolled_back(at))
        })
    }

    /// Makes good what a fault left undone, where terms were bound since that may do better.
    pub(crate) fn make_good(&self, state: &mut CustomerState, journal: &mut Journal) -> Result<(), Stop> {
        let at = self.now.max(state.at);
        if state.closed {
            return Ok(());
        }
        let bound_since = |missed: &&Missed| self.is_bound_since(state, missed, at);
        for missed in state.missed.iter().filter(bound_since).cloned().collect::<Vec<_>>() {
            if state.missed_of(missed.number).is_none_or(|may| may.what != missed.what) {
                continue;
            }
            match self.retry_period(state, missed.number, at) {
                Ok(draft) if is_made(&draft) => {
                    journal.seal(state, at, draft)?;
                }
                // They do no better; or what was missed is past making good.
                Ok(_) | Err(Stop::Error(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Asks the terms in force at `terms_at`, by what is known at `known_at`.
    fn turn<T: Turn>(
        &self,
        state: &CustomerState,
        plan: Option<&Name>,
        (terms_at, known_at): (Timestamp, Timestamp),
        turn: &T,
    ) -> Result<Draft, Stop> {
        let Some(terms) = self.terms_known(state, plan, terms_at, known_at) else {
            return turn.make(None, T::Outcome::default()).map_err(unexpected);
        };
        let shadows = self.turn_shadows(state, plan, &terms, terms_at, turn)?;
        let (fault, fuel, log) = match self.attempt_turn(&terms, None, &shadows, turn)? {
            Attempt::Draft(draft) => return Ok(*draft),
            Attempt::Failed(fault, fuel, log) => (fault, fuel, log),
        };
        if let Some(other) = self.fallback(state, plan, &terms, terms_at)
            && let Attempt::Draft(draft) = self.attempt_turn(&other, Some(&fault), &shadows, turn)?
        {
            return Ok(*draft);
        }
        let record = DecisionRecord { fault: Some(fault), ..record(&terms, fuel, log, shadows) };
        turn.make(Some(record), T::Outcome::default()).map_err(unexpected)
    }

    fn attempt_turn<T: Turn>(
        &self,
        terms: &Arc<Terms>,
        fault: Option<&FaultRecord>,
        shadows: &[ShadowRecord],
        turn: &T,
    ) -> Result<Attempt, Stop> {
        let failed = |failure: Failure| {
            let Failure { code, detail, fuel, log } = failure;
            Attempt::Failed(fault_record(terms, code, detail), fuel, log)
        };
        let policy = match self.policy(terms)? {
            Ok(policy) => policy,
            Err(failure) => return Ok(failed(failure)),
        };
        let decided = match turn.ask(&*policy, terms) {
            Ok(decided) => decided,
            Err(failure) => return Ok(failed(failure)),
        };
        let Decided { value, fuel, log } = decided;
        let record =
            DecisionRecord { fault: fault.cloned(), ..record(terms, fuel, log.clone(), shadows.to_vec()) };
        match turn.make(Some(record), value) {
            Ok(draft) => Ok(Attempt::Draft(Box::new(draft))),
            Err(Denied::InvalidDecision(detail)) => {
                Ok(failed(Failure { code: "invalid_output", detail, fuel, log }))
            }
            Err(denied) => Err(unexpected(denied)),
        }
    }

    /// What the terms that a canary is to replace, and shadows, would have done.
    fn turn_shadows<T: Turn>(
        &self,
        state: &CustomerState,
        plan: Option<&Name>,
        decides: &Terms,
        at: Timestamp,
        turn: &T,
    ) -> Result<Vec<ShadowRecord>, Stop> {
        let replaced = self.replaced(state, decides, at);
        let in_force = terms::shadows(&state.terms, at).chain(terms::shadows(self.plan_terms(plan), at));
        let mut records = Vec::new();
        for terms in replaced.iter().chain(in_force.take(MOST_SHADOWS)) {
            let decided = match self.policy(terms)? {
                Ok(policy) => turn.ask(&*policy, terms),
                Err(failure) => Err(failure),
            };
            records.push(match decided {
                Ok(decided) => shadow(terms, Ok(turn.weight(&decided.value)), decided.fuel),
                Err(failure) => failed_shadow(terms, &failure),
            });
        }
        Ok(records)
    }

    /// The policy of terms, or why it can't be asked.
    pub(crate) fn policy(&self, terms: &Terms) -> Result<Result<Arc<dyn Policy>, Failure>, Stop> {
        match (self.policies)(&terms.policy.digest) {
            Lookup::Ready(policy) => Ok(Ok(policy)),
            Lookup::NotLoaded => Err(Stop::Need(terms.policy.digest)),
            Lookup::Unavailable(detail) => {
                Ok(Err(Failure { code: "module_unavailable", detail, fuel: 0, log: Vec::new() }))
            }
        }
    }
}

/// Why an entry does not make good what it tried to; none when it does.
pub(crate) fn fault_of(draft: &Draft) -> Option<String> {
    use proviso_ledger::journal::Event;
    let decision = match &draft.event {
        Event::PeriodClosed(closed) => closed.decision.as_ref(),
        Event::PeriodOpened(opened) => opened.decision.as_ref(),
        Event::OverageSettled(settled) => settled.decision.as_ref(),
        _ => None,
    };
    let Some(decision) = decision else { return Some("no terms are in force".to_owned()) };
    let text = |fault: &FaultRecord| format!("{}: {}", fault.code, fault.detail);
    decision.is_unmade().then(|| decision.fault.as_ref().map(text).unwrap_or_default())
}

fn is_made(draft: &Draft) -> bool {
    fault_of(draft).is_none()
}

pub(crate) fn record(
    terms: &Terms,
    fuel: u64,
    log: Vec<String>,
    shadows: Vec<ShadowRecord>,
) -> DecisionRecord {
    DecisionRecord {
        terms: terms.key.clone(),
        digest: terms.digest,
        policy: terms.policy.clone(),
        fuel,
        log,
        fault: None,
        shadows,
    }
}

pub(crate) fn fault_record(terms: &Terms, code: &str, detail: String) -> FaultRecord {
    FaultRecord { terms: terms.key.clone(), code: code.to_owned(), detail }
}

/// What a shadow made of something, or the code of its refusal.
pub(crate) fn shadow(terms: &Terms, made: Result<Credits, String>, fuel: u64) -> ShadowRecord {
    let (cost, code) = match made {
        Ok(cost) => (Some(cost), None),
        Err(code) => (None, Some(code)),
    };
    ShadowRecord { terms: terms.key.clone(), cost, code, failed: false, fuel }
}

/// That a shadow's policy failed.
pub(crate) fn failed_shadow(terms: &Terms, failure: &Failure) -> ShadowRecord {
    let refused = shadow(terms, Err(failure.code.to_owned()), failure.fuel);
    ShadowRecord { failed: true, ..refused }
}
