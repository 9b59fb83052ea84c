//! Moments, periods and expiries, with arithmetic on the local calendar that a moment carries.
//!
//! A policy has no zone tables: what is computed ahead keeps the moment's offset, so it may be an hour off across a
//! change of daylight saving time.

use core::fmt;
use proviso_amounts::Decimal;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Instant = i64;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day of 24 hours.
pub const DAY: i64 = 24 * HOUR;

/// An instant with the local calendar at that instant, in the zone of the terms or else of the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Instant,
    /// Proleptic Gregorian.
    pub year: i16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// ISO 8601: Monday is 1, Sunday is 7.
    pub weekday: u8,
    /// Seconds to add to UTC to get local time.
    pub offset_seconds: i32,
}

impl Moment {
    /// The moment of an instant in a zone that lies `offset_seconds` ahead of UTC.
    #[must_use]
    pub fn at_offset(at: Instant, offset_seconds: i32) -> Self {
        let local = at.saturating_add(i64::from(offset_seconds) * SECOND);
        let (days, in_day) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = date_of(days);
        let part = |unit: i64, of: i64| u8::try_from(in_day / unit % of).unwrap_or(0);
        Self {
            at,
            year: i16::try_from(year).unwrap_or(if year < 0 { i16::MIN } else { i16::MAX }),
            month,
            day,
            hour: part(HOUR, 24),
            minute: part(MINUTE, 60),
            second: part(SECOND, 60),
            // 1970-01-01 was a Thursday.
            weekday: u8::try_from((days + 3).rem_euclid(7) + 1).unwrap_or(1),
            offset_seconds,
        }
    }

    /// Minutes since local midnight by the clock on the wall: 0 to 1439.
    #[must_use]
    pub fn minute_of_day(&self) -> u16 {
        u16::from(self.hour) * 60 + u16::from(self.minute)
    }

    /// Whether its local time lies between two times of the day: from the first one on, and before the second, which may be
    /// that of the next day.
    #[must_use]
    pub fn is_between(&self, from: TimeOfDay, to: TimeOfDay) -> bool {
        let now = TimeOfDay(self.minute_of_day());
        if from <= to { from <= now && now < to } else { from <= now || now < to }
    }

    /// Whether it is Saturday or Sunday.
    #[must_use]
    pub fn is_weekend(&self) -> bool {
        self.weekday >= 6
    }

    /// Local days since 1970-01-01.
    #[must_use]
    pub fn day_number(&self) -> i64 {
        days_since_1970(i64::from(self.year), i64::from(self.month), i64::from(self.day))
    }

    /// The instant of the next local midnight, at this moment's offset.
    #[must_use]
    pub fn next_midnight(&self) -> Instant {
        let local = self.at.saturating_add(i64::from(self.offset_seconds) * SECOND);
        self.at.saturating_add(DAY - local.rem_euclid(DAY))
    }

    /// Whole months from `earlier` to this moment by the local calendar; a month that ends on a shorter month's last
    /// day counts as whole. Negative when this moment is the earlier one.
    #[must_use]
    pub fn months_since(&self, earlier: &Self) -> i64 {
        let months = |moment: &Self| i64::from(moment.year) * 12 + i64::from(moment.month);
        let between = months(self) - months(earlier);
        let clamped = earlier.day.min(days_in_month(i64::from(self.year), self.month));
        let in_month = |moment: &Self, day: u8| (day, moment.hour, moment.minute, moment.second);
        if in_month(self, self.day) < in_month(earlier, clamped) { between - 1 } else { between }
    }
}

/// A local time of the day, in settings text such as `"22:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// From minutes since midnight; none from 24:00 on.
    #[must_use]
    pub fn from_minutes(minutes: u16) -> Option<Self> {
        (minutes < 24 * 60).then_some(Self(minutes))
    }

    /// Minutes since midnight.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = TimeOfDay;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of day such as \"22:30\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TimeOfDay, E> {
                let two = |digits: &str| if digits.len() == 2 { digits.parse::<u16>().ok() } else { None };
                let time = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
                match time {
                    Some((hour @ 0..24, minute @ 0..60)) => Ok(TimeOfDay(hour * 60 + minute)),
                    _ => Err(E::custom("must be a time of day such as \"22:30\"")),
                }
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// One billing period: from its start up to, and not including, its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The customer's first has number 1.
    pub number: u32,
    /// When it begins.
    pub start: Moment,
    /// None when the customer has no plan interval, so that no period ends by itself.
    pub end: Option<Moment>,
}

