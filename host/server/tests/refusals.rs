//! Every kind of refusal of a usage says what to do next: what it needs and what there is, what to buy or change, when that resets, and
//! which level said no.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings, usage};

const RESET: &str = "2026-02-15T10:00:00Z";

/// Settings of a customer of its own, on a plan that gives 100 credits a month.
async fn customer(server: &Server, name: &str, change: Value) -> String {
    let mut all = settings("0.001", "100");
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    server.put(&format!("/v1/customers/{name}"), &json!({"plan": "pro"})).await.expect(201);
    let terms = json!({"policy": "standard", "settings": all});
    server.post(&format!("/v1/customers/{name}/terms"), &terms).await.expect(201);
    format!("/v1/customers/{name}")
}

/// A kind of refusal, the customer it is provoked of, the usage, and what of the problem has which value.
struct Kind {
    code: &'static str,
    status: u16,
    customer: String,
    usage: Value,
    says: Value,
}

#[tokio::test]
async fn each_kind_of_refusal_says_what_to_do_next() {
    let server = Server::start().await;
    server.upload("standard").await.expect(201);
    server.put("/v1/plans/pro", &support::plan("0.001", "100")).await.expect(201);
    let plain = customer(&server, "plain", json!({})).await;
    let offers = json!([{"code": "pack", "label": "500 credits", "credits": "500", "price": {"amount": "5", "currency": "EUR"}}]);
    let overage = json!({"mode": "require_purchase", "offers": offers});
    let buyer = customer(&server, "buyer", json!({"overage": overage})).await;
    let topped = customer(&server, "topped", json!({"overage": overage})).await;
    let rule = json!({"threshold": "101", "amount": "50"});
    server.put(&format!("{topped}/auto-top-ups/credits"), &rule).await.expect(201);
    let capped = customer(&server, "capped", json!({"overage": {"mode": "allow", "limit": "5"}})).await;
    let budgeted = customer(&server, "budgeted", json!({})).await;
    for (id, parent) in [("org", Value::Null), ("team", json!("org")), ("ann", json!("team"))] {
        server.put(&format!("{budgeted}/entities/{id}"), &json!({"parent": parent})).await.expect(201);
    }
    let budget = json!({"entity": "team", "window": "day", "limit": "2"});
    server.put(&format!("{budgeted}/budgets/daily"), &budget).await.expect(201);
    let hold = json!({"feature": "chat", "quantities": {"input_tokens": 1_500}, "entity": "ann"});
    server.post(&format!("{budgeted}/reservations"), &hold).await.expect(201);
    let excepted = customer(&server, "excepted", json!({})).await;
    let off = json!({"type": "boolean", "value": false});
    server.put(&format!("{excepted}/entitlements/chat"), &off).await.expect(200);

    let by_ann = json!({"feature": "chat", "quantities": {"input_tokens": 900}, "entity": "ann"});
    let short = json!({"required": "150", "available": "100", "credit": "credits", "next_reset_at": RESET});
    let with = |more: Value| {
        let mut says = short.clone();
        says.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        says
    };
    let kinds = [
        Kind {
            code: "insufficient_credits",
            status: 402,
            customer: plain.clone(),
            usage: usage(150_000),
            says: with(json!({"retry_at": RESET, "offers": null, "pending_top_up": null, "budget": null})),
        },
        Kind {
            code: "purchase_required",
            status: 402,
            customer: buyer,
            usage: usage(150_000),
            says: with(json!({"offers": offers, "pending_top_up": null})),
        },
        Kind {
            code: "purchase_required",
            status: 402,
            customer: topped,
            usage: usage(150_000),
            says: with(json!({"offers": offers, "pending_top_up/amount": "50"})),
        },
        Kind {
            code: "insufficient_credits",
            status: 402,
            customer: capped,
            usage: usage(150_000),
            says: with(json!({"offers": null})),
        },
        Kind {
            code: "budget_exceeded",
            status: 402,
            customer: budgeted,
            usage: by_ann,
            says: json!({
                "budget": "daily", "level": "entity", "entity": "team", "window": "day", "limit": "2", "used": "0",
                "held": "1.5", "remaining": "0.5", "retry_at": "2026-01-16T00:00:00Z", "required": "0.9",
                "available": "98.5", "next_reset_at": RESET,
            }),
        },
        Kind {
            code: "not_entitled",
            status: 402,
            customer: plain.clone(),
            usage: json!({"feature": "export", "quantities": {}}),
            says: json!({"source": "plan"}),
        },
        Kind {
            code: "not_entitled",
            status: 402,
            customer: excepted,
            usage: usage(1),
            says: json!({"source": "override"}),
        },
        Kind {
            code: "feature_not_rated",
            status: 422,
            customer: plain,
            usage: json!({"feature": "unheard-of", "quantities": {}}),
            says: json!({"required": "0", "available": "100", "next_reset_at": RESET}),
        },
    ];
    for Kind { code, status, customer, usage, says } in kinds {
        for route in ["charges", "reservations"] {
            let path = format!("{customer}/{route}");
            let refused = server
                .ask("POST", &path)
                .key(&format!("{route}-{code}"))
                .json(&usage)
                .send()
                .await
                .refuses(status, code);
            for (place, value) in says.as_object().unwrap() {
                let found = refused.pointer(&format!("/{place}")).unwrap_or(&Value::Null);
                assert_eq!(found, value, "{path} {code}: {place} in {refused}");
            }
            assert!(refused["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{refused}");
        }
    }
}

/// What can't be rated at all says what is missing.
#[tokio::test]
async fn what_no_terms_rate_says_so() {
    let server = Server::start().await;
    server.put("/v1/customers/bare", &json!({})).await.expect(201);
    let path = "/v1/customers/bare/charges";
    let none =
        server.ask("POST", path).key("a").json(&usage(1)).send().await.refuses(409, "no_terms_in_force");
    assert!(none["detail"].as_str().unwrap().contains("bind a policy"), "{none}");
    assert_eq!(server.delete("/v1/customers/bare").await.status, 200);
    let closed =
        server.ask("POST", path).key("b").json(&usage(1)).send().await.refuses(409, "customer_closed");
    assert!(closed["detail"].as_str().unwrap().contains("closed"), "{closed}");
}
