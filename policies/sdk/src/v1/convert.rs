//! Conversions between the records of `wit/v1` and the sdk's types. Strings and lists are moved, never copied.

use super::wit;
use crate::{
    boundary::{
        Allowance, CloseOutcome, CloseReason, Closing, Fee, FeeMethod, Given, NewGrant, OpenOutcome,
        OpenReason, Opening, Rollover, Settlement, SettlementMethod,
    },
    context::{Balance, Category, Context, Grant},
    counter::Counted,
    overage::{Offer, OverageOutcome, TopUp},
    policy::{Prepared, SettleOverageFrom, damaged},
    rating::{Line, Rating, Refusal, RefusalKind, Suggestion},
    usage::{NamedQuantity, Purpose, Usage},
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use proviso_amounts::{Credits, Decimal, Money, Price, Quantity};

fn all<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// A type that crosses the interface as one of these names.
trait Named: Copy + Default + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

/// A name that is not known counts as the first one, as the interface says.
fn from_name<T: Named>(name: &str) -> T {
    let known = T::NAMES.iter().find(|(known, _)| *known == name);
    known.map_or_else(T::default, |(_, value)| *value)
}

fn name<T: Named>(value: T) -> String {
    let known = T::NAMES.iter().find(|(_, known)| *known == value);
    known.map_or("", |(name, _)| name).to_owned()
}

macro_rules! named {
    ($type:ident { $($name:literal: $variant:ident),* }) => {
        impl Named for $type {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant)),*];
        }
    };
}
named!(Purpose { "charge": Charge, "reserve": Reserve, "commit": Commit });
named!(Category {
    "plan": Plan,
    "trial": Trial,
    "prepaid": Prepaid,
    "promotional": Promotional,
    "top_up": TopUp,
    "contract": Contract,
    "rollover": Rollover,
    "adjustment": Adjustment
});
named!(CloseReason {
    "scheduled": Scheduled,
    "early": Early,
    "plan_changed": PlanChanged,
    "plan_ended": PlanEnded,
    "closed": Closed
});
named!(OpenReason {
    "started": Started,
    "scheduled": Scheduled,
    "early": Early,
    "plan_changed": PlanChanged
});
named!(Allowance { "carry": Carry, "prorate": Prorate, "full": Full });
named!(RefusalKind { "denied": Denied, "invalid": Invalid });
named!(FeeMethod { "drawn": Drawn, "invoiced": Invoiced });
named!(SettlementMethod { "invoice": Invoice, "waive": Waive, "deduct": Deduct });
named!(SettleOverageFrom { "purchases": Purchases, "reset": Reset, "never": Never });

impl From<wit::Decimal> for Decimal {
    fn from(decimal: wit::Decimal) -> Self {
        // 64 bits of whole units and 12 places always fit. The host keeps `part` within its bounds.
        Self::from_units(i128::from(decimal.whole) * Self::SCALE + i128::from(decimal.part))
    }
}

impl From<Decimal> for wit::Decimal {
    fn from(decimal: Decimal) -> Self {
        let (whole, part) = decimal.to_parts();
        Self { whole, part }
    }
}

macro_rules! through_decimal {
    ($($type:ident),*) => {$(
        impl From<wit::Decimal> for $type {
            fn from(decimal: wit::Decimal) -> Self {
                Self::new(decimal.into())
            }
        }

        impl From<$type> for wit::Decimal {
            fn from(amount: $type) -> Self {
                amount.decimal().into()
            }
        }
    )*};
}
through_decimal!(Credits, Quantity, Price);

impl From<wit::Money> for Money {
    fn from(money: wit::Money) -> Self {
        let currency = money.currency.parse();
        let money = currency.and_then(|currency| Self::new(money.amount.into(), currency));
        money.unwrap_or_else(|_| damaged("the host handed in money that is none"))
    }
}

impl From<Money> for wit::Money {
    fn from(money: Money) -> Self {
        Self { amount: money.amount().into(), currency: money.currency().code().to_owned() }
    }
}

// What the host hands in.

impl From<wit::Quantity> for NamedQuantity {
    fn from(quantity: wit::Quantity) -> Self {
        Self { name: quantity.name, amount: quantity.amount.into() }
    }
}

impl From<wit::Usage> for Usage {
    fn from(usage: wit::Usage) -> Self {
        Self {
            feature: usage.feature,
            quantities: all(usage.quantities),
            attributes: usage.attributes,
            entities: usage.entities,
            occurred_at: usage.occurred_at,
            purpose: from_name(&usage.purpose),
            period: usage.period,
            late: usage.late,
        }
    }
}

