//! What is moved in from another system. A customer is created as it was there, and its running period goes on without asking a
//! policy: what that period gave comes as imported grants.

use crate::{
    DecideError, Decider, Journal, Stop,
    decider::AHEAD,
    profile::Steps,
    request::{CustomerChange, Reply, UsageRequest},
};
use proviso_ledger::{
    journal::{OpenReason, PaidElsewhere, Trial},
    model::{
        amounts::Credits, answers::Allowance, customer::Profile, grant::CreditType, ids::Key,
        plan_grant::Recurrence, time::Timestamp, usage::Usage,
    },
    rules::{
        importing::{ImportOrigin, ImportedGrant, ImportedUsage},
        rejection::Rejection,
    },
    state::{CustomerState, Draft, Origin},
};
use std::sync::Arc;

/// A customer that another system had.
#[derive(Debug, Clone)]
pub struct CustomerImport {
    /// As it was there.
    pub change: CustomerChange,
    /// The version of its plan; none means the newest.
    pub plan_version: Option<u32>,
    /// Whether the plan begins its period as for a new customer, and gives what it gives; else what it had comes as grants.
    pub opens_period: bool,
    /// When the trial of its plan ends; none means that it has had it.
    pub trial_ends_at: Option<Timestamp>,
}

/// Something of a customer that another system had.
#[derive(Debug, Clone)]
pub struct Import {
    /// The import that it comes with, and its id there.
    pub origin: ImportOrigin,
    /// What.
    pub what: Imported,
}

/// What can be moved in.
#[derive(Debug, Clone)]
pub enum Imported {
    /// A grant with what it has left.
    Grant(Box<ImportedGrant>),
    /// Overage that is outstanding.
    Overage(CreditType, Credits),
    /// Usage that was billed there.
    Usage(Box<PastUsage>),
}

/// Usage that another system billed.
#[derive(Debug, Clone)]
pub struct PastUsage {
    /// What was used.
    pub usage: UsageRequest,
    /// Who stood above its entity then; none means those of now.
    pub ancestors: Option<Vec<Key>>,
    /// The credit type.
    pub credit: CreditType,
    /// What it cost.
    pub cost: Credits,
    /// What paid for it.
    pub paid: Vec<PaidElsewhere>,
    /// Whether it takes earlier usage back.
    pub refund: bool,
}

impl Decider<'_> {
    /// Creates a customer as another system had it. One that exists stays as it is.
    pub(crate) fn import_customer(
        &self,
        state: &mut CustomerState,
        import: &CustomerImport,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let mut profile = self.changed(state, &import.change, at)?;
        if let (Some(plan), Some(version)) = (profile.plan.clone(), import.plan_version) {
            let sold = self.known_plan(&plan, Some(version))?.sold();
            (profile.plan_version, profile.interval) = (Some(sold.version), sold.interval);
        }
        if let Some(before) = &state.profile {
            if *before != profile {
                return Err(DecideError::CustomerExists(state.customer.clone()).into());
            }
            return Ok(Reply::Configured { state: Arc::new(state.clone()), created: false });
        }
        let mut steps = Steps::new(state, at, origin, journal);
        if import.opens_period || profile.plan.is_none() {
            self.put_profile(&mut steps, profile, Allowance::Carry)?;
        } else {
            self.resume(&mut steps, profile, import.trial_ends_at, at)?;
        }
        steps.finish(state, journal)
    }

    /// Puts the profile in force and goes on with the period that ran elsewhere.
    fn resume(
        &self,
        steps: &mut Steps<'_>,
        profile: Profile,
        trial_ends_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<(), Stop> {
        let draft = steps.next.configure(at, profile)?;
        steps.step(draft)?;
        let next = steps.next.next_period(at, OpenReason::Started, Allowance::Carry);
        let next = next.ok_or(Rejection::NoPeriod)?;
        let plan = self.sold_to(&steps.next);
        let grants = plan.map(|plan| plan.grants.as_slice()).unwrap_or_default();
        // Whoever moves in was welcomed before.
        let once = grants.iter().filter(|grant| grant.recurrence == Recurrence::Once);
        let once = once.map(|grant| grant.key.clone()).collect();
        let trial = plan.filter(|plan| plan.trial.is_some()).map(|plan| {
            let ends_at = trial_ends_at.filter(|ends_at| *ends_at > at);
            let then = ends_at.and_then(|_| self.after_trial(plan, at));
            Trial { ends_at: ends_at.unwrap_or(at), then }
        });
        let draft = steps.next.resume_period(next, once, trial)?;
        steps.last(draft)
    }

    /// The draft of something that is moved in.
    pub(crate) fn import(
        &self,
        state: &CustomerState,
        import: &Import,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let origin = import.origin.clone();
        Ok(match &import.what {
            Imported::Grant(grant) => {
                state.import_grant(at, origin, (**grant).clone(), &self.grant_terms(state, at))?
            }
            Imported::Overage(credit, amount) => state.import_overage(origin, credit.clone(), *amount)?,
            Imported::Usage(past) => state.import_usage(origin, past_usage(state, past, at)?)?,
        })
    }
}

fn past_usage(state: &CustomerState, past: &PastUsage, at: Timestamp) -> Result<ImportedUsage, Stop> {
    let PastUsage { usage, ancestors, credit, cost, paid, refund } = past.clone();
    let occurred_at = usage.occurred_at.unwrap_or(at);
    if occurred_at.0.saturating_sub(AHEAD) > at.0 {
        return Err(DecideError::OccurredInFuture(at).into());
    }
    let of_now = || usage.entity.as_ref().map(|id| state.entities.ancestors(id)).unwrap_or_default();
    let ancestors = ancestors.unwrap_or_else(of_now);
    let usage = Usage {
        feature: usage.feature,
        quantities: usage.quantities,
        attributes: usage.attributes,
        entity: usage.entity,
        ancestors,
        occurred_at,
    };
    Ok(ImportedUsage { usage, credit, cost, paid, refund })
}
