//! What a policy is handed: borrows the ledger's types and gives them the interface's layout. Nothing is checked here,
//! and little is copied, since this runs for every decision.

use proviso_ledger::{decision, time};
use wasmtime::component::{ComponentType, Lower};

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Moment {
    at: i64,
    year: i16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    weekday: u8,
    #[component(name = "offset-seconds")]
    offset_seconds: i32,
}

impl From<&time::Moment> for Moment {
    fn from(moment: &time::Moment) -> Self {
        let &time::Moment { at, year, month, day, hour, minute, second, weekday, offset_seconds } = moment;
        Self { at: at.0, year, month, day, hour, minute, second, weekday, offset_seconds }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Quantity<'a> {
    name: &'a str,
    amount: i64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
}

fn attributes(pairs: &[(String, String)]) -> Vec<Attribute<'_>> {
    pairs.iter().map(|(name, value)| Attribute { name, value }).collect()
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Usage<'a> {
    feature: &'a str,
    quantities: Vec<Quantity<'a>>,
    attributes: Vec<Attribute<'a>>,
    entity: Option<&'a str>,
    #[component(name = "occurred-at")]
    occurred_at: Moment,
}

impl<'a> Usage<'a> {
    pub(crate) fn new(usage: &'a decision::Usage, occurred_at: &time::Moment) -> Self {
        Self {
            feature: usage.feature.as_str(),
            quantities: usage
                .quantities
                .iter()
                .map(|(name, amount)| Quantity { name, amount: amount.0 })
                .collect(),
            attributes: attributes(&usage.attributes),
            entity: usage.entity.as_ref().map(AsRef::as_ref),
            occurred_at: occurred_at.into(),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Balance<'a> {
    credit: &'a str,
    granted: i64,
    used: i64,
    reserved: i64,
    available: i64,
    overage: i64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Grant<'a> {
    id: String,
    credit: &'a str,
    category: &'a str,
    priority: i32,
    amount: i64,
    remaining: i64,
    #[component(name = "effective-at")]
    effective_at: i64,
    #[component(name = "expires-at")]
    expires_at: Option<i64>,
    features: Vec<&'a str>,
    paid: bool,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Customer<'a> {
    id: &'a str,
    plan: Option<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Period {
    number: u32,
    start: Moment,
    end: Option<Moment>,
}

impl From<&decision::PeriodView> for Period {
    fn from(period: &decision::PeriodView) -> Self {
        Self {
            number: period.number,
            start: (&period.start).into(),
            end: period.end.as_ref().map(Into::into),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context<'a> {
    customer: Customer<'a>,
    now: Moment,
    period: Period,
    #[component(name = "terms-effective-at")]
    terms_effective_at: Moment,
    balances: Vec<Balance<'a>>,
    grants: Vec<Grant<'a>>,
    counters: &'a [i64],
}

/// Which of the context's lists a call is handed. A policy sees what the interface promises it and no more, whatever
/// the caller happened to have at hand: otherwise a replay could differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling {
    pub(crate) balances: bool,
    pub(crate) grants: bool,
    pub(crate) customer_attributes: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(context: &'a decision::Context, filling: Filling) -> Self {
        let attributes_shown = if filling.customer_attributes { context.attributes.as_slice() } else { &[] };
        let balances = if filling.balances { context.balances.as_slice() } else { &[] };
        let grants = if filling.grants { context.grants.as_slice() } else { &[] };
        Self {
            customer: Customer {
                id: context.customer.as_str(),
                plan: context.plan.as_ref().map(AsRef::as_ref),
                attributes: attributes(attributes_shown),
            },
            now: (&context.now).into(),
            period: (&context.period).into(),
            terms_effective_at: (&context.terms_effective_at).into(),
            balances: balances.iter().map(balance).collect(),
            grants: grants.iter().map(grant).collect(),
            counters: &context.counters,
        }
    }
}

fn balance(balance: &decision::Balance) -> Balance<'_> {
    Balance {
        credit: balance.credit.as_str(),
        granted: balance.granted.0,
        used: balance.used.0,
        reserved: balance.reserved.0,
        available: balance.available.0,
        overage: balance.overage.0,
    }
}

fn grant(grant: &decision::GrantView) -> Grant<'_> {
    Grant {
        id: grant.id.to_string(),
        credit: grant.credit.as_str(),
        category: grant.category.as_str(),
        priority: grant.priority,
        amount: grant.amount.0,
        remaining: grant.remaining.0,
        effective_at: grant.effective_at.0,
        expires_at: grant.expires_at.map(|at| at.0),
        features: grant.features.iter().map(AsRef::as_ref).collect(),
        paid: grant.paid,
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Line<'a> {
    label: &'a str,
    quantity: i64,
    #[component(name = "unit-cost")]
    unit_cost: i64,
    cost: i64,
}

/// A rating on its way back into `overage`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct RatingArgument<'a> {
    credit: &'a str,
    cost: i64,
    lines: Vec<Line<'a>>,
    #[component(name = "draw-order")]
    draw_order: Vec<String>,
}

impl<'a> From<&'a decision::Rating> for RatingArgument<'a> {
    fn from(rating: &'a decision::Rating) -> Self {
        let line = |line: &'a decision::Line| Line {
            label: &line.label,
            quantity: line.quantity.0,
            unit_cost: line.unit_cost.0,
            cost: line.cost.0,
        };
        Self {
            credit: rating.credit.as_str(),
            cost: rating.cost.0,
            lines: rating.lines.iter().map(line).collect(),
            draw_order: rating.draw_order.iter().map(ToString::to_string).collect(),
        }
    }
}
