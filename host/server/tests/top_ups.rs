//! Automatic top-ups over HTTP: the rule, the payment that is asked for once, and its answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

const RULE: &str = "/v1/customers/acme/auto-top-ups/credits";
const TOP_UPS: &str = "/v1/customers/acme/top-ups";

/// 1,000 credits a month, a thousandth for a token; asks below 100 for what is missing to 500.
async fn with_rule() -> Server {
    let server = Server::with_acme().await;
    let rule =
        json!({"threshold": "100", "target": "500", "unit_price": {"amount": "0.01", "currency": "EUR"}});
    server.put(RULE, &rule).await.expect(201);
    server
}

#[tokio::test]
async fn a_payment_is_asked_for_and_its_credits_are_given_once() {
    let server = with_rule().await;
    let rule = server.get(RULE).await.expect(200);
    assert_eq!(
        rule,
        json!({
            "credit": "credits", "threshold": "100", "target": "500", "max": 5, "per": "day",
            "cool_down_seconds": 3600, "answer_seconds": 86400, "max_failures": 3,
            "unit_price": {"amount": "0.01", "currency": "EUR"}, "priority": 0, "expires": "never", "enabled": true,
            "status": "ready", "count": 0, "failures": 0,
        })
    );
    server.charge("a", 900_000).await.expect(201);
    assert_eq!(server.get(TOP_UPS).await.expect(200)["data"], json!([]));
    let charged = server.charge("b", 10_000).await.expect(201);
    let asked = charged["entry"].as_u64().unwrap() + 1;
    let id = format!("topup_{asked}");
    let pending = json!({
        "id": id, "credit": "credits", "status": "pending", "amount": "410",
        "price": {"amount": "4.1", "currency": "EUR"}, "available": "90", "number": 1,
        "requested_at": "2026-01-15T10:00:00Z", "expires_at": "2026-01-16T10:00:00Z",
    });
    assert_eq!(server.get(&format!("{TOP_UPS}?status=pending")).await.expect(200)["data"], json!([pending]));
    assert_eq!(server.get(RULE).await.expect(200)["pending"], pending);
    assert_eq!(server.get(&format!("{TOP_UPS}/{id}")).await.expect(200), pending);
    let ledger = server.get("/v1/customers/acme/ledger?type=top_up_requested").await.expect(200);
    assert_eq!(ledger["data"][0]["entry"], asked, "{ledger}");

    // What lacks credits says that some are on their way; a check does, too.
    let refused = server.charge("c", 91_000).await.refuses(402, "insufficient_credits");
    let told = json!({"id": id, "amount": "410", "expires_at": "2026-01-16T10:00:00Z"});
    assert_eq!(refused["pending_top_up"], told);
    let check = server.post("/v1/customers/acme/check", &usage(91_000)).await.expect(200);
    assert_eq!((&check["allowed"], &check["pending_top_up"]), (&json!(false), &told));
    assert_eq!(server.get(TOP_UPS).await.expect(200)["data"].as_array().unwrap().len(), 1);

    // Whoever takes the money finds it without knowing the customer.
    let mut awaited = pending.clone();
    awaited["customer"] = json!("acme");
    assert_eq!(server.get("/v1/top-ups").await.expect(200)["data"], json!([awaited]));
    let own = server.secret(&json!({"name": "own", "scopes": ["read"], "customer": "acme"})).await;
    let seen = server.ask("GET", "/v1/top-ups").by(&own).send().await.expect(200);
    assert_eq!(seen["data"], json!([awaited]));

    let pay = format!("{TOP_UPS}/{id}/pay");
    let ask = || server.ask("POST", &pay).key("pay").json(&json!({"payment": "pi_1"}));
    let paid = ask().send().await.expect(200);
    assert_eq!((&paid["status"], &paid["payment"]), (&json!("paid"), &json!("pi_1")));
    assert_eq!(paid["grant"]["amount"], "410");
    assert_eq!(paid["grant"]["category"], "top_up");
    assert_eq!(paid["grant"]["cost_basis"], json!({"amount": "4.1", "currency": "EUR"}));
    assert_eq!(paid["grant"]["metadata"], json!({"top_up": id}));
    assert_eq!(paid["balance"]["available"], "500");
    let again = ask().send().await;
    assert!(again.is_replay());
    assert_eq!(again.expect(200), paid);
    assert_eq!(server.get("/v1/top-ups").await.expect(200)["data"], json!([]));
    server.post(&pay, &json!({})).await.refuses(409, "top_up_closed");
    server.post(&format!("{TOP_UPS}/{id}/decline"), &json!({})).await.refuses(409, "top_up_closed");
    let read = server.get(&format!("{TOP_UPS}/{id}")).await.expect(200);
    assert_eq!((&read["status"], &read["grant"]), (&json!("paid"), &paid["grant"]["id"]));
    // What was refused before is told as it was.
    let before = server.charge("c", 91_000).await;
    assert!(before.is_replay());
    assert_eq!(before.refuses(402, "insufficient_credits")["pending_top_up"], told);
}

