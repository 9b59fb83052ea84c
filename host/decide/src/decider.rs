//! What a request is decided with: plans, policies and the time; and what every decision needs of them.

use crate::{
    DecideError, Journal,
    catalog::{Plan, Plans},
    policy::Policies,
    request::UsageRequest,
};
use proviso_ledger::{
    journal::{CloseReason, Entry},
    model::{
        ids::{Digest, Name},
        terms::{self, OnFault, Owner, Terms, TermsKey},
        time::Timestamp,
        usage::Usage,
    },
    rules::{due::Due, grants::GrantTerms, rejection::Denied},
    state::CustomerState,
};
use std::sync::Arc;

/// How far ahead of the host's clock a usage may lie: 5 minutes, in microseconds.
pub const AHEAD: i64 = 300 * Timestamp::SECOND;

/// What a request needs to be decided.
pub struct Decider<'a> {
    /// The plans and their terms, as of the instant of the decision.
    pub plans: &'a dyn Plans,
    /// The policies.
    pub policies: Policies<'a>,
    /// The host's clock.
    pub now: Timestamp,
    /// How old a usage may be, in microseconds; at most [`proviso_ledger::state::LATE_WINDOW`].
    pub late_window: i64,
    /// The most entries for what is due that one call writes.
    pub most_due: usize,
}

/// Why a request is not decided yet, or at all.
#[derive(Debug)]
pub enum Stop {
    /// This module must be loaded first.
    Need(Digest),
    /// More is due than one call writes: commit what it wrote, let others go first, and decide again.
    Unfinished,
    /// It can't be carried out.
    Error(DecideError),
    /// The state was left in pieces by a defect: drop it.
    Defect(DecideError),
}

impl<E: Into<DecideError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Whether a question can be answered at `now` from the state as it is: nothing is due that would have to be written first.
#[must_use]
pub fn is_current(state: &CustomerState, now: Timestamp) -> bool {
    let exists = state.profile.is_some() && state.missed.is_empty();
    exists && state.next_due().is_none_or(|(due_at, _)| due_at > now.max(state.at))
}

