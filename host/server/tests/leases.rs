//! Leases over HTTP: the routes, what a batch of settlements answers, and that each usage bills once whatever is repeated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::Server;

const LEASES: &str = "/v1/customers/acme/leases";

fn item(key: &str, tokens: u64) -> Value {
    json!({ "idempotency_key": key, "feature": "chat", "quantities": { "input_tokens": tokens } })
}

/// A lease of `acme`, whose tokens cost a thousandth each out of an allowance of 1000.
async fn opened(server: &Server, body: Value) -> (String, Value) {
    let lease = server.post(LEASES, &body).await.expect(201);
    (format!("{LEASES}/{}", lease["id"].as_str().unwrap()), lease)
}

async fn settle(server: &Server, lease: &str, items: &[Value]) -> Vec<Value> {
    let ask = server.ask("POST", &format!("{lease}/settlements"));
    ask.json(&json!(items)).send().await.expect(200).as_array().unwrap().clone()
}

async fn balance(server: &Server) -> (Value, Value, Value) {
    let balances = server.get("/v1/customers/acme/balance").await.expect(200);
    let one = &balances["balances"][0];
    (one["available"].clone(), one["reserved"].clone(), one["overage"].clone())
}

#[tokio::test]
async fn a_lease_is_opened_drawn_down_extended_and_closed() {
    let server = Server::with_acme().await;
    let (path, lease) = opened(&server, json!({ "amount": "100", "ttl_seconds": 600 })).await;
    for (field, value) in [
        ("status", json!("open")),
        ("amount", json!("100")),
        ("drawn", json!("0")),
        ("remaining", json!("100")),
        ("credit", json!("credits")),
        ("customer", json!("acme")),
        ("features", json!([])),
    ] {
        assert_eq!(lease[field], value, "{field}: {lease}");
    }
    assert_eq!(lease["balance"]["reserved"], "100");
    let results = settle(&server, &path, &[item("a", 30_000), item("b", 20_000)]).await;
    let [first, second] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&first["status"], &second["status"]), (&json!(201), &json!(201)));
    let id = lease["id"].clone();
    assert_eq!(second["body"]["lease"], json!({ "id": id, "drawn": "20", "ended": false }));
    assert_eq!(second["body"]["cost"], "20");
    assert_eq!(second["body"]["draws"].as_array().unwrap().len(), 1);
    let read = server.get(&path).await.expect(200);
    assert_eq!((&read["drawn"], &read["remaining"]), (&json!("50"), &json!("50")));
    let open = server.get(LEASES).await.expect(200);
    assert_eq!(open["data"], json!([read]));
    assert_eq!(server.get("/v1/customers/acme/balance").await.expect(200)["leases"], json!([read]));
    assert_eq!(server.get("/v1/customers/acme/reservations").await.expect(200)["data"], json!([]));
    // A total, whatever is repeated.
    for _ in 0..2 {
        let extended = server.post(&format!("{path}/extend"), &json!({ "amount": "130" })).await.expect(200);
        assert_eq!((&extended["amount"], &extended["remaining"]), (&json!("130"), &json!("80")));
    }
    let less = server.post(&format!("{path}/extend"), &json!({ "amount": "1" })).await.expect(200);
    assert_eq!((&less["amount"], &less["added"]), (&json!("130"), &json!("0")));
    let closed = server.post(&format!("{path}/close"), &json!({})).await.expect(200);
    assert_eq!((&closed["drawn"], &closed["returned"]), (&json!("50"), &json!("80")));
    assert_eq!(balance(&server).await, (json!("950"), json!("0"), json!("0")));
    let read = server.get(&path).await.expect(200);
    assert_eq!((&read["status"], &read["returned"]), (&json!("closed"), &json!("80")));
    server.post(&format!("{path}/close"), &json!({})).await.refuses(409, "lease_closed");
    let late = server.post(&format!("{path}/extend"), &json!({ "ttl_seconds": 60 })).await;
    late.refuses(409, "lease_closed");
}

