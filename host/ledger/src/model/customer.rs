//! A customer as the caller describes it.

use super::{
    ids::Name,
    period::{Interval, Schedule},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};

/// A plan as a customer gets it: the version stays until the customer is migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldPlan {
    /// The plan.
    pub plan: Name,
    /// The version, counted from 1.
    pub version: u32,
    /// The plan's interval, which never changes.
    pub interval: Option<Interval>,
}

/// A customer as the caller describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// For people.
    pub name: String,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// The version of the plan that it was sold, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
    /// The plan's interval, as it was when the plan was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The zone in which periods and days are counted.
    pub time_zone: Zone,
    /// From where periods are counted.
    pub anchor: Timestamp,
    /// The caller's data, which policies may read.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// The customer's ids elsewhere, by the name of the system.
    #[serde(with = "super::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub external_ids: Vec<(String, String)>,
}

impl Profile {
    /// The plan as it was sold; none without a plan. An entry that names no version stands for the first.
    #[must_use]
    pub fn sold(&self) -> Option<SoldPlan> {
        let plan = self.plan.clone()?;
        Some(SoldPlan { plan, version: self.plan_version.unwrap_or(1), interval: self.interval })
    }

    /// The same on this plan, or on none.
    #[must_use]
    pub fn on(self, sold: Option<SoldPlan>) -> Self {
        let (plan, plan_version, interval) = match sold {
            Some(SoldPlan { plan, version, interval }) => (Some(plan), Some(version), interval),
            None => (None, None, None),
        };
        Self { plan, plan_version, interval, ..self }
    }

    /// The rule of its periods; none without an interval.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        self.interval.map(|interval| Schedule { anchor: self.anchor, interval, zone: self.time_zone.clone() })
    }
}
