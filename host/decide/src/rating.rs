//! A usage, rated by the policy in force when it occurred: the fallback when it fails, the shadows beside it, the question
//! about overage when credits run short, and less when that is what is allowed.

use crate::{
    DecideError, Decider, Stop,
    periods::{MOST_SHADOWS, failed_shadow, fault_record, record, shadow},
    policy::{Answer, Failure, Policy},
    request::{CheckOutcome, Reply, UsageRequest},
};
use proviso_ledger::{
    journal::{DecisionRecord, Event, FaultRecord, Intent, Rated, ShadowRecord, Shape, Unrated},
    model::{
        amounts::{Credits, Price, Quantity},
        answers::{Line, Overage, Rating, Refusal, RefusalKind, Suggestion},
        counter::Counter,
        entitlement::{Entitlement, Source},
        grant::{CreditType, default_credit},
        ids::{LeaseId, ReservationId},
        terms::{self, Terms},
        time::{Timestamp, Zone},
        usage::{Purpose, Usage},
        view::Context,
    },
    rules::{
        charge::Decision,
        context::{Asked, Detail},
        rejection::Denied,
    },
    state::{CustomerState, Draft},
};
use std::sync::Arc;

/// A usage on its way to a draft.
struct Question<'a> {
    state: &'a CustomerState,
    usage: Usage,
    intent: Intent,
    at: Timestamp,
}

/// How an attempt by one policy ended.
enum Attempt {
    Draft(Box<Draft>),
    Failed(Failure),
}

/// Makes the entry of a usage (with what was asked for before it was reduced) and a decision.
type Make<'a> = &'a dyn Fn(Usage, Option<Shape>, Decision) -> Result<Draft, Denied>;

/// What a policy answered about a usage.
struct Rates {
    rating: Rating,
    /// Of a commit: why the policy gave no price, so that the rating is that of the reservation.
    unrated: Option<Unrated>,
    overage: Option<Overage>,
    fuel: u64,
    log: Vec<String>,
}

/// The shadows beside a decision, and the counters that they need from now on.
#[derive(Clone, Default)]
struct Shadows {
    records: Vec<ShadowRecord>,
    counters: Vec<(Counter, Option<Zone>)>,
}

