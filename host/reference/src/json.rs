//! Settings as JSON, for the policy in `policy/`, which reads them again. Amounts are texts of whole numbers of 10^-12.

use crate::settings::{
    AllowanceRule, Amount, CounterSpec, Mode, OverageRule, Settings, SettleFrom, Settling, Whose, Window,
};
use serde_json::{Value, json};

/// What the module's `prepare` takes.
pub fn settings(settings: &Settings) -> Value {
    let prices = settings
        .prices
        .iter()
        .map(|price| json!({"feature": price.feature, "credit": price.credit, "price": amount(price.price)}));
    let tier = settings.tier.as_ref().map(|tier| {
        json!({
            "feature": tier.feature, "window": window(tier.window), "above": amount(tier.above),
            "price": amount(tier.price),
        })
    });
    let cap = settings.cap.as_ref().map(|cap| {
        json!({
            "whose": whose(cap.whose), "window": window(cap.window), "features": cap.features,
            "limit": amount(cap.limit), "commits": cap.commits,
        })
    });
    let rollover = settings.rollover.as_ref().map(|rule| {
        json!({
            "percent": rule.percent as i64, "most": rule.most.map(amount), "periods": rule.periods,
            "categories": rule.categories, "priority": rule.priority, "only_scheduled": rule.only_scheduled,
        })
    });
    let fee = settings
        .fee
        .as_ref()
        .map(|fee| json!({"credit": fee.credit, "least": amount(fee.least), "drawn": fee.drawn}));
    json!({
        "prices": prices.collect::<Vec<_>>(),
        "tier": tier,
        "cap": cap,
        "newest_first": settings.newest_first,
        "overage": overage(&settings.overage),
        "allowances": settings.allowances.iter().map(allowance).collect::<Vec<_>>(),
        "mode": match settings.mode {
            Mode::Asked => "asked",
            Mode::Carry => "carry",
            Mode::Prorate => "prorate",
            Mode::Full => "full",
        },
        "rollover": rollover,
        "fee": fee,
        "settle_close": settling(settings.settle_close),
        "settle_open": settling(settings.settle_open),
        "settle_from": match settings.settle_from {
            SettleFrom::Purchases => "purchases",
            SettleFrom::Reset => "reset",
            SettleFrom::Never => "never",
        },
        "period_categories": settings.period_categories,
        "counters": settings.counters.iter().map(counter).collect::<Vec<_>>(),
    })
}

fn amount(amount: Amount) -> String {
    amount.to_string()
}

fn overage(rule: &OverageRule) -> Value {
    match rule {
        OverageRule::Block => json!("block"),
        OverageRule::Allow(limit) => json!({"allow": amount(*limit)}),
        OverageRule::TopUp { block, priority, lasts, with_period, paid } => json!({"top_up": {
            "block": amount(*block), "priority": priority, "lasts": lasts, "with_period": with_period,
            "paid": paid,
        }}),
        OverageRule::Purchase => json!("purchase"),
        OverageRule::Reduce => json!("reduce"),
    }
}

fn allowance(rule: &AllowanceRule) -> Value {
    json!({
        "credit": rule.credit, "amount": amount(rule.amount), "category": rule.category,
        "priority": rule.priority, "features": rule.features, "starts_in": rule.starts_in, "lasts": rule.lasts,
        "with_period": rule.with_period, "paid": rule.paid.map(amount),
    })
}

fn counter(spec: &CounterSpec) -> Value {
    json!({
        "cost": spec.cost, "features": spec.features, "whose": whose(spec.whose),
        "window": window(spec.window),
    })
}

fn settling(how: Settling) -> &'static str {
    match how {
        Settling::Keep => "keep",
        Settling::Invoice => "invoice",
        Settling::Waive => "waive",
        Settling::Deduct => "deduct",
        Settling::InvoiceHalf => "invoice_half",
    }
}

fn whose(whose: Whose) -> &'static str {
    match whose {
        Whose::Customer => "customer",
        Whose::Entity => "entity",
        Whose::Model => "model",
    }
}

fn window(window: Window) -> Value {
    match window {
        Window::Period => json!("period"),
        Window::Cycle => json!("cycle"),
        Window::Day => json!("day"),
        Window::Week => unreachable!("of budgets only"),
        Window::Month => json!("month"),
        Window::Hours(hours) => json!({"hours": hours}),
        Window::Lifetime => json!("lifetime"),
    }
}
