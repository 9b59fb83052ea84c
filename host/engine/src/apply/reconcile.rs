//! What has to happen to the terms of a plan so that they become those of a list. Nothing is written here, and no policy is asked.
//!
//! The list names all that decides from now on: of the active terms that have begun, the last one is to be in force, and those before it
//! are the past, whether or not the host ever had them. Terms that begin later are to be scheduled as they are, a shadow and a canary to
//! be under way. What the host has beside these and could still decide is ended.

use crate::{
    catalog::{Catalog, Version},
    error::EngineError,
    rollout::RolloutState,
    terms::TermsInput,
};
use proviso_decide::catalog::Plans as _;
use proviso_ledger::model::{
    canary::{Canary, Share},
    ids::{Name, TermsId},
    json::JsonText,
    terms::{self, ContractDraft, Mode, Terms},
    time::Timestamp,
};
use std::sync::Arc;

/// What happens to terms. Places are those in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These end before anything else happens.
    End(TermsId),
    /// These get another end.
    Until(usize, TermsId, Option<Timestamp>),
    /// These are bound.
    Bind(usize),
    /// This canary gets a larger share.
    Raise(usize, TermsId, Share),
    /// These are there.
    Keep,
    /// This canary was rolled back, and is not begun again.
    RolledBack(usize, TermsId),
    /// This canary decides for all: the terms that it replaced stay replaced.
    Complete(usize, TermsId),
}

/// An error of one of the terms in the list.
pub(super) type Misplaced = (usize, EngineError);

/// The steps in the order in which they are taken: ends, then what decides for all, then the rest.
pub(super) fn steps(
    catalog: &Catalog,
    plan: &Name,
    wanted: &[TermsInput],
    now: Timestamp,
) -> Result<Vec<Step>, Misplaced> {
    let all = catalog.terms_of(plan);
    let (mut ends, mut steps) = (Vec::new(), Vec::new());
    let mut matched: Vec<TermsId> = Vec::new();
    let sorted = Sorted::of(wanted, now);
    let same = |terms: &Terms, n: usize| says_same(catalog, terms, n, wanted);

    let in_force = terms::in_force(all, now);
    let canary = canary_under_way(all, now);
    // A canary that decides for all is in force, and stands for itself and for what it replaced.
    let complete = match (in_force, sorted.canary) {
        (Some(terms), Some(n)) if terms.canary.is_some() && same(terms, n)? => Some((terms, n)),
        _ => None,
    };
    let mut base_is_new = false;
    match (sorted.now, in_force, complete) {
        (_, _, Some((terms, n))) => {
            if canary_of(wanted, n).is_some_and(|share| share < Share::ALL) {
                return Err((n, EngineError::CanaryShareLower(Share::ALL.percent())));
            }
            matched.push(terms.key.id);
            steps.push(Step::Complete(n, terms.key.id));
        }
        (Some(n), Some(terms), None) if same(terms, n)? => {
            matched.push(terms.key.id);
            steps.push(until(wanted, n, terms));
        }
        (Some(n), _, None) => {
            base_is_new = true;
            steps.push(Step::Bind(n));
        }
        // Those before them would decide again.
        (None, _, None) => {
            let deciding = all.iter().filter(|terms| terms.mode == Mode::Active && terms.covers(now));
            let deciding = deciding.filter(|terms| canary.is_none_or(|canary| canary.key != terms.key));
            ends.extend(deciding.map(|terms| Step::End(terms.key.id)));
        }
    }
    for n in sorted.beside {
        let mut found = None;
        for terms in all.iter().filter(|terms| !matched.contains(&terms.key.id)) {
            if begins_so(terms, wanted.get(n), now) && same(terms, n)? {
                found = Some(terms);
                break;
            }
        }
        match found {
            Some(terms) => {
                matched.push(terms.key.id);
                steps.push(until(wanted, n, terms));
            }
            None => steps.push(Step::Bind(n)),
        }
    }
    if let Some(n) = sorted.canary.filter(|_| complete.is_none()) {
        let kept = match canary {
            Some(terms) if !base_is_new && begins_so(terms, wanted.get(n), now) && same(terms, n)? => {
                Some(terms)
            }
            _ => None,
        };
        match kept {
            Some(terms) => {
                matched.push(terms.key.id);
                steps.push(share(wanted, n, terms)?);
            }
            None => match rolled_back(catalog, all, n, wanted, in_force)? {
                Some(id) if !base_is_new => steps.push(Step::RolledBack(n, id)),
                _ => steps.push(Step::Bind(n)),
            },
        }
    }
    // What could still decide, and is not in the list.
    let left = scheduled(all, now).chain(terms::shadows(all, now)).chain(canary);
    let left = left.filter(|terms| !matched.contains(&terms.key.id));
    ends.extend(left.map(|terms| Step::End(terms.key.id)));
    ends.extend(steps);
    Ok(ends)
}

/// The canary of a plan that decides for a share of its customers, or will.
#[must_use]
pub fn canary_under_way(all: &[Arc<Terms>], now: Timestamp) -> Option<&Arc<Terms>> {
    all.iter().find(|terms| {
        let state = terms.canary.as_ref().map(|_| RolloutState::of(terms, all, now));
        matches!(state, Some(RolloutState::Scheduled | RolloutState::Running))
    })
}

/// Terms that take effect later, canaries apart.
pub fn scheduled(all: &[Arc<Terms>], now: Timestamp) -> impl Iterator<Item = &Arc<Terms>> {
    all.iter().filter(move |terms| {
        terms.canary.is_none()
            && terms.effective_at > now
            && terms.ends_at.is_none_or(|end| end > terms.effective_at)
    })
}

