//! When credits run out: a forecast from the daily usage of the last weeks, without any chance in it.
//!
//! Daily usage varies with the weekday, and its extremes don't come every day. So the rate is taken over every run of seven days
//! among the last 28 whole days, and low, expected and high are the 10th, 50th and 90th percentile of these, as empirical
//! quantiles (definition 1 of Hyndman and Fan, "Sample quantiles in statistical packages", 1996). Each is then drawn day by day
//! from the grants there are, in their order and up to their ends. Credits that are yet to be granted are not in it.

use crate::{
    engine::Engine,
    error::EngineError,
    report::{GroupBy, UsageReport},
};
use proviso_ledger::{
    model::{
        amounts::{Credits, Rounding},
        ids::{CustomerId, Key},
        time::Timestamp,
    },
    state::{CustomerState, GrantStatus},
};

/// Whole local days that are looked at.
const OBSERVED: i64 = 28;
/// Days of which the mean usage is one observation.
const WINDOW: usize = 7;
/// Days that are looked ahead.
const AHEAD: i64 = 366;
const DAY: i64 = 86_400 * Timestamp::SECOND;

/// A low, an expected and a high case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cases<T> {
    /// 10th percentile of usage.
    pub low: T,
    /// Median usage.
    pub expected: T,
    /// 90th percentile of usage.
    pub high: T,
}

/// What is to be expected of a credit type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The credit type.
    pub credit: Key,
    /// What is left now.
    pub available: Credits,
    /// Whole days that were observed.
    pub days: u32,
    /// Daily usage; none where no whole day was observed.
    pub daily: Option<Cases<Credits>>,
    /// When credits run out at that usage; none beyond a year.
    pub runs_out: Option<Cases<Option<Timestamp>>>,
}

impl Engine {
    /// When each of a customer's credit types runs out, as of now.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn forecast(&self, customer: &CustomerId) -> Result<(Timestamp, Vec<Forecast>), EngineError> {
        let state = self.state(customer).await?;
        let now = self.shared.clock.now().max(state.at);
        let zone = state.zone();
        let today = zone.day(now);
        // The day of its creation is no whole one; nor is that of the first usage that was moved in.
        let began = state.imported.map_or(state.created_at, |span| span.earliest.min(state.created_at));
        let first = (today - OBSERVED).max(zone.day(began) + 1);
        let report = UsageReport {
            from: zone.start_of_day(first.min(today)),
            to: zone.start_of_day(today),
            feature: None,
            entity: None,
            group_by: vec![GroupBy::Day],
            zone: Some(zone.clone()),
        };
        let groups = self.whole_usage(customer, report).await?;
        let mut credits: Vec<Key> = state.accounts.keys().cloned().collect();
        if credits.is_empty() {
            credits.push(state.main_credit());
        }
        let forecasts = credits.into_iter().map(|credit| {
            let of_day = |day: i64| {
                let label = GroupBy::Day.label(&zone.moment(zone.start_of_day(day)));
                let cost = groups.get(&vec![label]).and_then(|group| group.cost.get(&credit));
                cost.copied().unwrap_or(Credits::ZERO).max(Credits::ZERO)
            };
            let days: Vec<Credits> = (first..today).map(of_day).collect();
            forecast(&state, credit, now, &days)
        });
        Ok((now, forecasts.collect()))
    }
}

fn forecast(state: &CustomerState, credit: Key, now: Timestamp, days: &[Credits]) -> Forecast {
    let live =
        state.grants.iter().filter(|one| one.status == GrantStatus::Live && one.grant.credit == credit);
    let left: Vec<Left> = live
        .map(|one| Left { from: one.grant.effective_at, to: one.ends_at, amount: one.remaining })
        .filter(|left| left.amount.is_positive())
        .collect();
    let usable = left.iter().filter(|left| left.is_usable(now));
    let available = usable.fold(Credits::ZERO, |sum, left| sum.saturating_add(left.amount));
    let daily = rates(days);
    let runs_out = daily.map(|Cases { low, expected, high }| Cases {
        low: run_out(&left, now, low),
        expected: run_out(&left, now, expected),
        high: run_out(&left, now, high),
    });
    let days = u32::try_from(days.len()).unwrap_or(u32::MAX);
    Forecast { credit, available, days, daily, runs_out }
}

/// What is left of a grant, and when it may be drawn.
#[derive(Debug, Clone, Copy)]
struct Left {
    from: Timestamp,
    to: Option<Timestamp>,
    amount: Credits,
}

