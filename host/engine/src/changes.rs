//! What a caller changes of a customer, its closing, its entitlement overrides and its terms, as differences from what is in
//! force: a field that is not given stays as it is. They are applied where requests are decided, so that nobody comes
//! between reading and writing; one that changes nothing writes nothing.

use crate::{
    catalog::{Catalog, Plan},
    command::Command,
    error::EngineError,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    customer::Profile,
    entitlement::{Entitlement, Override},
    ids::{Key, Name},
    state::CustomerState,
    terms::{self, Terms},
    time::{Timestamp, Zone},
};

/// A change of one field: `None` leaves it, `Some(None)` clears it.
pub type Field<T> = Option<Option<T>>;

/// The field after a change.
pub(crate) fn changed<T: Clone>(change: &Field<T>, before: Option<&T>, cleared: impl FnOnce() -> T) -> T {
    match (change, before) {
        (Some(Some(value)), _) => value.clone(),
        (None, Some(before)) => before.clone(),
        (Some(None), _) | (None, None) => cleared(),
    }
}

/// A change of a customer, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProfileChange {
    /// For people; cleared, it is the customer's key.
    pub name: Field<String>,
    /// The plan.
    pub plan: Field<Name>,
    /// The zone; cleared, it is UTC.
    pub time_zone: Field<Zone>,
    /// The anchor; cleared, it is the customer's creation.
    pub anchor: Field<Timestamp>,
    /// The caller's data, which policies may read.
    pub attributes: Field<Vec<(String, String)>>,
    /// Ids in other systems.
    pub external_ids: Field<Vec<(String, String)>>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl ProfileChange {
    /// The change that replaces everything but the anchor, which stays unless it is given.
    #[must_use]
    pub fn replacing(profile: Profile, anchor: Option<Timestamp>) -> Self {
        Self {
            name: Some(Some(profile.name)),
            plan: Some(profile.plan),
            time_zone: Some(Some(profile.time_zone)),
            anchor: anchor.map(Some),
            attributes: Some(Some(profile.attributes)),
            external_ids: Some(Some(profile.external_ids)),
            expected: Expected::Anything,
        }
    }

    /// The profile after the change, but for its interval, which is the plan's.
    pub(crate) fn apply(&self, state: &CustomerState, at: Timestamp) -> Profile {
        let before = state.profile.as_ref();
        let plan = match &self.plan {
            Some(plan) => plan.clone(),
            None => before.and_then(|before| before.plan.clone()),
        };
        let created_at = if before.is_some() { state.created_at } else { at };
        Profile {
            name: changed(&self.name, before.map(|before| &before.name), || state.customer.to_string()),
            plan,
            interval: None,
            time_zone: changed(&self.time_zone, before.map(|before| &before.time_zone), Zone::default),
            anchor: changed(&self.anchor, before.map(|before| &before.anchor), || created_at),
            attributes: changed(&self.attributes, before.map(|before| &before.attributes), Vec::new),
            external_ids: changed(&self.external_ids, before.map(|before| &before.external_ids), Vec::new),
        }
    }
}

/// A change of what a customer is entitled to, apart from its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct OverrideChange {
    /// The feature.
    pub feature: Key,
    /// What it says; required where there is no override yet.
    pub entitlement: Option<Entitlement>,
    /// From when; now for a new override, and when it is cleared.
    pub starts_at: Field<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Field<Timestamp>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl OverrideChange {
    /// The override after the change; `None` when it is in force already.
    pub(crate) fn apply(
        &self,
        state: &CustomerState,
        at: Timestamp,
    ) -> Result<Option<Override>, EngineError> {
        let before = standing_override(state, &self.feature, at);
        self.expected.check(|| before.map(Tag::of).transpose())?;
        let entitlement =
            self.entitlement.clone().or_else(|| before.map(|before| before.entitlement.clone()));
        let started = before.filter(|before| before.starts_at <= at).map_or(at, |before| before.starts_at);
        let after = Override {
            feature: self.feature.clone(),
            entitlement: entitlement.ok_or(EngineError::OverrideIncomplete)?,
            starts_at: changed(&self.starts_at, before.map(|before| &before.starts_at), || started),
            ends_at: match self.ends_at {
                Some(ends_at) => ends_at,
                None => before.and_then(|before| before.ends_at),
            },
        };
        Ok(if before == Some(&after) { None } else { Some(after) })
    }
}

/// The override that a caller would read or change: the one set last that has not ended.
#[must_use]
pub fn standing_override<'a>(state: &'a CustomerState, feature: &Key, at: Timestamp) -> Option<&'a Override> {
    let mut newest_first = state.overrides.iter().rev();
    newest_first.find(|one| &one.feature == feature && one.ends_at.is_none_or(|end| at < end))
}

/// The tag of a customer: its profile, its period and whether it is closed. `None` for one that does not exist.
///
/// # Errors
/// A state that can't be written as JSON.
pub fn customer_tag(state: &CustomerState) -> Result<Option<Tag>, EngineError> {
    let tag = |profile: &Profile| Tag::of(&(profile, state.closed, &state.period));
    state.profile.as_ref().map(tag).transpose()
}

/// The tag of a plan: the plan, its terms in force and its shadows.
///
/// # Errors
/// A plan that can't be written as JSON.
pub fn plan_tag(catalog: &Catalog, plan: &Plan, now: Timestamp) -> Result<Tag, EngineError> {
    let all = catalog.terms_of(Some(&plan.plan));
    let in_force: Option<&Terms> = terms::in_force(all, now).map(|terms| &**terms);
    let shadows: Vec<&Terms> = terms::shadows(all, now).map(|terms| &**terms).collect();
    Tag::of(&(plan, in_force, shadows))
}

/// Whether a command finds in force already what it asks for, so that nothing is to be written. Its expectations are checked
/// here as well.
pub(crate) fn is_in_force(
    state: &CustomerState,
    command: &Command,
    at: Timestamp,
) -> Result<bool, EngineError> {
    match command {
        Command::Close(expected) => {
            expected.check(|| customer_tag(state))?;
            Ok(state.closed)
        }
        Command::SetOverride(change) => Ok(change.apply(state, at)?.is_none()),
        Command::RemoveOverride(feature, expected) => {
            expected.check(|| standing_override(state, feature, at).map(Tag::of).transpose())?;
            Ok(!state.overrides.iter().any(|one| &one.feature == feature))
        }
        Command::EndTerms { id, expected, .. } => {
            let terms = || state.terms.iter().find(|terms| terms.key.id == *id);
            expected.check(|| terms().map(|terms| Tag::of(&**terms)).transpose())?;
            Ok(false)
        }
        _ => Ok(false),
    }
}
