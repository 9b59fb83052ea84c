//! A usage, rated by the policy in force: the fallback when it faults, the shadows beside it, the question about
//! overage when credits run short.

use super::{Decider, Stop};
use crate::{
    command::{CheckOutcome, Reply, UsageRequest},
    error::EngineError,
};
use proviso_ledger::{
    charge::Decision,
    context::View,
    credits::{Credits, Price, Quantity},
    decision::{Context, Counter, Line, Overage, Rating, Refusal, Usage},
    error::Denied,
    grant::CreditType,
    ids::{Key, ReservationId},
    journal::{DecisionRecord, Event, FaultRecord, Intent, Rated, ShadowRecord},
    state::{CustomerState, Draft},
    terms::{self, OnFault, Owner, Terms, TermsKey},
    time::{Timestamp, Zone},
};
use proviso_policy::{Fault, Module};
use std::sync::Arc;
use tracing::warn;

/// The most shadows that run beside one decision.
const MOST_SHADOWS: usize = 4;

/// A usage on its way to a draft.
struct Question<'a> {
    state: &'a CustomerState,
    usage: Usage,
    zone: Zone,
    intent: Intent,
    at: Timestamp,
}

/// How an attempt by one policy ended.
enum Attempt {
    Draft(Box<Draft>),
    Faulted { code: &'static str, detail: String, fuel: u64, log: Vec<String> },
}

impl Decider<'_> {
    pub(super) fn charge(&self, state: &CustomerState, usage: Usage, at: Timestamp) -> Result<Draft, Stop> {
        let terms = self.terms_in_force(state, at)?;
        let question = Question::new(state, usage, Intent::Charge, at);
        self.answer(&question, &terms, &|usage, decision| state.charge(at, usage, decision))
    }

