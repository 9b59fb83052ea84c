//! Canaries: terms that decide for a share of a plan's customers, the limits that end them, and the report on them.

use crate::schema;
use proviso_ledger::model::{
    amounts::{Credits, Percent},
    canary::{PassedLimit, RollbackLimits, Share},
    ids::{CustomerId, Key, Seq, TermsId},
    terms::TermsKey,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Decisions without which no limit counts as passed, where nothing else is said.
pub const DEFAULT_MIN_DECISIONS: u64 = 20;
/// The furthest that limits look back, in seconds: a day.
pub const MOST_WITHIN_SECONDS: u32 = 86_400;

/// A share of a plan's customers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryInput {
    /// For how many of the plan's customers the terms decide, from 0.01 to 100 percent, with at most 2 decimal places. Which ones
    /// is fixed by their keys.
    #[schema(value_type = schema::Percent)]
    pub share_percent: Share,
    /// When the host ends the terms by itself.
    #[serde(default)]
    pub rollback: Option<RollbackInput>,
}

/// Limits of which each ends a canary when it is passed; at least one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackInput {
    /// The most decisions that may fail, in percent of all of the canary's.
    #[serde(default)]
    #[schema(value_type = Option<schema::Percent>)]
    pub max_fault_percent: Option<Percent>,
    /// The most that decisions may differ in credits from what the terms that the canary replaces make of them, in percent of the
    /// latter. What is above and what is below add up.
    #[serde(default)]
    #[schema(value_type = Option<schema::Percent>)]
    pub max_drift_percent: Option<Percent>,
    /// Decisions without which no limit counts as passed; defaults to 20.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub min_decisions: Option<u64>,
    /// Only the decisions of the last so many seconds are looked at, at most 86,400; defaults to all.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86_400)]
    pub within_seconds: Option<u32>,
}

impl RollbackInput {
    /// The limits.
    ///
    /// # Errors
    /// The field that is not valid, below `rollback`, and why.
    pub fn read(self) -> Result<RollbackLimits, (&'static str, String)> {
        let Self { max_fault_percent, max_drift_percent, min_decisions, within_seconds } = self;
        let percents = [("/max_fault_percent", max_fault_percent), ("/max_drift_percent", max_drift_percent)];
        if percents.iter().all(|(_, percent)| percent.is_none()) {
            return Err(("", "names no limit: max_fault_percent, max_drift_percent or both".to_owned()));
        }
        for (field, percent) in percents {
            if percent.is_some_and(|percent| percent.is_negative() || !percent.is_acceptable()) {
                return Err((field, "must be 0 or more".to_owned()));
            }
        }
        let min_decisions = min_decisions.unwrap_or(DEFAULT_MIN_DECISIONS);
        if min_decisions == 0 {
            return Err(("/min_decisions", "must be 1 or more".to_owned()));
        }
        if within_seconds.is_some_and(|seconds| !(1..=MOST_WITHIN_SECONDS).contains(&seconds)) {
            return Err(("/within_seconds", format!("must be from 1 to {MOST_WITHIN_SECONDS}")));
        }
        Ok(RollbackLimits { max_fault_percent, max_drift_percent, min_decisions, within_seconds })
    }
}

/// A larger share.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryShareInput {
    /// The share from now on, in percent: not below the one that the canary has. 100 makes its terms those of all customers.
    #[schema(value_type = schema::Percent)]
    pub share_percent: Share,
}

/// What makes terms a canary.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Canary<'a> {
    /// Its share, in percent of the plan's customers.
    #[schema(value_type = schema::Percent)]
    pub share_percent: Share,
    /// The shares that it had, oldest first.
    pub steps: Vec<CanaryStep>,
    /// When the host ends it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRule>,
    /// Why the host has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack<'a>>,
}

/// A share from a time on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CanaryStep {
    /// The share, in percent.
    #[schema(value_type = schema::Percent)]
    pub share_percent: Share,
    /// From when.
    #[schema(value_type = schema::Time)]
    pub from: Timestamp,
}

