//! Keys as callers have them, in bodies, in paths and in lists; and names of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

const KEYS: [&str; 8] =
    ["ann@example.com", "auth0|5f7c", "openai/gpt-4o", "Zoë", "100%", "a%2Fb", "two words ? # & +", "../x"];

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn customers_features_and_entities_have_keys_of_any_text() {
    let server = Server::with_acme().await;
    for key in KEYS {
        let path = format!("/v1/customers/{}", encoded(key));
        let made = server.put(&path, &json!({"plan": "pro"})).await.expect(201);
        assert_eq!(made["customer"], key);
        assert_eq!(server.get(&path).await.expect(200)["customer"], key);
        let on = json!({"type": "boolean", "value": true});
        let feature = format!("{path}/entitlements/{}", encoded(key));
        server.put(&feature, &on).await.expect(200);
        assert_eq!(server.get(&feature).await.expect(200)["feature"], key);
        let mut body = usage(1_000);
        body["entity"] = json!(key);
        let charge = server.post(&format!("{path}/charges"), &body).await.expect(201);
        assert_eq!(
            (&charge["customer"], &charge["entity"], &charge["cost"]),
            (&json!(key), &json!(key), &json!("1"))
        );
        body["feature"] = json!(key);
        let refused = server.post(&format!("{path}/charges"), &body).await.refuses(422, "feature_not_rated");
        assert_eq!(refused["instance"], format!("{path}/charges"));
        let report = server.get(&format!("{path}/usage?group_by=entity")).await.expect(200);
        assert_eq!(report["data"][0]["group"]["entity"], key);
        let secret = server.secret(&json!({"name": "own", "scopes": ["read"], "customer": key})).await;
        server.ask("GET", &path).by(&secret).send().await.expect(200);
        server.ask("GET", "/v1/customers/acme").by(&secret).send().await.refuses(404, "customer_not_found");
    }
    let mut expected = KEYS.to_vec();
    expected.push("acme");
    expected.sort_unstable();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/customers?limit=2&cursor={cursor}")).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["customer"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(seen, expected);
}

/// However a path is encoded, it is the same request; another path is another one.
#[tokio::test]
async fn a_repeat_may_encode_its_path_differently() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/a%2Fb", &json!({"plan": "pro"})).await.expect(201);
    let ask = |customer: &str, verb: &str, body: &Value| {
        let path = format!("/v1/customers/{customer}/{verb}");
        server.ask("POST", &path).key("k").json(body).send()
    };
    let first = ask("a%2Fb", "charges", &usage(1)).await;
    assert_eq!((first.status, first.is_replay()), (201, false));
    for same in ["a%2fb", "%61%2Fb"] {
        let again = ask(same, "charges", &usage(1)).await;
        assert!(again.is_replay() && again.bytes == first.bytes, "{same}: {}", again.text());
    }
    ask("a%2Fb", "charges", &usage(2)).await.refuses(422, "idempotency_key_reused");
    ask("a%2Fb", "reservations", &usage(1)).await.refuses(422, "idempotency_key_reused");
    ask("a%2Fb", "adjustments", &json!({"amount": "1", "reason": "r"}))
        .await
        .refuses(422, "idempotency_key_reused");
    assert_eq!(ask("acme", "charges", &usage(1)).await.status, 201, "keys are the customer's own");
}

/// Each row: an entity as an event has it, what it is charged under, and where a warning points.
#[tokio::test]
async fn an_invalid_entity_does_not_stop_the_charge_of_an_event() {
    let server = Server::with_acme().await;
    let own = Some("/data/entity");
    for (n, (data, entity, warned)) in [
        (json!({"entity": "ann@example.com"}), json!("ann@example.com"), None),
        (json!({"entity": "Zoë"}), json!("Zoë"), None),
        (json!({"entity": " ann\n"}), json!("ann"), own),
        (json!({"entity": 42}), json!("42"), own),
        (json!({"entity": ""}), Value::Null, own),
        (json!({"entity": {"id": 7}}), Value::Null, own),
        (json!({"entity": [], "user.id": "u"}), json!("u"), own),
        (json!({"user.id": "a\u{0}b"}), json!("ab"), Some("/data/user.id")),
        (json!({"attributes": {"enduser.id": 1.5}}), Value::Null, Some("/data/attributes/enduser.id")),
        (json!({"entity": "x".repeat(300)}), json!("x".repeat(256)), own),
    ]
    .into_iter()
    .enumerate()
    {
        let mut whole = json!({"quantities": {"input_tokens": 1_000}});
        whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        let event = json!({
            "specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "chat", "subject": "acme", "data": whole
        });
        let send = |media_type: &'static str, body: Value| {
            server.ask("POST", "/v1/events").header("content-type", media_type).raw(body.to_string()).send()
        };
        let first = send("application/cloudevents+json", event.clone()).await;
        let charge = first.clone().expect(201);
        assert_eq!((&charge["cost"], &charge["entity"]), (&json!("1"), &entity), "{data}");
        assert_eq!(charge["warnings"][0]["pointer"].as_str(), warned, "{data}: {charge}");
        let again = send("application/cloudevents+json", event.clone()).await;
        assert!(again.is_replay() && again.bytes == first.bytes, "{data}");
        let batch = send("application/cloudevents-batch+json", json!([event])).await.expect(200);
        assert_eq!((&batch[0]["status"], &batch[0]["replayed"]), (&json!(201), &json!(true)));
        let pointer = batch[0]["body"]["warnings"][0]["pointer"].as_str();
        assert_eq!(pointer, warned.map(|pointer| format!("/0{pointer}")).as_deref());
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::start().await;
    let named = server.ask("GET", "/healthz").header("x-request-id", "trace-7").send().await;
    assert_eq!(named.header("x-request-id"), Some("trace-7"));
    let mut given = Vec::new();
    for path in ["/healthz", "/v1/nothing", "/v1/customers/nobody", "/docs", "/metrics"] {
        let answer = server.ask("GET", path).header("x-request-id", "not one").send().await;
        given.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let unique: std::collections::BTreeSet<_> = given.iter().collect();
    assert_eq!(unique.len(), given.len(), "{given:?}");
    assert!(given.iter().all(|id| id.starts_with("test-")), "{given:?}");
}