impl From<wit::Balance> for Balance {
    fn from(balance: wit::Balance) -> Self {
        Self {
            credit: balance.credit,
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

impl From<wit::Grant> for Grant {
    fn from(grant: wit::Grant) -> Self {
        Self {
            id: grant.id,
            credit: grant.credit,
            category: from_name(&grant.category),
            priority: grant.priority,
            amount: grant.amount.into(),
            remaining: grant.remaining.into(),
            held: grant.held.into(),
            effective_at: grant.effective_at,
            expires: grant.expires,
            features: grant.features,
            cost_basis: grant.cost_basis.map(Into::into),
        }
    }
}

impl From<wit::Counted> for Counted<Decimal> {
    fn from(counted: wit::Counted) -> Self {
        Self::new(counted.used.into(), counted.held.into())
    }
}

impl From<wit::Context> for Context {
    fn from(context: wit::Context) -> Self {
        Self {
            customer: context.customer,
            now: context.now,
            period: context.period,
            terms_effective_at: context.terms_effective_at,
            contract: context.contract,
            time_zone: context.time_zone,
            balances: all(context.balances),
            grants: all(context.grants),
            counters: all(context.counters),
        }
    }
}

impl From<wit::Line> for Line {
    fn from(line: wit::Line) -> Self {
        Self {
            label: line.label,
            quantity: line.quantity.into(),
            unit_cost: line.unit_cost.into(),
            cost: line.cost.into(),
        }
    }
}

impl From<wit::Rating> for Rating {
    fn from(rating: wit::Rating) -> Self {
        Self {
            credit: rating.credit,
            cost: rating.cost.into(),
            lines: all(rating.lines),
            draw_order: rating.draw_order,
        }
    }
}

impl From<wit::Closing> for Closing {
    fn from(closing: wit::Closing) -> Self {
        Self { period: closing.period, cycle: closing.cycle, reason: from_name(&closing.reason) }
    }
}

impl From<wit::Given> for Given {
    fn from(given: wit::Given) -> Self {
        Self { credit: given.credit, amount: given.amount.into() }
    }
}

impl From<wit::Opening> for Opening {
    fn from(opening: wit::Opening) -> Self {
        Self {
            period: opening.period,
            reason: from_name(&opening.reason),
            cycle: opening.cycle,
            allowance: from_name(&opening.allowance),
            given: all(opening.given),
        }
    }
}

// What the policy answers.

impl From<Prepared> for wit::Prepared {
    fn from(prepared: Prepared) -> Self {
        Self {
            form: prepared.form,
            counters: prepared.counters,
            features: prepared.features,
            settle_overage_from: name(prepared.settle_overage_from),
            period_categories: prepared.period_categories.into_iter().map(name).collect(),
        }
    }
}

impl From<NamedQuantity> for wit::Quantity {
    fn from(quantity: NamedQuantity) -> Self {
        Self { name: quantity.name, amount: quantity.amount.into() }
    }
}

impl From<Line> for wit::Line {
    fn from(line: Line) -> Self {
        Self {
            label: line.label,
            quantity: line.quantity.into(),
            unit_cost: line.unit_cost.into(),
            cost: line.cost.into(),
        }
    }
}

impl From<Rating> for wit::Rating {
    fn from(rating: Rating) -> Self {
        Self {
            credit: rating.credit,
            cost: rating.cost.into(),
            lines: all(rating.lines),
            draw_order: rating.draw_order,
        }
    }
}

impl From<Suggestion> for wit::Suggestion {
    fn from(suggestion: Suggestion) -> Self {
        Self {
            detail: suggestion.detail,
            attributes: suggestion.attributes,
            quantities: all(suggestion.quantities),
        }
    }
}

impl From<Refusal> for wit::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: name(refusal.kind),
            code: refusal.code,
            detail: refusal.detail,
            retry_at: refusal.retry_at,
            suggestions: all(refusal.suggestions),
        }
    }
}

impl From<Offer> for wit::Offer {
    fn from(offer: Offer) -> Self {
        Self {
            code: offer.code,
            label: offer.label,
            credits: offer.credits.into(),
            price: offer.price.map(Into::into),
        }
    }
}

impl From<TopUp> for wit::TopUp {
    fn from(top_up: TopUp) -> Self {
        Self {
            amount: top_up.amount.into(),
            priority: top_up.priority,
            expires: top_up.expires,
            cost_basis: top_up.cost_basis.map(Into::into),
        }
    }
}