/// Limits of which each ends a canary when it is passed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RollbackRule {
    /// The most decisions that may fail, in percent.
    #[schema(value_type = Option<schema::Percent>)]
    pub max_fault_percent: Option<Percent>,
    /// The most that decisions may differ in credits from what the replaced terms make of them, in percent.
    #[schema(value_type = Option<schema::Percent>)]
    pub max_drift_percent: Option<Percent>,
    /// Decisions without which no limit counts as passed.
    pub min_decisions: u64,
    /// Only the decisions of the last so many seconds are looked at; null means all.
    pub within_seconds: Option<u32>,
}

impl From<&RollbackLimits> for RollbackRule {
    fn from(limits: &RollbackLimits) -> Self {
        let RollbackLimits { max_fault_percent, max_drift_percent, min_decisions, within_seconds } = *limits;
        Self { max_fault_percent, max_drift_percent, min_decisions, within_seconds }
    }
}

/// Why the host has ended a canary.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RolledBack<'a> {
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// Which limit was passed: `faults` or `drift`.
    #[schema(value_type = String, example = "drift")]
    pub limit: PassedLimit,
    /// For people.
    #[schema(value_type = String)]
    pub reason: Cow<'a, str>,
    /// The decisions that were looked at.
    pub decisions: u64,
    /// How many of them failed.
    pub faults: u64,
}

/// How a canary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It takes effect later.
    Scheduled,
    /// It decides for its share.
    Running,
    /// It decides for all.
    Complete,
    /// Terms that took effect later decide in its place.
    Superseded,
    /// It was given an end, which has come.
    Ended,
    /// A limit was passed, and the host ended it.
    RolledBack,
}

/// A page of the report on a canary.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rollout<'a> {
    /// The canary.
    #[schema(value_type = String, example = "plan/pro/terms_2")]
    pub terms: TermsKey,
    /// Their id.
    #[schema(value_type = schema::Id, example = "terms_2")]
    pub id: TermsId,
    /// How it stands.
    pub state: RolloutState,
    /// What decides for the plan's other customers.
    #[schema(value_type = Option<String>, example = "plan/pro/terms_1")]
    pub replaces: Option<TermsKey>,
    /// Its share, its limits, and why it was ended.
    pub canary: Canary<'a>,
    /// Decisions that all hosts counted; a host that crashed may have left out those of its last second.
    pub decisions: u64,
    /// Those in which its policy failed.
    pub faults: u64,
    /// How far the others are from what the replaced terms made of the same.
    pub drift: Vec<RolloutDrift>,
    /// The entries that it was to decide, by customer and number.
    pub affected: Vec<AffectedEntry>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// How far a canary's decisions are from what the replaced terms made of the same.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RolloutDrift {
    /// The credit type of usage; null for what the ends of periods carried over and their beginnings issued.
    #[schema(value_type = Option<schema::Key>, example = "credits")]
    pub credit: Option<Key>,
    /// What the decisions came to.
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
    /// What the replaced terms made of them.
    #[schema(value_type = schema::Credits)]
    pub replaced_cost: Credits,
    /// The sum of the differences, whichever way each goes.
    #[schema(value_type = schema::Credits)]
    pub apart: Credits,
    /// That in percent of `replaced_cost`; null where that is nothing and the sum is not.
    #[schema(value_type = Option<schema::Percent>)]
    pub percent: Option<Percent>,
}

/// An entry that a canary was to decide.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AffectedEntry {
    /// Whose.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: CustomerId,
    /// Its number in the customer's ledger.
    pub entry: Seq,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// Its type.
    #[schema(example = "charged")]
    pub r#type: String,
    /// The feature that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub feature: Option<Key>,
    /// The credit type, of usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// What the canary made of it, 0 where it refused; null where its policy failed, or there was nothing to compare with.
    #[schema(value_type = Option<schema::Credits>)]
    pub cost: Option<Credits>,
    /// What the replaced terms made of it, 0 where they refused.
    #[schema(value_type = Option<schema::Credits>)]
    pub replaced_cost: Option<Credits>,
    /// The code with which the canary's policy failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}