#[tokio::test]
async fn each_usage_bills_once_and_also_after_the_end() {
    let server = Server::with_acme().await;
    let (path, _) = opened(&server, json!({ "amount": "100", "ttl_seconds": 60 })).await;
    settle(&server, &path, &[item("a", 10_000)]).await;
    // The answer was lost; the client sends it again, in a larger batch, after the lease has ended.
    server.now("2026-01-01T13:00:00Z").await;
    for round in 0..2 {
        let results = settle(&server, &path, &[item("b", 5_000), item("a", 10_000)]).await;
        assert_eq!(results[0]["body"]["lease"]["ended"], true, "{results:?}");
        assert_eq!(results[0]["body"]["lease"]["drawn"], "0");
        assert_eq!(results[0]["replayed"], if round == 0 { Value::Null } else { json!(true) });
        assert_eq!(
            (&results[1]["replayed"], &results[1]["body"]["lease"]["drawn"]),
            (&json!(true), &json!("10"))
        );
    }
    assert_eq!(balance(&server).await, (json!("985"), json!("0"), json!("0")));
    assert_eq!(server.get(&path).await.expect(200)["status"], "expired");
    // Another usage under the same key is none.
    let results = settle(&server, &path, &[item("a", 11_000)]).await;
    assert_eq!(results[0]["body"]["code"], "idempotency_key_reused");
    // Without a price nothing can be billed, and the others are.
    let free = json!({ "idempotency_key": "c", "feature": "nothing", "quantities": { "input_tokens": 1 } });
    let results = settle(&server, &path, &[free, item("d", 1_000)]).await;
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(422), &json!(201)), "{results:?}");
}

#[tokio::test]
async fn a_lease_is_refused_with_what_is_available_and_which_budget_denies() {
    let server = Server::with_acme().await;
    let refused = server.post(LEASES, &json!({ "amount": "1000.5" })).await;
    let body = refused.json();
    refused.refuses(402, "insufficient_credits");
    assert_eq!(
        (&body["required"], &body["available"], &body["credit"]),
        (&json!("1000.5"), &json!("1000"), &json!("credits"))
    );
    server.put("/v1/customers/acme/entities/gateway", &json!({})).await.expect(201);
    let budget = json!({ "entity": "gateway", "window": "day", "limit": "50" });
    server.put("/v1/customers/acme/budgets/daily", &budget).await.expect(201);
    let (path, _) = opened(&server, json!({ "amount": "40", "entity": "gateway" })).await;
    let refused = server.post(LEASES, &json!({ "amount": "11", "entity": "gateway" })).await;
    let body = refused.json();
    refused.refuses(402, "budget_exceeded");
    assert_eq!(
        (&body["budget"], &body["held"], &body["remaining"], &body["retry_at"]),
        (&json!("daily"), &json!("40"), &json!("10"), &json!("2026-01-02T00:00:00Z"))
    );
    let more = server.post(&format!("{path}/extend"), &json!({ "amount": "51" })).await;
    more.refuses(402, "budget_exceeded");
    server
        .post(&format!("{path}/extend"), &json!({ "ttl_seconds": 0 }))
        .await
        .refuses(400, "invalid_request");
    server.post(&format!("{path}/extend"), &json!({})).await.refuses(400, "invalid_request");
    server.post(LEASES, &json!({ "amount": "0" })).await.refuses(400, "invalid_request");
    server.get(&format!("{LEASES}/lease_999")).await.refuses(404, "lease_not_found");
    // What is no lease.
    server.get(&format!("{LEASES}/lease_1")).await.refuses(404, "lease_not_found");
    let ask = server.ask("POST", &format!("{LEASES}/lease_1/settlements"));
    ask.json(&json!([item("x", 1)])).send().await.refuses(404, "lease_not_found");
    let ask = server.ask("POST", "/v1/customers/nobody/leases/lease_1/settlements");
    ask.json(&json!([item("x", 1)])).send().await.refuses(404, "customer_not_found");
    let reservation = path.replace("/leases/lease_", "/reservations/res_");
    let commit = json!({ "quantities": { "input_tokens": 1 } });
    server.post(&format!("{reservation}/commit"), &commit).await.refuses(404, "reservation_not_found");
    server.post(&format!("{reservation}/release"), &json!({})).await.refuses(404, "reservation_not_found");
}

#[tokio::test]
async fn a_lease_that_never_was_is_told_from_one_that_ended() {
    let server = Server::with_acme().await;
    for path in ["lease_1", "lease_999"] {
        server.post(&format!("{LEASES}/{path}/close"), &json!({})).await.refuses(404, "lease_not_found");
        let more = server.post(&format!("{LEASES}/{path}/extend"), &json!({ "amount": "5" })).await;
        more.refuses(404, "lease_not_found");
    }
}
