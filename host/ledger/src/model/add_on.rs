//! Add-ons: entitlements and credits on top of whatever plan a customer has, on a cycle of their own.

use super::{
    entitlement::Entitlement,
    ids::Key,
    period::{Interval, Schedule},
    plan_grant::PlanGrant,
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an add-on sells, as one of its versions does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoldAddOn {
    /// Counted from 1.
    pub version: u32,
    /// How long its cycle is: what it gives again and again, it gives once in each. None for one that gives nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What one gives, with each cycle (`period`) or once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<PlanGrant>,
    /// What its customers are entitled to, whatever the quantity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entitlements: BTreeMap<Key, Entitlement>,
}

/// An add-on as a customer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What was sold.
    pub sold: SoldAddOn,
    /// How many of it, from 1.
    pub quantity: u32,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

/// A cycle of an add-on: what it gives again is given once in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnCycle {
    /// Whence cycles are counted.
    pub anchor: Timestamp,
    /// How long they are.
    pub interval: Interval,
    /// Which it is of those, from 0: however zones move boundaries, each is counted once.
    pub number: u32,
    /// When this one began.
    pub start: Timestamp,
    /// When the next begins.
    pub end: Timestamp,
}

impl AddOnCycle {
    /// The first, which begins at an instant; none beyond the calendar's end.
    #[must_use]
    pub fn first(interval: Interval, at: Timestamp, zone: Zone) -> Option<Self> {
        let schedule = Schedule { anchor: at, interval, zone };
        Some(Self { anchor: at, interval, number: 0, start: at, end: schedule.boundary(1)? })
    }

    /// The one after it.
    #[must_use]
    pub fn next(self, zone: Zone) -> Option<Self> {
        let Self { anchor, interval, number, end, .. } = self;
        let number = number.checked_add(1)?;
        let next = Self { number, start: end, ..self };
        let later = next.boundary_after(0, zone.clone())?;
        let end = if later > end { later } else { Schedule { anchor, interval, zone }.next_after(end)? };
        Some(Self { end, ..next })
    }

    /// The end of the cycle that is `n` after it, as the zone is now.
    #[must_use]
    pub fn boundary_after(self, n: u32, zone: Zone) -> Option<Timestamp> {
        let Self { anchor, interval, number, .. } = self;
        Schedule { anchor, interval, zone }.boundary(i64::from(number) + i64::from(n) + 1)
    }
}

impl Attachment {
    /// Whether `at` lies in `starts_at..ends_at`.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.starts_at <= at && !self.is_over(at)
    }

    /// Whether it has ended by `at`.
    #[must_use]
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= at)
    }
}
