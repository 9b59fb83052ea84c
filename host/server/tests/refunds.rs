//! Charges are read and refunded: by amount, by quantities, as a whole, at most once in all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings, usage};

async fn refund(server: &Server, charge: &Value, body: Value) -> support::Answer {
    let path = format!("/v1/customers/acme/charges/{}/refunds", charge["id"].as_str().unwrap());
    server.post(&path, &body).await
}

async fn read(server: &Server, charge: &Value) -> Value {
    let path = format!("/v1/customers/acme/charges/{}", charge["id"].as_str().unwrap());
    server.get(&path).await.expect(200)
}

#[tokio::test]
async fn a_charge_is_read_as_it_was_answered_and_refunded_in_parts() {
    let server = Server::with_acme().await;
    let charge = server.charge("k", 2_000).await.expect(201);
    let mut found = read(&server, &charge).await;
    assert_eq!(found["refunded"], json!({"amount": "0", "refunds": 0}));
    found.as_object_mut().unwrap().remove("refunded");
    assert_eq!(found, charge);

    let first = refund(&server, &charge, json!({"amount": "0.5", "reason": "slow"})).await.expect(201);
    assert_eq!(first["charge"], charge["id"]);
    assert_eq!(first["returned"], json!([{"grant": charge["draws"][0]["grant"], "amount": "0.5"}]));
    assert_eq!((&first["amount"], &first["reason"]), (&json!("0.5"), &json!("slow")));
    assert_eq!(first["balance"]["available"], "998.5");
    let second =
        refund(&server, &charge, json!({"quantities": {"input_tokens": 600}, "reason": "cut off"})).await;
    let second = second.expect(201);
    assert_eq!(second["amount"], "0.6");
    assert_eq!(second["quantities"], json!({"input_tokens": "600"}));
    let refunded = json!({"amount": "1.1", "quantities": {"input_tokens": "600"}, "refunds": 2});
    assert_eq!(second["refunded"], refunded);
    assert_eq!(read(&server, &charge).await["refunded"], refunded);

    let too_much = refund(&server, &charge, json!({"amount": "0.95", "reason": "r"})).await;
    too_much.refuses(409, "refund_exceeds_charge");
    let too_many =
        refund(&server, &charge, json!({"quantities": {"input_tokens": 1_401}, "reason": "r"})).await;
    assert_eq!(too_many.pointers(), ["/quantities/input_tokens"]);
    too_many.refuses(409, "refund_exceeds_charge");
    let rest = refund(&server, &charge, json!({"reason": "all of it"})).await.expect(201);
    assert_eq!((&rest["amount"], &rest["balance"]["used"]), (&json!("0.9"), &json!("0")));
    refund(&server, &charge, json!({"reason": "again"})).await.refuses(409, "refund_exceeds_charge");

    let usage = server.get("/v1/customers/acme/usage").await.expect(200);
    assert_eq!(usage["data"][0]["cost"], json!([{"credit": "credits", "cost": "0"}]));
    assert_eq!(usage["data"][0]["quantities"], json!({"input_tokens": "0"}));
    assert_eq!(usage["data"][0]["charges"], 1);
    let ledger = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200);
    assert_eq!(ledger["data"][0]["type"], "refunded");
}

#[tokio::test]
async fn a_repeat_of_a_refund_is_answered_as_the_first_time() {
    let server = Server::with_acme().await;
    let charge = server.charge("k", 2_000).await.expect(201);
    let path = format!("/v1/customers/acme/charges/{}/refunds", charge["id"].as_str().unwrap());
    let ask = |body: Value| server.ask("POST", &path).key("refund").json(&body).send();
    let first = ask(json!({"reason": "slow"})).await;
    let again = ask(json!({"reason": "slow"})).await;
    assert!(!first.is_replay() && again.is_replay());
    assert_eq!(first.bytes, again.bytes);
    ask(json!({"reason": "slower"})).await.refuses(422, "idempotency_key_reused");
    let keyless = server.ask("POST", &path).json(&json!({"reason": "r"})).send().await;
    keyless.refuses(400, "idempotency_key_required");
}

