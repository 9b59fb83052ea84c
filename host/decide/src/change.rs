//! Changes as differences from what is in force: a field that is not given stays as it is. They are applied where requests are
//! decided, so that nobody comes between reading and writing; one that changes nothing writes nothing.

use crate::{
    DecideError,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    model::{
        customer::Profile,
        entitlement::{Entitlement, Override},
        ids::Key,
        time::Timestamp,
    },
    state::CustomerState,
};

/// What a change does to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes empty, or what it defaults to.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// The field after the change.
    #[must_use]
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T> From<Option<Option<T>>> for Change<T> {
    /// `None` keeps, `Some(None)` clears.
    fn from(field: Option<Option<T>>) -> Self {
        match field {
            None => Self::Keep,
            Some(None) => Self::Clear,
            Some(Some(value)) => Self::Set(value),
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
    pub starts_at: Change<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Change<Timestamp>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl OverrideChange {
    /// The override after the change; `None` when it is in force already.
    pub(crate) fn apply(
        &self,
        state: &CustomerState,
        at: Timestamp,
    ) -> Result<Option<Override>, DecideError> {
        let before = standing_override(state, &self.feature, at);
        self.expected.check(|| before.map(Tag::of).transpose())?;
        let entitlement =
            self.entitlement.clone().or_else(|| before.map(|before| before.entitlement.clone()));
        let started = before.filter(|before| before.starts_at <= at).map_or(at, |before| before.starts_at);
        let after = Override {
            feature: self.feature.clone(),
            entitlement: entitlement.ok_or(DecideError::OverrideIncomplete)?,
            starts_at: self.starts_at.apply(before.map(|before| before.starts_at)).unwrap_or(started),
            ends_at: self.ends_at.apply(before.and_then(|before| before.ends_at)),
        };
        if before == Some(&after) {
            return Ok(None);
        }
        self.expected.permits(before, "the override of", &self.feature)?;
        Ok(Some(after))
    }
}

/// The override that a caller would read or change: the one set last that has not ended.
#[must_use]
pub fn standing_override<'a>(state: &'a CustomerState, feature: &Key, at: Timestamp) -> Option<&'a Override> {
    let stands = |one: &&Override| &one.feature == feature && one.ends_at.is_none_or(|end| at < end);
    state.overrides.iter().rev().find(stands)
}

/// The tag of a customer: its profile, its period and whether it is closed. `None` for one that does not exist.
///
/// # Errors
/// A state that can't be written as JSON.
pub fn customer_tag(state: &CustomerState) -> Result<Option<Tag>, DecideError> {
    let tag = |profile: &Profile| Tag::of(&(profile, state.closed, &state.period));
    state.profile.as_ref().map(tag).transpose()
}