impl From<OverageOutcome> for wit::OverageOutcome {
    fn from(outcome: OverageOutcome) -> Self {
        match outcome {
            OverageOutcome::Deny(refusal) => Self::Deny(refusal.into()),
            OverageOutcome::Allow(limit) => Self::Allow(limit.into()),
            OverageOutcome::RequirePurchase(offers) => Self::RequirePurchase(all(offers)),
            OverageOutcome::TopUp(top_up) => Self::TopUp(top_up.into()),
            OverageOutcome::Reduce(quantities) => Self::Reduce(all(quantities)),
        }
    }
}

impl From<Rollover> for wit::Rollover {
    fn from(rollover: Rollover) -> Self {
        Self {
            grant: rollover.grant,
            amount: rollover.amount.into(),
            held_share: rollover.held_share.into(),
            held_limit: rollover.held_limit.into(),
            priority: rollover.priority,
            expires: rollover.expires,
        }
    }
}

impl From<Fee> for wit::Fee {
    fn from(fee: Fee) -> Self {
        Self { credit: fee.credit, label: fee.label, amount: fee.amount.into(), method: name(fee.method) }
    }
}

impl From<Settlement> for wit::Settlement {
    fn from(settlement: Settlement) -> Self {
        Self {
            credit: settlement.credit,
            amount: settlement.amount.map(Into::into),
            method: name(settlement.method),
        }
    }
}

impl From<CloseOutcome> for wit::CloseOutcome {
    fn from(outcome: CloseOutcome) -> Self {
        Self {
            roll_over: all(outcome.roll_over),
            expire: outcome.expire,
            fees: all(outcome.fees),
            settle: all(outcome.settle),
            notes: outcome.notes,
        }
    }
}

impl From<NewGrant> for wit::NewGrant {
    fn from(grant: NewGrant) -> Self {
        Self {
            credit: grant.credit,
            amount: grant.amount.into(),
            category: name(grant.category),
            priority: grant.priority,
            effective_at: grant.effective_at,
            expires: grant.expires,
            features: grant.features,
            cost_basis: grant.cost_basis.map(Into::into),
            allowance: name(grant.allowance),
        }
    }
}