/// The version that terms name: any that there is, since one that is deleted may be in force.
pub(super) fn version<'c>(catalog: &'c Catalog, input: &TermsInput) -> Result<&'c Arc<Version>, EngineError> {
    if !catalog.policies.contains_key(&input.policy) {
        return Err(EngineError::PolicyNotFound(input.policy.clone()));
    }
    let unknown = || EngineError::VersionNotFound(input.policy.clone(), input.version.unwrap_or_default());
    let found = match input.version {
        Some(number) => catalog.version(&input.policy, number),
        None => {
            let versions = catalog.versions.get(&input.policy).map_or(&[][..], Vec::as_slice);
            versions.iter().rev().find(|version| !version.deleted)
        }
    };
    found.ok_or_else(unknown)
}

/// The places of the list by what is to become of them.
struct Sorted {
    /// What is to be in force.
    now: Option<usize>,
    /// Shadows, and what begins later.
    beside: Vec<usize>,
    /// A canary.
    canary: Option<usize>,
}

impl Sorted {
    fn of(wanted: &[TermsInput], now: Timestamp) -> Self {
        let mut sorted = Self { now: None, beside: Vec::new(), canary: None };
        let mut begun = None;
        for (n, input) in wanted.iter().enumerate() {
            if input.ends_at.is_some_and(|end| end <= now) {
                continue;
            }
            let from = input.effective_at.filter(|from| *from <= now);
            if input.canary.is_some() {
                sorted.canary = Some(n);
            } else if input.mode == Mode::Shadow || input.effective_at.is_some_and(|from| from > now) {
                sorted.beside.push(n);
            } else if begun.is_none_or(|begun| begun <= from) {
                (sorted.now, begun) = (Some(n), Some(from));
            }
        }
        sorted
    }
}

/// Whether terms are what the list says at `n`, apart from when they begin and end and from a canary's share.
fn says_same(catalog: &Catalog, terms: &Terms, n: usize, wanted: &[TermsInput]) -> Result<bool, Misplaced> {
    let Some(input) = wanted.get(n) else { return Ok(false) };
    let version = version(catalog, input).map_err(|error| (n, error))?;
    let limits = |canary: Option<&Canary>| canary.and_then(|canary| canary.rollback.clone());
    let canary_is_same = match &input.canary {
        Some(draft) => terms.canary.is_some() && limits(terms.canary.as_ref()) == draft.rollback,
        None => terms.canary.as_ref().is_none_or(Canary::is_complete),
    };
    Ok(canary_is_same
        && terms.policy.name == version.policy
        && terms.policy.version == version.version
        && terms.mode == input.mode
        && terms.on_fault == input.on_fault
        && terms.time_zone == input.time_zone
        && terms.note == input.note
        && is_same_contract(terms, input.contract.as_ref())
        && terms.settings == JsonText::from(&input.settings))
}

/// A contract's start and end stay, so they may be left out.
fn is_same_contract(terms: &Terms, wanted: Option<&ContractDraft>) -> bool {
    match (&terms.contract, wanted) {
        (None, None) => true,
        (Some(contract), Some(wanted)) => {
            contract.id == wanted.id
                && wanted.start.is_none_or(|start| start == contract.start)
                && wanted.end.is_none_or(|end| Some(end) == contract.end)
        }
        _ => false,
    }
}

/// Whether terms that have not ended begin when the list says: at that time, or some time before now.
fn begins_so(terms: &Terms, input: Option<&TermsInput>, now: Timestamp) -> bool {
    let wanted = input.and_then(|input| input.effective_at).filter(|from| *from > now);
    match wanted {
        Some(from) => terms.effective_at == from && terms.ends_at.is_none_or(|end| end > from),
        None => terms.covers(now),
    }
}

fn until(wanted: &[TermsInput], n: usize, terms: &Terms) -> Step {
    match wanted.get(n).map(|input| input.ends_at) {
        Some(ends_at) if ends_at != terms.ends_at => Step::Until(n, terms.key.id, ends_at),
        _ => Step::Keep,
    }
}

fn canary_of(wanted: &[TermsInput], n: usize) -> Option<Share> {
    wanted.get(n)?.canary.as_ref().map(|draft| draft.share)
}

/// A share only grows.
fn share(wanted: &[TermsInput], n: usize, terms: &Terms) -> Result<Step, Misplaced> {
    let (Some(wants), Some(has)) = (canary_of(wanted, n), terms.canary.as_ref().map(Canary::share)) else {
        return Ok(Step::Keep);
    };
    match wants.cmp(&has) {
        std::cmp::Ordering::Less => Err((n, EngineError::CanaryShareLower(has.percent()))),
        std::cmp::Ordering::Equal => Ok(until(wanted, n, terms)),
        std::cmp::Ordering::Greater => Ok(Step::Raise(n, terms.key.id, wants)),
    }
}

/// The same canary of the terms in force, if the host had to end it.
fn rolled_back(
    catalog: &Catalog,
    all: &[Arc<Terms>],
    n: usize,
    wanted: &[TermsInput],
    in_force: Option<&Arc<Terms>>,
) -> Result<Option<TermsId>, Misplaced> {
    let begun = in_force.map(|terms| terms.effective_at);
    let ended =
        |terms: &&Arc<Terms>| terms.canary.as_ref().is_some_and(|canary| canary.rolled_back.is_some());
    for terms in all.iter().rev().filter(ended) {
        if begun.is_none_or(|begun| terms.effective_at >= begun) && says_same(catalog, terms, n, wanted)? {
            return Ok(Some(terms.key.id));
        }
    }
    Ok(None)
}
