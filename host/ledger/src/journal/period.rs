//! What the entries of periods say: their ends and beginnings, and the cycles that they belong to.

use super::record::{DecisionRecord, Fee, Given, Settlement};
use crate::model::{
    amounts::{Credits, Decimal},
    answers::Allowance,
    grant::Grant,
    ids::{GrantId, Key, Name},
    period::Interval,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// One billing period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// 1 for the first.
    pub number: u32,
    /// Its start.
    pub start: Timestamp,
    /// Its end, exclusive; none when it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Why a period ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// It ran to its end.
    Scheduled,
    /// It was asked for.
    Early,
    /// The customer changed plans.
    PlanChanged,
    /// The customer's plan was taken away.
    PlanEnded,
    /// The customer was closed.
    Closed,
}

/// A period ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeriodClosed {
    /// Why.
    pub reason: CloseReason,
    /// The period, with its actual end.
    pub period: Period,
    /// Whether this makes good what a fault left undone when the period ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// Who decided; none when no terms were in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
    /// Grants that carry credits over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Which of them carry on credits of which older grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled: Vec<Rolled>,
    /// Grants whose rest expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<GrantId>,
    /// Costs that the end brought.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<Fee>,
    /// Overage that was taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settlement>,
    /// What the period's plan allowances gave: used, held, or carried over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// Lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A rollover's origin, and what of later returns follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// The older grant.
    pub from: GrantId,
    /// The grant that carries its credits on.
    pub to: GrantId,
    /// Which part of what reservations and refunds give back of it follows.
    #[serde(default, skip_serializing_if = "super::record::nothing")]
    pub held_share: Decimal,
    /// At most how much of that.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub held_limit: Credits,
}

/// Overage was taken off that came after the customer was closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverageSettled {
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
    /// What was taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settlement>,
}

/// Why a period began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenReason {
    /// The customer's first on any plan.
    Started,
    /// The one before it ran to its end.
    Scheduled,
    /// It was asked for.
    Early,
    /// The customer changed plans, or took one again.
    PlanChanged,
    /// The customer was moved to another version of its plan.
    VersionChanged,
}

/// The nominal time in which plan allowances are given once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Its start.
    pub start: Timestamp,
    /// Its end, exclusive; none when it never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// The interval of plans whose cycle it is; none when it never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The parts that it has, where an anchor or a zone brought a boundary before its end; else it is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<CyclePart>,
}

/// A part of a cycle that goes on beyond its first end, to the boundary after one that came too early. It gives its share of an
/// allowance, and not before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CyclePart {
    /// Its start.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub until: Timestamp,
    /// How long an allowance is for, in microseconds.
    pub length: i64,
}

impl Cycle {
    /// Its parts in order; none when it never ends.
    pub fn parts(&self) -> impl Iterator<Item = CyclePart> + '_ {
        let whole = self.end.filter(|_| self.parts.is_empty()).map(|until| {
            let length = until.0.saturating_sub(self.start.0).max(1);
            CyclePart { from: self.start, until, length }
        });
        whole.into_iter().chain(self.parts.iter().copied())
    }

    /// Where the time begins that the last allowance of it is for.
    #[must_use]
    pub fn nominal_start(&self) -> Timestamp {
        match (self.end, self.parts.last()) {
            (Some(end), Some(last)) => Timestamp(end.0.saturating_sub(last.length)).max(self.start),
            _ => self.start,
        }
    }
}

/// A period began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeriodOpened {
    /// Why.
    pub reason: OpenReason,
    /// The period.
    pub period: Period,
    /// The cycle that it belongs to.
    pub cycle: Cycle,
    /// Whether this makes good what a fault left undone when the period began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// Whether the period ran in another system when the customer was moved in: no policy was asked, and what it gave comes as
    /// imported grants.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved_in: bool,
    /// What was asked for with a change of plan.
    #[serde(default)]
    pub allowance: Allowance,
    /// Who decided; none when no terms were in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
    /// Grants that began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// The whole plan allowances, before what was given in the cycle was taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole: Vec<Given>,
    /// Those of the grants that are no allowances: they were given in full and are neither of category plan nor trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<GrantId>,
    /// Those that only begin with a later part of the cycle, in proportion to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridging: Vec<GrantId>,
    /// Those that were reduced by what the cycle's earlier allowances gave, and so stand in the place of what expired of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// The keys of grants that the plan gives a customer once, and gave now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<Key>,
    /// The plan's trial, which begins, or goes on after the customer was on other plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Overage that was taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settlement>,
    /// Lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The trial of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it ends.
    pub ends_at: Timestamp,
    /// The change of plan that its end brings; none leaves the customer on the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<AfterTrial>,
}

/// The change of plan that the end of a trial brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterTrial {
    /// The next plan; none takes the plan away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// The next plan's version, as it was when the trial began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
    /// The next plan's interval, which never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// An allowance that was reduced by what those before it in the cycle gave. It takes what reservations and refunds give back of
/// those, as it would have been larger had that not been held or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The grant.
    pub to: GrantId,
    /// How much of what comes back expires first: it was used beyond the allowance.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub skip: Credits,
    /// How much it takes after that.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub limit: Credits,
}
