//! Instants, a customer's time zone, and the local calendar that a policy sees.
//!
//! Zone rules come from the database that is compiled in, so that every host computes the same boundaries.

use jiff::{ZonedDateTime, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt, str::FromStr};

/// Microseconds since 1970-01-01T00:00:00Z, between the years 1900 and 9999. In JSON RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// Why a time or a zone is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339 with an offset, or outside the years 1900 to 9999.
    #[error("must be an RFC 3339 time such as \"2026-11-23T10:00:00Z\"")]
    Instant,
    /// Not a date, or outside the years 1900 to 9998.
    #[error("must be a date such as \"2026-11-23\"")]
    Date,
    /// Not in the IANA time zone database.
    #[error("must be an IANA time zone such as \"Europe/Berlin\"")]
    Zone,
}

const EARLIEST: i64 = -2_208_988_800_000_000;
const LATEST: i64 = 253_402_207_200_000_000;

impl Timestamp {
    /// One second, in microseconds.
    pub const SECOND: i64 = 1_000_000;

    /// This instant moved by microseconds; it stops at the ends of the range.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros).clamp(EARLIEST, LATEST))
    }

    /// The instant, if it lies in the supported range.
    #[must_use]
    pub fn checked(micros: i64) -> Option<Self> {
        (EARLIEST..=LATEST).contains(&micros).then_some(Self(micros))
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0.clamp(EARLIEST, LATEST))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.instant(), f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        // jiff takes more than RFC 3339: a zone in brackets, which it doesn't look at, and offsets of 24 hours and more.
        let clock = text.split_once(['T', 't', ' ']).map_or("", |(_, clock)| clock);
        let hours = clock.rsplit_once(['+', '-']).and_then(|(_, offset)| offset.get(..2)?.parse::<u8>().ok());
        if text.contains('[') || hours.is_some_and(|hours| hours > 23) {
            return Err(TimeError::Instant);
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimeError::Instant)?;
        Self::checked(instant.as_microsecond()).ok_or(TimeError::Instant)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time, the default.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The local calendar at `at`.
    #[must_use]
    pub fn moment(&self, at: Timestamp) -> Moment {
        let local = self.zoned(at);
        let unsigned = |value: i8| u8::try_from(value).unwrap_or(0);
        Moment {
            at,
            year: local.year(),
            month: unsigned(local.month()),
            day: unsigned(local.day()),
            hour: unsigned(local.hour()),
            minute: unsigned(local.minute()),
            second: unsigned(local.second()),
            weekday: unsigned(local.weekday().to_monday_one_offset()),
            offset_seconds: local.offset().seconds(),
        }
    }

    /// The days since 1970-01-01 of the local date at `at`.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> i64 {
        let offset = i64::from(self.0.to_offset(at.instant()).seconds());
        (at.0.div_euclid(Timestamp::SECOND) + offset).div_euclid(86_400)
    }

    /// The months since January of year 0 of the local date at `at`.
    #[must_use]
    pub fn month(&self, at: Timestamp) -> i64 {
        let local = self.zoned(at);
        i64::from(local.year()) * 12 + i64::from(local.month()) - 1
    }

    /// The first instant of a local date.
    #[must_use]
    pub fn start_of(&self, date: LocalDate) -> Timestamp {
        // Where a clock change leaves out midnight, the day begins when the clock goes on.
        let start = date.0.to_zoned_datetime(self.0.clone()).and_then(|noon| noon.start_of_day());
        start.map_or(Timestamp(LATEST), |start| Timestamp(start.timestamp().as_microsecond()))
    }

    /// The first instant of the local date that is so many days after 1970-01-01.
    #[must_use]
    pub fn start_of_day(&self, day: i64) -> Timestamp {
        let span = jiff::Span::new().try_days(day);
        let date = span.and_then(|span| jiff::civil::date(1970, 1, 1).checked_add(span));
        date.map_or(Timestamp(LATEST), |date| self.start_of(LocalDate(date)))
    }

    /// The first instant of the local month that is so many months after January of year 0.
    #[must_use]
    pub fn start_of_month(&self, month: i64) -> Timestamp {
        let year = i16::try_from(month.div_euclid(12)).ok();
        let number = i8::try_from(month.rem_euclid(12) + 1).ok();
        let date = year.zip(number).and_then(|(year, number)| Date::new(year, number, 1).ok());
        date.map_or(Timestamp(LATEST), |date| self.start_of(LocalDate(date)))
    }

    pub(crate) fn zoned(&self, at: Timestamp) -> ZonedDateTime {
        at.instant().to_zoned_datetime(self.0.clone())
    }
}

