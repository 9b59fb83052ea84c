//! Plans and the terms that are bound to them.

use crate::{
    catalog::{Catalog, Plan},
    changes::{Changed, json},
    engine::Engine,
    error::EngineError,
    plan_terms::{PlanTermsChange, add_terms, end_in_force, put_in_force},
    shared::Shared,
    terms::TermsInput,
};
use proviso_decide::{
    DecideError,
    catalog::Plans as _,
    change::Change,
    command::Idempotency,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    model::{
        entitlement::Entitlement,
        ids::{Key, Name, TermsId},
        period::Interval,
        plan_grant::{PlanGrant, PlanTrial, TrialEnd},
        terms::{self, Terms},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_store::{CatalogChange, PlanRow, PlanTermsRow, PlanVersionRow};
use std::{collections::BTreeMap, sync::Arc};

/// A change of a plan, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanChange {
    /// For people; cleared, it is the plan's own name.
    pub name: Change<String>,
    /// How long its periods are. Fixed once the plan exists.
    pub interval: Change<Interval>,
    /// What its customers are entitled to.
    pub entitlements: Change<BTreeMap<Key, Entitlement>>,
    /// What it gives its customers, whatever its policy does.
    pub grants: Change<Vec<PlanGrant>>,
    /// Its trial.
    pub trial: Change<PlanTrial>,
    /// The terms that shall be in force; cleared, those in force end.
    pub terms: Change<PlanTermsChange>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl PlanChange {
    /// The change that replaces everything; without terms, those in force stay.
    #[must_use]
    pub fn replacing(
        name: String,
        interval: Option<Interval>,
        entitlements: BTreeMap<Key, Entitlement>,
        terms: Option<TermsInput>,
    ) -> Self {
        Self {
            name: Change::Set(name),
            interval: interval.map_or(Change::Clear, Change::Set),
            entitlements: Change::Set(entitlements),
            terms: terms.map_or(Change::Keep, |terms| Change::Set(terms.into())),
            ..Self::default()
        }
    }
}

/// The tag of a plan: the plan, its terms in force and its shadows.
///
/// # Errors
/// A plan that can't be written as JSON.
pub fn plan_tag(catalog: &Catalog, plan: &Plan, now: Timestamp) -> Result<Tag, EngineError> {
    let all = catalog.terms_of(&plan.plan);
    let in_force: Option<&Terms> = terms::in_force(all, now).map(|terms| &**terms);
    let shadows: Vec<&Terms> = terms::shadows(all, now).map(|terms| &**terms).collect();
    Ok(Tag::of(&(plan, in_force, shadows))?)
}

impl Engine {
    /// Creates or changes a plan. Returns it and whether it is new.
    ///
    /// # Errors
    /// An interval that would change; a trial that ends in no other plan; another plan than the one that was expected; those of [`Engine::prepare_terms`].
    pub async fn put_plan(&self, plan: Name, change: PlanChange) -> Result<(Arc<Plan>, bool), EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.put_plan(plan, change).await }).await
    }

    /// Binds terms to a plan: they decide for all its customers from the next decision on, or from when they say.
    ///
    /// # Errors
    /// An unknown plan, or another than was expected; an end that is not after the start; those of [`Engine::prepare_terms`].
    pub async fn bind_plan_terms(
        &self,
        plan: Name,
        input: TermsInput,
        expected: Expected,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        let shared = self.shared.clone();
        let bind = async move { shared.bind_plan_terms(plan, input, expected, idempotency.as_ref()).await };
        self.changes.run(bind).await
    }

    /// Gives a plan's terms an end; `None` means now.
    ///
    /// # Errors
    /// Unknown terms; terms that ended before; an end in the past.
    pub async fn end_plan_terms(
        &self,
        plan: Name,
        id: TermsId,
        ends_at: Option<Timestamp>,
        expected: Expected,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        let shared = self.shared.clone();
        self.changes
            .run(
                async move { shared.end_plan_terms(plan, id, ends_at, expected, idempotency.as_ref()).await },
            )
            .await
    }
}

impl Shared {
    async fn put_plan(&self, plan: Name, change: PlanChange) -> Result<(Arc<Plan>, bool), EngineError> {
        let prepared = match &change.terms {
            Change::Set(terms) => Some((terms, self.prepare_terms(terms.input.clone()).await?)),
            Change::Keep | Change::Clear => None,
        };
        self.change(|catalog, now| {
            let before = catalog.plans.get(&plan);
            let tag = || before.map(|before| plan_tag(catalog, before, now)).transpose();
            change.expected.check_with(tag)?;
            let (mut changes, after) = plan_rows(catalog, &plan, &change, now, |_| false)?;
            changes.extend(match (&change.terms, &prepared) {
                (_, Some((terms, prepared))) => put_in_force(catalog, &plan, terms, prepared, now)?,
                (Change::Clear, None) => end_in_force(catalog, &plan, now)?,
                _ => Vec::new(),
            });
            Ok((changes, (after, before.is_none())))
        })
        .await
    }

