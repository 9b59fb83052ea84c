//! What is wrong with a request is said clearly: a problem with a code and a pointer, and never a 500.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use support::{Server, settings, usage};

#[tokio::test]
async fn bad_usages_are_refused_with_a_pointer() {
    let server = Server::with_acme().await;
    let many = Value::Object((0..65).map(|n| (format!("q{n}"), json!(1))).collect());
    let long = "x".repeat(513);
    for (body, pointer) in [
        (json!({"quantities": {}}), "/feature"),
        (json!({"feature": "chat"}), "/quantities"),
        (json!({"feature": 7, "quantities": {}}), "/feature"),
        (json!({"feature": "a\n", "quantities": {}}), "/feature"),
        (json!({"feature": " a", "quantities": {}}), "/feature"),
        (json!({"feature": "é".repeat(129), "quantities": {}}), "/feature"),
        (json!({"feature": "", "quantities": {}}), "/feature"),
        (json!({"feature": "chat", "quantities": []}), "/quantities"),
        (json!({"feature": "chat", "quantities": {"n": -1}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": "-0.5"}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": 1.5}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": "1.0000000000001"}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": "one"}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": null}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": u64::MAX}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": "1000000000000000"}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"n": "99999999999999999999999999"}}), "/quantities/n"),
        (json!({"feature": "chat", "quantities": {"a/b": 1}}), "/quantities/a~1b"),
        (json!({"feature": "chat", "quantities": {"": 1}}), "/quantities/"),
        (json!({"feature": "chat", "quantities": many}), "/quantities"),
        (json!({"feature": "chat", "quantities": {}, "attributes": {"m": 1.5}}), "/attributes/m"),
        (json!({"feature": "chat", "quantities": {}, "attributes": {"m": {}}}), "/attributes/m"),
        (json!({"feature": "chat", "quantities": {}, "attributes": {"m": null}}), "/attributes/m"),
        (json!({"feature": "chat", "quantities": {}, "attributes": {"m": long}}), "/attributes/m"),
        (json!({"feature": "chat", "quantities": {}, "entity": "é\u{7f}"}), "/entity"),
        (json!({"feature": "chat", "quantities": {}, "occurred_at": "yesterday"}), "/occurred_at"),
        (json!({"feature": "chat", "quantities": {}, "occurred_at": 1}), "/occurred_at"),
        (json!({"feature": "chat", "quantities": {}, "customer": "beta"}), "/customer"),
        (json!([usage(1)]), ""),
        (json!(["chat", {}]), ""),
        (json!("chat"), ""),
        (json!(null), ""),
    ] {
        for path in
            ["/v1/customers/acme/charges", "/v1/customers/acme/check", "/v1/customers/acme/reservations"]
        {
            let answer = server.ask("POST", path).key("k").json(&body).send().await;
            assert_eq!(answer.pointers(), [pointer], "{path} {body}: {}", answer.text());
            answer.refuses(400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_so() {
    let server = Server::with_acme().await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_settings = format!("{{\"policy\":\"standard\",\"settings\":{deep}}}");
    let bad_utf8 = b"{\"feature\":\"\xff\xfe\",\"quantities\":{}}".to_vec();
    let twice = r#"{"feature":"chat","quantities":{"n":1,"n":2}}"#;
    let feature_twice = r#"{"feature":"chat","feature":"chat","quantities":{}}"#;
    let ask = |body: Bytes| {
        let ask = server.ask("POST", "/v1/customers/acme/charges").key("k");
        ask.header("content-type", "application/json").raw(body).send()
    };
    for (body, status, code) in [
        (Bytes::new(), 400, "malformed_json"),
        ("{".into(), 400, "malformed_json"),
        (r#"{"feature":"chat","quantities":{}}{}"#.into(), 400, "malformed_json"),
        ("{\"feature\":1e999}".into(), 400, "malformed_json"),
        ("nonsense".into(), 400, "malformed_json"),
        (bad_utf8.into(), 400, "malformed_json"),
        (deep.clone().into(), 400, "invalid_request"),
        (twice.into(), 400, "invalid_request"),
        (feature_twice.into(), 400, "invalid_request"),
        (vec![b' '; 10 << 20].into(), 413, "body_too_large"),
    ] {
        let text = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
        let answer = ask(body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{text}: {}", answer.text());
    }
    let ask = server.ask("POST", "/v1/customers/acme/terms").header("content-type", "application/json");
    ask.raw(deep_settings).send().await.refuses(400, "invalid_request");
    let streamed = Body::from_stream(futures_util::stream::iter(
        (0..2_000).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1_000]))),
    ));
    let ask = server.ask("POST", "/v1/customers/acme/check").header("content-type", "application/json");
    ask.raw(streamed).send().await.refuses(413, "body_too_large");
    for content_type in [None, Some("text/plain"), Some("application/json; charset=latin1")] {
        let mut ask = server.ask("POST", "/v1/customers/acme/check").raw(usage(1).to_string());
        if let Some(content_type) = content_type {
            ask = ask.header("content-type", content_type);
        }
        ask.send().await.refuses(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn idempotency_keys_are_checked() {
    let server = Server::with_acme().await;
    for path in [
        "charges",
        "reservations",
        "reservations/res_1/commit",
        "reservations/res_1/release",
        "grants",
        "grants/grant_2/void",
        "adjustments",
        "resets",
        "plan-changes",
    ] {
        let path = &format!("/v1/customers/acme/{path}");
        server.ask("POST", path).json(&usage(1)).send().await.refuses(400, "idempotency_key_required");
        let long = "x".repeat(256);
        for key in ["", "ключ", long.as_str()] {
            let ask = server.ask("POST", path).key(key).json(&usage(1));
            ask.send().await.refuses(400, "invalid_idempotency_key");
        }
        let ask = server.ask("POST", path).key("a").key("b").json(&usage(1));
        ask.send().await.refuses(400, "invalid_idempotency_key");
    }
    server.charge(&"x".repeat(255), 1).await.expect(201);
}

#[tokio::test]
async fn bad_management_is_refused_with_a_pointer() {
    let server = Server::with_acme().await;
    let long = "x".repeat(513);
    let mut bad_settings = settings("0.001", "1000");
    bad_settings["rates"][0]["price"] = json!({"per_unit": "-1"});
    let terms = |settings: Value| json!({"policy": "standard", "settings": settings});
    for (method, path, body, status, code, pointer) in [
        ("PUT", "/v1/customers/new", json!({"time_zone": "Mars/Base"}), 400, "invalid_request", "/time_zone"),
        ("PUT", "/v1/customers/new", json!({"plan": "nothing"}), 422, "plan_not_found", "/plan"),
        ("PUT", "/v1/customers/new", json!({"name": long}), 400, "invalid_request", "/name"),
        ("PUT", "/v1/customers/new", json!({"anchor": "2026"}), 400, "invalid_request", "/anchor"),
        ("PUT", "/v1/customers/new", json!({"surprise": 1}), 400, "invalid_request", "/surprise"),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": 5, "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": 0.5, "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "0", "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "-5", "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1000000000000000", "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "99999999999999999999", "category": "plan"}),
            400,
            "invalid_request",
            "/amount",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "gift"}),
            400,
            "invalid_request",
            "/category",
        ),
        ("POST", "/v1/customers/acme/grants", json!({"amount": "1"}), 400, "invalid_request", "/category"),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "plan", "priority": "high"}),
            400,
            "invalid_request",
            "/priority",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "plan", "expires_at": "2020-01-01T00:00:00Z"}),
            400,
            "invalid_request",
            "/expires_at",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "plan", "features": ["a\n"]}),
            400,
            "invalid_request",
            "/features/0",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "plan", "cost_basis": {"amount": "-1", "currency": "EUR"}}),
            400,
            "invalid_request",
            "/cost_basis",
        ),
        (
            "POST",
            "/v1/customers/acme/grants",
            json!({"amount": "1", "category": "plan", "cost_basis": {"amount": "1", "currency": "euro"}}),
            400,
            "invalid_request",
            "/cost_basis/currency",
        ),
        (
            "POST",
            "/v1/customers/acme/adjustments",
            json!({"amount": "0", "reason": "r"}),
            400,
            "invalid_request",
            "/amount",
        ),
        ("POST", "/v1/customers/acme/adjustments", json!({"amount": "1"}), 400, "invalid_request", "/reason"),
        (
            "POST",
            "/v1/customers/acme/adjustments",
            json!({"amount": "-1001", "reason": "r"}),
            409,
            "adjustment_exceeds_available",
            "/amount",
        ),
        ("POST", "/v1/customers/acme/resets", json!({"at": 1}), 400, "invalid_request", "/at"),
        (
            "POST",
            "/v1/customers/acme/terms",
            json!({"policy": "nothing"}),
            422,
            "policy_not_found",
            "/policy",
        ),
        (
            "POST",
            "/v1/customers/acme/terms",
            json!({"policy": "standard", "version": 9}),
            422,
            "version_not_found",
            "/version",
        ),
        (
            "POST",
            "/v1/customers/acme/terms",
            json!({"policy": "standard", "version": 0}),
            422,
            "version_not_found",
            "/version",
        ),
        (
            "POST",
            "/v1/customers/acme/terms",
            json!({"policy": "standard", "mode": "loud"}),
            400,
            "invalid_request",
            "/mode",
        ),
        (
            "POST",
            "/v1/customers/acme/terms",
            terms(bad_settings.clone()),
            422,
            "settings_invalid",
            "/settings/rates/0/price/per_unit",
        ),
        (
            "POST",
            "/v1/plans/pro/terms",
            terms(bad_settings.clone()),
            422,
            "settings_invalid",
            "/settings/rates/0/price/per_unit",
        ),
        (
            "PUT",
            "/v1/plans/pro",
            json!({"interval": "month", "terms": terms(bad_settings)}),
            422,
            "settings_invalid",
            "/terms/settings/rates/0/price/per_unit",
        ),
        ("PUT", "/v1/plans/p", json!({"interval": "fortnight"}), 400, "invalid_request", "/interval"),
        (
            "PUT",
            "/v1/plans/p",
            json!({"interval": {"unit": "month", "count": 0}}),
            400,
            "invalid_request",
            "/interval",
        ),
        (
            "PUT",
            "/v1/plans/p",
            json!({"interval": {"unit": "month", "count": 70000}}),
            400,
            "invalid_request",
            "/interval/count",
        ),
        (
            "PUT",
            "/v1/plans/p",
            json!({"entitlements": {"a": {"type": "boolean"}}}),
            400,
            "invalid_request",
            "/entitlements/a/value",
        ),
        (
            "PUT",
            "/v1/plans/p",
            json!({"entitlements": {"a": {"type": "odd"}}}),
            400,
            "invalid_request",
            "/entitlements/a/type",
        ),
        (
            "PUT",
            "/v1/plans/p",
            json!({"terms": {"policy": "nothing"}}),
            422,
            "policy_not_found",
            "/terms/policy",
        ),
        (
            "PUT",
            "/v1/customers/acme/entitlements/seats",
            json!({"type": "static"}),
            400,
            "invalid_request",
            "/value",
        ),
        (
            "PUT",
            "/v1/customers/acme/entitlements/seats",
            json!({"type": "metered", "value": 1}),
            400,
            "invalid_request",
            "/value",
        ),
        (
            "PUT",
            "/v1/customers/acme/entitlements/seats",
            json!({"type": "static", "value": 1, "ends_at": "2026-01-01T00:00:00Z"}),
            400,
            "invalid_request",
            "/ends_at",
        ),
        ("POST", "/v1/api_keys", json!({"name": "n", "scopes": []}), 400, "invalid_request", "/scopes"),
        (
            "POST",
            "/v1/api_keys",
            json!({"name": "n", "scopes": ["root"]}),
            400,
            "invalid_request",
            "/scopes/0",
        ),
        ("POST", "/v1/test_clock", json!({"now": "soon"}), 400, "invalid_request", "/now"),
    ] {
        let answer = server.ask(method, path).key("k").json(&body).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str(), answer.pointers()),
            (status, code, vec![pointer.to_owned()]),
            "{method} {path} {body}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let server = Server::with_acme().await;
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "route_not_found"),
        ("GET", "/v1/customers/", 404, "route_not_found"),
        ("GET", "/", 404, "route_not_found"),
        ("POST", "/v1/event", 404, "route_not_found"),
        ("GET", "/v1/customers/nobody", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/balance", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/balance?at=2026-01-01T00:00:00Z", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/ledger", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/usage", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/grants", 404, "customer_not_found"),
        ("GET", "/v1/customers/nobody/entitlements", 404, "customer_not_found"),
        ("DELETE", "/v1/customers/nobody", 404, "customer_not_found"),
        ("GET", "/v1/customers/acme/entitlements/nothing", 404, "feature_not_found"),
        ("GET", "/v1/customers/acme/grants/grant_99", 404, "grant_not_found"),
        ("POST", "/v1/customers/acme/grants/x/void", 404, "grant_not_found"),
        ("GET", "/v1/customers/acme/terms/terms_9", 404, "terms_not_found"),
        ("POST", "/v1/customers/acme/terms/terms_9/end", 404, "terms_not_found"),
        ("GET", "/v1/plans/nothing", 404, "plan_not_found"),
        ("GET", "/v1/plans/nothing/terms", 404, "plan_not_found"),
        ("POST", "/v1/plans/pro/terms/terms_9/end", 404, "terms_not_found"),
        ("GET", "/v1/policies/nothing", 404, "policy_not_found"),
        ("GET", "/v1/policies/nothing/versions", 404, "policy_not_found"),
        ("GET", "/v1/policies/standard/versions/2", 404, "version_not_found"),
        ("GET", "/v1/policies/standard/versions/x", 404, "version_not_found"),
        ("GET", "/v1/policies/standard/versions/0/module", 404, "version_not_found"),
        ("DELETE", "/v1/policies/standard/versions/4294967295", 404, "version_not_found"),
        ("DELETE", "/v1/api_keys/key_99", 404, "api_key_not_found"),
        ("GET", "/v1/customers/%20b", 400, "invalid_path"),
        ("GET", "/v1/customers/a%0Ab", 400, "invalid_path"),
        ("GET", "/v1/customers/a%20b", 404, "customer_not_found"),
        ("GET", "/v1/customers/a%2Fb%25", 404, "customer_not_found"),
        ("GET", "/v1/plans/a%20b", 400, "invalid_path"),
        ("GET", "/v1/customers/%ff", 400, "invalid_path"),
        ("GET", "/v1/customers/acme/entitlements/a%2Fb", 404, "feature_not_found"),
        ("GET", "/v1/plans/%00", 400, "invalid_path"),
        ("GET", "/v1/customers?limit=0", 400, "invalid_query"),
        ("GET", "/v1/customers?limit=1001", 400, "invalid_query"),
        ("GET", "/v1/customers?limit=-1", 400, "invalid_query"),
        ("GET", "/v1/customers?page=2", 400, "invalid_query"),
        ("GET", "/v1/customers?cursor=!", 400, "invalid_cursor"),
        ("GET", "/v1/customers/acme/ledger?cursor=YWJj", 400, "invalid_cursor"),
        ("GET", "/v1/customers/acme/balance?at=then", 400, "invalid_query"),
        ("GET", "/v1/customers/acme/balance?at=2030-01-01T00:00:00Z", 400, "invalid_query"),
        ("GET", "/v1/customers/acme/usage?group_by=colour", 400, "invalid_query"),
        ("GET", "/v1/customers/acme/usage?group_by=attributes.", 400, "invalid_query"),
        (
            "GET",
            "/v1/customers/acme/usage?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            400,
            "invalid_query",
        ),
    ] {
        let ask = server.ask(method, path);
        let answer = if method == "POST" { ask.key("k") } else { ask }.send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path}: {}",
            answer.text()
        );
        assert_eq!(answer.json()["instance"], path.split('?').next().unwrap());
    }
    let answer = server.ask("PATCH", "/v1/customers/acme").send().await;
    let allow = answer.header("allow").unwrap().to_owned();
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    answer.refuses(405, "method_not_allowed");
}

