//! Keys: what each scope opens, what a key of one customer may see, and when keys stop working.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Server, usage};

/// One request for each route, with the scope that opens it.
fn routes() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let none = Value::Null;
    vec![
        ("POST", "/v1/customers/acme/charges", usage(1), "usage"),
        ("POST", "/v1/customers/acme/check", usage(1), "usage"),
        ("POST", "/v1/customers/acme/reservations", usage(1), "usage"),
        ("POST", "/v1/customers/acme/reservations/res_1/commit", json!({"quantities": {}}), "usage"),
        ("POST", "/v1/customers/acme/reservations/res_1/release", none.clone(), "usage"),
        ("POST", "/v1/charges/batch", json!([]), "usage"),
        ("GET", "/v1/customers/acme/balance", none.clone(), "read"),
        ("GET", "/v1/customers/acme/entitlements", none.clone(), "read"),
        ("GET", "/v1/customers/acme/entitlements/chat", none.clone(), "read"),
        ("PUT", "/v1/customers/acme/entitlements/chat", json!({"type": "metered"}), "manage"),
        ("DELETE", "/v1/customers/acme/entitlements/chat", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/ledger", none.clone(), "read"),
        ("GET", "/v1/customers/acme/usage", none.clone(), "read"),
        ("GET", "/v1/customers", none.clone(), "read"),
        ("GET", "/v1/customers/acme", none.clone(), "read"),
        ("PUT", "/v1/customers/acme", json!({"plan": "pro"}), "manage"),
        ("GET", "/v1/customers/acme/grants", none.clone(), "read"),
        ("POST", "/v1/customers/acme/grants", json!({"amount": "1", "category": "plan"}), "manage"),
        ("GET", "/v1/customers/acme/grants/grant_2", none.clone(), "read"),
        ("POST", "/v1/customers/acme/grants/grant_99/void", none.clone(), "manage"),
        ("POST", "/v1/customers/acme/adjustments", json!({"amount": "1", "reason": "r"}), "manage"),
        ("POST", "/v1/customers/acme/resets", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/plan-changes", none.clone(), "read"),
        ("POST", "/v1/customers/acme/plan-changes", json!({"plan": null, "dry_run": true}), "manage"),
        ("GET", "/v1/customers/acme/plan-changes/change_9", none.clone(), "read"),
        ("DELETE", "/v1/customers/acme/plan-changes/change_9", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/terms", none.clone(), "read"),
        ("POST", "/v1/customers/acme/terms", json!({"policy": "standard"}), "manage"),
        ("GET", "/v1/customers/acme/terms/terms_9", none.clone(), "read"),
        ("POST", "/v1/customers/acme/terms/terms_9/end", none.clone(), "manage"),
        ("GET", "/v1/plans", none.clone(), "read"),
        ("GET", "/v1/plans/pro", none.clone(), "read"),
        ("PUT", "/v1/plans/pro", json!({"interval": "month"}), "manage"),
        ("GET", "/v1/plans/pro/terms", none.clone(), "read"),
        ("POST", "/v1/plans/pro/terms", json!({"policy": "standard"}), "manage"),
        ("GET", "/v1/plans/pro/terms/terms_1", none.clone(), "read"),
        ("POST", "/v1/plans/pro/terms/terms_9/end", none.clone(), "manage"),
        ("GET", "/v1/policies", none.clone(), "read"),
        ("GET", "/v1/policies/standard", none.clone(), "read"),
        ("PUT", "/v1/policies/standard", json!({}), "policies"),
        ("GET", "/v1/policies/standard/versions", none.clone(), "read"),
        ("POST", "/v1/policies/standard/versions", none.clone(), "policies"),
        ("GET", "/v1/policies/standard/versions/1", none.clone(), "read"),
        ("GET", "/v1/policies/standard/versions/1/module", none.clone(), "read"),
        ("DELETE", "/v1/policies/standard/versions/9", none.clone(), "policies"),
        ("GET", "/v1/api_keys", none.clone(), "admin"),
        ("POST", "/v1/api_keys", json!({"name": "n", "scopes": ["read"]}), "admin"),
        ("DELETE", "/v1/api_keys/key_99", none.clone(), "admin"),
        ("GET", "/v1/test_clock", none.clone(), "admin"),
        ("POST", "/v1/test_clock", json!({"now": support::START}), "admin"),
        ("DELETE", "/v1/customers/acme", none, "manage"),
    ]
}

#[tokio::test]
async fn each_route_opens_to_its_scope_only() {
    let server = Server::with_acme().await;
    let mut secrets = Vec::new();
    for scope in ["usage", "read", "manage", "policies"] {
        secrets.push((scope, server.secret(&json!({"name": scope, "scopes": [scope]})).await));
    }
    secrets.push(("admin", ADMIN.to_owned()));
    for (method, path, body, opens) in routes() {
        let ask = |secret: Option<&str>| {
            let ask = server.ask(method, path).anonymous().key(&format!("{method} {path} {secret:?}"));
            let ask = if body.is_null() { ask } else { ask.json(&body) };
            if let Some(secret) = secret { ask.by(secret) } else { ask }.send()
        };
        ask(None).await.refuses(401, "api_key_required");
        let answer = ask(Some("nonsense")).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        answer.refuses(401, "api_key_invalid");
        for (scope, secret) in &secrets {
            let answer = ask(Some(secret)).await;
            if *scope == opens || *scope == "admin" {
                assert!(
                    ![401, 403, 500].contains(&answer.status),
                    "{scope} {method} {path}: {}",
                    answer.text()
                );
            } else {
                answer.refuses(403, "scope_missing");
            }
        }
    }
}

#[tokio::test]
async fn a_narrowed_key_sees_its_customer_only() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({"plan": "pro"})).await.expect(201);
    let body = json!({"name": "acme's", "scopes": ["usage", "read", "manage", "policies", "admin"], "customer": "acme"});
    let secret = server.secret(&body).await;
    for (method, path, body, _) in routes() {
        let ask = |path: &str| {
            let ask = server.ask(method, path).by(&secret).key(&format!("{method} {path}"));
            if body.is_null() { ask } else { ask.json(&body) }.send()
        };
        let answer = ask(path).await;
        let of_customers = path.starts_with("/v1/customers") || path == "/v1/charges/batch";
        if of_customers {
            assert!(![401, 403, 500].contains(&answer.status), "{method} {path}: {}", answer.text());
        } else {
            answer.refuses(403, "key_is_narrowed");
        }
        if path.contains("/acme") {
            ask(&path.replace("/acme", "/beta")).await.refuses(404, "customer_not_found");
            ask(&path.replace("/acme", "/nobody")).await.refuses(404, "customer_not_found");
        }
    }
    let listed = server.ask("GET", "/v1/customers").by(&secret).send().await.expect(200);
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["data"][0]["customer"]),
        (1, &json!("acme"))
    );
    let batch = json!([{"customer": "beta", "idempotency_key": "k", "feature": "chat", "quantities": {}}]);
    let results = server.ask("POST", "/v1/charges/batch").by(&secret).json(&batch).send().await.expect(200);
    assert_eq!(results[0]["body"]["code"], "customer_not_found");
}

