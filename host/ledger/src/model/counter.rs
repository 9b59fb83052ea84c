//! Usage totals that policies declare: what they add up, for whom, and over which windows of time.

use super::{
    ids::Key,
    time::{Timestamp, Zone},
    usage::Usage,
};
use proviso_amounts::{Decimal, Quantity};
use serde::{Deserialize, Serialize};

/// What a counter adds up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Costs in credits.
    Cost,
    /// A quantity, by name.
    Quantity(String),
}

/// Whose total a counter is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One total for the customer.
    Customer,
    /// One for each entity.
    Entity,
    /// One for each value of an attribute of the usage.
    Attribute(String),
}

/// When a counter starts again at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// With each period: with each change of plan and each reset on request, too.
    Period,
    /// With each cycle, in which a plan's allowance is given once: changes of plan go on counting in it.
    Cycle,
    /// At local midnight.
    Day,
    /// At local midnight of a Monday. Of budgets only: policies don't declare it.
    Week,
    /// At local midnight of the first of a month.
    Month,
    /// The current clock hour of UTC and the n - 1 before it, n from 1 to 744.
    Hours(u16),
    /// Never.
    Lifetime,
}

/// A usage total that the host keeps for a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The policy's name for it; not part of what it counts.
    pub name: String,
    /// What it adds up.
    pub measure: Measure,
    /// Only these features; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// Whose total it is.
    pub scope: Scope,
    /// When it starts again.
    pub window: Window,
}

/// What a counter counts. Counters of different terms that count the same share one total.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CounterKey {
    /// What it adds up.
    pub measure: Measure,
    /// Only these features, sorted; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// Whose total it is.
    pub scope: Scope,
    /// When it starts again.
    pub window: Window,
    /// The IANA name of the zone of its windows, where the terms name one. Without it they follow the customer's zone: windows
    /// are named by local dates, so that a change of zone carries the running ones along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A window's name within its counter: the period's number, the time from which on usage counts in a cycle (in microseconds since
/// 1970), the days since 1970 of a local date, the weeks since the one that
/// holds 1970-01-01, the months since year 0 of a local month, the hours since 1970, or 0.
pub type WindowId = i64;

/// The windows of an instant that follow no calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    /// The period's number.
    pub period: u32,
    /// The name of the cycle's windows.
    pub cycle: WindowId,
}

/// A total: what was used, and what open reservations hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Used.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub used: Decimal,
    /// Held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: Decimal,
}

fn is_zero(amount: &Decimal) -> bool {
    amount.is_zero()
}

impl Counter {
    /// What it counts, for terms that name `zone` or none.
    #[must_use]
    pub fn key(&self, zone: Option<&Zone>) -> CounterKey {
        let mut features = self.features.clone();
        features.sort();
        features.dedup();
        let zone = match self.window {
            Window::Day | Window::Week | Window::Month => zone.map(|zone| zone.name().to_owned()),
            Window::Period | Window::Cycle | Window::Hours(_) | Window::Lifetime => None,
        };
        CounterKey {
            measure: self.measure.clone(),
            features,
            scope: self.scope.clone(),
            window: self.window,
            zone,
        }
    }

    /// Whether it counts usages of a feature.
    #[must_use]
    pub fn counts(&self, feature: &Key) -> bool {
        self.features.is_empty() || self.features.contains(feature)
    }

    /// What a usage of this cost adds.
    #[must_use]
    pub fn amount(&self, usage: &Usage, cost: Decimal) -> Decimal {
        match &self.measure {
            Measure::Cost => cost,
            Measure::Quantity(name) => Quantity::decimal(usage.quantity(name)),
        }
    }

    /// Whose total a usage belongs to; none when the usage names no such subject.
    #[must_use]
    pub fn subject<'a>(&self, usage: &'a Usage) -> Option<&'a str> {
        match &self.scope {
            Scope::Customer => Some(""),
            Scope::Entity => usage.entity.as_ref().map(Key::as_str),
            Scope::Attribute(name) => usage.attribute(name),
        }
    }
}

impl Window {
    /// The window that holds `at`, which lies `within` a period and a cycle, in `zone`.
    #[must_use]
    pub fn id(self, at: Timestamp, within: Within, zone: &Zone) -> WindowId {
        match self {
            Self::Period => i64::from(within.period),
            Self::Cycle => within.cycle,
            Self::Day => zone.day(at),
            Self::Week => week_of(zone.day(at)),
            Self::Month => zone.month(at),
            Self::Hours(_) => at.0.div_euclid(3600 * Timestamp::SECOND),
            Self::Lifetime => 0,
        }
    }

    /// When the window that follows `id` begins, in `zone`; none for those that end otherwise than by the calendar.
    #[must_use]
    pub fn next_start(self, id: WindowId, zone: &Zone) -> Option<Timestamp> {
        let next = id.saturating_add(1);
        match self {
            Self::Day => Some(zone.start_of_day(next)),
            Self::Week => Some(zone.start_of_day(first_day_of(next))),
            Self::Month => Some(zone.start_of_month(next)),
            Self::Period | Self::Cycle | Self::Hours(_) | Self::Lifetime => None,
        }
    }

    /// The windows whose totals add up to the value in window `id`.
    #[must_use]
    pub fn span(self, id: WindowId) -> std::ops::RangeInclusive<WindowId> {
        match self {
            Self::Hours(hours) => id.saturating_sub(i64::from(hours.max(1)) - 1)..=id,
            _ => id..=id,
        }
    }
}

/// Days from the Monday before 1970-01-01, a Thursday, to that day.
const MONDAY: i64 = 3;

/// The week that holds a day, which is given in days since 1970-01-01.
pub(crate) const fn week_of(day: i64) -> WindowId {
    day.saturating_add(MONDAY).div_euclid(7)
}

/// The first day of a week.
const fn first_day_of(week: WindowId) -> i64 {
    week.saturating_mul(7).saturating_sub(MONDAY)
}
