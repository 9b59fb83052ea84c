//! `null` in a PUT clears the field or is refused by its name; it is never taken for a field that was left out. The table is held
//! against the document, so that no field of a PUT is left out of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{Server, plan};

const CUSTOMER: &str = "/v1/customers/{customer}";
const PLAN: &str = "/v1/plans/{plan}";
const POLICY: &str = "/v1/policies/{policy}";
const ENTITY: &str = "/v1/customers/{customer}/entities/{entity}";
const BUDGET: &str = "/v1/customers/{customer}/budgets/{budget}";
const OVERRIDE: &str = "/v1/customers/{customer}/entitlements/{feature}";

const TOP_UP: &str = "/v1/customers/{customer}/auto-top-ups/{credit}";
const ADD_ON: &str = "/v1/add-ons/{add_on}";
const CUSTOMER_ADD_ON: &str = "/v1/customers/{customer}/add-ons/{add_on}";
const BUNDLE: &str = "/v1/bundles/{bundle}";
const PROMOTION: &str = "/v1/promotions/{promotion}";

/// What `null` comes to.
enum Null {
    /// The field is cleared: what shows it, and what that says then.
    Shows(&'static str, Value),
    /// It can't be cleared: 400 with the field's name.
    Refused,
    /// It could be cleared, were it not fixed once it is there.
    Fixed(&'static str),
}

use Null::{Fixed, Refused, Shows};

/// A route, what is put first, and the field that is put as `null` afterwards.
fn rows() -> Vec<(&'static str, Value, &'static str, Null)> {
    let grants = json!([{"key": "welcome", "amount": "5"}]);
    let trial = json!({"duration": "P14D", "then": "stay"});
    let budget = |more: Value| {
        let mut body = json!({"window": "day", "limit": "5"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let top_up = |more: Value| {
        let mut body = json!({"threshold": "10", "target": "100"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let product = |more: Value| {
        let mut body = json!({"amount": "10"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let price = json!({"amount": "0.01", "currency": "EUR"});
    let later = json!("2026-02-01T00:00:00Z");
    let once = json!([{"key": "hello", "amount": "5", "recurrence": "once"}]);
    let attribute = json!({"name": "model", "value": "large"});
    let switched_on = json!({"type": "boolean", "value": true});
    vec![
        (CUSTOMER, json!({"name": "Acme Inc."}), "name", Shows("name", json!("row-0"))),
        (CUSTOMER, json!({"plan": "pro"}), "plan", Shows("plan", Value::Null)),
        (CUSTOMER, json!({"time_zone": "Europe/Berlin"}), "time_zone", Shows("time_zone", json!("UTC"))),
        (
            CUSTOMER,
            json!({"anchor": "2026-01-20T10:00:00Z"}),
            "anchor",
            Shows("anchor", json!(support::START)),
        ),
        (CUSTOMER, json!({"attributes": {"tier": "gold"}}), "attributes", Shows("attributes", json!({}))),
        (CUSTOMER, json!({"external_ids": {"erp": "7"}}), "external_ids", Shows("external_ids", json!({}))),
        (PLAN, json!({"name": "Pro"}), "name", Shows("name", json!("row-6"))),
        (PLAN, json!({"interval": "month"}), "interval", Fixed("plan_interval_fixed")),
        (
            PLAN,
            json!({"entitlements": {"chat": {"type": "metered"}}}),
            "entitlements",
            Shows("entitlements", json!({})),
        ),
        (PLAN, json!({ "grants": grants }), "grants", Shows("grants", json!([]))),
        (PLAN, json!({ "trial": trial }), "trial", Shows("trial", Value::Null)),
        (PLAN, plan("0.001", "1000"), "terms", Shows("terms", Value::Null)),
        (POLICY, json!({"description": "Rates"}), "description", Shows("description", json!(""))),
        (
            POLICY,
            json!({"resource_class": "small"}),
            "resource_class",
            Shows("resource_class", json!("default")),
        ),
        (ENTITY, json!({"parent": "acme-inc"}), "parent", Shows("parent", Value::Null)),
        (ENTITY, json!({"attributes": {"floor": "3"}}), "attributes", Shows("attributes", json!({}))),
        (BUDGET, budget(json!({"entity": "acme-inc"})), "entity", Shows("entity", Value::Null)),
        (BUDGET, budget(json!({ "attribute": attribute })), "attribute", Shows("attribute", Value::Null)),
        (BUDGET, budget(json!({"features": ["chat"]})), "features", Shows("features", json!([]))),
        (BUDGET, budget(json!({})), "window", Refused),
        (BUDGET, budget(json!({})), "limit", Refused),
        (BUDGET, budget(json!({"quantity": "n"})), "quantity", Shows("quantity", Value::Null)),
        (BUDGET, budget(json!({"credit": "gpu"})), "credit", Shows("credit", json!("credits"))),
        (BUDGET, budget(json!({"hard": false})), "hard", Shows("hard", json!(true))),
        (BUDGET, budget(json!({"soft": true})), "soft", Shows("hard", json!(true))),
        (BUDGET, budget(json!({"warn_at": [90]})), "warn_at", Shows("warn_at", json!([50, 80, 100]))),
        (OVERRIDE, switched_on.clone(), "type", Refused),
        (OVERRIDE, switched_on, "value", Refused),
        (
            OVERRIDE,
            json!({"type": "metered", "starts_at": "2026-02-01T00:00:00Z"}),
            "starts_at",
            Shows("starts_at", json!(support::START)),
        ),
        (
            OVERRIDE,
            json!({"type": "metered", "ends_at": "2026-02-01T00:00:00Z"}),
            "ends_at",
            Shows("ends_at", Value::Null),
        ),
        (TOP_UP, top_up(json!({})), "threshold", Refused),
        (TOP_UP, top_up(json!({})), "target", Refused),
        (TOP_UP, top_up(json!({})), "amount", Refused),
        (TOP_UP, top_up(json!({"max": 7})), "max", Shows("max", json!(5))),
        (TOP_UP, top_up(json!({"per": "week"})), "per", Shows("per", json!("day"))),
        (
            TOP_UP,
            top_up(json!({"cool_down_seconds": 60})),
            "cool_down_seconds",
            Shows("cool_down_seconds", json!(3_600)),
        ),
        (
            TOP_UP,
            top_up(json!({"answer_seconds": 60})),
            "answer_seconds",
            Shows("answer_seconds", json!(86_400)),
        ),
        (TOP_UP, top_up(json!({"max_failures": 9})), "max_failures", Shows("max_failures", json!(3))),
        (TOP_UP, top_up(json!({ "unit_price": price })), "unit_price", Shows("unit_price", Value::Null)),
        (TOP_UP, top_up(json!({"priority": 5})), "priority", Shows("priority", json!(0))),
        (TOP_UP, top_up(json!({"expires": {"after": "P30D"}})), "expires", Shows("expires", json!("never"))),
        (TOP_UP, top_up(json!({"enabled": false})), "enabled", Shows("enabled", json!(true))),
        (ADD_ON, json!({"name": "More"}), "name", Shows("name", json!("row-NAME"))),
        (ADD_ON, json!({"interval": "month"}), "interval", Shows("interval", Value::Null)),
        (ADD_ON, json!({ "grants": once }), "grants", Shows("grants", json!([]))),
        (
            ADD_ON,
            json!({"entitlements": {"chat": {"type": "metered"}}}),
            "entitlements",
            Shows("entitlements", json!({})),
        ),
        (ADD_ON, json!({"max_quantity": 5}), "max_quantity", Shows("max_quantity", Value::Null)),
        (ADD_ON, json!({"for_sale": false}), "for_sale", Shows("for_sale", json!(true))),
        (CUSTOMER_ADD_ON, json!({"quantity": 5}), "quantity", Shows("quantity", json!(1))),
        (CUSTOMER_ADD_ON, json!({"version": 1}), "version", Refused),
        (
            CUSTOMER_ADD_ON,
            json!({ "starts_at": later }),
            "starts_at",
            Shows("starts_at", json!(support::START)),
        ),
        (CUSTOMER_ADD_ON, json!({ "ends_at": later }), "ends_at", Shows("ends_at", Value::Null)),
        (BUNDLE, json!({"amount": "5", "name": "Pack"}), "name", Shows("name", json!("row-NAME"))),
        (PROMOTION, json!({"amount": "5", "name": "Spring"}), "name", Shows("name", json!("row-NAME"))),
        (BUNDLE, product(json!({})), "amount", Refused),
        (BUNDLE, product(json!({"credit": "gpu"})), "credit", Shows("credit", json!("credits"))),
        (BUNDLE, product(json!({ "price": price })), "price", Shows("price", Value::Null)),
        (BUNDLE, product(json!({"category": "top_up"})), "category", Shows("category", json!("prepaid"))),
        (BUNDLE, product(json!({"priority": 5})), "priority", Shows("priority", json!(0))),
        (BUNDLE, product(json!({"features": ["chat"]})), "features", Shows("features", json!([]))),
        (BUNDLE, product(json!({"expires": {"after": "P30D"}})), "expires", Shows("expires", json!("never"))),
        (BUNDLE, product(json!({"for_sale": false})), "for_sale", Shows("for_sale", json!(true))),
        (PROMOTION, product(json!({})), "amount", Refused),
        (PROMOTION, product(json!({"credit": "gpu"})), "credit", Shows("credit", json!("credits"))),
        (PROMOTION, product(json!({"priority": 5})), "priority", Shows("priority", json!(0))),
        (PROMOTION, product(json!({"features": ["chat"]})), "features", Shows("features", json!([]))),
        (
            PROMOTION,
            product(json!({"expires": {"after": "P30D"}})),
            "expires",
            Shows("expires", json!("never")),
        ),
        (PROMOTION, product(json!({ "starts_at": later })), "starts_at", Shows("starts_at", Value::Null)),
        (PROMOTION, product(json!({ "ends_at": later })), "ends_at", Shows("ends_at", Value::Null)),
        (
            PROMOTION,
            product(json!({"max_redemptions": 5})),
            "max_redemptions",
            Shows("max_redemptions", Value::Null),
        ),
        (PROMOTION, product(json!({"plans": ["pro"]})), "plans", Shows("plans", json!([]))),
    ]
}

/// Where the row of a number is put: each has a thing of its own, those of a customer all that of `acme`.
fn path_of(template: &str, number: usize) -> String {
    let (rest, _) = template.rsplit_once('{').unwrap();
    format!("{}row-{number}", rest.replace("{customer}", "acme"))
}

#[tokio::test]
async fn null_clears_a_field_or_is_refused_by_its_name() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/acme/entities/acme-inc", &json!({})).await.expect(201);
    for (number, (template, body, field, null)) in rows().into_iter().enumerate() {
        let (path, said) = (path_of(template, number), format!("{template} {body} {field}"));
        if template == CUSTOMER_ADD_ON {
            server.put(&path_of(ADD_ON, number), &json!({})).await.expect(201);
        }
        let first = server.put(&path, &body).await;
        assert!([200, 201].contains(&first.status), "{said}: {}", first.text());
        let before = first.json();
        let answer = server.put(&path, &json!({ field: null })).await;
        match null {
            Shows(shown, value) => {
                // What is named by itself.
                let own = || json!(format!("row-{number}"));
                let value = if value == "row-NAME" { own() } else { value };
                let after = answer.expect(200);
                assert_ne!(before[shown], value, "{said} was not there to be cleared: {before}");
                assert_eq!(after[shown], value, "{said}");
                continue;
            }
            Refused => {
                assert_eq!(answer.pointers(), [format!("/{field}")], "{said}: {}", answer.text());
                answer.refuses(400, "invalid_request");
            }
            Fixed(code) => drop(answer.refuses(409, code)),
        }
        assert_eq!(server.put(&path, &json!({})).await.expect(200), before, "{said}");
    }
}

#[tokio::test]
async fn the_table_has_every_field_of_every_put() {
    let server = Server::start().await;
    let document = server.ask("GET", "/openapi.json").anonymous().send().await.expect(200);
    let follow = |schema: &Value| match schema["$ref"].as_str() {
        Some(place) => document.pointer(place.strip_prefix('#').unwrap()).unwrap().clone(),
        None => schema.clone(),
    };
    let is_nullable = |schema: &Value| {
        let named = |one: &Value| one == "null" || one["type"] == "null";
        let words = schema["type"].as_array().into_iter().chain(schema["oneOf"].as_array()).flatten();
        words.into_iter().any(named)
    };
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["put"]["requestBody"]["content"]["application/json"]["schema"];
        // A body that may be left out is one of several.
        for body in content["oneOf"].as_array().into_iter().flatten().chain([content]) {
            for (field, schema) in follow(body)["properties"].as_object().into_iter().flatten() {
                documented.insert((path.clone(), field.clone(), is_nullable(schema)));
            }
        }
    }
    let row = |(template, _, field, null): (&str, Value, &str, Null)| {
        (template.to_owned(), field.to_owned(), !matches!(null, Refused))
    };
    let rows: BTreeSet<_> = rows().into_iter().map(row).collect();
    assert_eq!(documented, rows, "path, field, and whether null may be given");
}
