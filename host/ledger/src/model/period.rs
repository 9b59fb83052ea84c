//! Billing periods: `anchor + n × interval` in the customer's zone, clamped at month ends from the anchor, never
//! drifting (31 Jan, 28 Feb, 31 Mar).

use super::time::{Timestamp, Zone};
use jiff::Span;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The unit of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalUnit {
    /// 60 minutes.
    Hour,
    /// A calendar day.
    Day,
    /// 7 calendar days.
    Week,
    /// A calendar month.
    Month,
    /// 3 calendar months.
    Quarter,
    /// A calendar year.
    Year,
}

/// How long a period is: `count` units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    unit: IntervalUnit,
    count: u16,
}

/// A count of units outside 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an interval has 1 to 1000 units")]
pub struct IntervalError;

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            unit: IntervalUnit,
            count: u16,
        }
        let Parts { unit, count } = Parts::deserialize(deserializer)?;
        Self::new(unit, count).map_err(D::Error::custom)
    }
}

impl Interval {
    /// An interval of `count` units.
    ///
    /// # Errors
    /// A count outside 1 to 1,000.
    pub fn new(unit: IntervalUnit, count: u16) -> Result<Self, IntervalError> {
        if (1..=1_000).contains(&count) { Ok(Self { unit, count }) } else { Err(IntervalError) }
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> IntervalUnit {
        self.unit
    }

    /// How many units.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    fn span(self, n: i64) -> Option<Span> {
        let n = n.checked_mul(i64::from(self.count))?;
        let span = Span::new();
        match self.unit {
            IntervalUnit::Hour => span.try_hours(n),
            IntervalUnit::Day => span.try_days(n),
            IntervalUnit::Week => span.try_weeks(n),
            IntervalUnit::Month => span.try_months(n),
            IntervalUnit::Quarter => span.try_months(n.checked_mul(3)?),
            IntervalUnit::Year => span.try_years(n),
        }
        .ok()
    }

    /// One interval of local calendar time after `at`.
    ///
    /// Returns none beyond the calendar's end.
    #[must_use]
    pub fn after(self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let moved = zone.zoned(at).checked_add(self.span(1)?).ok()?;
        Timestamp::checked(moved.timestamp().as_microsecond())
    }

    /// Seconds that an interval never falls short of.
    pub(crate) fn least_seconds(self) -> i64 {
        let unit = match self.unit {
            IntervalUnit::Hour => 3_600,
            IntervalUnit::Day => 82_800,
            IntervalUnit::Week => 601_200,
            IntervalUnit::Month => 2_415_600,
            IntervalUnit::Quarter => 7_686_000,
            IntervalUnit::Year => 31_532_400,
        };
        unit * i64::from(self.count)
    }
}

/// The rule that gives a customer's boundaries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Boundary 0.
    pub anchor: Timestamp,
    /// The distance of boundaries.
    pub interval: Interval,
    /// The zone in which they are counted.
    pub zone: Zone,
}

impl Schedule {
    /// Boundary `n`: the anchor plus n intervals of local calendar time. A local time that a clock change skips moves
    /// forward by the gap; one that comes twice is the first.
    ///
    /// Returns none beyond the calendar's end.
    #[must_use]
    pub fn boundary(&self, n: i64) -> Option<Timestamp> {
        let moved = self.zone.zoned(self.anchor).checked_add(self.interval.span(n)?).ok()?;
        Timestamp::checked(moved.timestamp().as_microsecond())
    }

