//! Terms: which policy, with which settings, decides for a plan or a customer, and when.

use super::{
    answers::{Needs, Prepared},
    canary::{Canary, CanaryDraft, Share},
    ids::{CustomerId, Digest, Name, TermsId},
    json::JsonText,
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The policy's name.
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
    type Err = super::ids::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (owner, id) = text.rsplit_once('/').ok_or(super::ids::NameError::Id)?;
        let owner = match owner.split_once('/') {
            Some(("plan", plan)) => Owner::Plan(plan.parse()?),
            None if owner == "customer" => Owner::Customer,
            _ => return Err(super::ids::NameError::Id),
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

/// A contract that terms belong to. Its start and end stay through amendments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The caller's name for it.
    pub id: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ends, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Terms as they were agreed. Only `ends_at` may change, and only forward in time; and the share of a canary, which only grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Where they are bound and under which id.
    pub key: TermsKey,
    /// The policy that decides.
    pub policy: PolicyRef,
    /// What decides, in one digest: the module, the settings, and the zone and the contract in which they are read.
    #[serde(with = "super::ids::short_digest")]
    pub digest: Digest,
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
    /// The contract that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Contract>,
    /// The zone in which they are read; without it, the customer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// The caller's remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of a plan: what makes them decide for a share of its customers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// When they were bound.
    pub created_at: Timestamp,
}

/// Terms to be bound: what the caller named and what the policy made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TermsDraft {
    /// The policy that decides.
    pub policy: PolicyRef,
    /// The settings as they were given.
    pub settings: JsonText,
    /// What the policy made of the settings.
    pub prepared: Prepared,
    /// What of the context the policy reads.
    pub needs: Needs,
    /// From when; none means now, and so does a time in the past.
    pub effective_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Option<Timestamp>,
    /// Whether they decide.
    pub mode: Mode,
    /// What decides when the policy faults.
    pub on_fault: OnFault,
    /// The contract that they belong to.
    pub contract: Option<ContractDraft>,
    /// The zone in which they are read; without it, the customer's.
    pub time_zone: Option<Zone>,
    /// The caller's remark.
    pub note: Option<String>,
    /// Of a plan: the share of its customers for whom they decide; none means all.
    pub canary: Option<CanaryDraft>,
}

/// A contract as terms name it. One that terms of the same owner name already keeps its start and end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractDraft {
    /// The caller's name for it.
    pub id: String,
    /// When it began; none means when the first of its terms take effect.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// When it ends, exclusive.
    #[serde(default)]
    pub end: Option<Timestamp>,
}

/// Why terms can't be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// They would end before they begin.
    #[error("ends_at must be later than {0}")]
    EndsBeforeStart(Timestamp),
    /// A contract's start and end stay through amendments.
    #[error("contract {id} runs from {start}: its start and end can't change")]
    ContractFixed {
        /// The contract.
        id: String,
        /// Its start.
        start: Timestamp,
    },
    /// A contract would end before it begins.
    #[error("a contract must end later than it starts, at {0}")]
    ContractEnds(Timestamp),
}

impl TermsDraft {
    /// The terms as they are bound at `at`, beside others of the same owner.
    ///
    /// # Errors
    /// See [`TermsError`].
    pub fn bind(self, key: TermsKey, at: Timestamp, others: &[Arc<Terms>]) -> Result<Terms, TermsError> {
        let effective_at = self.effective_at.map_or(at, |from| from.max(at));
        if self.ends_at.is_some_and(|end| end <= effective_at) {
            return Err(TermsError::EndsBeforeStart(effective_at));
        }
        let contract = match self.contract {
            Some(draft) => Some(draft.resolve(effective_at, others)?),
            None => None,
        };
        let digest = digest(&self.policy, &self.settings, self.time_zone.as_ref(), contract.as_ref());
        Ok(Terms {
            key,
            digest,
            policy: self.policy,
            settings: self.settings,
            prepared: self.prepared,
            needs: self.needs,
            effective_at,
            ends_at: self.ends_at,
            mode: self.mode,
            on_fault: self.on_fault,
            contract,
            time_zone: self.time_zone,
            note: self.note,
            canary: self.canary.map(|canary| Canary::begin(canary, effective_at)),
            created_at: at,
        })
    }
}

fn digest(
    policy: &PolicyRef,
    settings: &JsonText,
    zone: Option<&Zone>,
    contract: Option<&Contract>,
) -> Digest {
    let mut text = format!("proviso terms 1\n{}\n{}\n", policy.digest, settings.as_str());
    if let Some(zone) = zone {
        text.push_str(zone.name());
    }
    text.push('\n');
    if let Some(Contract { id, start, end }) = contract {
        // The id comes last: it may hold anything.
        let end = end.map_or_else(|| "-".to_owned(), |end| end.to_string());
        text.push_str(&format!("{start} {end} {id}"));
    }
    Digest::of(text.as_bytes())
}

