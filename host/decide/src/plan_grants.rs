//! What a plan itself gives, whatever its policy does: grants with each period, grants for those who take the plan, and a trial.

use crate::{DecideError, Decider, Stop, catalog::Plan};
use proviso_ledger::{
    journal::{AfterTrial, OpenReason, Trial},
    model::{
        answers::{Allowance, NewGrant},
        customer::SoldPlan,
        plan_grant::{PlanGrant, PlanTrial, Recurrence, TrialEnd},
        time::{Timestamp, Zone},
        view::Expiry,
    },
    rules::opening::{Planned, PlannedGrant},
    state::CustomerState,
};

/// What a plan's grant gives at `at`; one of a trial expires at the trial's end.
fn planned_grant(
    own: &PlanGrant,
    at: Timestamp,
    zone: &Zone,
    allowance: Allowance,
    trial: Option<&Trial>,
) -> PlannedGrant {
    let expires = match (trial, own.expires) {
        (Some(trial), _) => Expiry { at: Some(trial.ends_at), with_period: None },
        (None, expires) => expires.of(at, zone),
    };
    let recurrence = if trial.is_some() { Recurrence::Trial } else { own.recurrence };
    let grant = NewGrant {
        credit: own.credit.clone(),
        amount: own.amount,
        category: own.category,
        priority: own.priority,
        effective_at: None,
        expires,
        features: own.features.clone(),
        cost_basis: own.cost_basis,
        allowance: if recurrence == Recurrence::Period { allowance } else { Allowance::Full },
    };
    PlannedGrant { key: own.key.clone(), recurrence, grant }
}

impl Decider<'_> {
    /// What the customer's plan itself gives with a period that begins at `at`.
    pub(crate) fn planned(
        &self,
        state: &CustomerState,
        at: Timestamp,
        reason: OpenReason,
        allowance: Allowance,
    ) -> Planned {
        let Some(plan) = self.sold_to(state) else { return Planned::default() };
        // A move to another version of the plan is no sale.
        let takes_plan = matches!(reason, OpenReason::Started | OpenReason::PlanChanged);
        let zone = state.zone();
        let due = |grant: &&PlanGrant| match grant.recurrence {
            Recurrence::Period => true,
            Recurrence::Once => takes_plan && !state.given_once.contains(&grant.key),
            Recurrence::Trial => false,
        };
        let own =
            plan.grants.iter().filter(due).map(|grant| planned_grant(grant, at, &zone, allowance, None));
        let mut planned = Planned { grants: own.collect(), trial: None };
        if takes_plan && let Some((trial, grants)) = self.trial(state, plan, at) {
            planned
                .grants
                .extend(grants.iter().map(|grant| planned_grant(grant, at, &zone, allowance, Some(&trial))));
            planned.trial = Some(trial);
        }
        planned
    }

    /// The trial of a plan that is taken at `at`, and what it gives: a customer has it once. One that was on other plans meanwhile
    /// goes on until the end that it was to have, without being given anything again.
    fn trial<'p>(
        &self,
        state: &CustomerState,
        plan: &'p Plan,
        at: Timestamp,
    ) -> Option<(Trial, &'p [PlanGrant])> {
        let PlanTrial { duration, grants, .. } = plan.trial.as_ref()?;
        let (ends_at, grants) = match state.trials.get(&plan.plan) {
            Some(ends_at) => (*ends_at, &[][..]),
            None => (duration.after(at, &state.zone())?, grants.as_slice()),
        };
        let then = self.after_trial(plan, at);
        (ends_at > at).then_some((Trial { ends_at, then }, grants))
    }

    /// What the end of a plan's trial brings that begins, or goes on, at `at`.
    pub(crate) fn after_trial(&self, plan: &Plan, at: Timestamp) -> Option<AfterTrial> {
        match &plan.trial.as_ref()?.then {
            TrialEnd::Stay => None,
            TrialEnd::End => Some(AfterTrial { plan: None, plan_version: None, interval: None }),
            TrialEnd::Plan(next) => {
                let sold = self.plans.plan_at(next, at).map(Plan::sold);
                let (plan_version, interval) =
                    sold.map_or((None, None), |sold| (Some(sold.version), sold.interval));
                Some(AfterTrial { plan: Some(next.clone()), plan_version, interval })
            }
        }
    }

    /// Refuses a plan whose trial the customer has had by `at`, where the trial's end moves it on: it would stay for ever on what is
    /// for a trial.
    pub(crate) fn require_trial(
        &self,
        state: &CustomerState,
        plan: Option<&SoldPlan>,
        at: Timestamp,
    ) -> Result<(), Stop> {
        let plan = plan.and_then(|sold| self.plans.plan_version(&sold.plan, sold.version));
        let Some(plan) = plan else { return Ok(()) };
        let moves_on = plan.trial.as_ref().is_some_and(|trial| trial.then != TrialEnd::Stay);
        match state.trials.get(&plan.plan) {
            Some(ended) if moves_on && *ended <= at => {
                Err(DecideError::TrialUsed(plan.plan.clone(), *ended).into())
            }
            _ => Ok(()),
        }
    }
}
