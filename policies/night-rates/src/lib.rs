//! Cheaper nights and weekends. The hours are the customer's own: what counts is the local time at which something was
//! used. Each user has a cap on what a local day may cost; beyond it, a usage is refused until the next local midnight.
//!
//! In: a price list, the tariffs, and each user's cost of the day so far. Out: lines at the day's, the night's or the
//! weekend's price, or a refusal. With a cap, usage must name its user (the entity): what names none cannot be capped.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use core::fmt;
use proviso_sdk::{prelude::*, types::Moment};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// The settings of one contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightRates {
    /// Prices by day.
    prices: PriceList,
    /// The night's tariff.
    #[serde(default)]
    night: Option<Night>,
    /// What is paid of the day's price on Saturday and Sunday.
    #[serde(default)]
    weekend_percent: Option<Percent>,
    /// What a user may cost on a local day; without it, there is no cap.
    #[serde(default)]
    daily_cap: Option<Credits>,
    /// Credits that each period opens with; what is left of them expires at its end.
    #[serde(default)]
    allowance: Option<Credits>,
}

/// Hours at another price.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Night {
    /// The first minute that counts.
    from: Clock,
    /// The first minute that no longer counts, past midnight when it is earlier than `from`.
    to: Clock,
    /// What is paid of the day's price.
    percent: Percent,
}

/// Minutes since local midnight, from text such as `"22:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Clock(u16);

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Clock;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of day such as \"22:30\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Clock, E> {
                let two = |digits: &str| if digits.len() == 2 { digits.parse::<u16>().ok() } else { None };
                let clock = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
                match clock {
                    Some((hour @ 0..24, minute @ 0..60)) => Ok(Clock(hour * 60 + minute)),
                    _ => Err(E::custom("must be a time of day such as \"22:30\"")),
                }
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Night {
    fn holds(&self, at: &Moment) -> bool {
        let now = Clock(at.minute_of_day());
        if self.from <= self.to {
            self.from <= now && now < self.to
        } else {
            self.from <= now || now < self.to
        }
    }
}

impl NightRates {
    /// The name of the tariff at a time and what is paid of the day's price: the cheapest that applies.
    fn tariff(&self, at: &Moment) -> (&'static str, Percent) {
        let night =
            self.night.as_ref().filter(|night| night.holds(at)).map(|night| (", night", night.percent));
        let weekend = self.weekend_percent.filter(|_| at.is_weekend()).map(|percent| (", weekend", percent));
        let all = [Some(("", Percent::ALL)), night, weekend];
        all.into_iter().flatten().min_by_key(|(_, percent)| *percent).unwrap_or(("", Percent::ALL))
    }
}

impl Policy for NightRates {
    const ABOUT: About = About::new(
        "night-rates",
        "1.0.0",
        "Cheaper nights and weekends in the customer's own time, with a daily cap for each user.",
    )
    .settings_schema(include_str!("../settings.schema.json"));

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.prices.has_negative() {
            problems.push(Problem::new("/prices", "must not hold a negative price"));
        }
        let night = self.night.as_ref().map(|night| night.percent);
        for (pointer, percent) in [("/night/percent", night), ("/weekend_percent", self.weekend_percent)] {
            if percent.is_some_and(|percent| !(Percent::ZERO..=Percent::ALL).contains(&percent)) {
                problems.push(Problem::new(pointer, "must be 0 to 100"));
            }
        }
        for (pointer, credits) in [("/daily_cap", self.daily_cap), ("/allowance", self.allowance)] {
            if credits.is_some_and(|credits| !credits.is_positive()) {
                problems.push(Problem::new(pointer, "must be above 0"));
            }
        }
        problems
    }

    fn counters(&self) -> Vec<Counter> {
        let cap =
            self.daily_cap.map(|_| Counter::cost("user_cost_today", Window::Day).for_each(Scope::Entity));
        cap.into_iter().collect()
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let (tariff, percent) = self.tariff(&usage.occurred_at);
        let mut lines = Vec::new();
        for Priced { label, amount, price } in self.prices.priced(usage)? {
            let price = price.percent(percent, Rounding::Up)?;
            lines.push(Line::priced(&format!("{label}{tariff}"), amount, price, Rounding::Up)?);
        }
        let rating = Rating::of(lines)?;
        if let Some(cap) = self.daily_cap {
            if usage.entity.is_none() {
                return Err(Refusal::new(
                    "entity_required",
                    "with a daily cap for each user, usage must name its user",
                ));
            }
            let today = Credits(context.counter(0));
            if rating.cost > 0 && today.plus(Credits(rating.cost))? > cap {
                let detail = format!("the day's cap is {cap} credits, and {today} are used");
                return Err(Refusal::new("daily_cap_reached", &detail).retry_at(context.now.next_midnight()));
            }
        }
        Ok(rating)
    }

    fn reset(&self, closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        let mut outcome = ResetOutcome::default();
        let Some(allowance) = self.allowance else { return outcome };
        if closing.is_some() {
            let ends = context.grants.iter().filter(|grant| grant.category == "plan");
            outcome.expire = ends.map(|grant| grant.id.clone()).collect();
        }
        let end = next.end.as_ref().map(|end| end.at);
        outcome.issue.push(NewGrant::new("plan", allowance).expires_at(end));
        outcome
    }
}