#[tokio::test]
async fn declines_cool_down_and_the_alarm_is_an_entry() {
    let server = with_rule().await;
    server.charge("a", 950_000).await.expect(201);
    for (failures, now) in [(1, "2026-01-15T11:00:00Z"), (2, "2026-01-15T12:00:00Z"), (3, "")] {
        let pending = server.get(RULE).await.expect(200)["pending"].clone();
        let path = format!("{TOP_UPS}/{}/decline", pending["id"].as_str().unwrap());
        let declined = server.post(&path, &json!({"reason": "card_expired"})).await.expect(200);
        assert_eq!((&declined["status"], &declined["reason"]), (&json!("declined"), &json!("card_expired")));
        let rule = server.get(RULE).await.expect(200);
        assert_eq!(rule["failures"], failures);
        if !now.is_empty() {
            assert_eq!((&rule["status"], &rule["retry_at"]), (&json!("cooling_down"), &json!(now)));
            server.now(now).await;
        } else {
            assert_eq!((&rule["status"], &rule["retry_at"]), (&json!("payments_failed"), &Value::Null));
        }
    }
    let alarms = server.get("/v1/customers/acme/ledger?type=top_ups_halted").await.expect(200);
    assert_eq!(alarms["data"].as_array().unwrap().len(), 1, "{alarms}");
    // Who changes the rule is in the audit; so is who answered.
    server.put(RULE, &json!({"amount": "250", "target": null})).await.refuses(400, "invalid_request");
    let rule = server.put(RULE, &json!({"amount": "250"})).await.expect(200);
    assert_eq!(
        (&rule["amount"], &rule["target"], &rule["status"]),
        (&json!("250"), &Value::Null, &json!("pending"))
    );
    let audit = server.get("/v1/audit?customer=acme&type=auto_top_up_changed").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 2);
    assert_eq!(audit["data"][0]["after"]["fill"], json!({"amount": "250"}), "{audit}");
    let answers = server.get("/v1/audit?customer=acme&type=top_up_declined").await.expect(200);
    assert_eq!(answers["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_wrong_rule_is_refused_with_a_pointer() {
    let server = Server::with_acme().await;
    for (body, pointer) in [
        (json!({"target": "5"}), "/threshold"),
        (json!({"threshold": "5"}), "/target"),
        (json!({"threshold": "5", "target": "5"}), "/target"),
        (json!({"threshold": "-1", "target": "5"}), "/threshold"),
        (json!({"threshold": 1, "target": "5"}), "/threshold"),
        (json!({"threshold": "1", "amount": "0"}), "/amount"),
        (json!({"threshold": "1", "amount": "5", "target": "9"}), "/amount"),
        (json!({"threshold": "1", "amount": "5", "max": 0}), "/max"),
        (json!({"threshold": "1", "amount": "5", "per": "fortnight"}), "/per"),
        (json!({"threshold": "1", "amount": "5", "cool_down_seconds": 59}), "/cool_down_seconds"),
        (json!({"threshold": "1", "amount": "5", "answer_seconds": 2_592_001}), "/answer_seconds"),
        (json!({"threshold": "1", "amount": "5", "max_failures": 101}), "/max_failures"),
        (json!({"threshold": "1", "amount": "5", "surprise": true}), "/surprise"),
    ] {
        let answer = server.put(RULE, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.get(RULE).await.refuses(404, "auto_top_up_not_found");
    server.delete(RULE).await.refuses(404, "auto_top_up_not_found");
    server.get(&format!("{TOP_UPS}/topup_9")).await.refuses(404, "top_up_not_found");
    server.get(&format!("{TOP_UPS}/nine")).await.refuses(404, "top_up_not_found");
    server.post(&format!("{TOP_UPS}/topup_9/pay"), &json!({})).await.refuses(404, "top_up_not_found");
    let path = format!("{TOP_UPS}/topup_9/pay");
    server.ask("POST", &path).json(&json!({})).send().await.refuses(400, "idempotency_key_required");
    let long = json!({"payment": "x".repeat(513)});
    assert_eq!(server.post(&path, &long).await.pointers(), ["/payment"]);
}

#[tokio::test]
async fn a_rule_is_read_changed_and_taken_back_by_its_tag() {
    let server = with_rule().await;
    let read = server.get(RULE).await;
    let tag = read.header("etag").unwrap().to_owned();
    let change =
        |tag: &str, max: u32| server.ask("PUT", RULE).header("if-match", tag).json(&json!({"max": max}));
    let changed = change(&tag, 7).send().await;
    let newer = changed.header("etag").unwrap().to_owned();
    assert_eq!(changed.expect(200)["max"], 7);
    change(&tag, 8).send().await.refuses(412, "changed_meanwhile");
    // The same again changes nothing, and a null brings back what it is without it.
    assert_eq!(change(&newer, 7).send().await.expect(200)["max"], 7);
    assert_eq!(server.put(RULE, &json!({"max": null, "unit_price": null})).await.expect(200)["max"], 5);
    let rules = server.get("/v1/customers/acme/auto-top-ups").await.expect(200);
    assert_eq!(
        (&rules["data"][0]["credit"], &rules["data"][0]["unit_price"]),
        (&json!("credits"), &Value::Null)
    );
    // A customer's own key reads it, and sells itself nothing.
    let own = server.secret(&json!({"name": "own", "scopes": ["manage", "read"], "customer": "acme"})).await;
    server.ask("GET", RULE).by(&own).send().await.expect(200);
    let put = server.ask("PUT", RULE).by(&own).json(&json!({"max": 9})).send().await;
    put.refuses(403, "key_may_not_grant");
    server.charge("a", 950_000).await.expect(201);
    server.delete(RULE).await.refuses(409, "top_up_pending");
    assert_eq!(server.put(RULE, &json!({"enabled": false})).await.expect(200)["status"], "disabled");
    let id = server.get(TOP_UPS).await.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    server.post(&format!("{TOP_UPS}/{id}/pay"), &json!({})).await.expect(200);
    assert_eq!(server.delete(RULE).await.status, 204);
    server.get(RULE).await.refuses(404, "auto_top_up_not_found");
    // It is answered for good.
    server.post(&format!("{TOP_UPS}/{id}/pay"), &json!({})).await.refuses(409, "top_up_closed");
}