#[tokio::test]
async fn a_closed_customer_takes_nothing_new_and_stays_readable() {
    let server = Server::with_acme().await;
    server.charge("before", 5).await.expect(201);
    let reserve =
        server.ask("POST", "/v1/customers/acme/reservations").key("r").json(&usage(10)).send().await;
    let reservation = reserve.expect(201)["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(server.delete("/v1/customers/acme").await.expect(200)["closed"], true);
    }
    for (path, body) in [
        ("/v1/customers/acme/charges", usage(1)),
        ("/v1/customers/acme/reservations", usage(1)),
        ("/v1/customers/acme/grants", json!({"amount": "1", "category": "plan"})),
        ("/v1/customers/acme/adjustments", json!({"amount": "1", "reason": "r"})),
        ("/v1/customers/acme/resets", json!({})),
        ("/v1/customers/acme/plan-changes", json!({"plan": null})),
        ("/v1/customers/acme/terms", json!({"policy": "standard"})),
    ] {
        let answer = server.ask("POST", path).key("after").json(&body).send().await;
        answer.refuses(409, "customer_closed");
    }
    server.put("/v1/customers/acme", &json!({})).await.refuses(409, "customer_closed");
    server.charge("before", 5).await.expect(201);
    let check = server.post("/v1/customers/acme/check", &usage(1)).await.expect(200);
    assert_eq!((&check["allowed"], &check["reason"]), (&json!(false), &json!("customer_closed")));
    let commit = format!("/v1/customers/acme/reservations/{reservation}/commit");
    server.post(&commit, &json!({"quantities": {"input_tokens": 1}})).await.expect(200);
    server.get("/v1/customers/acme/balance").await.expect(200);
    server.get("/v1/customers/acme/ledger").await.expect(200);
}

