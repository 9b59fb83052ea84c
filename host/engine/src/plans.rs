//! Plans and the terms that are bound to them.

use crate::{
    Changed, Engine, Once,
    catalog::{Catalog, Plan},
    error::EngineError,
    terms::TermsInput,
};
use proviso_ledger::{
    entitlement::Entitlement,
    error::Rejection,
    ids::{Key, TermsId},
    period::Interval,
    terms::{self, Owner, Terms},
    time::Timestamp,
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
        let prepared = match change.terms {
            Some(input) => Some(self.prepare_terms(Owner::Plan(plan.clone()), input).await?),
            None => None,
        };
        self.change(|catalog, now| {
            let before = catalog.plans.get(&plan);
            if before.is_some_and(|before| before.interval != change.interval) {
                return Err(EngineError::PlanIntervalFixed);
            }
            let after = Plan {
                plan: plan.clone(),
                name: change.name.clone(),
                interval: change.interval,
                entitlements: change.entitlements.clone(),
                created_at: before.map_or(now, |before| before.created_at),
            };
            let mut changes = Vec::new();
            if before.is_none_or(|before| **before != after) {
                changes.push(CatalogChange::PutPlan(PlanRow { plan: plan.clone(), body: json(&after)? }));
            }
            if let Some(prepared) = &prepared {
                let in_force = terms::in_force(catalog.terms_of(Some(&plan)), now);
                let same = |other: &Arc<Terms>| {
                    other.policy == prepared.policy && other.settings == prepared.settings
                };
                if !in_force.is_some_and(same) {
                    changes.push(add_terms(catalog, &plan, prepared.clone(), now)?.0);
                }
            }
            Ok((changes, (Arc::new(after), before.is_none())))
        })
        .await
    }

    /// Binds terms to a plan: they decide for all its customers from the next decision on, or from when they say.
    ///
    /// # Errors
    /// An unknown plan; an end that is not after the start; those of [`Engine::prepare_terms`].
    pub async fn bind_plan_terms(
        &self,
        plan: Key,
        input: TermsInput,
        once: Option<Once<'_, Arc<Terms>>>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        // What answered a repeat may not be there to be prepared again.
        if let Some(stored) = self.answered_change(once.as_ref()).await? {
            return Ok(Changed::Replayed(stored));
        }
        let prepared = self.prepare_terms(Owner::Plan(plan.clone()), input).await?;
        self.change_once(once, |catalog, now| {
            if !catalog.plans.contains_key(&plan) {
                return Err(EngineError::PlanNotFound(plan.clone()));
            }
            let (change, terms) = add_terms(catalog, &plan, prepared.clone(), now)?;
            Ok((vec![change], terms))
        })
        .await
    }

    /// Gives a plan's terms an end: now, when none is given.
    ///
    /// # Errors
    /// Unknown terms; terms that ended before; an end in the past.
    pub async fn end_plan_terms(
        &self,
        plan: Key,
        id: TermsId,
        ends_at: Option<Timestamp>,
        once: Option<Once<'_, Arc<Terms>>>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        self.change_once(once, |catalog, now| {
            let terms = catalog.terms_of(Some(&plan)).iter().find(|terms| terms.key.id == id);
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

fn add_terms(
    catalog: &Catalog,
    plan: &Key,
    mut terms: Terms,
    now: Timestamp,
) -> Result<(CatalogChange, Arc<Terms>), EngineError> {
    let number = catalog.terms_of(Some(plan)).len() as u64 + 1;
    terms.key.id = TermsId { entry: number, index: 0 };
    terms.effective_at = terms.effective_at.max(now);
    terms.created_at = now;
    if terms.ends_at.is_some_and(|end| end <= terms.effective_at) {
        return Err(Rejection::NotLater("ends_at", terms.effective_at).into());
    }
    let row = PlanTermsRow { plan: plan.clone(), number, body: json(&terms)? };
    Ok((CatalogChange::AddPlanTerms(row), Arc::new(terms)))
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|error| EngineError::Internal(error.to_string()))
}