    /// The first boundary after `at`.
    ///
    /// Returns none beyond the calendar's end.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.boundary(self.index_after(at)?).filter(|boundary| *boundary > at)
    }

    /// The boundary that is `n` boundaries after the first one after `at`.
    ///
    /// Returns none beyond the calendar's end.
    #[must_use]
    pub fn nth_after(&self, at: Timestamp, n: u32) -> Option<Timestamp> {
        self.boundary(self.index_after(at)?.checked_add(i64::from(n))?).filter(|boundary| *boundary > at)
    }

    /// How many boundaries lie after `from` and at or before `to`.
    ///
    /// Returns none beyond the calendar's end.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Option<u32> {
        let count = self.index_after(to)?.checked_sub(self.index_after(from)?)?;
        Some(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
    }

    /// The last boundary at or before `at`.
    ///
    /// Returns none before the calendar's beginning.
    #[must_use]
    pub fn last_at(&self, at: Timestamp) -> Option<Timestamp> {
        self.boundary(self.index_after(at)?.checked_sub(1)?).filter(|boundary| *boundary <= at)
    }

    /// The smallest n with `boundary(n) > at`.
    fn index_after(&self, at: Timestamp) -> Option<i64> {
        let elapsed_seconds = at.0.checked_sub(self.anchor.0)?.div_euclid(Timestamp::SECOND);
        // No interval is shorter than `least_seconds`, so these bounds enclose the answer.
        // One more on each side, for zones that once skipped a whole day.
        let mut low = elapsed_seconds.min(0).div_euclid(self.interval.least_seconds()) - 2;
        let mut high = elapsed_seconds.max(0).div_euclid(self.interval.least_seconds()) + 2;
        // Smallest n in (low, high] with boundary(n) > at.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.boundary(middle) {
                Some(boundary) if boundary <= at => low = middle,
                // Before the calendar's beginning.
                None if middle < 0 => low = middle,
                _ => high = middle,
            }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(anchor: &str, unit: IntervalUnit, count: u16, zone: &str) -> Schedule {
        Schedule {
            anchor: anchor.parse().unwrap(),
            interval: Interval::new(unit, count).unwrap(),
            zone: zone.parse().unwrap(),
        }
    }

    #[test]
    fn boundaries_follow_the_calendar() {
        use IntervalUnit::*;
        for (anchor, unit, count, zone, n, expected) in [
            ("2026-01-31T00:00:00Z", Month, 1, "UTC", 1, "2026-02-28T00:00:00Z"),
            ("2026-01-31T00:00:00Z", Month, 1, "UTC", 2, "2026-03-31T00:00:00Z"),
            ("2024-02-29T12:00:00Z", Year, 1, "UTC", 1, "2025-02-28T12:00:00Z"),
            ("2024-02-29T12:00:00Z", Year, 1, "UTC", 4, "2028-02-29T12:00:00Z"),
            ("2026-01-31T00:00:00Z", Month, 1, "UTC", -1, "2025-12-31T00:00:00Z"),
            // Local midnight stays local midnight across a clock change.
            ("2026-02-28T23:00:00Z", Month, 1, "Europe/Berlin", 1, "2026-03-31T22:00:00Z"),
            // 02:30 does not exist in New York on 8 March 2026: an hour later.
            ("2026-03-07T07:30:00Z", Day, 1, "America/New_York", 1, "2026-03-08T07:30:00Z"),
            // 01:30 comes twice on 1 November 2026: the first.
            ("2026-10-31T05:30:00Z", Day, 1, "America/New_York", 1, "2026-11-01T05:30:00Z"),
            ("2026-01-01T00:00:00Z", Quarter, 1, "UTC", 3, "2026-10-01T00:00:00Z"),
            ("2026-01-01T00:00:00Z", Week, 2, "UTC", 1, "2026-01-15T00:00:00Z"),
        ] {
            let got = schedule(anchor, unit, count, zone).boundary(n).unwrap().to_string();
            assert_eq!(got, expected, "{anchor} + {n} × {count} {unit:?} in {zone}");
        }
    }

    #[test]
    fn the_next_boundary_is_strictly_after() {
        let monthly = schedule("2026-01-31T00:00:00Z", IntervalUnit::Month, 1, "UTC");
        for (at, next) in [
            ("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("2026-02-27T23:59:59.999999Z", "2026-02-28T00:00:00Z"),
            ("2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("2025-06-15T00:00:00Z", "2025-06-30T00:00:00Z"),
            ("2031-01-30T00:00:00Z", "2031-01-31T00:00:00Z"),
        ] {
            assert_eq!(monthly.next_after(at.parse().unwrap()).unwrap().to_string(), next, "{at}");
        }
    }

    #[test]
    fn the_next_boundary_is_found_where_calendars_are_odd() {
        for (anchor, unit, count, zone, at, next) in [
            // Samoa had no 30 December 2011: the boundaries of the 30th and the 31st are one instant.
            (
                "2011-12-29T20:00:00Z",
                IntervalUnit::Day,
                1,
                "Pacific/Apia",
                "2011-12-30T20:00:00Z",
                "2011-12-31T20:00:00Z",
            ),
            // The boundary before the anchor lies before the calendar begins.
            (
                "2026-02-01T00:00:00Z",
                IntervalUnit::Year,
                1_000,
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-02-01T00:00:00Z",
            ),
        ] {
            let next_after = schedule(anchor, unit, count, zone).next_after(at.parse().unwrap());
            assert_eq!(
                next_after.map(|next| next.to_string()).as_deref(),
                Some(next),
                "{anchor} {zone} {at}"
            );
        }
        assert_eq!(Interval::new(IntervalUnit::Day, 0), Err(IntervalError));
        assert_eq!(Interval::new(IntervalUnit::Day, 1_001), Err(IntervalError));
        let last = schedule("2026-01-01T00:00:00Z", IntervalUnit::Year, 1_000, "UTC");
        assert_eq!(last.next_after("9500-01-01T00:00:00Z".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn next_after_is_the_smallest_boundary_after(
            anchor in 0_i64..4_000_000_000, at in 0_i64..4_000_000_000, unit in 0_usize..6, count in 1_u16..30,
            zone in 0_usize..4,
        ) {
            use IntervalUnit::*;
            let schedule = Schedule {
                anchor: Timestamp(anchor * 1_000_000),
                interval: Interval::new([Hour, Day, Week, Month, Quarter, Year][unit], count).unwrap(),
                zone: ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"][zone].parse().unwrap(),
            };
            let at = Timestamp(at * 1_000_000);
            let next = schedule.next_after(at).unwrap();
            prop_assert!(next > at);
            let last = schedule.last_at(at).unwrap();
            prop_assert!(last <= at && schedule.next_after(last) == Some(next));
            prop_assert_eq!(schedule.nth_after(at, 1), schedule.next_after(next));
            prop_assert_eq!(schedule.between(at, next), Some(1));
            prop_assert_eq!(schedule.between(last, at), Some(0));
            // No other boundary lies between: walk back from `next` by the count of whole intervals around it.
            let near = (next.0 - schedule.anchor.0) / (schedule.interval.least_seconds() * 1_000_000);
            for n in near - 60..=near + 2 {
                let Some(boundary) = schedule.boundary(n) else { continue };
                prop_assert!(boundary <= at || boundary >= next, "{boundary} lies between {at} and {next}");
            }
        }
    }
}
