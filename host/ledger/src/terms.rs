//! Terms: which policy, with which settings, decides for a plan or a customer, and when.

use crate::{
    decision::{Needs, Prepared},
    ids::{Digest, Name, TermsId},
    json::JsonText,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The policy's key.
    pub name: Name,
    /// Its version, counted by the host from 1.
    pub version: u32,
    /// SHA-256 of the module.
    pub digest: Digest,
}

/// Whether terms decide or are only watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They decide.
    #[default]
    Active,
    /// Their decisions are recorded beside the real ones and touch nothing.
    Shadow,
}

/// What decides when the policy faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// Nothing: the request is refused.
    #[default]
    Deny,
    /// The plan's terms.
    Plan,
    /// The terms that were in force before these, from the same owner.
    LastGood,
}

/// Where terms are bound.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// To one customer: the one whose journal they stand in.
    Customer,
    /// To all customers of a plan.
    Plan(Name),
}

/// Names terms within a customer's journal: `customer/terms_12` or `plan/pro/terms_3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TermsKey {
    /// Where they are bound.
    pub owner: Owner,
    /// Their id there.
    pub id: TermsId,
}

impl fmt::Display for TermsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Customer => write!(f, "customer/{}", self.id),
            Owner::Plan(plan) => write!(f, "plan/{plan}/{}", self.id),
        }
    }
}

impl std::str::FromStr for TermsKey {
    type Err = crate::ids::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (owner, id) = text.rsplit_once('/').ok_or(crate::ids::NameError::Id)?;
        let owner = match owner.split_once('/') {
            Some(("plan", plan)) => Owner::Plan(plan.parse()?),
            None if owner == "customer" => Owner::Customer,
            _ => return Err(crate::ids::NameError::Id),
        };
        Ok(Self { owner, id: id.parse()? })
    }
}

impl Serialize for TermsKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TermsKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Terms as they were agreed. Only `ends_at` may change, and only forward in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Where they are bound and under which id.
    pub key: TermsKey,
    /// The policy that decides.
    pub policy: PolicyRef,
    /// The settings as they were given.
    pub settings: JsonText,
    /// What the policy made of the settings.
    pub prepared: Prepared,
    /// What of the context the policy reads.
    pub needs: Needs,
    /// From when.
    pub effective_at: Timestamp,
    /// Until when, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Whether they decide.
    pub mode: Mode,
    /// What decides when the policy faults.
    pub on_fault: OnFault,
    /// When they were bound.
    pub created_at: Timestamp,
}

impl Terms {
    /// Whether `at` lies in `effective_at..ends_at`.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.effective_at <= at && self.ends_at.is_none_or(|end| at < end)
    }
}

/// The active terms in force at `at`: of those that cover it, the ones that took effect last (bound last, in a tie).
#[must_use]
pub fn in_force(terms: &[Arc<Terms>], at: Timestamp) -> Option<&Arc<Terms>> {
    terms
        .iter()
        .filter(|terms| terms.mode == Mode::Active && terms.covers(at))
        .max_by_key(|terms| (terms.effective_at, terms.key.id))
}

/// The shadows in force at `at`.
pub fn shadows(terms: &[Arc<Terms>], at: Timestamp) -> impl Iterator<Item = &Arc<Terms>> {
    terms.iter().filter(move |terms| terms.mode == Mode::Shadow && terms.covers(at))
}

/// The active terms that took effect last before `current` did; not those that were ended before they took effect.
#[must_use]
pub fn before<'a>(terms: &'a [Arc<Terms>], current: &Terms) -> Option<&'a Arc<Terms>> {
    terms
        .iter()
        .filter(|terms| {
            terms.mode == Mode::Active
                && terms.ends_at.is_none_or(|end| end > terms.effective_at)
                && (terms.effective_at, terms.key.id) < (current.effective_at, current.key.id)
        })
        .max_by_key(|terms| (terms.effective_at, terms.key.id))
}
