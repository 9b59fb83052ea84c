//! Keys: what each scope opens, what a key of one customer may see, and when keys stop working.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Server, usage};

/// One request for each route, with the scopes of which one opens it; `grant` where it decides what the customer gets.
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
        ("PUT", "/v1/customers/acme/entitlements/chat", json!({"type": "metered"}), "manage grant"),
        ("DELETE", "/v1/customers/acme/entitlements/chat", none.clone(), "manage grant"),
        ("GET", "/v1/customers/acme/entities", none.clone(), "read"),
        ("GET", "/v1/customers/acme/entities/team", none.clone(), "read"),
        ("PUT", "/v1/customers/acme/entities/team", json!({"parent": null}), "manage"),
        ("DELETE", "/v1/customers/acme/entities/team", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/budgets", none.clone(), "read"),
        ("GET", "/v1/customers/acme/budgets/all", none.clone(), "read"),
        ("PUT", "/v1/customers/acme/budgets/all", json!({"window": "day", "limit": "9"}), "manage"),
        ("DELETE", "/v1/customers/acme/budgets/all", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/ledger", none.clone(), "read"),
        ("GET", "/v1/customers/acme/usage", none.clone(), "read"),
        ("GET", "/v1/customers", none.clone(), "read"),
        ("GET", "/v1/customers/acme", none.clone(), "read"),
        ("PUT", "/v1/customers/acme", json!({"plan": "pro"}), "manage"),
        ("GET", "/v1/customers/acme/grants", none.clone(), "read"),
        ("POST", "/v1/customers/acme/grants", json!({"amount": "1", "category": "plan"}), "manage grant"),
        ("GET", "/v1/customers/acme/grants/grant_2", none.clone(), "read"),
        ("POST", "/v1/customers/acme/grants/grant_99/void", none.clone(), "manage"),
        ("POST", "/v1/customers/acme/charges/chg_99/refunds", json!({"reason": "r"}), "manage grant"),
        ("POST", "/v1/customers/acme/adjustments", json!({"amount": "1", "reason": "r"}), "manage grant"),
        ("POST", "/v1/customers/acme/resets", none.clone(), "manage grant"),
        ("POST", "/v1/customers/acme/periods/1/retry", none.clone(), "manage"),
        ("GET", "/v1/customers/acme/periods/missed", none.clone(), "read"),
        ("GET", "/v1/customers/acme/plan-changes", none.clone(), "read"),
        ("POST", "/v1/customers/acme/plan-changes", json!({"plan": null, "dry_run": true}), "manage grant"),
        ("GET", "/v1/customers/acme/plan-changes/change_9", none.clone(), "read"),
        ("DELETE", "/v1/customers/acme/plan-changes/change_9", none.clone(), "manage grant"),
        ("GET", "/v1/customers/acme/terms", none.clone(), "read"),
        ("POST", "/v1/customers/acme/terms", json!({"policy": "standard"}), "manage grant"),
        ("GET", "/v1/customers/acme/terms/terms_9", none.clone(), "read"),
        ("POST", "/v1/customers/acme/terms/terms_9/end", none.clone(), "manage grant"),
        ("GET", "/v1/plans", none.clone(), "read"),
        ("GET", "/v1/plans/pro", none.clone(), "read"),
        ("PUT", "/v1/plans/pro", json!({"interval": "month"}), "manage"),
        ("GET", "/v1/plans/pro/terms", none.clone(), "read"),
        ("POST", "/v1/plans/pro/terms", json!({"policy": "standard"}), "manage"),
        ("GET", "/v1/plans/pro/terms/terms_1", none.clone(), "read"),
        ("POST", "/v1/plans/pro/terms/terms_9/end", none.clone(), "manage"),
        ("POST", "/v1/plans/pro/terms/terms_9/canary", json!({"share_percent": 5}), "manage"),
        ("GET", "/v1/plans/pro/terms/terms_9/rollout", none.clone(), "read"),
        ("GET", "/v1/policies", none.clone(), "read policies"),
        ("GET", "/v1/policies/standard", none.clone(), "read policies"),
        ("PUT", "/v1/policies/standard", json!({}), "policies"),
        ("GET", "/v1/policies/standard/versions", none.clone(), "read policies"),
        ("POST", "/v1/policies/standard/versions", none.clone(), "policies"),
        ("GET", "/v1/policies/standard/versions/1", none.clone(), "read policies"),
        ("GET", "/v1/policies/standard/versions/1/module", none.clone(), "policies"),
        ("DELETE", "/v1/policies/standard/versions/9", none.clone(), "policies"),
        ("GET", "/v1/api_keys", none.clone(), "admin"),
        ("POST", "/v1/api_keys", json!({"name": "n", "scopes": ["read"]}), "admin"),
        ("GET", "/v1/api_keys/key_99", none.clone(), "admin"),
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
            if opens.split(' ').any(|one| one == *scope) || *scope == "admin" {
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
    for (method, path, body, opens) in routes() {
        let ask = |path: &str| {
            let ask = server.ask(method, path).by(&secret).key(&format!("{method} {path}"));
            if body.is_null() { ask } else { ask.json(&body) }.send()
        };
        let answer = ask(path).await;
        let of_customers = path.starts_with("/v1/customers") || path == "/v1/charges/batch";
        if opens.ends_with("grant") {
            answer.refuses(403, "key_may_not_grant");
        } else if of_customers {
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

/// A key of one customer gives that customer nothing, unless it was created to.
#[tokio::test]
async fn a_narrowed_key_gives_nothing_unless_it_says_so() {
    let server = Server::with_acme().await;
    server.put("/v1/plans/max", &support::plan("0.001", "1000000")).await.expect(201);
    let before = server.get("/v1/customers/acme/balance").await.expect(200);
    let narrowed = |may_grant: bool| json!({"name": "n", "scopes": ["manage", "admin"], "customer": "acme", "may_grant": may_grant});
    let secret = server.secret(&narrowed(false)).await;
    for plan in [json!("max"), Value::Null] {
        let ask = server.ask("PUT", "/v1/customers/acme").by(&secret);
        ask.json(&json!({ "plan": plan })).send().await.refuses(403, "key_may_not_grant");
    }
    let named = json!({"plan": "pro", "name": "Acme & Co"});
    let put = server.ask("PUT", "/v1/customers/acme").by(&secret).json(&named).send().await.expect(200);
    assert_eq!((&put["plan"], &put["name"]), (&json!("pro"), &json!("Acme & Co")));
    for (method, path, body, _) in routes().into_iter().filter(|(.., opens)| opens.ends_with("grant")) {
        let ask = server.ask(method, path).by(&secret).key(path);
        let ask = if body.is_null() { ask } else { ask.json(&body) };
        ask.send().await.refuses(403, "key_may_not_grant");
    }
    assert_eq!(server.get("/v1/customers/acme/balance").await.expect(200), before);
    let secret = server.secret(&narrowed(true)).await;
    let grant = json!({"amount": "5", "category": "promotional"});
    let ask = server.ask("POST", "/v1/customers/acme/grants").by(&secret).key("g");
    ask.json(&grant).send().await.expect(201);
    let terms = json!({"policy": "standard", "settings": support::settings("0.002", "1000")});
    let ask = server.ask("POST", "/v1/customers/acme/terms").by(&secret).key("t");
    ask.json(&terms).send().await.expect(201);
    let ask = server.ask("PUT", "/v1/customers/acme").by(&secret);
    assert_eq!(ask.json(&json!({"plan": "max"})).send().await.expect(200)["plan"], "max");
}

/// Each row: who asks, what, and the code of the refusal, if it is one.
#[tokio::test]
async fn a_key_of_a_prefix_touches_its_policies_only() {
    let server = Server::with_acme().await;
    server.upload("acme.own").await.expect(201);
    let tenant = server
        .secret(&json!({"name": "t", "scopes": ["policies", "manage"], "policy_prefix": "acme."}))
        .await;
    let both = json!({"name": "b", "scopes": ["policies", "manage"], "customer": "acme", "may_grant": true, "policy_prefix": "acme."});
    let both = server.secret(&both).await;
    let reader = server.secret(&json!({"name": "r", "scopes": ["read"]})).await;
    let none = Value::Null;
    let (own, other) = ("/v1/policies/acme.own", "/v1/policies/standard");
    let version = |policy: &str| format!("{policy}/versions/1");
    let module = |policy: &str| format!("{policy}/versions/1/module");
    let versions = |policy: &str| format!("{policy}/versions");
    let of = |policy: &str| json!({"policy": policy, "settings": support::settings("0.001", "1000")});
    let narrowed = Some("key_is_narrowed");
    let mut rows = Vec::new();
    for secret in [&tenant, &both] {
        for (policy, refused) in [(own, None), (other, narrowed)] {
            rows.push((secret, "GET", policy.to_owned(), none.clone(), refused));
            rows.push((secret, "GET", versions(policy), none.clone(), refused));
            rows.push((secret, "GET", version(policy), none.clone(), refused));
            rows.push((secret, "GET", module(policy), none.clone(), refused));
            rows.push((secret, "PUT", policy.to_owned(), json!({"description": "d"}), refused));
        }
        // Whether there is such a policy makes no difference.
        rows.push((secret, "PUT", "/v1/policies/nobodys".to_owned(), json!({}), narrowed));
        rows.push((secret, "GET", "/v1/policies/acme".to_owned(), none.clone(), narrowed));
        rows.push((secret, "POST", "/v1/customers/acme/terms".to_owned(), of("acme.own"), None));
        rows.push((secret, "POST", "/v1/customers/acme/terms".to_owned(), of("standard"), narrowed));
        rows.push((secret, "DELETE", version(other), none.clone(), narrowed));
    }
    rows.push((&tenant, "POST", "/v1/plans/pro/terms".to_owned(), of("standard"), narrowed));
    rows.push((&tenant, "PUT", "/v1/plans/pro".to_owned(), json!({"terms": of("standard")}), narrowed));
    rows.push((&tenant, "PUT", "/v1/plans/pro".to_owned(), json!({"terms": of("acme.own")}), None));
    rows.push((&both, "POST", "/v1/plans/pro/terms".to_owned(), of("acme.own"), narrowed));
    rows.push((&reader, "GET", other.to_owned(), none.clone(), None));
    rows.push((&reader, "GET", module(other), none.clone(), Some("scope_missing")));
    rows.push((&tenant, "DELETE", version(own), none, None));
    for (number, (secret, method, path, body, refused)) in rows.into_iter().enumerate() {
        let ask = server.ask(method, &path).by(secret);
        let ask = if method == "POST" { ask.key(&number.to_string()) } else { ask };
        let answer = if body.is_null() { ask } else { ask.json(&body) }.send().await;
        match refused {
            Some(code) => drop(answer.refuses(403, code)),
            None => assert!([200, 201].contains(&answer.status), "{method} {path}: {}", answer.text()),
        }
    }
    for (policy, status) in [("acme.new", 201), ("acme.own", 201), ("standard", 403), ("acm", 403)] {
        let path = format!("/v1/policies/{policy}/versions");
        let ask = server.ask("POST", &path).by(&both).header("content-type", "application/wasm");
        let answer = ask.raw(support::STANDARD.clone()).send().await;
        assert_eq!(answer.status, status, "{policy}: {}", answer.text());
    }
    for (secret, seen) in
        [(&tenant, vec!["acme.new", "acme.own"]), (&reader, vec!["acme.new", "acme.own", "standard"])]
    {
        let page = server.ask("GET", "/v1/policies").by(secret).send().await.expect(200);
        let names: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|one| one["policy"].clone()).collect();
        assert_eq!(names, seen);
    }
}

#[tokio::test]
async fn keys_that_could_not_be_meant_are_refused() {
    let server = Server::with_acme().await;
    let key = |field: &str, value: Value| {
        let mut key = json!({"name": "n", "scopes": ["policies"]});
        key[field] = value;
        key
    };
    for (body, status, code, pointer) in [
        (key("name", json!("")), 400, "invalid_request", "/name"),
        (key("name", json!("  ")), 400, "invalid_request", "/name"),
        (key("expires_at", json!(support::START)), 400, "invalid_request", "/expires_at"),
        (key("expires_at", json!("2020-01-01T00:00:00Z")), 400, "invalid_request", "/expires_at"),
        (key("customer", json!("nobody")), 422, "customer_not_found", "/customer"),
        (key("policy_prefix", json!("")), 400, "invalid_request", "/policy_prefix"),
        (key("policy_prefix", json!("a b")), 400, "invalid_request", "/policy_prefix"),
        (
            json!({"name": "n", "scopes": ["read"], "policy_prefix": "acme."}),
            400,
            "invalid_request",
            "/policy_prefix",
        ),
        (
            json!({"name": "n", "scopes": ["policies", "admin"], "policy_prefix": "acme."}),
            400,
            "invalid_request",
            "/policy_prefix",
        ),
    ] {
        let answer = server.post("/v1/api_keys", &body).await;
        assert_eq!(answer.pointers(), vec![pointer.to_owned()], "{body}");
        answer.refuses(status, code);
    }
    let listed = server.get("/v1/api_keys").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "only the first key was made");
    // A repeat is answered as before although the key has expired since.
    let body = key("expires_at", json!("2026-01-15T11:00:00Z"));
    let make = || server.ask("POST", "/v1/api_keys").key("short").json(&body).send();
    make().await.expect(201);
    server.now("2026-01-15T12:00:00Z").await;
    assert!(make().await.is_replay());
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

/// What ends a period, moves a day or is read by policies decides what a customer gets, as its plan does.
#[tokio::test]
async fn a_customers_own_key_moves_nothing_that_decides_what_the_customer_gets() {
    let server = Server::with_acme().await;
    let narrowed =
        |grants: bool| json!({"name": "n", "scopes": ["manage"], "customer": "acme", "may_grant": grants});
    let mut secrets = Vec::new();
    for grants in [false, true] {
        let made = server.post("/v1/api_keys", &narrowed(grants)).await.expect(201);
        secrets.push(made["secret"].as_str().unwrap().to_owned());
    }
    let put = async |secret: &str, body: Value| {
        server.ask("PUT", "/v1/customers/acme").by(secret).json(&body).send().await
    };
    let customer = server.get("/v1/customers/acme").await.expect(200);
    for change in [
        json!({"anchor": "2026-01-20T00:00:00Z"}),
        json!({"time_zone": "Asia/Tokyo"}),
        json!({"attributes": {"segment": "vip"}}),
        json!({"plan": null}),
    ] {
        put(&secrets[0], change.clone()).await.refuses(403, "key_may_not_grant");
        assert_eq!(server.get("/v1/customers/acme").await.expect(200), customer, "{change}");
    }
    // What is in force may be said again.
    let same = json!({"name": "Acme", "anchor": customer["anchor"], "time_zone": customer["time_zone"]});
    put(&secrets[0], same).await.expect(200);
    put(&secrets[1], json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
}
