//! The model's own calendar: civil arithmetic by hand, and the zone database only to turn local times into instants.

use crate::settings::{DAY, HOUR, Unit, Window};
use jiff::{civil, tz::TimeZone};

pub fn zone(name: &str) -> TimeZone {
    if name == "UTC" { TimeZone::UTC } else { TimeZone::get(name).unwrap() }
}

fn local(zone: &TimeZone, at: i64) -> civil::DateTime {
    zone.to_datetime(jiff::Timestamp::from_microsecond(at).unwrap())
}

/// A local time as an instant: one that is skipped moves forward by the gap, one that comes twice is the first.
fn instant(zone: &TimeZone, local: civil::DateTime) -> i64 {
    zone.to_timestamp(local).unwrap().as_microsecond()
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `from` plus `n` intervals of local calendar time.
pub fn add(from: i64, zone: &TimeZone, (unit, count): (Unit, i64), n: i64) -> i64 {
    let n = n * count;
    let moved = local(zone, from);
    let months = match unit {
        Unit::Hour => return from + n * HOUR,
        Unit::Day | Unit::Week => {
            let days = if unit == Unit::Day { n } else { n * 7 };
            if days == 0 {
                return from;
            }
            // Local midnight to local midnight is a whole number of days on a clock without a zone.
            let clock = TimeZone::UTC;
            let there = instant(&clock, moved) + days * DAY;
            return instant(zone, local(&clock, there));
        }
        Unit::Month => n,
        Unit::Quarter => n * 3,
        Unit::Year => n * 12,
    };
    if months == 0 {
        return from;
    }
    let all = i64::from(moved.year()) * 12 + i64::from(moved.month()) - 1 + months;
    let (year, month) = (all.div_euclid(12), all.rem_euclid(12) + 1);
    let day = i64::from(moved.day()).min(days_in(year, month));
    let date = civil::date(year as i16, month as i8, day as i8);
    instant(zone, date.to_datetime(moved.time()))
}

/// Boundaries: the anchor plus n intervals.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub anchor: i64,
    pub zone: TimeZone,
    pub interval: (Unit, i64),
}

impl Schedule {
    pub fn boundary(&self, n: i64) -> i64 {
        add(self.anchor, &self.zone, self.interval, n)
    }

    /// The smallest n whose boundary lies after `at`.
    fn index_after(&self, at: i64) -> i64 {
        let hours = match self.interval.0 {
            Unit::Hour => 1,
            Unit::Day => 24,
            Unit::Week => 7 * 24,
            Unit::Month => 730,
            Unit::Quarter => 2_191,
            Unit::Year => 8_766,
        };
        let mut n = (at - self.anchor).div_euclid(hours * self.interval.1 * HOUR);
        while self.boundary(n) > at {
            n -= 1;
        }
        while self.boundary(n) <= at {
            n += 1;
        }
        n
    }

    pub fn next_after(&self, at: i64) -> i64 {
        self.boundary(self.index_after(at))
    }

    /// The `n`-th boundary after `at`, from 1.
    pub fn nth_after(&self, at: i64, n: i64) -> i64 {
        self.boundary(self.index_after(at) + n - 1)
    }

    /// How many boundaries lie after `from` and not after `to`.
    pub fn between(&self, from: i64, to: i64) -> i64 {
        self.index_after(to) - self.index_after(from)
    }

    pub fn last_at(&self, at: i64) -> i64 {
        self.boundary(self.index_after(at) - 1)
    }
}

/// The name of the window that holds `at`, which lies in a period and in a cycle of these names.
pub fn window(window: Window, at: i64, (period, cycle): (u32, i64), zone: &TimeZone) -> i64 {
    match window {
        Window::Period => i64::from(period),
        Window::Cycle => cycle,
        Window::Day => instant(&TimeZone::UTC, local(zone, at)).div_euclid(DAY),
        // Weeks begin on Mondays; 1970-01-05 was one.
        Window::Week => (instant(&TimeZone::UTC, local(zone, at)) - 4 * DAY).div_euclid(7 * DAY) + 1,
        Window::Month => {
            let local = local(zone, at);
            i64::from(local.year()) * 12 + i64::from(local.month()) - 1
        }
        Window::Hours(_) => at.div_euclid(HOUR),
        Window::Lifetime => 0,
    }
}

/// The first instant of the `n`-th local day after the one that holds `at`.
pub fn nth_day_after(at: i64, zone: &TimeZone, n: i64) -> i64 {
    let clock = TimeZone::UTC;
    let today = local(zone, at).date().to_datetime(civil::time(0, 0, 0, 0));
    instant(zone, local(&clock, instant(&clock, today) + n * DAY))
}

/// The next local midnight.
pub fn midnight(at: i64, zone: &TimeZone) -> i64 {
    let today = local(zone, at).date().to_datetime(civil::time(0, 0, 0, 0));
    add(instant(zone, today), zone, (Unit::Day, 1), 1)
}
