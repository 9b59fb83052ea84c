//! What a caller expects to be in force when it changes something: the check is made together with the change, where
//! nobody can come between.

use crate::{DecideError, change::customer_tag, command::Command};
use proviso_ledger::{
    model::ids::{Digest, GrantId, Key, hex},
    state::CustomerState,
};
use serde::Serialize;
use std::fmt;

/// A hash of what is in force of one thing: another one means that something differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// Hexadecimal digits of a tag: 128 bits of a SHA-256.
    const LENGTH: usize = 32;

    /// The tag of a value's JSON.
    ///
    /// # Errors
    /// A value that can't be written as JSON.
    pub fn of(value: &impl Serialize) -> Result<Self, DecideError> {
        let bytes = serde_json::to_vec(value).map_err(|error| DecideError::Internal(error.to_string()))?;
        let mut text = hex(Digest::of(&bytes).0);
        text.truncate(Self::LENGTH);
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must be in force for a change to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// The change is made in any case.
    #[default]
    Anything,
    /// The thing does not exist, or is already what the change makes of it: an import changes nothing that is there. Looked at by
    /// [`permits`](Self::permits).
    Absent,
    /// The thing exists.
    Existing,
    /// The thing has one of these tags.
    OneOf(Vec<String>),
}

/// What of a customer an expectation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The customer itself.
    Customer,
    /// One of its grants.
    Grant(GrantId),
    /// Its pending change of plan.
    PlanChange,
}

impl Subject {
    /// The tag of what is in force; none for what does not exist.
    ///
    /// # Errors
    /// A value that can't be written as JSON.
    pub fn tag(self, state: &CustomerState) -> Result<Option<Tag>, DecideError> {
        match self {
            Self::Customer => customer_tag(state),
            Self::Grant(id) => state.grant(id).map(Tag::of).transpose(),
            Self::PlanChange => state.plan_change.as_ref().map(Tag::of).transpose(),
        }
    }
}

/// A command that is carried out only where the customer is as it is expected.
#[derive(Debug, Clone)]
pub struct Conditional {
    pub(crate) subject: Subject,
    pub(crate) expected: Expected,
    pub(crate) command: Command,
}

impl Expected {
    /// The command, to be carried out only where `subject` is as expected.
    #[must_use]
    pub fn of(self, subject: Subject, command: Command) -> Command {
        match self {
            Self::Anything => command,
            expected => Command::Conditional(Box::new(Conditional { subject, expected, command })),
        }
    }

    /// Compares with what is in force; `tag` gives `None` for a thing that does not exist.
    ///
    /// # Errors
    /// [`DecideError::ChangedMeanwhile`], and those of `tag`.
    pub fn check(&self, tag: impl FnOnce() -> Result<Option<Tag>, DecideError>) -> Result<(), DecideError> {
        self.check_with(tag)
    }

    /// Whether what is in force (`before`) may become something else.
    ///
    /// # Errors
    /// [`DecideError::ImportExists`].
    pub(crate) fn permits<T>(
        &self,
        before: Option<&T>,
        what: &'static str,
        id: &Key,
    ) -> Result<(), DecideError> {
        match (self, before) {
            (Self::Absent, Some(_)) => Err(DecideError::ImportExists(what, id.clone())),
            _ => Ok(()),
        }
    }

    /// [`check`](Self::check) for callers with errors of their own.
    ///
    /// # Errors
    /// [`DecideError::ChangedMeanwhile`], and those of `tag`.
    pub fn check_with<E: From<DecideError>>(
        &self,
        tag: impl FnOnce() -> Result<Option<Tag>, E>,
    ) -> Result<(), E> {
        let holds = match self {
            Self::Anything | Self::Absent => true,
            Self::Existing => tag()?.is_some(),
            Self::OneOf(tags) => tag()?.is_some_and(|tag| tags.iter().any(|one| one == tag.as_str())),
        };
        if holds { Ok(()) } else { Err(DecideError::ChangedMeanwhile.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_compared_with_what_is_in_force() {
        let (now, other) = (Tag::of(&1).unwrap(), Tag::of(&2).unwrap());
        let one_of = |tags: &[&Tag]| Expected::OneOf(tags.iter().map(|tag| tag.to_string()).collect());
        for (expected, in_force, holds) in [
            (Expected::Anything, None, true),
            (Expected::Existing, None, false),
            (Expected::Existing, Some(&now), true),
            (one_of(&[&now]), Some(&now), true),
            (one_of(&[&other, &now]), Some(&now), true),
            (one_of(&[&other]), Some(&now), false),
            (one_of(&[]), Some(&now), false),
            (one_of(&[&now]), None, false),
        ] {
            let checked = expected.check(|| Ok(in_force.cloned()));
            assert_eq!(checked.is_ok(), holds, "{expected:?} {in_force:?}");
        }
    }
}
