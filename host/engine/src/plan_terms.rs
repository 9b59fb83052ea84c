//! What a PUT of a plan makes of the plan's terms. It names the terms that shall be in force: the same PUT again changes
//! nothing, and `mode`, `on_fault` and `ends_at` are applied to terms that have the same policy version and settings.

use crate::{catalog::Catalog, changes::json, error::EngineError, rollout::RolloutState, terms::TermsInput};
use proviso_decide::{catalog::Plans as _, change::Change};
use proviso_ledger::{
    model::{
        ids::{Name, TermsId},
        terms::{self, Mode, OnFault, Owner, Terms, TermsDraft, TermsKey},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_store::{CatalogChange, PlanTermsRow};
use std::sync::Arc;

/// Terms that shall be in force for a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanTermsChange {
    /// Policy, version, settings and start; the other fields are those of new terms.
    pub input: TermsInput,
    /// Whether they decide; `None` leaves it.
    pub mode: Option<Mode>,
    /// What decides when the policy faults; `None` leaves it.
    pub on_fault: Option<OnFault>,
    /// Until when, exclusive.
    pub ends_at: Change<Timestamp>,
}

impl From<TermsInput> for PlanTermsChange {
    fn from(input: TermsInput) -> Self {
        let (mode, on_fault, ends_at) =
            (Some(input.mode), Some(input.on_fault), input.ends_at.map_or(Change::Clear, Change::Set));
        Self { input, mode, on_fault, ends_at }
    }
}

/// The changes that put `prepared`, which is `change.input` with its settings prepared, in force.
pub(crate) fn put_in_force(
    catalog: &Catalog,
    plan: &Name,
    change: &PlanTermsChange,
    prepared: &TermsDraft,
    now: Timestamp,
) -> Result<Vec<CatalogChange>, EngineError> {
    let all = catalog.terms_of(plan);
    let same = |other: &&Arc<Terms>| other.policy == prepared.policy && other.settings == prepared.settings;
    let known = if let Some(later) = prepared.effective_at.filter(|from| *from > now) {
        all.iter().filter(|other| other.effective_at == later).find(same)
    } else {
        terms::in_force(all, now).filter(same).or_else(|| terms::shadows(all, now).find(same))
    };
    let Some(known) = known else { return Ok(vec![add_terms(catalog, plan, prepared.clone(), now)?.0]) };
    let ends_at = change.ends_at.apply(known.ends_at);
    let (mode, on_fault) = (change.mode.unwrap_or(known.mode), change.on_fault.unwrap_or(known.on_fault));
    if (mode, on_fault) == (known.mode, known.on_fault) {
        if ends_at == known.ends_at {
            return Ok(Vec::new());
        }
        return Ok(vec![end(plan, known, ends_at, now)?]);
    }
    // Terms that decided keep what they decided with: others take their place.
    let replacement = TermsDraft { mode, on_fault, ends_at, ..prepared.clone() };
    let ended = end(plan, known, Some(known.effective_at.max(now)), now)?;
    Ok(vec![ended, add_terms(catalog, plan, replacement, now)?.0])
}

/// The changes that end the terms in force.
pub(crate) fn end_in_force(
    catalog: &Catalog,
    plan: &Name,
    now: Timestamp,
) -> Result<Vec<CatalogChange>, EngineError> {
    let in_force = terms::in_force(catalog.terms_of(plan), now);
    in_force.map(|terms| end(plan, terms, Some(now), now)).into_iter().collect()
}

/// The change that gives terms another end.
pub(crate) fn end(
    plan: &Name,
    terms: &Terms,
    ends_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<CatalogChange, EngineError> {
    if ends_at.is_some_and(|end| end < now) {
        return Err(Rejection::NotLater("ends_at", now).into());
    }
    let row = PlanTermsRow {
        plan: plan.clone(),
        number: terms.key.id.entry,
        body: json(&Terms { ends_at, ..terms.clone() })?,
    };
    Ok(CatalogChange::SetPlanTerms(row))
}

/// The change that adds terms.
pub(crate) fn add_terms(
    catalog: &Catalog,
    plan: &Name,
    draft: TermsDraft,
    now: Timestamp,
) -> Result<(CatalogChange, Arc<Terms>), EngineError> {
    let others = catalog.terms_of(plan);
    if draft.canary.is_some() {
        may_begin_canary(others, draft.effective_at.map_or(now, |from| from.max(now)), now)?;
    }
    let number = others.len() as u64 + 1;
    let key = TermsKey { owner: Owner::Plan(plan.clone()), id: TermsId { entry: number, index: 0 } };
    let terms = draft.bind(key, now, others).map_err(Rejection::from)?;
    let row = PlanTermsRow { plan: plan.clone(), number, body: json(&terms)? };
    Ok((CatalogChange::AddPlanTerms(row), Arc::new(terms)))
}

/// A canary needs terms for the customers that it leaves out, and no other canary beside it.
fn may_begin_canary(others: &[Arc<Terms>], from: Timestamp, now: Timestamp) -> Result<(), EngineError> {
    let is_under_way = |terms: &&Arc<Terms>| {
        let state = terms.canary.as_ref().map(|_| RolloutState::of(terms, others, now));
        matches!(state, Some(RolloutState::Scheduled | RolloutState::Running))
    };
    if let Some(other) = others.iter().find(is_under_way) {
        return Err(EngineError::CanaryRunning(other.key.id));
    }
    terms::in_force(others, from).map(drop).ok_or(EngineError::CanaryAlone(from))
}