/// A date of a local calendar: `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalDate(Date);

impl FromStr for LocalDate {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let is_date = text.len() == "2026-11-23".len();
        let date = is_date.then(|| text.parse::<Date>().ok()).flatten();
        date.filter(|date| (1900..=9998).contains(&date.year())).map(Self).ok_or(TimeError::Date)
    }
}

impl FromStr for Zone {
    type Err = TimeError;
    fn from_str(name: &str) -> Result<Self, TimeError> {
        let zone = TimeZone::get(name).map_err(|_| TimeError::Zone)?;
        // A zone is kept by its name, and read again it must be the same. jiff's unknown zone, `Etc/Unknown`, has no name.
        zone.iana_name().is_some().then_some(Self(zone)).ok_or(TimeError::Zone)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

/// An instant with its local calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// Gregorian year.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        for (text, printed) in [
            ("2026-11-23T10:00:00Z", Some("2026-11-23T10:00:00Z")),
            ("2026-11-23T11:00:00.5+01:00", Some("2026-11-23T10:00:00.5Z")),
            ("2026-11-23T10:00:00-23:59", Some("2026-11-24T09:59:00Z")),
            ("2026-11-23T10:00:00+24:00", None),
            ("2026-11-23T10:00:00-25:00", None),
            ("2026-11-23T10:00:00+00:00[Europe/Berlin]", None),
            ("2026-11-23T10:00:00Z[Europe/Berlin]", None),
            ("2026-11-23", None),
            ("2026-11-23T10:00:00", None),
            ("-009999-01-01T00:00:00Z", None),
            ("yesterday", None),
        ] {
            assert_eq!(text.parse::<Timestamp>().ok().map(|t| t.to_string()).as_deref(), printed, "{text}");
        }
    }

    #[test]
    fn days_and_months_begin_locally() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let at: Timestamp = "2026-03-29T10:00:00Z".parse().unwrap();
        for (start, expected) in [
            (zone.start_of_day(zone.day(at)), "2026-03-28T23:00:00Z"),
            (zone.start_of_day(zone.day(at) + 1), "2026-03-29T22:00:00Z"),
            (zone.start_of_month(zone.month(at)), "2026-02-28T23:00:00Z"),
            (zone.start_of_month(zone.month(at) + 10), "2026-12-31T23:00:00Z"),
        ] {
            assert_eq!(start.to_string(), expected);
        }
    }

    #[test]
    fn a_moment_is_local() {
        let zone: Zone = "America/New_York".parse().unwrap();
        let moment = zone.moment("2026-03-08T07:30:00Z".parse().unwrap());
        assert_eq!((moment.day, moment.hour, moment.weekday, moment.offset_seconds), (8, 3, 7, -14_400));
        assert!("Mars/Base".parse::<Zone>().is_err());
    }

    #[test]
    fn a_zone_that_is_read_again_is_the_same() {
        for name in [
            "UTC",
            "utc",
            "Etc/UTC",
            "etc/utc",
            "UCT",
            "Zulu",
            "GMT",
            "Europe/Berlin",
            "europe/BERLIN",
            "EST5EDT",
        ] {
            let zone: Zone = name.parse().unwrap();
            assert_eq!(zone.name().parse::<Zone>().as_ref(), Ok(&zone), "{name}");
            assert!(zone.name().eq_ignore_ascii_case(name), "{name}");
        }
        for name in
            ["Etc/Unknown", "etc/unknown", "", "local", "posixrules", "EST5EDT,M3.2.0,M11.1.0", "../UTC"]
        {
            assert!(name.parse::<Zone>().is_err(), "{name}");
        }
    }
}