    async fn bind_plan_terms(
        &self,
        plan: Name,
        input: TermsInput,
        expected: Expected,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        // A repeat is answered even if what it named can't be prepared any more.
        if let Some(idempotency) = idempotency
            && let Some(value) = self.answered_change(idempotency).await?
        {
            return Ok(Changed { value, replayed: true });
        }
        let prepared = self.prepare_terms(input).await?;
        self.change_once(idempotency, |catalog, now| {
            let found = catalog.plans.get(&plan).ok_or_else(|| DecideError::PlanNotFound(plan.clone()))?;
            expected.check_with(|| plan_tag(catalog, found, now).map(Some))?;
            let (change, terms) = add_terms(catalog, &plan, prepared.clone(), now)?;
            Ok((vec![change], terms))
        })
        .await
    }

    async fn end_plan_terms(
        &self,
        plan: Name,
        id: TermsId,
        ends_at: Option<Timestamp>,
        expected: Expected,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        self.change_once(idempotency, |catalog, now| {
            let terms = catalog.terms_of(&plan).iter().find(|terms| terms.key.id == id);
            let mut terms = (**terms.ok_or(EngineError::TermsNotFound)?).clone();
            expected.check(|| Tag::of(&terms).map(Some))?;
            let end = ends_at.unwrap_or(now);
            match terms.ends_at {
                Some(ended) if ended <= now => return Err(Rejection::TermsEnded(ended).into()),
                _ if end < now => return Err(Rejection::NotLater("ends_at", now).into()),
                _ => terms.ends_at = Some(end),
            }
            let row = PlanTermsRow { plan: plan.clone(), number: id.entry, body: json(&terms)? };
            Ok((vec![CatalogChange::SetPlanTerms(row)], Arc::new(terms)))
        })
        .await
    }
}

/// The rows that a change of a plan writes, terms apart, and the plan after it. `may_come` knows plans that are made together with it.
///
/// # Errors
/// An interval that would change; a trial that ends in no other plan.
pub(crate) fn plan_rows(
    catalog: &Catalog,
    plan: &Name,
    change: &PlanChange,
    now: Timestamp,
    may_come: impl Fn(&Name) -> bool,
) -> Result<(Vec<CatalogChange>, Arc<Plan>), EngineError> {
    let before = catalog.plans.get(plan);
    let interval = change.interval.apply(before.and_then(|before| before.interval));
    if before.is_some_and(|before| before.interval != interval) {
        return Err(EngineError::PlanIntervalFixed);
    }
    let (name, entitlements) = (change.name.clone(), change.entitlements.clone());
    let grants = change.grants.clone().apply(before.map(|before| before.grants.clone()));
    let trial = change.trial.clone().apply(before.and_then(|before| before.trial.clone()));
    if let Some(PlanTrial { then: TrialEnd::Plan(next), .. }) = &trial {
        if next == plan {
            return Err(EngineError::TrialOfItself);
        }
        if !catalog.plans.contains_key(next) && !may_come(next) {
            return Err(DecideError::PlanNotFound(next.clone()).into());
        }
    }
    let mut after = Plan {
        version: before.map_or(1, |before| before.version),
        version_created_at: before.map_or(now, |before| before.version_created_at),
        plan: plan.clone(),
        name: name.apply(before.map(|before| before.name.clone())).unwrap_or_else(|| plan.to_string()),
        interval,
        entitlements: entitlements
            .apply(before.map(|before| before.entitlements.clone()))
            .unwrap_or_default(),
        grants: grants.unwrap_or_default(),
        trial,
        created_at: before.map_or(now, |before| before.created_at),
    };
    let mut changes = Vec::new();
    // Customers keep what they were sold: what is sold from now on is another version.
    let is_new_version = before.is_none_or(|before| !before.sells_same(&after));
    if is_new_version && before.is_some() {
        after.version = after.version.saturating_add(1);
        // Versions follow each other in time, also on hosts whose clocks differ.
        after.version_created_at = now.max(after.version_created_at);
    }
    if before.is_none_or(|before| **before != after) {
        changes.push(CatalogChange::PutPlan(PlanRow { plan: plan.clone(), body: json(&after)? }));
    }
    if is_new_version {
        let (version, body) = (after.version, json(&after)?);
        let row = PlanVersionRow { plan: plan.clone(), version, body };
        changes.push(CatalogChange::AddPlanVersion(row));
    }
    Ok((changes, Arc::new(after)))
}