proviso_sdk::export!(NightRates, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::testing::{Terms, context, moment, period, pointers, show, usage};

    const SETTINGS: &str = r#"{
        "prices": [{"quantity": "tokens", "price": "0.01"}],
        "night": {"from": "22:00", "to": "06:30", "percent": 40},
        "weekend_percent": "60", "daily_cap": "20", "allowance": "1000"
    }"#;

    #[test]
    fn the_local_hour_sets_the_price() {
        let terms = Terms::<NightRates>::new(SETTINGS);
        for (at, expected) in [
            ("2026-11-23T21:59:59+01:00", "tokens: 100 x 0.01 = 1\n1 credits"),
            ("2026-11-23T22:00:00+01:00", "tokens, night: 100 x 0.004 = 0.4\n0.4 credits"),
            // The same instant is day in another zone.
            ("2026-11-23T16:00:00-05:00", "tokens: 100 x 0.01 = 1\n1 credits"),
            ("2026-11-24T06:29:59+01:00", "tokens, night: 100 x 0.004 = 0.4\n0.4 credits"),
            ("2026-11-24T06:30:00+01:00", "tokens: 100 x 0.01 = 1\n1 credits"),
            ("2026-11-28T12:00:00+01:00", "tokens, weekend: 100 x 0.006 = 0.6\n0.6 credits"),
            ("2026-11-28T23:00:00+01:00", "tokens, night: 100 x 0.004 = 0.4\n0.4 credits"),
        ] {
            let used = usage("chat").quantity("tokens", "100").entity("user-7").at(at);
            assert_eq!(show(&terms.rate(&used, &context(at).counter("0"))), expected, "{at}");
        }
    }

    #[test]
    fn a_user_stops_at_the_cap_until_local_midnight() {
        let terms = Terms::<NightRates>::new(SETTINGS);
        let [counter] = terms.counters.as_slice() else { panic!("{:?}", terms.counters) };
        assert_eq!((counter.scope.as_str(), counter.window.as_str()), ("entity", "day"));
        let now = "2026-11-23T12:00:00+01:00";
        let used = usage("chat").quantity("tokens", "100").entity("user-7").at(now);
        assert!(terms.rate(&used, &context(now).counter("19")).is_ok());
        let refusal = terms.rate(&used, &context(now).counter("19.000001")).unwrap_err();
        assert_eq!(refusal.code, "daily_cap_reached");
        assert_eq!(refusal.retry_at, Some(moment("2026-11-24T00:00:00+01:00").at));
        assert_eq!(
            show(&terms.rate(&usage("chat").quantity("tokens", "1"), &context(now))),
            "entity_required"
        );
        assert_eq!(refusal.detail, "the day's cap is 20 credits, and 19.000001 are used");
    }

    #[test]
    fn an_allowance_opens_each_period() {
        let terms = Terms::<NightRates>::new(SETTINGS);
        let next = period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let closing = context("2026-12-01T00:00:00Z")
            .grant("grant_1", "plan", "9", "4")
            .grant("grant_2", "prepaid", "9", "9");
        let outcome = terms.reset(&next, &closing);
        assert_eq!(outcome.expire, ["grant_1"]);
        assert_eq!(
            (outcome.issue[0].amount, outcome.issue[0].expires_at),
            (1_000_000_000, next.end.map(|end| end.at))
        );
    }

    #[test]
    fn wrong_settings_are_named() {
        for (from, to, pointer) in [
            ("22:00", "24:00", "/night/from"),
            ("22:00", "9:00", "/night/from"),
            ("40", "140", "/night/percent"),
            ("\"20\"", "\"0\"", "/daily_cap"),
            ("daily_cap", "daily_cup", "/daily_cup"),
        ] {
            assert_eq!(pointers::<NightRates>(&SETTINGS.replace(from, to)), [pointer], "{to}");
        }
    }
}
