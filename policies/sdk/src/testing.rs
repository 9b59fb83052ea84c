//! Running a policy natively, for `cargo test`. In: settings, usages and contexts in a readable form. Out: the policy's
//! own answers, by the same way that they take inside a module. Nothing here is part of a module that ships.
#![allow(clippy::panic)] // A test that is set up wrongly must stop.

use crate::{
    Amount, Credits, Price,
    calendar::{DAY, HOUR, MINUTE, SECOND, days_since_1970},
    outcome::CREDITS,
    policy::Module,
    types::{
        Attribute, Balance, Context, Counter, Customer, Grant, Moment, OverageOutcome, Period, Problem,
        Quantity, Rating, Refusal, ResetOutcome, Usage,
    },
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
use core::marker::PhantomData;

/// A moment from RFC 3339 text, whose offset is the customer's zone: `2026-11-23T10:00:00+01:00`.
///
/// # Panics
/// When the text is not such a time.
#[must_use]
pub fn moment(text: &str) -> Moment {
    let read = || {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let days = days_since_1970(number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let local = days * DAY + number(11, 13)? * HOUR + number(14, 16)? * MINUTE + number(17, 19)? * SECOND;
        let offset_seconds = match text.get(19..)? {
            "Z" => 0,
            zone => {
                let seconds =
                    zone.get(1..3)?.parse::<i64>().ok()? * 3600 + zone.get(4..6)?.parse::<i64>().ok()? * 60;
                if zone.starts_with('-') { -seconds } else { seconds }
            }
        };
        Some(Moment::at_offset(local - offset_seconds * SECOND, i32::try_from(offset_seconds).ok()?))
    };
    read().unwrap_or_else(|| panic!("not a time such as 2026-11-23T10:00:00Z: {text}"))
}

/// Credits from text.
///
/// # Panics
/// When the text is not an amount.
#[must_use]
pub fn credits(text: &str) -> i64 {
    text.parse::<Credits>().unwrap_or_else(|error| panic!("{text}: {error}")).0
}

/// A quantity from text.
///
/// # Panics
/// When the text is not an amount.
#[must_use]
pub fn amount(text: &str) -> i64 {
    text.parse::<Amount>().unwrap_or_else(|error| panic!("{text}: {error}")).0
}

/// A usage of `feature` by no entity, at the start of 2026 unless [`UsageBuilder::at`] says otherwise.
#[must_use]
pub fn usage(feature: &str) -> UsageBuilder {
    UsageBuilder(Usage {
        feature: feature.to_owned(),
        quantities: Vec::new(),
        attributes: Vec::new(),
        entity: None,
        occurred_at: moment("2026-01-01T00:00:00Z"),
    })
}

/// Builds a usage.
#[derive(Debug, Clone)]
pub struct UsageBuilder(Usage);

impl UsageBuilder {
    /// How much of what.
    #[must_use]
    pub fn quantity(mut self, name: &str, text: &str) -> Self {
        self.0.quantities.push(Quantity { name: name.to_owned(), amount: amount(text) });
        self.0.quantities.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// What else is known of it.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self.0.attributes.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// Who used it.
    #[must_use]
    pub fn entity(mut self, entity: &str) -> Self {
        self.0.entity = Some(entity.to_owned());
        self
    }

    /// When it was used.
    #[must_use]
    pub fn at(mut self, text: &str) -> Self {
        self.0.occurred_at = moment(text);
        self
    }

    /// The usage.
    #[must_use]
    pub fn build(self) -> Usage {
        self.0
    }
}

/// A period with a number, from its start up to its end.
#[must_use]
pub fn period(number: u32, start: &str, end: &str) -> Period {
    Period { number, start: moment(start), end: Some(moment(end)) }
}

/// What a policy knows at `now`: a customer `acme` in its first period, which is the month that holds `now`, without
/// balances and grants.
#[must_use]
pub fn context(now: &str) -> ContextBuilder {
    let now = moment(now);
    let first_of = |year: i16, month: u8| {
        let local = days_since_1970(i64::from(year), i64::from(month), 1) * DAY;
        Moment::at_offset(local - i64::from(now.offset_seconds) * SECOND, now.offset_seconds)
    };
    let (next_year, next_month) = if now.month == 12 { (now.year + 1, 1) } else { (now.year, now.month + 1) };
    let start = first_of(now.year, now.month);
    ContextBuilder(Context {
        customer: Customer { id: "acme".to_owned(), plan: None, attributes: Vec::new() },
        now,
        period: Period { number: 1, start, end: Some(first_of(next_year, next_month)) },
        terms_effective_at: start,
        balances: Vec::new(),
        grants: Vec::new(),
        counters: Vec::new(),
    })
}

/// Builds a context.
#[derive(Debug, Clone)]
pub struct ContextBuilder(Context);

impl ContextBuilder {
    /// The customer's plan.
    #[must_use]
    pub fn plan(mut self, plan: &str) -> Self {
        self.0.customer.plan = Some(plan.to_owned());
        self
    }

    /// An attribute of the customer.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.customer.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self.0.customer.attributes.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// The period.
    #[must_use]
    pub fn period(mut self, period: Period) -> Self {
        self.0.period = period;
        self
    }

    /// When the terms took effect.
    #[must_use]
    pub fn terms_since(mut self, text: &str) -> Self {
        self.0.terms_effective_at = moment(text);
        self
    }

    /// A grant with what remains of it, in the usual credits, effective from the period's start. Its balance counts it.
    #[must_use]
    pub fn grant(self, id: &str, category: &str, granted: &str, remaining: &str) -> Self {
        let effective_at = self.0.period.start.at;
        self.with_grant(Grant {
            id: id.to_owned(),
            credit: CREDITS.to_owned(),
            category: category.to_owned(),
            priority: 0,
            amount: credits(granted),
            remaining: credits(remaining),
            effective_at,
            expires_at: None,
            features: Vec::new(),
            paid: false,
        })
    }

    /// Any grant. Its balance counts it.
    #[must_use]
    pub fn with_grant(mut self, grant: Grant) -> Self {
        let balance = self.balance(&grant.credit);
        balance.granted += grant.amount;
        balance.available += grant.remaining;
        balance.used += grant.amount - grant.remaining;
        self.0.grants.push(grant);
        self
    }

    /// Outstanding overage of the usual credits.
    #[must_use]
    pub fn overage(mut self, text: &str) -> Self {
        self.balance(CREDITS).overage = credits(text);
        self
    }

    /// The next counter's value, as a decimal of its unit: credits for a cost, units for a quantity.
    #[must_use]
    pub fn counter(mut self, text: &str) -> Self {
        self.0.counters.push(amount(text));
        self
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> Context {
        self.0
    }

    fn balance(&mut self, credit: &str) -> &mut Balance {
        let place = self.0.balances.iter().position(|balance| balance.credit == credit);
        let place = place.unwrap_or_else(|| {
            self.0.balances.push(Balance {
                credit: credit.to_owned(),
                granted: 0,
                used: 0,
                reserved: 0,
                available: 0,
                overage: 0,
            });
            self.0.balances.len() - 1
        });
        self.0.balances.get_mut(place).unwrap_or_else(|| panic!("a balance that was just added"))
    }
}

/// A policy with settings, called the way the host calls it: checked once, then decided from the prepared form.
#[derive(Debug)]
pub struct Terms<M> {
    form: Vec<u8>,
    /// The counters that the settings declared.
    pub counters: Vec<Counter>,
    policy: PhantomData<M>,
}

impl<M: Module> Terms<M> {
    /// Prepares settings from JSON text.
    ///
    /// # Errors
    /// What the policy finds wrong with them.
    pub fn prepare(settings: &str) -> Result<Self, Vec<Problem>> {
        let prepared = M::prepare(settings)?;
        Ok(Self { form: prepared.form, counters: prepared.counters, policy: PhantomData })
    }

    /// Prepares settings that must be fine.
    ///
    /// # Panics
    /// When the policy finds something wrong with them.
    #[must_use]
    pub fn new(settings: &str) -> Self {
        Self::prepare(settings).unwrap_or_else(|problems| panic!("settings are refused: {problems:?}"))
    }

    /// What a usage costs.
    ///
    /// # Errors
    /// Why it may not happen.
    pub fn rate(&self, usage: &UsageBuilder, context: &ContextBuilder) -> Result<Rating, Refusal> {
        M::rate(&self.form, &usage.0, &context.0)
    }

    /// What happens when this many credits are missing.
    ///
    /// # Panics
    /// When the policy refuses to rate the usage.
    #[must_use]
    pub fn overage(&self, usage: &UsageBuilder, shortfall: &str, context: &ContextBuilder) -> OverageOutcome {
        let rating = self.rate(usage, context).unwrap_or_else(|refusal| panic!("not rated: {refusal:?}"));
        M::overage(&self.form, &usage.0, &rating, Credits(credits(shortfall)), &context.0)
    }

    /// What the end of the context's period does, with `next` after it.
    #[must_use]
    pub fn reset(&self, next: &Period, context: &ContextBuilder) -> ResetOutcome {
        M::reset(&self.form, Some(&context.0.period), next, &context.0)
    }

    /// What the opening of the customer's first period does.
    #[must_use]
    pub fn open(&self, context: &ContextBuilder) -> ResetOutcome {
        M::reset(&self.form, None, &context.0.period, &context.0)
    }

    /// The size of the prepared form in bytes.
    #[must_use]
    pub fn form_bytes(&self) -> usize {
        self.form.len()
    }
}

/// A rating as text, one line a line: `input tokens: 1200 x 0.001 = 1.2`, then the total. A refusal is its code.
#[must_use]
pub fn show(rating: &Result<Rating, Refusal>) -> String {
    match rating {
        Ok(rating) => {
            let mut lines: Vec<String> = rating
                .lines
                .iter()
                .map(|line| {
                    let (quantity, unit_cost, cost) =
                        (Amount(line.quantity), Price(line.unit_cost), Credits(line.cost));
                    format!("{}: {quantity} x {unit_cost} = {cost}", line.label)
                })
                .collect();
            lines.push(format!("{} {}", Credits(rating.cost), rating.credit));
            lines.join("\n")
        }
        Err(refusal) => refusal.code.clone(),
    }
}

/// The pointers of refused settings, for tables.
#[must_use]
pub fn pointers<M: Module>(settings: &str) -> Vec<String> {
    match M::prepare(settings) {
        Ok(_) => vec![],
        Err(problems) => problems.into_iter().map(|problem| problem.pointer).collect(),
    }
}
