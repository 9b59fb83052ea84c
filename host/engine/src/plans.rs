//! Plans and the terms that are bound to them.

use crate::{
    Changed, Engine, Once,
    catalog::{Catalog, Plan},
    changes::{Field, changed, plan_tag},
    error::EngineError,
    plan_terms::{PlanTermsChange, end_in_force, put_in_force},
    precondition::{Expected, Tag},
    terms::TermsInput,
};
use proviso_ledger::{
    entitlement::Entitlement,
    error::Rejection,
    ids::{Key, Name, TermsId},
    period::Interval,
    terms::{Owner, Terms},
    time::Timestamp,
};
use proviso_store::{PlanRow, PlanTermsRow, ReferenceChange};
use std::{collections::BTreeMap, sync::Arc};

/// A change of a plan, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanChange {
    /// For people; cleared, it is the plan's own name.
    pub name: Field<String>,
    /// How long its periods are. Fixed once the plan exists.
    pub interval: Field<Interval>,
    /// What its customers are entitled to.
    pub entitlements: Field<BTreeMap<Key, Entitlement>>,
    /// The terms that shall be in force; cleared, those in force end.
    pub terms: Field<PlanTermsChange>,
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
            name: Some(Some(name)),
            interval: Some(interval),
            entitlements: Some(Some(entitlements)),
            terms: terms.map(|terms| Some(terms.into())),
            expected: Expected::Anything,
        }
    }
}

impl Engine {
    /// Creates or changes a plan. Returns it and whether it is new.
    ///
    /// # Errors
    /// An interval that would change; another plan than the one that was expected; those of [`Engine::prepare_terms`].
    pub async fn put_plan(&self, plan: Name, change: PlanChange) -> Result<(Arc<Plan>, bool), EngineError> {
        let prepared = match &change.terms {
            Some(Some(terms)) => {
                Some((terms, self.prepare_terms(Owner::Plan(plan.clone()), terms.input.clone()).await?))
            }
            Some(None) | None => None,
        };
        self.change(|catalog, now| {
            let before = catalog.plans.get(&plan);
            change.expected.check(|| before.map(|before| plan_tag(catalog, before, now)).transpose())?;
            let interval = change.interval.unwrap_or(before.and_then(|before| before.interval));
            if before.is_some_and(|before| before.interval != interval) {
                return Err(EngineError::PlanIntervalFixed);
            }
            let entitlements = before.map(|before| &before.entitlements);
            let after = Plan {
                plan: plan.clone(),
                name: changed(&change.name, before.map(|before| &before.name), || plan.to_string()),
                interval,
                entitlements: changed(&change.entitlements, entitlements, BTreeMap::new),
                created_at: before.map_or(now, |before| before.created_at),
            };
            let mut changes = Vec::new();
            if before.is_none_or(|before| **before != after) {
                changes.push(ReferenceChange::PutPlan(PlanRow { plan: plan.clone(), body: json(&after)? }));
            }
            changes.extend(match (&change.terms, &prepared) {
                (_, Some((terms, prepared))) => put_in_force(catalog, &plan, terms, prepared, now)?,
                (Some(None), None) => end_in_force(catalog, &plan, now)?,
                _ => Vec::new(),
            });
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
        plan: Name,
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
        plan: Name,
        id: TermsId,
        ends_at: Option<Timestamp>,
        expected: Expected,
        once: Option<Once<'_, Arc<Terms>>>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        self.change_once(once, |catalog, now| {
            let terms = catalog.terms_of(Some(&plan)).iter().find(|terms| terms.key.id == id);
            let mut terms = (**terms.ok_or(EngineError::TermsNotFound)?).clone();
            expected.check(|| Tag::of(&terms).map(Some))?;
            let end = ends_at.unwrap_or(now);
            match terms.ends_at {
                Some(ended) if ended <= now => return Err(Rejection::TermsEnded(ended).into()),
                _ if end < now => return Err(Rejection::NotLater("ends_at", now).into()),
                _ => terms.ends_at = Some(end),
            }
            let row = PlanTermsRow { plan: plan.clone(), number: id.entry, body: json(&terms)? };
            Ok((vec![ReferenceChange::SetPlanTerms(row)], Arc::new(terms)))
        })
        .await
    }
}

pub(crate) fn add_terms(
    catalog: &Catalog,
    plan: &Name,
    mut terms: Terms,
    now: Timestamp,
) -> Result<(ReferenceChange, Arc<Terms>), EngineError> {
    let number = catalog.terms_of(Some(plan)).len() as u64 + 1;
    terms.key.id = TermsId { entry: number, index: 0 };
    terms.effective_at = terms.effective_at.max(now);
    terms.created_at = now;
    if terms.ends_at.is_some_and(|end| end <= terms.effective_at) {
        return Err(Rejection::NotLater("ends_at", terms.effective_at).into());
    }
    let row = PlanTermsRow { plan: plan.clone(), number, body: json(&terms)? };
    Ok((ReferenceChange::AddPlanTerms(row), Arc::new(terms)))
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|error| EngineError::Internal(error.to_string()))
}