impl Decider<'_> {
    /// See [`is_current`].
    #[must_use]
    pub fn is_current(&self, state: &CustomerState) -> bool {
        is_current(state, self.now)
    }

    /// Writes all that is due by now, each at its own instant.
    pub(crate) fn catch_up(&self, state: &mut CustomerState, journal: &mut Journal) -> Result<(), Stop> {
        while let Some((due_at, due)) = state.next_due() {
            if due_at > self.now.max(state.at) {
                break;
            }
            if journal.written.len() >= self.most_due {
                return Err(Stop::Unfinished);
            }
            self.carry_out(state, due_at, due, journal)?;
        }
        self.make_good(state, journal)
    }

    /// Writes one thing that is due.
    pub(crate) fn carry_out(
        &self,
        state: &mut CustomerState,
        due_at: Timestamp,
        due: Due,
        journal: &mut Journal,
    ) -> Result<Arc<Entry>, Stop> {
        let at = due_at.max(state.at);
        let draft = match due {
            Due::ReservationExpiry(id) => state.expire_reservation(id)?,
            Due::GrantExpiry => state.expire_grants(at),
            Due::PeriodEnd => self.close_period(state, at, CloseReason::Scheduled)?,
            Due::PlanChange => self.due_plan_change(state, at)?,
            Due::PeriodStart(reason, allowance) => self.open_period(state, at, reason, allowance)?,
            Due::AddOn => self.due_add_on(state, at)?,
            Due::TopUp(_) => self.due_top_up(state, at)?,
        };
        let entry = journal.seal(state, at, draft)?;
        if matches!(due, Due::ReservationExpiry(_))
            && let Some(draft) = self.settle_after_closing(state, at)?
        {
            journal.seal(state, at, draft)?;
        }
        Ok(entry)
    }

    /// The usage with its time checked or set.
    pub(crate) fn usage(
        &self,
        state: &CustomerState,
        request: &UsageRequest,
        at: Timestamp,
    ) -> Result<Usage, Stop> {
        let occurred_at = match request.occurred_at {
            None => at,
            Some(time) if time.0.saturating_sub(AHEAD) > at.0 => {
                return Err(DecideError::OccurredInFuture(at).into());
            }
            Some(time) if time.0 < at.0.saturating_sub(self.late_window) => {
                return Err(DecideError::OccurredTooOld(at.plus_micros(-self.late_window)).into());
            }
            Some(time) => time,
        };
        Ok(Usage {
            feature: request.feature.clone(),
            quantities: request.quantities.clone(),
            attributes: request.attributes.clone(),
            ancestors: request.entity.as_ref().map(|id| state.entities.ancestors(id)).unwrap_or_default(),
            entity: request.entity.clone(),
            occurred_at,
        })
    }

    /// The plan of that name, in a version or else the newest.
    pub(crate) fn known_plan(&self, plan: &Name, version: Option<u32>) -> Result<&Plan, Stop> {
        let newest = self.plans.plan(plan).ok_or_else(|| DecideError::PlanNotFound(plan.clone()))?;
        let Some(version) = version else { return Ok(newest) };
        let found = self.plans.plan_version(plan, version);
        found.ok_or_else(|| DecideError::PlanVersionNotFound(plan.clone(), version).into())
    }

    /// The customer's plan in the version that it was sold.
    pub(crate) fn sold_to(&self, state: &CustomerState) -> Option<&Plan> {
        let plan = state.plan()?;
        // One that is not known yet is newer than all that are.
        let sold = state.plan_version().and_then(|version| self.plans.plan_version(plan, version));
        sold.or_else(|| self.plans.plan(plan))
    }

    /// The terms in force at `at` of a customer on `plan`: its own win over the plan's.
    pub(crate) fn terms_at(
        &self,
        state: &CustomerState,
        plan: Option<&Name>,
        at: Timestamp,
    ) -> Option<Arc<Terms>> {
        self.terms_known(state, plan, at, at)
    }

    /// As [`terms_at`](Self::terms_at), by what is known at `known_at`: a canary that was rolled back by then decides no more, whatever
    /// time a decision is about.
    pub(crate) fn terms_known(
        &self,
        state: &CustomerState,
        plan: Option<&Name>,
        at: Timestamp,
        known_at: Timestamp,
    ) -> Option<Arc<Terms>> {
        let own = terms::in_force(&state.terms, at);
        let of_plan = || terms::in_force_for(self.plan_terms(plan), &state.customer, at, known_at);
        own.or_else(of_plan).cloned()
    }

    /// What would decide at `at` in the place of terms that are a canary then: it is asked beside them.
    pub(crate) fn replaced(&self, state: &CustomerState, terms: &Terms, at: Timestamp) -> Option<Arc<Terms>> {
        match &terms.key.owner {
            Owner::Plan(plan) if !terms.is_for_all(at) => {
                terms::without(self.plans.terms_of(plan), &terms.key, &state.customer, at).cloned()
            }
            _ => None,
        }
    }

    /// The terms that decide about a usage: those in force when it occurred, or else those of now.
    pub(crate) fn terms_for(
        &self,
        state: &CustomerState,
        usage: &Usage,
        at: Timestamp,
    ) -> Result<Arc<Terms>, Stop> {
        let time = state.time_of(usage).min(at);
        self.terms_known(state, state.plan_at(time), time, at)
            .or_else(|| self.terms_at(state, state.plan(), at))
            .ok_or_else(|| DecideError::NoTermsInForce.into())
    }

    pub(crate) fn plan_terms(&self, plan: Option<&Name>) -> &[Arc<Terms>] {
        plan.map_or(&[], |plan| self.plans.terms_of(plan))
    }

    pub(crate) fn terms_by_key(&self, state: &CustomerState, key: &TermsKey) -> Result<Arc<Terms>, Stop> {
        let all = match &key.owner {
            Owner::Customer => state.terms.as_slice(),
            Owner::Plan(plan) => self.plans.terms_of(plan),
        };
        let found = all.iter().find(|terms| terms.key == *key).cloned();
        found.ok_or_else(|| DecideError::TermsGone(key.clone()).into())
    }

    /// What decides when `terms` fail at `at` for a customer on `plan`.
    pub(crate) fn fallback(
        &self,
        state: &CustomerState,
        plan: Option<&Name>,
        terms: &Terms,
        at: Timestamp,
    ) -> Option<Arc<Terms>> {
        let of_plan = || {
            let in_force = terms::in_force_for(self.plan_terms(plan), &state.customer, at, at);
            in_force.filter(|other| other.key != terms.key).cloned()
        };
        let replaced = || self.replaced(state, terms, at);
        match (terms.on_fault, &terms.key.owner) {
            (OnFault::Deny, _) => None,
            // A canary's plan goes on with what the canary is to replace.
            (_, Owner::Plan(_)) if !terms.is_for_all(at) => replaced(),
            (OnFault::Plan, _) => of_plan(),
            (OnFault::LastGood, Owner::Customer) => {
                terms::before(&state.terms, terms).cloned().or_else(of_plan)
            }
            (OnFault::LastGood, Owner::Plan(plan)) => {
                terms::before(self.plans.terms_of(plan), terms).cloned()
            }
        }
    }

    pub(crate) fn grant_terms(&self, state: &CustomerState, at: Timestamp) -> GrantTerms {
        let terms = self.terms_at(state, state.plan(), at);
        terms.map_or_else(GrantTerms::default, |terms| GrantTerms {
            settle_from: terms.prepared.settle_overage_from,
            period_categories: terms.prepared.period_categories.clone(),
        })
    }
}

/// A denial where none is to be expected.
pub(crate) fn unexpected(denied: Denied) -> Stop {
    match denied {
        Denied::Rejected(rejection) => rejection.into(),
        Denied::InvalidDecision(detail) => DecideError::Internal(detail).into(),
        Denied::Refused(refused) => {
            DecideError::Internal(format!("unexpected refusal: {}", refused.code)).into()
        }
    }
}