#[tokio::test]
async fn a_module_that_is_no_policy_is_refused_with_reasons() {
    let server = Server::start().await;
    let upload = |content_type: &'static str, bytes: Vec<u8>| {
        let ask = server.ask("POST", "/v1/policies/p/versions").header("content-type", content_type);
        ask.raw(bytes).send()
    };
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b"nonsense"] {
        let refused = upload("application/wasm", bytes.to_vec()).await.refuses(422, "policy_rejected");
        for field in ["pointer", "detail", "code"] {
            assert!(refused["errors"][0][field].is_string(), "{refused}");
        }
    }
    upload("application/json", b"{}".to_vec()).await.refuses(415, "unsupported_media_type");
    // What the class of the policy forbids, and what no class allows.
    let refused = upload("application/wasm", vec![0; (1 << 20) + 1]).await.refuses(422, "policy_rejected");
    assert_eq!(refused["errors"][0]["code"], "module_too_large");
    upload("application/wasm", vec![0; (4 << 20) + 1]).await.refuses(413, "body_too_large");
    server.get("/v1/policies/p").await.refuses(404, "policy_not_found");
}

/// Every field of every body, replaced by every hostile value: an answer, and never one that blames the server.
#[tokio::test]
async fn hostile_fields_never_make_a_500() {
    let server = Server::with_acme().await;
    let reserve =
        server.ask("POST", "/v1/customers/acme/reservations").key("r").json(&usage(10)).send().await;
    let commit = format!("/v1/customers/acme/reservations/{}/commit", reserve.json()["id"].as_str().unwrap());
    let mut whole = usage(5);
    whole["attributes"] = json!({"model": "large"});
    whole["entity"] = json!("user-7");
    whole["occurred_at"] = json!("2026-01-15T10:00:00Z");
    let mut reserved = whole.clone();
    reserved["ttl_seconds"] = json!(60);
    let mut item = whole.clone();
    item["customer"] = json!("acme");
    item["idempotency_key"] = json!("k");
    let data = json!({
        "quantities": {"input_tokens": 1}, "attributes": {"model": "large", "gen_ai.system": "s"},
        "entity": "user-7", "gen_ai.usage.output_tokens": 1, "user.id": "u"
    });
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/s", "type": "chat", "subject": "acme",
        "time": "2026-01-15T10:00:00Z", "datacontenttype": "application/json", "data": data, "extension": 1
    });
    let grant = json!({
        "amount": "5", "credit": "credits", "category": "prepaid", "priority": 1,
        "effective_at": "2026-02-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z", "features": ["chat"],
        "cost_basis": {"amount": "1", "currency": "EUR"}, "metadata": {"a": "b"}
    });
    let terms = json!({
        "policy": "standard", "version": 1, "settings": settings("0.001", "1"), "mode": "active",
        "effective_at": "2026-02-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z", "on_fault": "plan"
    });
    let customer = json!({
        "name": "n", "plan": "pro", "time_zone": "UTC", "anchor": "2026-01-01T00:00:00Z",
        "attributes": {"a": "b"}, "external_ids": {"stripe": "cus_1"}
    });
    let mut plan = support::plan("0.001", "1");
    plan["interval"] = json!({"unit": "month", "count": 2});
    let exception = json!({
        "type": "static", "value": 1, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"
    });
    let key =
        json!({"name": "n", "scopes": ["read"], "customer": "acme", "expires_at": "2027-01-01T00:00:00Z"});
    let hostile = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("é\u{202e}'; drop table customers; --"),
        json!("0"),
        json!("1000000000"),
        json!("9223372036854.775807"),
        json!("-9223372036854.775808"),
        json!("1900-01-01T00:00:00Z"),
        json!("9999-12-30T00:00:00Z"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([[[]]]),
        json!({}),
        json!({"": {"": ""}}),
    ];
    let mut answered = 0;
    for (method, path, body) in [
        ("POST", "/v1/customers/acme/check", &whole),
        ("POST", "/v1/customers/acme/charges", &whole),
        ("POST", "/v1/customers/acme/reservations", &reserved),
        (
            "POST",
            commit.as_str(),
            &json!({"quantities": {"input_tokens": 1}, "attributes": {"model": "large"}}),
        ),
        ("POST", "/v1/charges/batch", &json!([item])),
        ("POST", "/v1/events", &event),
        ("POST", "/v1/events", &json!([event])),
        ("POST", "/v1/customers/acme/grants", &grant),
        ("POST", "/v1/customers/acme/adjustments", &json!({"amount": "1", "credit": "c", "reason": "r"})),
        ("POST", "/v1/customers/acme/terms", &terms),
        ("POST", "/v1/plans/pro/terms", &terms),
        ("PUT", "/v1/customers/hostile", &customer),
        ("PUT", "/v1/plans/hostile", &plan),
        ("PUT", "/v1/policies/hostile", &json!({"description": "d"})),
        ("PUT", "/v1/customers/acme/entitlements/seats", &exception),
        ("POST", "/v1/customers/acme/terms/terms_1/end", &json!({"ends_at": "2027-01-01T00:00:00Z"})),
        ("POST", "/v1/api_keys", &key),
    ] {
        for place in places(body) {
            for value in &hostile {
                let mut body = body.clone();
                *body.pointer_mut(&place).unwrap() = value.clone();
                let media_type = match path {
                    "/v1/events" if body.is_array() => "application/cloudevents-batch+json",
                    "/v1/events" => "application/cloudevents+json",
                    _ => "application/json",
                };
                let ask = server.ask(method, path).key(&format!("{answered}"));
                let ask = ask.header("content-type", media_type).raw(body.to_string());
                let answer = ask.send().await;
                let shown = value.to_string().chars().take(40).collect::<String>();
                assert!(answer.status < 500, "{method} {path} {place} {shown}: {}", answer.text());
                if answer.status >= 400 {
                    answer.code();
                }
                answered += 1;
            }
        }
    }
    assert!(answered > 1_500, "{answered}");
    server.charge("after", 1).await;
    server.get("/v1/customers/acme/balance").await.expect(200);
    server.get("/v1/customers/acme/ledger?limit=1000").await.expect(200);
}

/// The pointers of all values in a body.
fn places(body: &Value) -> Vec<String> {
    fn walk(value: &Value, place: String, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, one)| walk(one, format!("{place}/{name}"), all))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, one)| walk(one, format!("{place}/{n}"), all))
            }
            _ => {}
        }
        all.push(place);
    }
    let mut all = Vec::new();
    walk(body, String::new(), &mut all);
    all
}
