//! What a policy is handed: the ledger's types, borrowed, in the interface's layout. Nothing is checked here, and little is
//! copied, since this runs for every decision.

use proviso_ledger::model::{
    amounts::{self, Credits},
    answers,
    counter::Counted as Total,
    time, view,
};
use wasmtime::component::{ComponentType, Lower};

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Decimal {
    whole: i64,
    part: i64,
}

impl From<amounts::Decimal> for Decimal {
    fn from(decimal: amounts::Decimal) -> Self {
        let (whole, part) = decimal.to_parts();
        Self { whole, part }
    }
}

impl From<Credits> for Decimal {
    fn from(credits: Credits) -> Self {
        credits.decimal().into()
    }
}

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

impl From<time::Moment> for Moment {
    fn from(moment: time::Moment) -> Self {
        let time::Moment { at, year, month, day, hour, minute, second, weekday, offset_seconds } = moment;
        Self { at: at.0, year, month, day, hour, minute, second, weekday, offset_seconds }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Period {
    number: u32,
    start: Moment,
    end: Option<Moment>,
}

impl From<view::PeriodView> for Period {
    fn from(view::PeriodView { number, start, end }: view::PeriodView) -> Self {
        Self { number, start: start.into(), end: end.map(Into::into) }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Quantity<'a> {
    name: &'a str,
    amount: Decimal,
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
pub(crate) struct Entity<'a> {
    id: &'a str,
    attributes: Vec<Attribute<'a>>,
}

/// Which lists a call is handed. A policy sees what the interface promises it and no more, whatever the caller has at hand:
/// otherwise a replay could differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling {
    pub(crate) balances: bool,
    pub(crate) grants: bool,
    pub(crate) customer_attributes: bool,
    pub(crate) entity_attributes: bool,
}

impl Filling {
    /// What the manifest needs, and no more.
    pub(crate) const fn needed(needs: answers::Needs) -> Self {
        let answers::Needs { balances, grants, customer_attributes, entity_attributes } = needs;
        Self { balances, grants, customer_attributes, entity_attributes }
    }

    /// How many grants the call is handed.
    pub(crate) fn grants(self, context: &view::Context) -> usize {
        if self.grants { context.grants.len() } else { 0 }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Usage<'a> {
    feature: &'a str,
    quantities: Vec<Quantity<'a>>,
    attributes: Vec<Attribute<'a>>,
    entities: Vec<Entity<'a>>,
    #[component(name = "occurred-at")]
    occurred_at: Moment,
    purpose: &'static str,
    period: Period,
    late: bool,
}

impl<'a> Usage<'a> {
    pub(crate) fn new(view: &'a view::UsageView<'_>, filling: Filling) -> Self {
        let quantity = |(name, amount): &'a (String, amounts::Quantity)| Quantity {
            name,
            amount: amount.decimal().into(),
        };
        let entity = |entity: &'a view::EntityView| Entity {
            id: entity.id.as_str(),
            attributes: attributes(if filling.entity_attributes { &entity.attributes } else { &[] }),
        };
        Self {
            feature: view.usage.feature.as_str(),
            quantities: view.usage.quantities.iter().map(quantity).collect(),
            attributes: attributes(&view.usage.attributes),
            entities: view.entities.iter().map(entity).collect(),
            occurred_at: view.occurred_at.into(),
            purpose: view.purpose.as_str(),
            period: view.period.into(),
            late: view.late,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Money {
    amount: Decimal,
    currency: &'static str,
}

impl From<amounts::Money> for Money {
    fn from(money: amounts::Money) -> Self {
        Self { amount: money.amount().into(), currency: money.currency().code() }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Balance<'a> {
    credit: &'a str,
    granted: Decimal,
    used: Decimal,
    reserved: Decimal,
    available: Decimal,
    restricted: Decimal,
    overage: Decimal,
    #[component(name = "held-overage")]
    held_overage: Decimal,
}

impl<'a> From<&'a view::BalanceView> for Balance<'a> {
    fn from(balance: &'a view::BalanceView) -> Self {
        Self {
            credit: balance.credit.as_str(),
            granted: balance.granted.into(),
            used: balance.used.into(),
            reserved: balance.reserved.into(),
            available: balance.available.into(),
            restricted: balance.restricted.into(),
            overage: balance.overage.into(),
            held_overage: balance.held_overage.into(),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Expiry {
    at: Option<i64>,
    #[component(name = "with-period")]
    with_period: Option<u32>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Grant<'a> {
    id: String,
    credit: &'a str,
    category: &'static str,
    priority: i32,
    amount: Decimal,
    remaining: Decimal,
    held: Decimal,
    #[component(name = "effective-at")]
    effective_at: i64,
    expires: Expiry,
    features: Vec<&'a str>,
    #[component(name = "cost-basis")]
    cost_basis: Option<Money>,
}

impl<'a> From<&'a view::GrantView> for Grant<'a> {
    fn from(grant: &'a view::GrantView) -> Self {
        let view::Expiry { at, with_period } = grant.expires;
        Self {
            id: grant.id.to_string(),
            credit: grant.credit.as_str(),
            category: grant.category.as_str(),
            priority: grant.priority,
            amount: grant.amount.into(),
            remaining: grant.remaining.into(),
            held: grant.held.into(),
            effective_at: grant.effective_at.0,
            expires: Expiry { at: at.map(|at| at.0), with_period },
            features: grant.features.iter().map(AsRef::as_ref).collect(),
            cost_basis: grant.cost_basis.map(Into::into),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Customer<'a> {
    id: &'a str,
    plan: Option<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Contract<'a> {
    id: &'a str,
    start: Moment,
    end: Option<Moment>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Counted {
    used: Decimal,
    held: Decimal,
}

impl From<&Total> for Counted {
    fn from(total: &Total) -> Self {
        Self { used: total.used.into(), held: total.held.into() }
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
    contract: Option<Contract<'a>>,
    #[component(name = "time-zone")]
    time_zone: &'a str,
    balances: Vec<Balance<'a>>,
    grants: Vec<Grant<'a>>,
    counters: Vec<Counted>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(context: &'a view::Context, filling: Filling) -> Self {
        let attributes_shown = if filling.customer_attributes { context.attributes.as_slice() } else { &[] };
        let balances = if filling.balances { context.balances.as_slice() } else { &[] };
        let grants = if filling.grants { context.grants.as_slice() } else { &[] };
        Self {
            customer: Customer {
                id: context.customer.as_str(),
                plan: context.plan.as_ref().map(AsRef::as_ref),
                attributes: attributes(attributes_shown),
            },
            now: context.now.into(),
            period: context.period.into(),
            terms_effective_at: context.terms_effective_at.into(),
            contract: context.contract.as_ref().map(|contract| Contract {
                id: &contract.id,
                start: contract.start.into(),
                end: contract.end.map(Into::into),
            }),
            time_zone: &context.time_zone,
            balances: balances.iter().map(Into::into).collect(),
            grants: grants.iter().map(Into::into).collect(),
            counters: context.counters.iter().map(Into::into).collect(),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Line<'a> {
    label: &'a str,
    quantity: Decimal,
    #[component(name = "unit-cost")]
    unit_cost: Decimal,
    cost: Decimal,
}

/// A rating on its way back into `overage`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Rating<'a> {
    credit: &'a str,
    cost: Decimal,
    lines: Vec<Line<'a>>,
    #[component(name = "draw-order")]
    draw_order: Vec<String>,
}

impl<'a> From<&'a answers::Rating> for Rating<'a> {
    fn from(rating: &'a answers::Rating) -> Self {
        let line = |line: &'a answers::Line| Line {
            label: &line.label,
            quantity: line.quantity.decimal().into(),
            unit_cost: line.unit_cost.decimal().into(),
            cost: line.cost.into(),
        };
        Self {
            credit: rating.credit.as_str(),
            cost: rating.cost.into(),
            lines: rating.lines.iter().map(line).collect(),
            draw_order: rating.draw_order.iter().map(ToString::to_string).collect(),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Cycle {
    start: Moment,
    end: Option<Moment>,
}

impl From<view::CycleView> for Cycle {
    fn from(cycle: view::CycleView) -> Self {
        Self { start: cycle.start.into(), end: cycle.end.map(Into::into) }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Closing {
    period: Period,
    cycle: Cycle,
    reason: &'static str,
}

impl From<&view::Closing> for Closing {
    fn from(closing: &view::Closing) -> Self {
        Self { period: closing.period.into(), cycle: closing.cycle.into(), reason: closing.reason }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Given<'a> {
    credit: &'a str,
    amount: Decimal,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Opening<'a> {
    period: Period,
    reason: &'static str,
    cycle: Cycle,
    allowance: &'static str,
    given: Vec<Given<'a>>,
}

impl<'a> From<&'a view::Opening> for Opening<'a> {
    fn from(opening: &'a view::Opening) -> Self {
        let given = opening.given.iter();
        Self {
            period: opening.period.into(),
            reason: opening.reason,
            cycle: opening.cycle.into(),
            allowance: opening.allowance,
            given: given
                .map(|(credit, amount)| Given { credit: credit.as_str(), amount: (*amount).into() })
                .collect(),
        }
    }
}
