//! What has become of reservations and grants that have ended, however long ago.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

async fn reserve(server: &Server, ttl: u32) -> String {
    let mut body = usage(100_000);
    body["ttl_seconds"] = json!(ttl);
    let reserved = server.post("/v1/customers/acme/reservations", &body).await.expect(201);
    format!("/v1/customers/acme/reservations/{}", reserved["id"].as_str().unwrap())
}

fn fields(value: &Value, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| value[*name].clone()).collect()
}

#[tokio::test]
async fn a_reservation_that_has_ended_tells_its_outcome() {
    let server = Server::with_acme().await;
    let [committed, released, expired, open] = [
        reserve(&server, 900).await,
        reserve(&server, 900).await,
        reserve(&server, 60).await,
        reserve(&server, 9_000).await,
    ];
    let actual = json!({"quantities": {"input_tokens": 40_000}});
    let commit = server.post(&format!("{committed}/commit"), &actual).await.expect(200);
    server.ask("POST", &format!("{released}/release")).key("r").send().await.expect(200);
    server.now("2026-01-15T10:05:00Z").await;
    let names = ["status", "reserved", "cost", "returned", "overage", "ended_at", "charge"];
    let at = "2026-01-15T10:00:00Z";
    for later in ["2026-01-15T10:05:01Z", "2026-09-01T00:00:00Z"] {
        for (path, expected) in [
            (&committed, json!(["committed", "100", "40", "60", "0", at, commit["id"]])),
            (&released, json!(["released", "100", null, "100", null, at, null])),
            (&expired, json!(["expired", "100", null, "100", null, "2026-01-15T10:01:00Z", null])),
        ] {
            let read = server.get(path).await.expect(200);
            assert_eq!(json!(fields(&read, &names)), expected, "{path} at {later}");
        }
        server.now(later).await;
    }
    let read = server.get(&open).await.expect(200);
    assert_eq!(read["status"], "expired", "{read}");
    let another = reserve(&server, 60).await;
    assert_eq!(server.get(&another).await.expect(200)["status"], "open");
    for unknown in ["res_1", "res_999", "res_3_1"] {
        let path = format!("/v1/customers/acme/reservations/{unknown}");
        server.get(&path).await.refuses(404, "reservation_not_found");
    }
}

#[tokio::test]
async fn a_hold_is_not_extended_for_ever() {
    let server = Server::with_acme().await;
    let path = reserve(&server, 86_400).await;
    let extend = format!("{path}/extend");
    for (day, minute) in [(16, 55), (17, 50), (18, 45), (19, 40), (20, 35), (21, 30)] {
        server.now(&format!("2026-01-{day}T09:{minute}:00Z")).await;
        server.post(&extend, &json!({"ttl_seconds": 86_400})).await.expect(200);
    }
    let extended = server.post(&extend, &json!({"ttl_seconds": 86_400})).await.expect(200);
    assert_eq!(extended["expires_at"], "2026-01-22T09:30:00Z");
    server.now("2026-01-22T08:00:00Z").await;
    let refused = server.post(&extend, &json!({"ttl_seconds": 86_400})).await;
    assert_eq!(refused.pointers(), ["/ttl_seconds"]);
    refused.refuses(409, "reservation_too_long");
    server.post(&extend, &json!({"ttl_seconds": 7_200})).await.expect(200);
}

#[tokio::test]
async fn a_commit_that_has_no_price_is_billed_as_it_was_reserved() {
    let server = Server::with_acme().await;
    let path = reserve(&server, 900).await;
    // The policy prices input tokens, and refuses what it does not know.
    let wrong = json!({"quantities": {"imput_tokens": 40_000}});
    let billed = server.post(&format!("{path}/commit"), &wrong).await.expect(200);
    assert_eq!(fields(&billed, &["cost", "returned"]), [json!("100"), json!("0")], "{billed}");
    assert!(billed["as_reserved"]["code"].is_string(), "{billed}");
    assert_eq!(billed["as_reserved"]["invalid"], true, "{billed}");
    assert_eq!(billed["as_reserved"]["reported"], json!({"imput_tokens": "40000"}), "{billed}");
    let refund = format!("/v1/customers/acme/charges/{}/refunds", billed["id"].as_str().unwrap());
    let back = server.post(&refund, &json!({"amount": "60", "reason": "misspelt"})).await.expect(201);
    assert_eq!(back["balance"]["available"], "960");
}

#[tokio::test]
async fn a_grant_of_long_ago_is_still_read() {
    let server = Server::with_acme().await;
    let body = json!({"amount": "5", "category": "promotional", "expires_at": "2026-01-16T00:00:00Z"});
    let given = server.post("/v1/customers/acme/grants", &body).await.expect(201);
    let path = format!("/v1/customers/acme/grants/{}", given["id"].as_str().unwrap());
    server.now("2026-01-17T00:00:00Z").await;
    let read = server.get(&path).await.expect(200);
    assert_eq!(fields(&read, &["status", "amount", "spent"]), [json!("expired"), json!("5"), json!("0")]);
    server.now("2026-06-01T00:00:00Z").await;
    let listed = server.get("/v1/customers/acme/grants").await.expect(200);
    assert!(listed["data"].as_array().unwrap().iter().all(|one| one["id"] != given["id"]), "{listed}");
    let read = server.get(&path).await.expect(200);
    assert_eq!(
        fields(&read, &["status", "amount", "remaining", "spent"]),
        [json!("expired"), json!("5"), json!("0"), Value::Null]
    );
    server.get("/v1/customers/acme/grants/grant_1").await.refuses(404, "grant_not_found");
}

#[tokio::test]
async fn of_an_ended_grant_the_balance_has_only_what_is_held() {
    let server = Server::with_acme().await;
    server.post("/v1/customers/acme/charges", &usage(800_000)).await.expect(201);
    server.now("2026-02-15T09:30:00Z").await;
    let held = reserve(&server, 7_200).await;
    let names = ["granted", "used", "reserved", "available", "overage"];
    let balance = async || {
        let read = server.get("/v1/customers/acme/balance").await.expect(200);
        fields(&read["balances"][0], &names)
    };
    assert_eq!(balance().await, ["1000", "800", "100", "100", "0"]);
    // The next period: what was used of the last one's grant is no longer told.
    server.now("2026-02-15T10:30:00Z").await;
    assert_eq!(balance().await, ["1100", "0", "100", "1000", "0"]);
    let actual = json!({"quantities": {"input_tokens": 40_000}});
    let commit = server.post(&format!("{held}/commit"), &actual).await.expect(200);
    assert_eq!(fields(&commit["balance"], &names), ["1000", "0", "0", "1000", "0"]);
}