impl Decider<'_> {
    pub(crate) fn charge(&self, state: &CustomerState, usage: Usage, at: Timestamp) -> Result<Draft, Stop> {
        state.require_open()?;
        let terms = self.terms_for(state, &usage, at)?;
        let question = Question { state, usage, intent: Intent::Charge, at };
        self.answer(&question, &terms, &|usage, _, decision| state.charge(at, usage, decision))
    }

    pub(crate) fn reserve(
        &self,
        state: &CustomerState,
        usage: Usage,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Draft, Stop> {
        state.require_open()?;
        let terms = self.terms_for(state, &usage, at)?;
        let question = Question { state, usage, intent: Intent::Reserve, at };
        self.answer(&question, &terms, &|usage, reduced_from, decision| {
            state.reserve(at, usage, reduced_from, decision, expires_at)
        })
    }

    /// A commit is rated by the terms that rated the reservation, whatever is in force now: but not by a canary that was rolled back.
    pub(crate) fn commit(
        &self,
        state: &CustomerState,
        id: ReservationId,
        usage: Usage,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let (_, _, reserved_by) = state.reserved_usage(id)?;
        let mut terms = self.terms_by_key(state, reserved_by)?;
        if terms.is_rolled_back(at) {
            terms = self.terms_for(state, &usage, at)?;
        }
        let question = Question { state, usage, intent: Intent::Commit(id), at };
        self.answer(&question, &terms, &|usage, _, decision| state.commit(at, id, usage, decision))
    }

    /// A settlement is rated by the terms in force when the usage occurred, as a charge is. A policy is asked as for a commit, since it
    /// reports work that was done.
    pub(crate) fn settle(
        &self,
        state: &CustomerState,
        lease: LeaseId,
        usage: Usage,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let terms = self.terms_for(state, &usage, at)?;
        let question = Question { state, usage, intent: Intent::Settle(lease), at };
        self.answer(&question, &terms, &|usage, _, decision| state.settle(at, lease, usage, decision))
    }

    pub(crate) fn check(
        &self,
        state: &CustomerState,
        request: &UsageRequest,
        at: Timestamp,
    ) -> Result<Reply, Stop> {
        let usage = self.usage(state, request, at)?;
        let draft = match self.switched_off(state, &usage, Intent::Charge, at)? {
            Some(refusal) => refusal,
            None => self.charge(state, usage, at)?,
        };
        let outcome =
            |rated: Option<Rated>, credit: CreditType, decision: Option<DecisionRecord>| CheckOutcome {
                cost: rated.as_ref().map(|rated| rated.cost),
                lines: rated.map(|rated| rated.lines).unwrap_or_default(),
                degraded: decision.as_ref().is_some_and(DecisionRecord::is_degraded),
                policy: decision.map(|decision| decision.policy),
                ..CheckOutcome::unrated(state, &request.feature, credit, at)
            };
        let outcome = match draft.event {
            Event::Charged(charged) => CheckOutcome {
                late: charged.late,
                ..outcome(Some(charged.rated.clone()), charged.rated.credit, Some(charged.decision))
            },
            Event::Refused(refused) => CheckOutcome {
                allowed: false,
                reason: refused.code,
                by_policy: refused.by_policy,
                detail: refused.detail,
                offers: refused.offers,
                suggestions: refused.suggestions,
                retry_at: refused.retry_at,
                over_budget: refused.over_budget,
                pending_top_up: refused.pending_top_up,
                late: refused.late,
                ..outcome(refused.rated, refused.credit, refused.decision)
            },
            _ => return Err(DecideError::Internal("a check that is no charge".to_owned()).into()),
        };
        Ok(Reply::Check(Box::new(outcome)))
    }

    /// What a charge would come to, by the same decision, but without asking shadows. It changes nothing.
    pub(crate) fn would_charge(
        &self,
        state: &CustomerState,
        usage: Usage,
        terms: &Arc<Terms>,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let question = Question { state, usage, intent: Intent::Charge, at };
        let make: Make<'_> = &|usage, _, decision| state.charge(at, usage, decision);
        self.answer_beside(&question, terms, &Shadows::default(), make)
    }

    /// The refusal of a usage of a feature that the customer's plan, or an override, switches off. No policy is asked.
    pub(crate) fn switched_off(
        &self,
        state: &CustomerState,
        usage: &Usage,
        intent: Intent,
        at: Timestamp,
    ) -> Result<Option<Draft>, Stop> {
        let (source, Some(Entitlement::Boolean { value: false })) =
            self.entitlement(state, &usage.feature, at)
        else {
            return Ok(None);
        };
        state.require_open()?;
        let by = match source {
            Source::Override => "override",
            Source::AddOn => "add-on",
            Source::Plan | Source::None => "plan",
        };
        let detail = format!("{} is switched off for this customer by its {by}", usage.feature);
        let terms = self.terms_for(state, usage, at).ok();
        let credit = credit_of(state, terms.as_deref(), usage);
        let refusal = Refusal::by_ledger("not_entitled", detail);
        let mut refused = state.refuse(at, intent, usage.clone(), credit, refusal, None);
        refused.source = Some(source);
        Ok(Some(state.refused(refused)))
    }

    fn answer(&self, question: &Question<'_>, terms: &Arc<Terms>, make: Make<'_>) -> Result<Draft, Stop> {
        let shadows = self.shadows(question, terms)?;
        self.answer_beside(question, terms, &shadows, make)
    }

    fn answer_beside(
        &self,
        question: &Question<'_>,
        terms: &Arc<Terms>,
        shadows: &Shadows,
        make: Make<'_>,
    ) -> Result<Draft, Stop> {
        let failure = match self.attempt(question, terms, None, shadows, make)? {
            Attempt::Draft(draft) => return Ok(*draft),
            Attempt::Failed(failure) => failure,
        };
        let Failure { code, detail, fuel, log } = failure;
        let fault = fault_record(terms, code, detail);
        let time = question.state.time_of(&question.usage).min(question.at);
        let plan = question.state.plan_at(time);
        if let Some(other) = self.fallback(question.state, plan, terms, time)
            && let Attempt::Draft(draft) = self.attempt(question, &other, Some(&fault), shadows, make)?
        {
            return Ok(*draft);
        }
        let refusal =
            Refusal::by_ledger("policy_fault", format!("the policy in force failed: {}", fault.code));
        let record =
            DecisionRecord { fault: Some(fault), ..record(terms, fuel, log, shadows.records.clone()) };
        Ok(question.refuse(terms, refusal, record))
    }

    fn attempt(
        &self,
        question: &Question<'_>,
        terms: &Arc<Terms>,
        fault: Option<&FaultRecord>,
        shadows: &Shadows,
        make: Make<'_>,
    ) -> Result<Attempt, Stop> {
        let policy = match self.policy(terms)? {
            Ok(policy) => policy,
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        let record = |fuel, log| DecisionRecord {
            fault: fault.cloned(),
            ..record(terms, fuel, log, shadows.records.clone())
        };
        let rates = match question.ask(&*policy, terms, &question.usage)? {
            Ok(Ok(rates)) => rates,
            Ok(Err((refusal, fuel, log))) => {
                return Ok(Attempt::Draft(Box::new(question.refuse(terms, refusal, record(fuel, log)))));
            }
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        let (usage, reduced_from, rates) = match question.reduce(&*policy, terms, rates)? {
            Ok(reduced) => reduced,
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        let Rates { rating, unrated, overage, fuel, log } = rates;
        let usage = question.counted(usage, unrated.as_ref())?;
        let mut counters: Vec<(Counter, Option<Zone>)> = terms
            .prepared
            .counters
            .iter()
            .map(|counter| (counter.clone(), terms.time_zone.clone()))
            .collect();
        counters.extend_from_slice(&shadows.counters);
        let decision = Decision {
            record: record(fuel, log.clone()),
            rating,
            overage: overage.clone(),
            counters,
            settle_from: terms.prepared.settle_overage_from,
            unrated,
        };
        match make(usage, reduced_from, decision) {
            Ok(draft) => Ok(Attempt::Draft(Box::new(draft))),
            Err(Denied::Refused(mut refused)) => {
                if let Some(Overage::Reduce(quantities)) = overage {
                    refused.suggestions.push(Suggestion {
                        detail: "a smaller amount would be allowed".to_owned(),
                        attributes: Vec::new(),
                        quantities,
                    });
                }
                Ok(Attempt::Draft(Box::new(question.state.refused(*refused))))
            }
            Err(Denied::Rejected(rejection)) => Err(rejection.into()),
            Err(Denied::InvalidDecision(detail)) => {
                Ok(Attempt::Failed(Failure { code: "invalid_output", detail, fuel, log }))
            }
        }
    }

    /// Runs what a canary is to replace, and the shadows in force: what they would cost, and the counters they need from now on.
    fn shadows(&self, question: &Question<'_>, decides: &Terms) -> Result<Shadows, Stop> {
        let Question { state, usage, at, .. } = question;
        let mut shadows = Shadows::default();
        let plan_terms = self.plan_terms(state.plan());
        // Its counters go on, so that it can take over again at any time.
        let replaced = self.replaced(state, decides, state.time_of(usage).min(*at));
        let in_force = terms::shadows(&state.terms, *at).chain(terms::shadows(plan_terms, *at));
        let in_force = in_force.filter(|terms| terms.key != decides.key).take(MOST_SHADOWS);
        for terms in replaced.iter().chain(in_force) {
            let asked = question.asked(usage);
            let view = state.usage_view(terms, asked, *at);
            let context = state.usage_context(terms, asked, *at, Detail::Rate);
            let rated = match self.policy(terms)? {
                Ok(policy) => policy.rate(&view, &context, &terms.prepared.form),
                Err(failure) => Err(failure),
            };
            shadows.records.push(match rated {
                Ok(decided) => match decided.value {
                    Ok(rating) => shadow(terms, Ok(rating.cost), decided.fuel),
                    Err(refusal) => shadow(terms, Err(refusal.code), decided.fuel),
                },
                Err(failure) => failed_shadow(terms, &failure),
            });
            let counters = terms.prepared.counters.iter();
            shadows.counters.extend(counters.map(|counter| (counter.clone(), terms.time_zone.clone())));
        }
        Ok(shadows)
    }
}

/// A refusal with the fuel that it took and what was logged.
type Refused = (Refusal, u64, Vec<String>);

impl Question<'_> {
    fn asked<'u>(&self, usage: &'u Usage) -> Asked<'u> {
        let (purpose, commits) = match self.intent {
            Intent::Charge => (Purpose::Charge, None),
            Intent::Reserve => (Purpose::Reserve, None),
            Intent::Commit(id) => (Purpose::Commit, Some(id)),
            Intent::Settle(lease) => {
                let own = self.state.lease_for(lease, &usage.feature);
                (Purpose::Commit, own.map(|_| lease.hold()))
            }
        };
        Asked { usage, commits, purpose }
    }

    /// What the policy says of a usage: `rate`, and `overage` when credits run short.
    fn ask(
        &self,
        policy: &dyn Policy,
        terms: &Terms,
        usage: &Usage,
    ) -> Result<Result<Result<Rates, Refused>, Failure>, Stop> {
        let (state, at, form) = (self.state, self.at, &terms.prepared.form);
        let asked = self.asked(usage);
        let view = state.usage_view(terms, asked, at);
        let context = state.usage_context(terms, asked, at, Detail::Rate);
        let rated: Answer<Result<Rating, Refusal>> = policy.rate(&view, &context, form);
        let (rating, unrated, mut fuel, mut log) = match rated {
            Ok(decided) => match (decided.value, self.intent) {
                (Ok(rating), _) => (rating, None, decided.fuel, decided.log),
                (Err(refusal), Intent::Commit(id)) => {
                    let Refusal { code, detail, kind, .. } = refusal;
                    let invalid = kind == RefusalKind::Invalid;
                    let reported = invalid.then(|| Box::new(usage.clone()));
                    let unrated = Unrated { code, detail, invalid, reported };
                    (self.as_reserved(id)?, Some(unrated), decided.fuel, decided.log)
                }
                (Err(refusal), _) => return Ok(Ok(Err((refusal, decided.fuel, decided.log)))),
            },
            Err(failure) => return Ok(Err(failure)),
        };
        let shortfall = self.shortfall(usage, &rating)?;
        let mut overage = None;
        if !shortfall.is_zero() {
            let context: Context = if terms.needs.balances {
                context
            } else {
                state.usage_context(terms, asked, at, Detail::Overage)
            };
            match policy.overage(&view, &rating, shortfall, &context, form) {
                Ok(decided) => {
                    fuel += decided.fuel;
                    log.extend(decided.log);
                    overage = Some(decided.value);
                }
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(Ok(Rates { rating, unrated, overage, fuel, log })))
    }

    /// What is billed and counted: of a commit whose report is invalid, what was reserved, since that is what it costs, too.
    fn counted(&self, usage: Usage, unrated: Option<&Unrated>) -> Result<Usage, Stop> {
        match (self.intent, unrated) {
            (Intent::Commit(id), Some(Unrated { invalid: true, .. })) => {
                let (_, usage, _) = self.state.reserved_usage(id)?;
                Ok(usage.clone())
            }
            _ => Ok(usage),
        }
    }

    /// A commit reports work that was done, so it always bills: what the reservation holds where the policy denies the usage, or
    /// has no price for it. The entry says so, and a refund corrects what was reported wrongly.
    fn as_reserved(&self, id: ReservationId) -> Result<Rating, Stop> {
        let reservation = self.state.open_reservation(id)?;
        let cost = reservation.held();
        let line = Line {
            label: "as reserved".to_owned(),
            quantity: Quantity::ONE,
            unit_cost: Price::new(cost.decimal()),
            cost,
        };
        let credit = reservation.credit.clone();
        Ok(Rating { credit, cost, lines: vec![line], draw_order: Vec::new() })
    }

    /// Where the policy allows a reservation of less, what that comes to.
    #[allow(clippy::type_complexity)] // The usage, what was asked for, and what was answered.
    fn reduce(
        &self,
        policy: &dyn Policy,
        terms: &Terms,
        rates: Rates,
    ) -> Result<Result<(Usage, Option<Shape>, Rates), Failure>, Stop> {
        let (Some(Overage::Reduce(quantities)), Intent::Reserve) = (&rates.overage, self.intent) else {
            return Ok(Ok((self.usage.clone(), None, rates)));
        };
        let more = quantities.iter().find(|(name, amount)| *amount > self.usage.quantity(name));
        if let Some((name, amount)) = more {
            let detail = format!("reduces {name} to {amount}, which is more than was asked for");
            return Ok(Err(Failure { code: "invalid_output", detail, fuel: rates.fuel, log: rates.log }));
        }
        let reduced = Usage { quantities: quantities.clone(), ..self.usage.clone() };
        match self.ask(policy, terms, &reduced)? {
            Ok(Ok(less)) => {
                let (fuel, mut log) = (rates.fuel + less.fuel, rates.log);
                log.extend(less.log.clone());
                let shape = Shape(self.usage.quantities.clone());
                Ok(Ok((reduced, Some(shape), Rates { fuel, log, ..less })))
            }
            Ok(Err((refusal, fuel, log))) => {
                let detail = format!("the reduced usage is refused: {}", refusal.code);
                Ok(Err(Failure { code: "invalid_output", detail, fuel: rates.fuel + fuel, log }))
            }
            Err(failure) => Ok(Err(Failure { fuel: rates.fuel + failure.fuel, ..failure })),
        }
    }

    fn shortfall(&self, usage: &Usage, rating: &Rating) -> Result<Credits, Stop> {
        Ok(match self.intent {
            Intent::Commit(id) => self.state.commit_shortfall(id, usage, rating.cost, self.at)?,
            Intent::Settle(lease) => self.state.settlement_shortfall(lease, usage, rating, self.at),
            Intent::Charge | Intent::Reserve => {
                self.state.charge_shortfall(usage, &rating.credit, rating.cost, self.at)
            }
        })
    }

    /// The entry of a refusal that names no cost.
    fn refuse(&self, terms: &Terms, refusal: Refusal, record: DecisionRecord) -> Draft {
        let state = self.state;
        let credit = match self.intent {
            Intent::Commit(id) => state.reservations.get(&id).map(|reservation| reservation.credit.clone()),
            Intent::Charge | Intent::Reserve | Intent::Settle(_) => None,
        };
        let credit = credit.unwrap_or_else(|| credit_of(state, Some(terms), &self.usage));
        let refused = state.refuse(self.at, self.intent, self.usage.clone(), credit, refusal, Some(record));
        state.refused(refused)
    }
}

/// The credit type that a usage without a price would draw: what the terms say of its feature, or else the customer's main one.
fn credit_of(state: &CustomerState, terms: Option<&Terms>, usage: &Usage) -> CreditType {
    let named = terms.and_then(|terms| terms.prepared.credit_of(&usage.feature).cloned());
    named.unwrap_or_else(|| if state.accounts.is_empty() { default_credit() } else { state.main_credit() })
}