    pub(super) fn reserve(
        &self,
        state: &CustomerState,
        usage: Usage,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Draft, Stop> {
        let terms = self.terms_in_force(state, at)?;
        let question = Question::new(state, usage, Intent::Reserve, at);
        self.answer(&question, &terms, &|usage, decision| state.reserve(at, usage, decision, expires_at))
    }

    /// A commit is rated by the terms that rated the reservation, whatever is in force now.
    pub(super) fn commit(
        &self,
        state: &CustomerState,
        id: ReservationId,
        usage: Usage,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let terms = self.terms_by_key(state, &state.open_reservation(id)?.terms)?;
        let question = Question::new(state, usage, Intent::Commit(id), at);
        self.answer(&question, &terms, &|usage, decision| state.commit(at, id, usage, decision))
    }

    pub(super) fn check(
        &self,
        state: &CustomerState,
        request: &UsageRequest,
        at: Timestamp,
    ) -> Result<Reply, Stop> {
        let usage = self.usage(state, request, at)?;
        let draft = self.charge(state, usage, at)?;
        let next_reset_at = state.next_reset_at();
        let outcome = |rated: Option<Rated>, decision: Option<DecisionRecord>| {
            let credit = rated.as_ref().map_or_else(|| state.main_credit(), |rated| rated.credit.clone());
            CheckOutcome {
                allowed: true,
                reason: "ok".to_owned(),
                detail: String::new(),
                cost: rated.as_ref().map(|rated| rated.cost),
                lines: rated.map(|rated| rated.lines).unwrap_or_default(),
                offers: Vec::new(),
                retry_at: None,
                balance: state.balance(&credit, at),
                credit,
                next_reset_at,
                degraded: decision.as_ref().is_some_and(|decision| decision.fault.is_some()),
                policy: decision.map(|decision| decision.policy),
            }
        };
        let outcome = match draft.event {
            Event::Charged(charged) => outcome(Some(charged.rated), Some(charged.decision)),
            Event::Refused(refused) => CheckOutcome {
                allowed: false,
                reason: refused.code,
                detail: refused.detail,
                offers: refused.offers,
                retry_at: refused.retry_at,
                ..outcome(refused.rated, refused.decision)
            },
            _ => return Err(EngineError::Internal("a check that is no charge".to_owned()).into()),
        };
        Ok(Reply::Check(Box::new(outcome)))
    }

    /// Whether a usage of `feature` may go on when all its credits are used: none when it may, else the code of the
    /// refusal. It is what `overage` says to the smallest cost there is.
    pub(crate) fn beyond_credits(
        &self,
        state: &CustomerState,
        feature: &Key,
        credit: &CreditType,
        at: Timestamp,
    ) -> Result<Option<String>, Stop> {
        let terms = self.terms_in_force(state, at)?;
        let usage = Usage {
            feature: feature.clone(),
            quantities: Vec::new(),
            attributes: Vec::new(),
            entity: None,
            occurred_at: at,
        };
        let cost = Credits(1);
        let line =
            Line { label: feature.to_string(), quantity: Quantity::ZERO, unit_cost: Price::ZERO, cost };
        let rating = Rating { credit: credit.clone(), cost, lines: vec![line], draw_order: Vec::new() };
        let context = state.context(&terms, Some(&usage), at, View::Overage);
        let (zone, form) = (state.zone(), &terms.prepared.form);
        let decided = self.module(&terms)?.overage(&usage, &rating, cost, &context, &zone, form);
        let outstanding = state.accounts.get(credit).map_or(0, |account| account.overage.0);
        Ok(match decided.map(|decided| decided.value) {
            Ok(Overage::TopUp(_)) => None,
            Ok(Overage::Allow(limit)) if outstanding < limit.0 => None,
            Ok(Overage::Allow(_)) => Some("insufficient_credits".to_owned()),
            Ok(Overage::RequirePurchase(_)) => Some("purchase_required".to_owned()),
            Ok(Overage::Deny(refusal)) => Some(refusal.code),
            Err(_) => Some("policy_fault".to_owned()),
        })
    }

    /// The customer's terms win over the plan's.
    pub(super) fn terms_in_force(&self, state: &CustomerState, at: Timestamp) -> Result<Arc<Terms>, Stop> {
        let own = terms::in_force(&state.terms, at);
        let terms = own.or_else(|| terms::in_force(self.plan_terms(state), at));
        terms.cloned().ok_or_else(|| EngineError::NoTermsInForce.into())
    }

    fn plan_terms(&self, state: &CustomerState) -> &[Arc<Terms>] {
        self.catalog.terms_of(state.profile.as_ref().and_then(|profile| profile.plan.as_ref()))
    }

    fn terms_by_key(&self, state: &CustomerState, key: &TermsKey) -> Result<Arc<Terms>, Stop> {
        let all = match &key.owner {
            Owner::Customer => state.terms.as_slice(),
            Owner::Plan(plan) => self.catalog.terms_of(Some(plan)),
        };
        let found = all.iter().find(|terms| terms.key == *key).cloned();
        found.ok_or_else(|| EngineError::Internal(format!("terms {key} are gone")).into())
    }

    /// What decides when `terms` fault.
    pub(super) fn fallback(&self, state: &CustomerState, terms: &Terms, at: Timestamp) -> Option<Arc<Terms>> {
        let of_plan =
            || terms::in_force(self.plan_terms(state), at).filter(|other| other.key != terms.key).cloned();
        match (terms.on_fault, &terms.key.owner) {
            (OnFault::Deny, _) => None,
            (OnFault::Plan, _) => of_plan(),
            (OnFault::LastGood, Owner::Customer) => {
                terms::before(&state.terms, terms).cloned().or_else(of_plan)
            }
            (OnFault::LastGood, Owner::Plan(plan)) => {
                terms::before(self.catalog.terms_of(Some(plan)), terms).cloned()
            }
        }
    }

    pub(super) fn module(&self, terms: &Terms) -> Result<Arc<Module>, Stop> {
        (self.modules)(&terms.policy.digest).ok_or(Stop::Need(terms.policy.digest))
    }

    fn answer(
        &self,
        question: &Question<'_>,
        terms: &Arc<Terms>,
        make: &dyn Fn(Usage, Decision) -> Result<Draft, Denied>,
    ) -> Result<Draft, Stop> {
        let (shadows, shadow_counters) = self.shadows(question)?;
        let attempt = self.attempt(question, terms, None, &shadows, &shadow_counters, make)?;
        let Attempt::Faulted { code, detail, fuel, log } = attempt else { return attempt.draft() };
        let fault = FaultRecord { terms: terms.key.clone(), code: code.to_owned(), detail };
        if let Some(other) = self.fallback(question.state, terms, question.at) {
            let attempt = self.attempt(question, &other, Some(&fault), &shadows, &shadow_counters, make)?;
            if let Attempt::Draft(draft) = attempt {
                return Ok(*draft);
            }
        }
        let refusal = Refusal {
            code: "policy_fault".to_owned(),
            detail: format!("the policy in force failed: {}", fault.code),
            retry_at: None,
        };
        let record = DecisionRecord { fault: Some(fault), ..record(terms, fuel, log, shadows) };
        let state = question.state;
        let refused =
            state.refuse(question.at, question.intent, question.usage.clone(), refusal, Some(record));
        Ok(state.refused(refused))
    }

    fn attempt(
        &self,
        question: &Question<'_>,
        terms: &Arc<Terms>,
        fault: Option<&FaultRecord>,
        shadows: &[ShadowRecord],
        shadow_counters: &[Counter],
        make: &dyn Fn(Usage, Decision) -> Result<Draft, Denied>,
    ) -> Result<Attempt, Stop> {
        let Question { state, usage, zone, intent, at } = question;
        let (module, form) = (self.module(terms)?, &terms.prepared.form);
        let context = state.context(terms, Some(usage), *at, View::Rate);
        let rated = match module.rate(usage, &context, zone, form) {
            Ok(rated) => rated,
            Err(fault) => return Ok(faulted(state, terms, fault)),
        };
        let mut record = DecisionRecord {
            fault: fault.cloned(),
            ..record(terms, rated.fuel, rated.log, shadows.to_vec())
        };
        let rating = match rated.value {
            Ok(rating) => rating,
            Err(refusal) => {
                let refused = state.refuse(*at, *intent, usage.clone(), refusal, Some(record));
                return Ok(Attempt::Draft(Box::new(state.refused(refused))));
            }
        };
        let shortfall = question.shortfall(&rating)?;
        let overage = if shortfall.is_zero() {
            None
        } else {
            let context = Context { balances: state.balances(*at), ..context };
            match module.overage(usage, &rating, shortfall, &context, zone, form) {
                Ok(decided) => {
                    record.fuel += decided.fuel;
                    record.log.extend(decided.log);
                    Some(decided.value)
                }
                Err(fault) => return Ok(faulted(state, terms, fault)),
            }
        };
        let (fuel, log) = (record.fuel, record.log.clone());
        let mut counters = terms.prepared.counters.clone();
        counters.extend_from_slice(shadow_counters);
        match make(usage.clone(), Decision { record, rating, overage, counters }) {
            Ok(draft) => Ok(Attempt::Draft(Box::new(draft))),
            Err(Denied::Refused(refused)) => Ok(Attempt::Draft(Box::new(state.refused(*refused)))),
            Err(Denied::Rejected(rejection)) => Err(rejection.into()),
            Err(Denied::InvalidDecision(detail)) => {
                warn!(customer = %state.customer, terms = %terms.key, detail, "a policy's decision breaks a rule of the ledger");
                Ok(Attempt::Faulted { code: "invalid_output", detail, fuel, log })
            }
        }
    }

    /// Runs the shadows in force: what they would cost, and the counters they need from now on.
    fn shadows(&self, question: &Question<'_>) -> Result<(Vec<ShadowRecord>, Vec<Counter>), Stop> {
        let Question { state, usage, zone, at, .. } = question;
        let (mut records, mut counters) = (Vec::new(), Vec::new());
        let in_force = terms::shadows(&state.terms, *at).chain(terms::shadows(self.plan_terms(state), *at));
        for terms in in_force.take(MOST_SHADOWS) {
            let context = state.context(terms, Some(usage), *at, View::Rate);
            let rated = self.module(terms)?.rate(usage, &context, zone, &terms.prepared.form);
            let (cost, code, fuel) = match rated {
                Ok(decided) => match decided.value {
                    Ok(rating) => (Some(rating.cost), None, decided.fuel),
                    Err(refusal) => (None, Some(refusal.code), decided.fuel),
                },
                Err(fault) => (None, Some(fault.code().to_owned()), fault.fuel),
            };
            records.push(ShadowRecord { terms: terms.key.clone(), cost, code, fuel });
            counters.extend(terms.prepared.counters.iter().cloned());
        }
        Ok((records, counters))
    }
}

impl<'a> Question<'a> {
    fn new(state: &'a CustomerState, usage: Usage, intent: Intent, at: Timestamp) -> Self {
        Self { state, usage, zone: state.zone(), intent, at }
    }

