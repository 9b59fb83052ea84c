//! A customer as the caller describes it.

use super::{
    ids::Name,
    period::{Interval, Schedule},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};

/// A customer as the caller describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// For people.
    pub name: String,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
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
    /// The rule of its periods; none without an interval.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        self.interval.map(|interval| Schedule { anchor: self.anchor, interval, zone: self.time_zone.clone() })
    }
}