impl Period {
    /// The end's instant; [`Instant::MAX`] for a period that does not end by itself.
    #[must_use]
    pub fn end_at(&self) -> Instant {
        self.end.map_or(Instant::MAX, |end| end.at)
    }
}

/// The nominal time in which plan allowances are given once: it begins and ends with the period, unless something cut
/// periods short within it (a change of plan, a moved anchor) or the first period began in the middle of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// When it begins.
    pub start: Moment,
    /// None when it never ends.
    pub end: Option<Moment>,
}

impl Cycle {
    /// How much of the cycle lies between two instants: `(microseconds within, microseconds in all)`. None when the
    /// cycle has no end or no length, so that no part of it can be told.
    #[must_use]
    pub fn part_between(&self, from: Instant, to: Instant) -> Option<(Decimal, Decimal)> {
        let end = self.end?.at;
        let whole = end.checked_sub(self.start.at).filter(|whole| *whole > 0)?;
        let part = to.min(end).saturating_sub(from.max(self.start.at)).max(0);
        Some((Decimal::from_whole(part), Decimal::from_whole(whole)))
    }
}

/// When what is left of a grant expires: at whichever comes first; never, when both are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry {
    /// At this instant.
    pub at: Option<Instant>,
    /// With the end of a period, wherever an anchor, a zone or an interval moves that end: 0 is the period in which the
    /// grant becomes usable (for a grant that stands: the current one), 1 the one after, and so on.
    pub with_period: Option<u32>,
}

impl Expiry {
    /// It does not expire.
    pub const NEVER: Self = Self { at: None, with_period: None };

    /// At an instant.
    #[must_use]
    pub const fn at(at: Instant) -> Self {
        Self { at: Some(at), with_period: None }
    }

    /// With the end of the period in which the grant becomes usable.
    #[must_use]
    pub const fn with_its_period() -> Self {
        Self::after_periods(0)
    }

    /// With the end of the period that comes so many periods after the one in which the grant becomes usable.
    #[must_use]
    pub const fn after_periods(periods: u32) -> Self {
        Self { at: None, with_period: Some(periods) }
    }
}

/// Days from 1970-01-01 to a Gregorian date. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_since_1970`], from the same source.
fn date_of(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{moment, period};

    #[test]
    fn dates_survive_the_way_there_and_back() {
        for days in (-800_000..800_000).step_by(37) {
            let (year, month, day) = date_of(days);
            assert_eq!(days_since_1970(year, i64::from(month), i64::from(day)), days);
        }
        let leap = moment("2028-02-29T23:59:59+05:30");
        assert_eq!((leap.year, leap.month, leap.day, leap.hour, leap.weekday), (2028, 2, 29, 23, 2));
        assert_eq!(leap.next_midnight() - leap.at, SECOND);
    }

    #[test]
    fn months_follow_the_local_calendar() {
        for (earlier, later, months) in [
            ("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", 1),
            ("2026-01-31T00:00:00Z", "2026-02-27T23:59:59Z", 0),
            ("2026-01-15T10:00:00Z", "2027-01-15T09:59:59Z", 11),
            ("2026-01-15T10:00:00Z", "2027-01-15T10:00:00Z", 12),
            ("2026-02-01T00:00:00Z", "2026-01-31T00:00:00Z", -1),
        ] {
            assert_eq!(moment(later).months_since(&moment(earlier)), months, "{earlier} to {later}");
        }
    }

    #[test]
    fn parts_of_a_cycle_are_cut_to_it() {
        let day = |day: i64| moment("2026-04-01T00:00:00Z").at + (day - 1) * DAY;
        let Period { start, end, .. } = period(4, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z");
        let april = Cycle { start, end };
        for (from, to, part) in [(1, 31, 30), (-9, 99, 30), (11, 21, 10), (21, 11, 0), (40, 50, 0)] {
            let days = |days: i64| Decimal::from_whole(days * DAY);
            assert_eq!(
                april.part_between(day(from), day(to)),
                Some((days(part), days(30))),
                "{from} to {to}"
            );
        }
        assert_eq!(Cycle { end: None, ..april }.part_between(0, 1), None);
        assert_eq!(Cycle { end: Some(april.start), ..april }.part_between(0, 1), None);
    }
}
