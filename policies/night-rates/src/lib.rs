//! Cheaper nights and weekends. The hours are the customer's own: what counts is the local time at which something was
//! used. Each user has a cap on what a local day may cost; beyond it, a usage is refused until the next local midnight.
//!
//! With a cap, usage must name its user (the entity): what names none cannot be capped. The cap counts what open
//! reservations hold, so that requests in flight can't pass it; work that was done is billed whatever the cap says.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use proviso_sdk::{Moment, TimeOfDay, prelude::*};
use serde::Deserialize;

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
    from: TimeOfDay,
    /// The first minute that no longer counts; when it is earlier than `from`, that of the next day.
    to: TimeOfDay,
    /// What is paid of the day's price.
    percent: Percent,
}

impl NightRates {
    /// The name of the tariff at a time and what is paid of the day's price: the cheapest that applies.
    fn tariff(&self, at: &Moment) -> (&'static str, Percent) {
        let night = self
            .night
            .as_ref()
            .filter(|night| at.is_between(night.from, night.to))
            .map(|night| (", night", night.percent));
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
    .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

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
        if let Some(cap) = self.daily_cap.filter(|_| usage.is_refusable()) {
            check_cap(cap, &rating, usage, context)?;
        }
        Ok(rating)
    }

    fn period_categories(&self) -> Vec<Category> {
        self.allowance.map(|_| Category::Plan).into_iter().collect()
    }

    fn open(&self, opening: &Opening, _: &Context) -> OpenOutcome {
        let allowance =
            self.allowance.map(|amount| NewGrant::new(Category::Plan, amount).allowance(opening.allowance));
        OpenOutcome { issue: allowance.into_iter().collect(), ..OpenOutcome::default() }
    }
}

/// Refuses what would take a user beyond the day's cap.
fn check_cap(cap: Credits, rating: &Rating, usage: &Usage, context: &Context) -> Result<(), Refusal> {
    if usage.entity().is_none() {
        let detail = "with a daily cap for each user, usage must name its user";
        return Err(Refusal::invalid("entity_required", detail));
    }
    let day = context.cost_counter(0);
    if !rating.cost.is_positive() || day.total().plus(rating.cost)? <= cap {
        return Ok(());
    }
    let (used, held) = (day.used(), day.held());
    let detail =
        format!("the day's cap is {cap} credits; {used} are used and {held} held by open reservations");
    // Midnight brings nothing for a day that is over, and what is only held may be free again at any time.
    let today = usage.occurred_at.day_number() == context.now.day_number();
    let spent = used.plus(rating.cost)? > cap;
    Err(Refusal::denied("daily_cap_reached", &detail)
        .retry_at((today && spent).then(|| context.now.next_midnight())))
}

proviso_sdk::export!(NightRates, no_std);

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_sdk::{
        OpenReason, RefusalKind,
        testing::{Terms, context, credits, moment, opening, period, pointers, show, usage},
    };

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
        let [counter] = terms.counters() else { panic!("{:?}", terms.counters()) };
        assert_eq!((counter.scope.as_str(), counter.window.as_str()), ("entity", "day"));
        let now = "2026-11-23T12:00:00+01:00";
        let (today, midnight) = (now, Some("2026-11-24T00:00:00+01:00"));
        // At most 19 of 20 may be used before something that costs 1.
        for (used, held, purpose, at, refused) in [
            ("19", "0", Purpose::Charge, today, None),
            ("19.000000000001", "0", Purpose::Charge, today, Some(midnight)),
            ("18", "1.5", Purpose::Charge, today, Some(None)),
            ("18", "1.5", Purpose::Reserve, today, Some(None)),
            ("30", "0", Purpose::Reserve, today, Some(midnight)),
            ("30", "9", Purpose::Commit, today, None),
            ("30", "0", Purpose::Charge, "2026-11-22T12:00:00+01:00", Some(None)),
        ] {
            let used_now = usage("chat").quantity("tokens", "100").entity("user-7").at(at).purpose(purpose);
            let rated = terms.rate(&used_now, &context(now).counter_with_held(used, held));
            let expected = refused.map(|retry_at| retry_at.map(|text| moment(text).at));
            let refusal = rated.err().map(|refusal| {
                assert_eq!(refusal.code, "daily_cap_reached");
                refusal.retry_at
            });
            assert_eq!(refusal, expected, "{used} used, {held} held, {purpose:?} {at}");
        }
        let nobody = terms.rate(&usage("chat").quantity("tokens", "1").at(now), &context(now)).unwrap_err();
        assert_eq!((nobody.code.as_str(), nobody.kind), ("entity_required", RefusalKind::Invalid));
    }

    #[test]
    fn an_allowance_opens_each_period_and_ends_with_it() {
        let terms = Terms::<NightRates>::new(SETTINGS);
        let december = period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let now = context("2026-12-01T00:00:00Z");
        let issued = terms.open(&opening(OpenReason::Scheduled, december), &now).issue;
        assert_eq!(issued, [NewGrant::new(Category::Plan, credits("1000"))]);
        assert_eq!(issued[0].expires, Expiry::with_its_period());
        assert_eq!(terms.prepared.period_categories, [Category::Plan]);
        let without = Terms::<NightRates>::new(&SETTINGS.replace(r#", "allowance": "1000""#, ""));
        assert_eq!(without.open(&opening(OpenReason::Started, december), &now), OpenOutcome::default());
        assert_eq!(without.prepared.period_categories, []);
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