#[tokio::test]
async fn keys_expire_and_are_revoked() {
    let server = Server::with_acme().await;
    let body = json!({"name": "short", "scopes": ["read"], "expires_at": "2026-01-15T11:00:00Z"});
    let short = server.secret(&body).await;
    let made = server.post("/v1/api_keys", &json!({"name": "long", "scopes": ["read"]})).await.expect(201);
    let long = made["secret"].as_str().unwrap().to_owned();
    let balance = |secret: &str| server.ask("GET", "/v1/customers/acme/balance").by(secret).send();
    balance(&short).await.expect(200);
    balance(&long).await.expect(200);
    server.now("2026-01-15T11:00:00Z").await;
    balance(&short).await.refuses(401, "api_key_invalid");
    let path = format!("/v1/api_keys/{}", made["id"].as_str().unwrap());
    assert_eq!(server.delete(&path).await.expect(200)["revoked_at"], "2026-01-15T11:00:00Z");
    server.now("2026-01-15T12:00:00Z").await;
    assert_eq!(server.delete(&path).await.expect(200)["revoked_at"], "2026-01-15T11:00:00Z");
    balance(&long).await.refuses(401, "api_key_invalid");
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let server = Server::start().await;
    let body = json!({"name": "backend", "scopes": ["usage", "read"]});
    let make = || server.ask("POST", "/v1/api_keys").key("once").json(&body).send();
    let mut made = make().await.expect(201);
    assert!(made["secret"].is_string());
    let again = make().await;
    assert!(again.is_replay());
    made.as_object_mut().unwrap().remove("secret");
    assert_eq!(again.expect(201), made);
    let listed = server.get("/v1/api_keys").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(listed["data"].as_array().unwrap().iter().all(|key| key.get("secret").is_none()));
}