impl ContractDraft {
    fn resolve(self, effective_at: Timestamp, others: &[Arc<Terms>]) -> Result<Contract, TermsError> {
        let Self { id, start, end } = self;
        let known =
            others.iter().filter_map(|terms| terms.contract.as_ref()).find(|contract| contract.id == id);
        if let Some(known) = known {
            let differs =
                start.is_some_and(|start| start != known.start) || (end.is_some() && end != known.end);
            return if differs {
                Err(TermsError::ContractFixed { id, start: known.start })
            } else {
                Ok(known.clone())
            };
        }
        let start = start.unwrap_or(effective_at);
        if end.is_some_and(|end| end <= start) {
            return Err(TermsError::ContractEnds(start));
        }
        Ok(Contract { id, start, end })
    }
}

impl Terms {
    /// The same terms, if they ran another policy or other settings: as agreed otherwise, and under the same key.
    #[must_use]
    pub fn running(&self, policy: PolicyRef, settings: JsonText, prepared: Prepared, needs: Needs) -> Self {
        let digest = digest(&policy, &settings, self.time_zone.as_ref(), self.contract.as_ref());
        Self { policy, digest, settings, prepared, needs, ..self.clone() }
    }

    /// Whether `at` lies in `effective_at..ends_at`.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.effective_at <= at && self.ends_at.is_none_or(|end| at < end)
    }

    fn is_active_at(&self, at: Timestamp) -> bool {
        self.mode == Mode::Active && self.covers(at)
    }

    /// Whether they are meant for all of their owner's customers at `at`: all terms are but a canary.
    #[must_use]
    pub fn is_for_all(&self, at: Timestamp) -> bool {
        self.canary.as_ref().is_none_or(|canary| canary.share_at(at) == Share::ALL)
    }

    fn decides_for(&self, customer: &CustomerId, at: Timestamp, known_at: Timestamp) -> bool {
        self.is_active_at(at)
            && self.canary.as_ref().is_none_or(|canary| {
                canary.share_at(at).holds(&self.key, customer) && !canary.is_rolled_back(known_at)
            })
    }

    /// Whether the host had ended them as a canary by `at`.
    #[must_use]
    pub fn is_rolled_back(&self, at: Timestamp) -> bool {
        self.canary.as_ref().is_some_and(|canary| canary.is_rolled_back(at))
    }
}

/// The active terms in force at `at` for all of an owner's customers: of those that cover it, the ones that took effect last (bound
/// last, in a tie). A canary is left out until it decides for all.
#[must_use]
pub fn in_force(terms: &[Arc<Terms>], at: Timestamp) -> Option<&Arc<Terms>> {
    latest(terms.iter().filter(|terms| terms.is_active_at(at) && terms.is_for_all(at)))
}

/// The active terms in force at `at` for one customer, canaries included: but none that the host had rolled back by `known_at`,
/// which is when the decision is made.
#[must_use]
pub fn in_force_for<'a>(
    terms: &'a [Arc<Terms>],
    customer: &CustomerId,
    at: Timestamp,
    known_at: Timestamp,
) -> Option<&'a Arc<Terms>> {
    latest(terms.iter().filter(|terms| terms.decides_for(customer, at, known_at)))
}

/// What would decide for a customer at `at` if these terms were not there.
#[must_use]
pub fn without<'a>(
    terms: &'a [Arc<Terms>],
    left_out: &TermsKey,
    customer: &CustomerId,
    at: Timestamp,
) -> Option<&'a Arc<Terms>> {
    latest(terms.iter().filter(|terms| terms.key != *left_out && terms.decides_for(customer, at, at)))
}

fn latest<'a>(terms: impl Iterator<Item = &'a Arc<Terms>>) -> Option<&'a Arc<Terms>> {
    terms.max_by_key(|terms| (terms.effective_at, terms.key.id))
}

/// The shadows in force at `at`.
pub fn shadows(terms: &[Arc<Terms>], at: Timestamp) -> impl Iterator<Item = &Arc<Terms>> {
    terms.iter().filter(move |terms| terms.mode == Mode::Shadow && terms.covers(at))
}

/// The active terms that took effect last before `current` did; not those that were ended before they took effect, and no canary
/// that did not become the terms of all.
#[must_use]
pub fn before<'a>(terms: &'a [Arc<Terms>], current: &Terms) -> Option<&'a Arc<Terms>> {
    terms
        .iter()
        .filter(|terms| {
            terms.mode == Mode::Active
                && terms.canary.as_ref().is_none_or(Canary::is_complete)
                && terms.ends_at.is_none_or(|end| end > terms.effective_at)
                && (terms.effective_at, terms.key.id) < (current.effective_at, current.key.id)
        })
        .max_by_key(|terms| (terms.effective_at, terms.key.id))
}