#[tokio::test]
async fn refunds_of_one_charge_at_once_are_made_one_after_another() {
    let server = Server::with_acme().await;
    let charge = server.charge("k", 10_000).await.expect(201);
    // Thirty of 0.4 each, of a charge of 10.
    let refunds = (0..30).map(|_| refund(&server, &charge, json!({"amount": "0.4", "reason": "r"})));
    let answers = futures_util::future::join_all(refunds).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 25);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refuses(409, "refund_exceeds_charge");
    }
    assert_eq!(read(&server, &charge).await["refunded"], json!({"amount": "10", "refunds": 25}));
}

#[tokio::test]
async fn several_quantities_are_refunded_by_the_lines_that_bear_their_names() {
    let server = Server::with_acme().await;
    let mut two = settings("0.001", "1000");
    let output = json!({"feature": "chat", "quantity": "output_tokens", "price": {"per_unit": "0.002"}});
    two["rates"].as_array_mut().unwrap().push(output);
    server
        .post("/v1/customers/acme/terms", &json!({"policy": "standard", "settings": two}))
        .await
        .expect(201);
    let mut body = usage(1_000);
    body["quantities"]["output_tokens"] = json!(300);
    let charge = server.post("/v1/customers/acme/charges", &body).await.expect(201);
    assert_eq!(charge["cost"], "1.6");
    let back = json!({"quantities": {"output_tokens": 150}, "reason": "half of it was noise"});
    assert_eq!(refund(&server, &charge, back).await.expect(201)["amount"], "0.3");

    // With names of their own, the lines say nothing of quantities.
    for (place, label) in ["questions", "answers"].into_iter().enumerate() {
        two["rates"][place]["label"] = json!(label);
    }
    server
        .post("/v1/customers/acme/terms", &json!({"policy": "standard", "settings": two}))
        .await
        .expect(201);
    let charge = server.post("/v1/customers/acme/charges", &body).await.expect(201);
    let back = json!({"quantities": {"output_tokens": 150}, "reason": "r"});
    let unknown = refund(&server, &charge, back).await;
    assert_eq!(unknown.pointers(), ["/quantities"]);
    unknown.refuses(422, "refund_not_divisible");
    let half = json!({"quantities": {"input_tokens": 500, "output_tokens": 150}, "reason": "r"});
    assert_eq!(refund(&server, &charge, half).await.expect(201)["amount"], "0.8");
}

#[tokio::test]
async fn what_is_wrong_with_a_refund_is_said() {
    let server = Server::with_acme().await;
    let charge = server.charge("k", 1_000).await.expect(201);
    for (body, pointer) in [
        (json!({}), "/reason"),
        (json!({"reason": "r", "amount": "0"}), "/amount"),
        (json!({"reason": "r", "amount": "-1"}), "/amount"),
        (json!({"reason": "r", "amount": 1}), "/amount"),
        (json!({"reason": "r", "quantities": {}}), "/quantities"),
        (json!({"reason": "r", "quantities": {"input_tokens": 0}}), "/quantities"),
        (json!({"reason": "r", "amount": "1", "quantities": {"input_tokens": 1}}), "/quantities"),
        (json!({"reason": "r", "cost": "1"}), "/cost"),
    ] {
        let answer = refund(&server, &charge, body.clone()).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    let body = json!({"reason": "r", "quantities": {"output_tokens": 1}});
    refund(&server, &charge, body).await.refuses(409, "refund_exceeds_charge");
    for id in ["chg_1", "chg_9999", "chg_3_1", "grant_1", "nonsense"] {
        let path = format!("/v1/customers/acme/charges/{id}");
        server.get(&path).await.refuses(404, "charge_not_found");
        let answer = server.post(&format!("{path}/refunds"), &json!({"reason": "r"})).await;
        answer.refuses(404, "charge_not_found");
    }
    server.get("/v1/customers/nobody/charges/chg_1").await.refuses(404, "customer_not_found");
    let reader = server.secret(&json!({"name": "r", "scopes": ["read", "usage"]})).await;
    let path = format!("/v1/customers/acme/charges/{}", charge["id"].as_str().unwrap());
    server.ask("GET", &path).by(&reader).send().await.expect(200);
    let ask = server.ask("POST", &format!("{path}/refunds")).key("k2").by(&reader);
    ask.json(&json!({"reason": "r"})).send().await.refuses(403, "scope_missing");
}