impl From<OpenOutcome> for wit::OpenOutcome {
    fn from(outcome: OpenOutcome) -> Self {
        Self { issue: all(outcome.issue), settle: all(outcome.settle), notes: outcome.notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        calendar::Expiry,
        testing::{context, credits, moment, usage},
        usage::{Attribute, Entity},
    };
    use alloc::{format, vec};
    use core::fmt::Debug;

    fn decimal(text: &str) -> wit::Decimal {
        text.parse::<Decimal>().unwrap().into()
    }

    #[test]
    fn decimals_cross_as_whole_units_and_a_part() {
        for (text, whole, part) in [
            ("0", 0, 0),
            ("12.5", 12, 500_000_000_000),
            ("-0.000000000001", 0, -1),
            ("-12.5", -12, -500_000_000_000),
            ("999999999999999.999999999999", 999_999_999_999_999, 999_999_999_999),
            ("9223372036854775807.999999999999", i64::MAX, 999_999_999_999),
        ] {
            let crossed = decimal(text);
            assert_eq!((crossed.whole, crossed.part), (whole, part), "{text}");
            assert_eq!(Decimal::from(crossed), text.parse().unwrap());
        }
        let beyond = wit::Decimal::from(Decimal::MAX);
        assert_eq!((beyond.whole, beyond.part), (i64::MAX, 999_999_999_999));
    }

    fn all_names<T: Named + Debug>() {
        for (text, value) in T::NAMES {
            assert_eq!((from_name::<T>(text), name(*value).as_str()), (*value, *text));
        }
        assert_eq!(Some(from_name::<T>("of a later version")), T::NAMES.first().map(|(_, value)| *value));
    }

    #[test]
    fn a_name_that_is_not_known_counts_as_the_first() {
        all_names::<Purpose>();
        all_names::<Category>();
        all_names::<CloseReason>();
        all_names::<OpenReason>();
        all_names::<Allowance>();
        all_names::<RefusalKind>();
        all_names::<FeeMethod>();
        all_names::<SettlementMethod>();
        all_names::<SettleOverageFrom>();
    }

    #[test]
    fn what_the_host_hands_in_arrives() {
        let late = usage("chat").quantity("tokens", "1.5").entity("ann").entity("sales").late();
        let late = late.purpose(Purpose::Commit).build();
        let entity = |id: &str| Entity { id: id.to_owned(), attributes: vec![] };
        let handed_in = wit::Usage {
            feature: "chat".to_owned(),
            quantities: vec![wit::Quantity { name: "tokens".to_owned(), amount: decimal("1.5") }],
            attributes: vec![],
            entities: vec![entity("ann"), entity("sales")],
            occurred_at: moment("2026-01-01T00:00:00Z"),
            purpose: "commit".to_owned(),
            period: late.period,
            late: true,
        };
        assert_eq!(Usage::from(handed_in), late);

        let known = context("2026-01-10T00:00:00Z").grant("g1", Category::TopUp, "10", "3");
        let known = known.but(|grant| grant.held = credits("2")).counter_with_held("7", "0.5").build();
        let balance = |text: &str| decimal(text);
        let handed_in = wit::Context {
            customer: known.customer.clone(),
            now: known.now,
            period: known.period,
            terms_effective_at: known.terms_effective_at,
            contract: None,
            time_zone: "UTC".to_owned(),
            balances: vec![wit::Balance {
                credit: "credits".to_owned(),
                granted: balance("10"),
                used: balance("7"),
                reserved: balance("0"),
                available: balance("3"),
                restricted: balance("0"),
                overage: balance("0"),
                held_overage: balance("0"),
            }],
            grants: vec![wit::Grant {
                id: "g1".to_owned(),
                credit: "credits".to_owned(),
                category: "top_up".to_owned(),
                priority: 0,
                amount: decimal("10"),
                remaining: decimal("3"),
                held: decimal("2"),
                effective_at: known.period.start.at,
                expires: Expiry::NEVER,
                features: vec![],
                cost_basis: None,
            }],
            counters: vec![wit::Counted { used: decimal("7"), held: decimal("0.5") }],
        };
        let context = Context::from(handed_in);
        assert_eq!(context, known);
        let counted = context.cost_counter(0);
        assert_eq!((counted.used(), counted.total()), (credits("7"), credits("7.5")));
    }

    #[test]
    fn what_the_policy_answers_leaves_as_it_is() {
        let rating = Rating::of([Line::fixed("a", credits("2"))]).unwrap().in_credit("images");
        let there: wit::Rating = rating.clone().into();
        assert_eq!(Rating::from(there), rating);

        let suggestion = Suggestion::new("smaller").quantity("n", Quantity::ONE).attribute("model", "small");
        let refusal = Refusal::invalid("code", "detail").retry_at(5).suggest(suggestion);
        let there: wit::Refusal = refusal.into();
        assert_eq!((there.kind.as_str(), there.code.as_str(), there.retry_at), ("invalid", "code", Some(5)));
        let [suggestion] = there.suggestions.as_slice() else { panic!("{there:?}") };
        assert_eq!(
            suggestion.attributes,
            [Attribute { name: "model".to_owned(), value: "small".to_owned() }]
        );
        assert_eq!(format!("{:?}", suggestion.quantities[0].amount), format!("{:?}", decimal("1")));

        let price: Money = Money::new("9.9".parse().unwrap(), "EUR".parse().unwrap()).unwrap();
        let there: wit::Money = price.into();
        assert_eq!(there.currency, "EUR");
        assert_eq!(Money::from(there), price);

        let closed = CloseOutcome {
            roll_over: vec![Rollover::new("g1", credits("5")).held(Decimal::ONE, credits("2"))],
            fees: vec![Fee::invoiced("true-up", credits("3"))],
            settle: vec![Settlement::waive("credits"), Settlement::deduct("credits").up_to(credits("1"))],
            ..CloseOutcome::default()
        };
        let there: wit::CloseOutcome = closed.into();
        assert_eq!(Decimal::from(there.roll_over[0].held_share), Decimal::ONE);
        assert_eq!(there.fees[0].method, "invoiced");
        let settled = there.settle.iter().map(|settled| (settled.method.as_str(), settled.amount.is_some()));
        assert_eq!(Vec::from_iter(settled), [("waive", false), ("deduct", true)]);

        let issued: wit::NewGrant = NewGrant::new(Category::Plan, credits("5")).into();
        assert_eq!((issued.category.as_str(), issued.allowance.as_str()), ("plan", "carry"));
        assert_eq!(issued.expires, Expiry::with_its_period());
    }
}