    fn shortfall(&self, rating: &Rating) -> Result<Credits, Stop> {
        Ok(match self.intent {
            Intent::Commit(id) => self.state.commit_shortfall(id, &self.usage, rating.cost, self.at)?,
            Intent::Charge | Intent::Reserve => {
                self.state.shortfall(&rating.credit, Some(&self.usage.feature), rating.cost, self.at)
            }
        })
    }
}

impl Attempt {
    fn draft(self) -> Result<Draft, Stop> {
        match self {
            Self::Draft(draft) => Ok(*draft),
            Self::Faulted { detail, .. } => Err(EngineError::Internal(detail).into()),
        }
    }
}

fn faulted(state: &CustomerState, terms: &Terms, fault: Fault) -> Attempt {
    warn!(customer = %state.customer, terms = %terms.key, code = fault.code(), %fault, "a policy faulted");
    Attempt::Faulted { code: fault.code(), detail: fault.to_string(), fuel: fault.fuel, log: fault.log }
}

pub(super) fn record(
    terms: &Terms,
    fuel: u64,
    log: Vec<String>,
    shadows: Vec<ShadowRecord>,
) -> DecisionRecord {
    DecisionRecord { terms: terms.key.clone(), policy: terms.policy.clone(), fuel, log, fault: None, shadows }
}