impl Left {
    fn is_usable(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// Low, expected and high usage of a day.
fn rates(days: &[Credits]) -> Option<Cases<Credits>> {
    let size = WINDOW.min(days.len());
    if size == 0 {
        return None;
    }
    let count = Credits::from_whole(i64::try_from(size).ok()?).decimal();
    let mean = |window: &[Credits]| {
        let sum = Credits::checked_sum(window.iter().copied())?;
        sum.decimal().div(count, Rounding::HalfEven).ok().map(Credits::new)
    };
    let mut means = days.windows(size).map(mean).collect::<Option<Vec<_>>>()?;
    means.sort_unstable();
    let quantile = |percent: usize| {
        let rank = (percent * means.len()).div_ceil(100).max(1);
        means.get(rank - 1).copied()
    };
    Some(Cases { low: quantile(10)?, expected: quantile(50)?, high: quantile(90)? })
}

/// When grants run out that so much is drawn from each day, evenly.
fn run_out(left: &[Left], now: Timestamp, daily: Credits) -> Option<Timestamp> {
    let mut left = left.to_vec();
    for day in 0..AHEAD {
        let at = now.plus_micros(day * DAY);
        let mut wanted = daily;
        for grant in left.iter_mut().filter(|grant| grant.is_usable(at)) {
            let part = grant.amount.min(wanted);
            grant.amount = grant.amount.saturating_sub(part);
            wanted = wanted.saturating_sub(part);
        }
        let is_empty = !left.iter().any(|grant| grant.is_usable(at) && grant.amount.is_positive());
        if wanted.is_positive() || (daily.is_zero() && is_empty) {
            let met = daily.saturating_sub(wanted).units();
            if met == 0 {
                // Used up with the day before, or the last of them ended in its course.
                let unused = left.iter().filter(|grant| grant.amount.is_positive());
                let before = at.plus_micros(-DAY).max(now);
                let ends = unused.filter_map(|grant| grant.to).filter(|end| *end > before && *end <= at);
                return Some(ends.max().unwrap_or(at));
            }
            let part = met.saturating_mul(DAY.into()) / daily.units();
            return Some(at.plus_micros(i64::try_from(part).unwrap_or(0)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(texts: &str) -> Vec<Credits> {
        texts.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rates_are_percentiles_of_weeks() {
        for (days, expected) in [
            ("", None),
            ("5", Some("5 5 5")),
            ("1 3", Some("2 2 2")),
            // A working week: any seven days have the same mean, whatever the weekday.
            ("7 7 7 7 7 0 0 7 7 7 7 7 0 0 7 7 7 7 7 0 0 7 7 7 7 7 0 0", Some("5 5 5")),
            // It grows: 22 windows, of which the 3rd, the 11th and the 20th are taken.
            ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28", Some("6 14 23")),
        ] {
            let found = rates(&credits(days));
            let words = found.map(|Cases { low, expected, high }| format!("{low} {expected} {high}"));
            assert_eq!(words.as_deref(), expected, "{days}");
        }
    }

    #[test]
    fn grants_are_drawn_in_their_order_until_they_end() {
        let at = |hours: i64| Timestamp(hours * DAY / 24);
        let left = |from: i64, to: Option<i64>, amount: &str| Left {
            from: Timestamp(from * DAY),
            to: to.map(|to| Timestamp(to * DAY)),
            amount: amount.parse().unwrap(),
        };
        for (grants, daily, expected) in [
            (vec![], "1", Some(at(0))),
            (vec![left(0, None, "3")], "2", Some(at(36))),
            (vec![left(0, None, "3")], "3", Some(at(24))),
            (vec![left(0, None, "3")], "0", None),
            (vec![left(0, None, "3000")], "1", None),
            // Two days of the first, whose rest expires; then the second.
            (vec![left(0, Some(2), "9"), left(0, None, "1")], "2", Some(at(60))),
            (vec![left(0, None, "2"), left(1, None, "2")], "2", Some(at(48))),
            (vec![left(5, None, "2")], "2", Some(at(0))),
            // No later than the last of them ends.
            (vec![Left { to: Some(at(30)), ..left(0, None, "99") }], "2", Some(at(30))),
        ] {
            assert_eq!(
                run_out(&grants, Timestamp(0), daily.parse().unwrap()),
                expected,
                "{grants:?} by {daily}"
            );
        }
    }
}
