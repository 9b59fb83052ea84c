//! Plans and the terms that are bound to them.

use crate::{
    catalog::{Catalog, Plan},
    changes::{Changed, json},
    engine::Engine,
    error::EngineError,
    shared::Shared,
    terms::TermsInput,
};
use proviso_decide::{DecideError, catalog::Plans as _, command::Idempotency};
use proviso_ledger::{
    model::{
        entitlement::Entitlement,
        ids::{Key, TermsId},
        period::Interval,
        terms::{self, Owner, Terms, TermsDraft, TermsKey},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_store::{CatalogChange, PlanRow, PlanTermsRow};
use std::{collections::BTreeMap, sync::Arc};

/// A plan as a caller puts it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanChange {
    /// For people.
    pub name: String,
    /// How long its periods are.
    pub interval: Option<Interval>,
    /// What its customers are entitled to.
    pub entitlements: BTreeMap<Key, Entitlement>,
    /// Terms to bind now, unless the same are in force already.
    pub terms: Option<TermsInput>,
}

impl Engine {
    /// Creates or changes a plan. Returns it and whether it is new.
    ///
    /// # Errors
    /// An interval that would change; those of [`Engine::prepare_terms`].
    pub async fn put_plan(&self, plan: Key, change: PlanChange) -> Result<(Arc<Plan>, bool), EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.put_plan(plan, change).await }).await
    }

    /// Binds terms to a plan: they decide for all its customers from the next decision on, or from when they say.
    ///
    /// # Errors
    /// An unknown plan; an end that is not after the start; those of [`Engine::prepare_terms`].
    pub async fn bind_plan_terms(
        &self,
        plan: Key,
        input: TermsInput,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.bind_plan_terms(plan, input, idempotency.as_ref()).await }).await
    }

    /// Gives a plan's terms an end; `None` means now.
    ///
    /// # Errors
    /// Unknown terms; terms that ended before; an end in the past.
    pub async fn end_plan_terms(
        &self,
        plan: Key,
        id: TermsId,
        ends_at: Option<Timestamp>,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        let shared = self.shared.clone();
        self.changes
            .run(async move { shared.end_plan_terms(plan, id, ends_at, idempotency.as_ref()).await })
            .await
    }
}

impl Shared {
    async fn put_plan(&self, plan: Key, change: PlanChange) -> Result<(Arc<Plan>, bool), EngineError> {
        let PlanChange { name, interval, entitlements, terms } = change;
        let prepared = match terms {
            Some(input) => Some(self.prepare_terms(input).await?),
            None => None,
        };
        self.change(|catalog, now| {
            let before = catalog.plans.get(&plan);
            if before.is_some_and(|before| before.interval != interval) {
                return Err(EngineError::PlanIntervalFixed);
            }
            let after = Plan {
                plan: plan.clone(),
                name: name.clone(),
                interval,
                entitlements: entitlements.clone(),
                created_at: before.map_or(now, |before| before.created_at),
            };
            let mut changes = Vec::new();
            if before.is_none_or(|before| **before != after) {
                changes.push(CatalogChange::PutPlan(PlanRow { plan: plan.clone(), body: json(&after)? }));
            }
            if let Some(prepared) = &prepared
                && !is_in_force(catalog, &plan, prepared, now)
            {
                changes.push(add_terms(catalog, &plan, prepared.clone(), now)?.0);
            }
            Ok((changes, (Arc::new(after), before.is_none())))
        })
        .await
    }

    async fn bind_plan_terms(
        &self,
        plan: Key,
        input: TermsInput,
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
            if !catalog.plans.contains_key(&plan) {
                return Err(DecideError::PlanNotFound(plan.clone()).into());
            }
            let (change, terms) = add_terms(catalog, &plan, prepared.clone(), now)?;
            Ok((vec![change], terms))
        })
        .await
    }

    async fn end_plan_terms(
        &self,
        plan: Key,
        id: TermsId,
        ends_at: Option<Timestamp>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        self.change_once(idempotency, |catalog, now| {
            let terms = catalog.terms_of(&plan).iter().find(|terms| terms.key.id == id);
            let mut terms = (**terms.ok_or(EngineError::TermsNotFound)?).clone();
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

/// Whether the plan's terms in force are these already.
fn is_in_force(catalog: &Catalog, plan: &Key, draft: &TermsDraft, now: Timestamp) -> bool {
    terms::in_force(catalog.terms_of(plan), now)
        .is_some_and(|other| other.policy == draft.policy && other.settings == draft.settings)
}

fn add_terms(
    catalog: &Catalog,
    plan: &Key,
    draft: TermsDraft,
    now: Timestamp,
) -> Result<(CatalogChange, Arc<Terms>), EngineError> {
    let others = catalog.terms_of(plan);
    let number = others.len() as u64 + 1;
    let key = TermsKey { owner: Owner::Plan(plan.clone()), id: TermsId { entry: number, index: 0 } };
    let terms = draft.bind(key, now, others).map_err(Rejection::from)?;
    let row = PlanTermsRow { plan: plan.clone(), number, body: json(&terms)? };
    Ok((CatalogChange::AddPlanTerms(row), Arc::new(terms)))
}
