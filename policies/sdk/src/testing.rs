//! Running a policy natively, for `cargo test`: usages and contexts in a readable form, and answers as text.
#![allow(clippy::panic)] // A test that is set up wrongly must stop.

use crate::{
    boundary::{Allowance, CloseOutcome, CloseReason, Closing, Given, OpenOutcome, OpenReason, Opening},
    calendar::{Cycle, DAY, Expiry, HOUR, MINUTE, Moment, Period, SECOND, days_since_1970},
    context::{Balance, Category, Context, Contract, Customer, Grant},
    counter::{Counted, Counter},
    overage::OverageOutcome,
    policy::{Module, Prepared},
    problem::Problem,
    rating::{CREDITS, Rating, Refusal},
    usage::{Attribute, Entity, NamedQuantity, Purpose, Usage},
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
use core::{fmt::Display, marker::PhantomData, str::FromStr};
use proviso_amounts::{Credits, Decimal, Quantity};

/// A moment from RFC 3339 text, whose offset is the zone of the moment: `2026-11-23T10:00:00+01:00`.
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

fn parsed<T: FromStr<Err: Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Credits from text.
///
/// # Panics
/// When the text is not an amount.
#[must_use]
pub fn credits(text: &str) -> Credits {
    parsed(text)
}

/// A quantity from text.
///
/// # Panics
/// When the text is not an amount.
#[must_use]
pub fn quantity(text: &str) -> Quantity {
    parsed(text)
}

/// A charge of `feature` by no entity, at the start of 2026 unless [`UsageBuilder::at`] says otherwise, in the calendar
/// month that holds that time.
#[must_use]
pub fn usage(feature: &str) -> UsageBuilder {
    let occurred_at = moment("2026-01-01T00:00:00Z");
    UsageBuilder(Usage {
        feature: feature.to_owned(),
        quantities: Vec::new(),
        attributes: Vec::new(),
        entities: Vec::new(),
        occurred_at,
        purpose: Purpose::Charge,
        period: month_of(&occurred_at),
        late: false,
    })
}

/// Builds a usage.
#[derive(Debug, Clone)]
pub struct UsageBuilder(Usage);

impl UsageBuilder {
    /// How much of what.
    #[must_use]
    pub fn quantity(mut self, name: &str, text: &str) -> Self {
        self.0.quantities.push(NamedQuantity { name: name.to_owned(), amount: quantity(text) });
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

    /// Who used it; called again, the parent of the entity before.
    #[must_use]
    pub fn entity(mut self, id: &str) -> Self {
        self.0.entities.push(Entity { id: id.to_owned(), attributes: Vec::new() });
        self
    }

    /// An attribute of the entity that was named last.
    #[must_use]
    pub fn entity_attribute(mut self, name: &str, value: &str) -> Self {
        if let Some(entity) = self.0.entities.last_mut() {
            entity.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
            entity.attributes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self
    }

    /// When it was used, and with it the period: the calendar month.
    #[must_use]
    pub fn at(mut self, text: &str) -> Self {
        self.0.occurred_at = moment(text);
        self.0.period = month_of(&self.0.occurred_at);
        self
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.0.purpose = purpose;
        self
    }

    /// The period that it occurred in.
    #[must_use]
    pub fn period(mut self, period: Period) -> Self {
        self.0.period = period;
        self
    }

    /// Reported after its period had ended.
    #[must_use]
    pub fn late(mut self) -> Self {
        self.0.late = true;
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

/// The cycle that begins and ends with a period.
fn cycle_of(period: Period) -> Cycle {
    Cycle { start: period.start, end: period.end }
}

/// The calendar month that holds a moment, as the first period.
fn month_of(now: &Moment) -> Period {
    let first_of = |year: i16, month: u8| {
        let local = days_since_1970(i64::from(year), i64::from(month), 1) * DAY;
        Moment::at_offset(local - i64::from(now.offset_seconds) * SECOND, now.offset_seconds)
    };
    let (next_year, next_month) = if now.month == 12 { (now.year + 1, 1) } else { (now.year, now.month + 1) };
    Period { number: 1, start: first_of(now.year, now.month), end: Some(first_of(next_year, next_month)) }
}

/// What a policy knows at `now`: a customer `acme` in its first period, which is the month that holds `now`, without
/// balances and grants.
#[must_use]
pub fn context(now: &str) -> ContextBuilder {
    let now = moment(now);
    let period = month_of(&now);
    ContextBuilder(Context {
        customer: Customer { id: "acme".to_owned(), plan: None, attributes: Vec::new() },
        now,
        period,
        terms_effective_at: period.start,
        contract: None,
        time_zone: "UTC".to_owned(),
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

    /// The contract that the terms belong to, with its start.
    #[must_use]
    pub fn contract(mut self, id: &str, start: &str) -> Self {
        self.0.contract = Some(Contract { id: id.to_owned(), start: moment(start), end: None });
        self
    }

    /// A grant with what remains of it, in the usual credits, effective from the period's start. It expires with the
    /// period when it is of category plan, else never. Its balance counts it.
    #[must_use]
    pub fn grant(self, id: &str, category: Category, granted: &str, remaining: &str) -> Self {
        let effective_at = self.0.period.start.at;
        let expires = if category == Category::Plan { Expiry::with_its_period() } else { Expiry::NEVER };
        self.with_grant(Grant {
            id: id.to_owned(),
            credit: CREDITS.to_owned(),
            category,
            priority: 0,
            amount: credits(granted),
            remaining: credits(remaining),
            held: Credits::ZERO,
            effective_at,
            expires,
            features: Vec::new(),
            cost_basis: None,
        })
    }

    /// Changes the grant that was added last. Its balance does not follow.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Grant)) -> Self {
        if let Some(grant) = self.0.grants.last_mut() {
            change(grant);
        }
        self
    }

    /// Any grant. Its balance counts it.
    #[must_use]
    pub fn with_grant(mut self, grant: Grant) -> Self {
        let spent = grant.amount.saturating_sub(grant.remaining).saturating_sub(grant.held);
        let balance = self.balance(&grant.credit);
        balance.granted = balance.granted.saturating_add(grant.amount);
        balance.available = balance.available.saturating_add(grant.remaining);
        balance.reserved = balance.reserved.saturating_add(grant.held);
        balance.used = balance.used.saturating_add(spent);
        self.0.grants.push(grant);
        self
    }

    /// Outstanding overage of the usual credits.
    #[must_use]
    pub fn overage(mut self, text: &str) -> Self {
        self.balance(CREDITS).overage = credits(text);
        self
    }

    /// Overage of the usual credits that reservations hold.
    #[must_use]
    pub fn held_overage(mut self, text: &str) -> Self {
        self.balance(CREDITS).held_overage = credits(text);
        self
    }

    /// The next counter's value, as a decimal of its unit: credits for a cost, units for a quantity.
    #[must_use]
    pub fn counter(self, used: &str) -> Self {
        self.counter_with_held(used, "0")
    }

    /// The next counter's value, with what open reservations hold.
    #[must_use]
    pub fn counter_with_held(mut self, used: &str, held: &str) -> Self {
        let decimal = |text: &str| parsed::<Decimal>(text);
        self.0.counters.push(Counted::new(decimal(used), decimal(held)));
        self
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> Context {
        self.0
    }

    fn balance(&mut self, credit: &str) -> &mut Balance {
        let balances = &mut self.0.balances;
        let place = balances.iter().position(|balance| balance.credit == credit).unwrap_or_else(|| {
            balances.push(Balance {
                credit: credit.to_owned(),
                granted: Credits::ZERO,
                used: Credits::ZERO,
                reserved: Credits::ZERO,
                available: Credits::ZERO,
                restricted: Credits::ZERO,
                overage: Credits::ZERO,
                held_overage: Credits::ZERO,
            });
            balances.len() - 1
        });
        balances.get_mut(place).unwrap_or_else(|| panic!("a balance that was just added"))
    }
}

/// The beginning of a period that is a cycle of its own.
#[must_use]
pub fn opening(reason: OpenReason, period: Period) -> Opening {
    Opening {
        period,
        reason,
        cycle: cycle_of(period),
        allowance: Allowance::Carry,
        given: Vec::<Given>::new(),
    }
}

/// A policy with settings, called the way the host calls it: checked once, then decided from the prepared form.
#[derive(Debug)]
pub struct Terms<M> {
    /// What the settings were prepared to.
    pub prepared: Prepared,
    policy: PhantomData<M>,
}

impl<M: Module> Terms<M> {
    /// Prepares settings from JSON text.
    ///
    /// # Errors
    /// What the policy finds wrong with them.
    pub fn prepare(settings: &str) -> Result<Self, Vec<Problem>> {
        Ok(Self { prepared: M::prepare(settings)?, policy: PhantomData })
    }

    /// Prepares settings that must be fine.
    ///
    /// # Panics
    /// When the policy finds something wrong with them.
    #[must_use]
    pub fn new(settings: &str) -> Self {
        Self::prepare(settings).unwrap_or_else(|problems| panic!("settings are refused: {problems:?}"))
    }

    /// The counters that the settings declared.
    #[must_use]
    pub fn counters(&self) -> &[Counter] {
        &self.prepared.counters
    }

    /// What a usage costs.
    ///
    /// # Errors
    /// Why it may not happen.
    pub fn rate(&self, usage: &UsageBuilder, context: &ContextBuilder) -> Result<Rating, Refusal> {
        M::rate(&self.prepared.form, &usage.0, &context.0)
    }

    /// What happens when this many credits are missing.
    ///
    /// # Panics
    /// When the policy refuses to rate the usage.
    #[must_use]
    pub fn overage(&self, usage: &UsageBuilder, shortfall: &str, context: &ContextBuilder) -> OverageOutcome {
        let rating = self.rate(usage, context).unwrap_or_else(|refusal| panic!("not rated: {refusal:?}"));
        M::overage(&self.prepared.form, &usage.0, &rating, credits(shortfall), &context.0)
    }

    /// What the end of the context's period does, which is a cycle of its own.
    #[must_use]
    pub fn close(&self, reason: CloseReason, context: &ContextBuilder) -> CloseOutcome {
        let period = context.0.period;
        self.close_in(cycle_of(period), reason, context)
    }

    /// What the end of the context's period does when that is a part of a cycle.
    #[must_use]
    pub fn close_in(&self, cycle: Cycle, reason: CloseReason, context: &ContextBuilder) -> CloseOutcome {
        M::close(&self.prepared.form, &Closing { period: context.0.period, cycle, reason }, &context.0)
    }

    /// What the beginning of a period does; see [`opening`].
    #[must_use]
    pub fn open(&self, opening: &Opening, context: &ContextBuilder) -> OpenOutcome {
        M::open(&self.prepared.form, opening, &context.0)
    }
}

/// A rating as text, one line a line: `input tokens: 1200 x 0.001 = 1.2`, then the total. A refusal is its code.
#[must_use]
pub fn show(rating: &Result<Rating, Refusal>) -> String {
    match rating {
        Ok(rating) => {
            let line = |line: &crate::rating::Line| {
                format!("{}: {} x {} = {}", line.label, line.quantity, line.unit_cost, line.cost)
            };
            let mut lines: Vec<String> = rating.lines.iter().map(line).collect();
            lines.push(format!("{} {}", rating.cost, rating.credit));
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
