//! Who is on stage: plans, customers and contracts, chosen so that every way to run out of credits is seen.

use serde_json::{Value, json};

/// A customer of the demo.
#[derive(Debug)]
pub struct Customer {
    /// Its key.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// Its plan.
    pub plan: &'static str,
    /// Its zone.
    pub time_zone: &'static str,
    /// Credits that it has bought.
    pub prepaid: Option<&'static str>,
}

/// The customer whose terms are swapped while traffic flows.
pub const SWAPPED: &str = "acme";
/// The customer that has a contract of its own from the start.
pub const NIGHT_OWL: &str = "harbor";

/// The customers, in the order in which requests go round them.
pub const CUSTOMERS: [Customer; 8] = [
    customer(SWAPPED, "Acme Inc.", "pro", "America/New_York", Some("10000")),
    customer("borealis", "Borealis AS", "pro", "Europe/Oslo", None),
    customer("cobalt", "Cobalt GmbH", "pro", "Europe/Berlin", Some("10000")),
    customer("dune", "Dune Labs", "starter", "Asia/Dubai", None),
    customer("ember", "Ember Ltd", "starter", "Europe/London", Some("2000")),
    customer("fjord", "Fjord AB", "team", "Europe/Stockholm", None),
    customer("grove", "Grove Inc.", "auto", "America/Los_Angeles", None),
    customer(NIGHT_OWL, "Harbor KK", "pro", "Asia/Tokyo", Some("10000")),
];

const fn customer(
    key: &'static str,
    name: &'static str,
    plan: &'static str,
    time_zone: &'static str,
    prepaid: Option<&'static str>,
) -> Customer {
    Customer { key, name, plan, time_zone, prepaid }
}

/// The plans: one policy, four settings.
pub fn plans() -> [(&'static str, Value); 4] {
    let offer = json!({"code": "pack_1000", "label": "1,000 credits", "credits": "1000",
                       "price": {"amount": "20", "currency": "EUR"}});
    [
        ("starter", plan("Starter", "500", &json!({"mode": "block"}))),
        ("pro", plan("Pro", "2000", &json!({"mode": "allow", "limit": "1000"}))),
        ("team", plan("Team", "1500", &json!({"mode": "require_purchase", "offers": [offer]}))),
        (
            "auto",
            plan(
                "Auto",
                "1000",
                &json!({
                    "mode": "top_up", "pack": "500", "price": {"amount": "12", "currency": "EUR"},
                }),
            ),
        ),
    ]
}

fn plan(name: &str, allowance: &str, overage: &Value) -> Value {
    let rate = |model: &str, quantity: &str, price: &str| {
        let label = format!("{} {}", model, quantity.replace('_', " "));
        json!({"quantity": quantity, "when": {"model": model}, "label": label, "price": {"per_unit": price}})
    };
    let settings = json!({
        "rates": [
            rate("small", "input_tokens", "0.0002"),
            rate("small", "output_tokens", "0.0008"),
            rate("large", "input_tokens", "0.001"),
            rate("large", "output_tokens", "0.004"),
        ],
        "overage": overage,
        "reset": {"allowance": [{"amount": allowance}], "overage": "invoice"},
    });
    json!({"name": name, "interval": "month", "terms": {"policy": "standard", "version": 1, "settings": settings}})
}

/// The contract exception that the swapped customer gets: list prices whatever the model, less a discount for a promise.
pub fn contract_terms() -> Value {
    json!({
        "policy": "committed-use",
        "on_fault": "plan",
        "settings": {
            "prices": [
                {"quantity": "input_tokens", "price": "0.0004"},
                {"quantity": "output_tokens", "price": "0.0016"},
            ],
            "committed_percent": 70,
            "further_percent": 90,
            "ramp": [{"from": 1, "commitment": "3000"}, {"from": 4, "commitment": "5000"}],
            "overage_limit": "1000",
        },
    })
}

/// Cheaper nights in the customer's own time, and a cap for each user and day.
pub fn night_terms() -> Value {
    json!({
        "policy": "night-rates",
        "settings": {
            "prices": [
                {"quantity": "input_tokens", "price": "0.0004"},
                {"quantity": "output_tokens", "price": "0.0016"},
            ],
            "night": {"from": "20:00", "to": "06:00", "percent": 50},
            "weekend_percent": 75,
            "daily_cap": "50",
            "allowance": "2000",
        },
    })
}
