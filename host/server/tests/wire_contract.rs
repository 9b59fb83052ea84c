//! Sentences of the wire contract that hold across resources, asked as a client would that has read nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{START, Server, settings, usage};

/// "Not allowed: 402, always with `required` and `available`. The refusal is in the journal."
#[tokio::test]
async fn a_feature_that_is_switched_off_is_refused_like_any_other_usage() {
    let server = Server::with_acme().await;
    let body = json!({"feature": "export", "quantities": {"files": 3}});
    for route in ["charges", "reservations"] {
        let path = format!("/v1/customers/acme/{route}");
        let ask = || server.ask("POST", &path).key(route).json(&body).send();
        let first = ask().await;
        let refused = first.clone().refuses(402, "not_entitled");
        assert_eq!(refused["detail"], "export is switched off for this customer by its plan");
        assert_eq!((&refused["required"], &refused["available"]), (&json!("0"), &json!("1000")));
        let newest = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200)["data"][0].clone();
        assert_eq!((&newest["entry"], &newest["type"]), (&refused["entry"], &json!("refused")));
        assert_eq!(
            newest["explanation"],
            json!([format!("not_entitled: {}", refused["detail"].as_str().unwrap())])
        );
        let again = ask().await;
        assert!(again.is_replay());
        assert_eq!(again.bytes, first.bytes);
    }
    // Switched on again, the answered key stays answered, and a new one is asked anew.
    let on = json!({"type": "boolean", "value": true});
    server.put("/v1/customers/acme/entitlements/export", &on).await.expect(200);
    let ask = server.ask("POST", "/v1/customers/acme/charges").key("charges").json(&body);
    ask.send().await.refuses(402, "not_entitled");
    server.post("/v1/customers/acme/charges", &body).await.refuses(422, "feature_not_rated");
    let off = json!({"type": "boolean", "value": false});
    server.put("/v1/customers/acme/entitlements/chat", &off).await.expect(200);
    let refused = server.charge("off", 1).await.refuses(402, "not_entitled");
    assert_eq!(refused["detail"], "chat is switched off for this customer by its override");
    server.delete("/v1/customers/acme").await;
    server.charge("closed", 1).await.refuses(409, "customer_closed");
}

/// Many encoders write what is not set as null: in a POST it is as absent.
#[tokio::test]
async fn null_in_the_body_of_a_post_is_as_absent() {
    let server = Server::with_acme().await;
    let nulls = |mut body: Value, fields: &[&str]| {
        for field in fields {
            body[*field] = Value::Null;
        }
        body
    };
    let optional = ["attributes", "entity", "occurred_at"];
    let acme = |route: &str| format!("/v1/customers/acme/{route}");
    server.post(&acme("charges"), &nulls(usage(1), &optional)).await.expect(201);
    server.post(&acme("check"), &nulls(usage(1), &optional)).await.expect(200);
    let mut item = nulls(usage(1), &optional);
    (item["customer"], item["idempotency_key"]) = (json!("acme"), json!("item"));
    assert_eq!(server.post("/v1/charges/batch", &json!([item])).await.expect(200)[0]["status"], 201);
    let mut to_come = nulls(usage(1), &optional);
    to_come["ttl_seconds"] = Value::Null;
    server.post(&acme("reservations"), &to_come).await.expect(201);
    let fields = [
        "credit",
        "priority",
        "effective_at",
        "expires_at",
        "expires_with_period",
        "features",
        "cost_basis",
        "metadata",
    ];
    let grant = nulls(json!({"amount": "5", "category": "prepaid"}), &fields);
    let given = server.post(&acme("grants"), &grant).await.expect(201);
    assert_eq!(
        (&given["priority"], &given["features"], &given["metadata"]),
        (&json!(0), &json!([]), &json!({}))
    );
    let charge = server.charge("to refund", 1_000).await.expect(201);
    let refunds = acme(&format!("charges/{}/refunds", charge["id"].as_str().unwrap()));
    let refund = nulls(json!({"reason": "broken"}), &["amount", "quantities", "reissue_expired"]);
    assert_eq!(server.post(&refunds, &refund).await.expect(201)["amount"], "1");
    let key = nulls(
        json!({"name": "n", "scopes": ["read"]}),
        &["customer", "policy_prefix", "may_grant", "expires_at"],
    );
    server.post("/v1/api_keys", &key).await.expect(201);
    let terms = [
        "version",
        "settings",
        "effective_at",
        "ends_at",
        "mode",
        "on_fault",
        "contract",
        "time_zone",
        "note",
    ];
    let bound = server.post(&acme("terms"), &nulls(json!({"policy": "standard"}), &terms)).await.expect(201);
    assert_eq!(bound["settings"], json!({}));
    let change = nulls(json!({"plan": null, "dry_run": true}), &["plan_version", "when", "allowance"]);
    assert_eq!(server.post(&acme("plan-changes"), &change).await.expect(200)["status"], "preview");
    // A body that is null is none.
    let end = acme(&format!("terms/{}/end", bound["id"].as_str().unwrap()));
    server.post(&end, &Value::Null).await.expect(200);
    server.post(&acme("resets"), &Value::Null).await.expect(200);
    // What is required stays so.
    for (field, pointer) in [("feature", "/feature"), ("quantities", "/quantities")] {
        let refused = server.post(&acme("charges"), &nulls(usage(1), &[field])).await;
        assert_eq!(refused.pointers(), [pointer]);
    }
}

/// "A field that is absent stays as it is", of an override's kind, too; and what was put is tagged as what is read.
#[tokio::test]
async fn a_value_alone_keeps_the_kind_of_an_override() {
    let server = Server::with_acme().await;
    let path = "/v1/customers/acme/entitlements/seats";
    let refused = server.put(path, &json!({"value": 30})).await;
    assert_eq!(refused.pointers(), ["/type"], "the plan's kind is not the override's");
    server.put(path, &json!({"type": "static", "value": 30})).await.expect(200);
    let put = server.put(path, &json!({"value": 40})).await;
    let read = server.get(path).await;
    assert!(put.header("etag").is_some());
    assert_eq!(put.header("etag"), read.header("etag"));
    let put = put.expect(200);
    assert_eq!((&put["type"], &put["value"]), (&json!("static"), &json!(40)));
    assert_eq!(read.expect(200)["value"], 40);
    server.put(path, &json!({"type": "boolean", "value": true})).await.expect(200);
    assert_eq!(server.put(path, &json!({"value": 40})).await.pointers(), ["/value"], "it is a boolean now");
}

/// "`GET …/ledger` (entries with decision, explanation, transfers, hash)", and who asked.
#[tokio::test]
async fn entries_say_why_and_who_asked() {
    let server = Server::with_acme().await;
    server.charge("1", 1_500).await.expect(201);
    server.charge("2", 9_000_000).await.refuses(402, "insufficient_credits");
    server.now("2026-02-20T00:00:00Z").await;
    server.charge("3", 1).await.expect(201);
    let entries = server.get("/v1/customers/acme/ledger?order=asc").await.expect(200);
    let said: Vec<(&str, &Value, &Value)> = entries["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["type"].as_str().unwrap(), &one["by"], &one["explanation"]))
        .collect();
    let key = json!("key_1");
    assert_eq!(said[0], ("configured", &key, &json!([])));
    assert_eq!(said[2], ("charged", &key, &json!(["input tokens: 1500 x 0.001 = 1.5"])));
    let why = ["input tokens: 9000000 x 0.001 = 9000", "insufficient_credits: 8001.5 credits are missing"];
    assert_eq!(said[3], ("refused", &key, &json!(why)));
    assert_eq!((said[4].0, said[4].1), ("period_closed", &Value::Null));
    assert!(entries["data"].as_array().unwrap().iter().all(|one| one["hash"].is_string()));
}

/// "`from` and `to` may be plain dates of the customer's days", across customers as well; "JSON or CSV".
#[tokio::test]
async fn usage_of_all_customers_takes_dates_of_each_and_is_a_table_too() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/zoe", &json!({"plan": "pro", "time_zone": "Asia/Tokyo"})).await.expect(201);
    for customer in ["acme", "zoe"] {
        // 19:00 of the 15th in London is the 16th in Tokyo.
        server.now(if customer == "acme" { "2026-01-15T19:00:00Z" } else { "2026-01-15T19:00:01Z" }).await;
        server.post(&format!("/v1/customers/{customer}/charges"), &usage(1_000)).await.expect(201);
    }
    let customers = async |query: &str| {
        let page = server.get(&format!("/v1/usage?{query}")).await.expect(200);
        let rows =
            page["data"].as_array().unwrap().iter().map(|row| row["customer"].as_str().unwrap().to_owned());
        rows.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(customers("from=2026-01-15&to=2026-01-16").await, "acme");
    assert_eq!(customers("from=2026-01-16&to=2026-01-17").await, "zoe");
    assert_eq!(customers("from=2026-01-15&to=2026-01-16&time_zone=UTC").await, "acme zoe");
    let table = async |query: &str| {
        let ask = server.ask("GET", &format!("/v1/usage?{query}")).header("accept", "text/csv");
        let answer = ask.send().await;
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        answer.text()
    };
    assert_eq!(
        table("group_by=day&limit=1").await,
        "customer,day,charges,cost.credits,quantity.input_tokens\nacme,2026-01-15,1,1,1000\nzoe,2026-01-16,1,1,1000\n"
    );
    assert_eq!(table("feature=none").await, "customer,feature,charges\n");
}

/// Times of a query may have an offset whose plus sign was not percent-encoded: no time has a space there.
#[tokio::test]
async fn a_plus_in_the_time_of_a_query_is_one() {
    let server = Server::with_acme().await;
    let balance = "/v1/customers/acme/balance?at=";
    server.get(&format!("{balance}2026-01-15T11:00:00%2B01:00")).await.expect(200);
    server.get(&format!("{balance}2026-01-15T11:00:00+01:00")).await.expect(200);
    server.get(&format!("{balance}2026-01-15T11%3A00%3A00+01%3A00")).await.expect(200);
    server.get(&format!("{balance}2026-01-15+11:00")).await.refuses(400, "invalid_query");
    server.get("/v1/customers/acme/usage?from=2026-01-15T10:00:00+00:00&feature=a+b").await.expect(200);
}

/// Problems speak of JSON, not of Rust or of the parsers below.
#[tokio::test]
async fn problems_are_in_the_words_of_json() {
    let server = Server::with_acme().await;
    let grant = |field: &str, value: Value| {
        let mut body = json!({"amount": "1", "category": "prepaid"});
        body[field] = value;
        body
    };
    for (body, pointer, detail) in [
        (
            grant("priority", json!("1")),
            "/priority",
            "invalid type: string \"1\", expected a whole number from -2147483648 to 2147483647",
        ),
        (
            grant("expires_with_period", json!(-1)),
            "/expires_with_period",
            "invalid value: integer `-1`, expected a whole number from 0 to 4294967295",
        ),
        (grant("features", json!("chat")), "/features", "invalid type: string \"chat\", expected an array"),
        (grant("features", json!({})), "/features", "invalid type: object, expected an array"),
        (grant("metadata", json!([])), "/metadata", "invalid type: array, expected an object"),
    ] {
        let refused = server.post("/v1/customers/acme/grants", &body).await.refuses(400, "invalid_request");
        assert_eq!(refused["errors"], json!([{"pointer": pointer, "detail": detail}]));
    }
    let refused = server.get("/v1/customers?limit=x").await.refuses(400, "invalid_query");
    assert_eq!(refused["detail"], "limit: invalid digit found in string");
}

/// What a period opens with says when it ends.
#[tokio::test]
async fn grants_of_a_period_that_begins_say_when_they_expire() {
    let server = Server::with_acme().await;
    let reset = server.post("/v1/customers/acme/resets", &json!({})).await.expect(200);
    assert_eq!(reset["grants"][0]["expires_at"], reset["period"]["end"]);
    let grant = format!("/v1/customers/acme/grants/{}", reset["grants"][0]["id"].as_str().unwrap());
    assert_eq!(server.get(&grant).await.expect(200)["expires_at"], reset["grants"][0]["expires_at"]);
}

/// The audit names what was changed: the terms that ended, the feature that was overridden.
#[tokio::test]
async fn the_audit_of_a_customer_names_what_changed() {
    let server = Server::with_acme().await;
    let terms = json!({"policy": "standard", "settings": settings("0.002", "1")});
    let bound = server.post("/v1/customers/acme/terms", &terms).await.expect(201);
    let end = format!("/v1/customers/acme/terms/{}/end", bound["id"].as_str().unwrap());
    server.post(&end, &json!({})).await.expect(200);
    let seats = "/v1/customers/acme/entitlements/seats";
    server.put(seats, &json!({"type": "static", "value": 30})).await.expect(200);
    server.put(seats, &json!({"value": 31})).await.expect(200);
    let audit = server.get("/v1/audit?customer=acme").await.expect(200);
    let of = |kind: &str| {
        let found = audit["data"].as_array().unwrap().iter().find(|one| one["type"] == kind);
        found.unwrap_or_else(|| panic!("{kind} in {audit}")).clone()
    };
    let ended = of("terms_ended");
    assert_eq!(ended["before"], json!({"id": bound["id"], "ends_at": null}));
    assert_eq!(ended["after"], json!({"id": bound["id"], "ends_at": START}));
    let set = of("override_set");
    assert_eq!((&set["before"]["feature"], &set["after"]["feature"]), (&json!("seats"), &json!("seats")));
}

#[tokio::test]
async fn an_api_key_is_read_by_itself() {
    let server = Server::with_acme().await;
    let made = server.post("/v1/api_keys", &json!({"name": "n", "scopes": ["read"]})).await.expect(201);
    let path = format!("/v1/api_keys/{}", made["id"].as_str().unwrap());
    let mut without = made.clone();
    without.as_object_mut().unwrap().remove("secret");
    assert_eq!(server.get(&path).await.expect(200), without);
    server.ask("DELETE", &path).send().await.expect(200);
    assert!(server.get(&path).await.expect(200)["revoked_at"].is_string());
    server.get("/v1/api_keys/key_999").await.refuses(404, "api_key_not_found");
    let secret = server.secret(&json!({"name": "r", "scopes": ["read"]})).await;
    server.ask("GET", &path).by(&secret).send().await.refuses(403, "scope_missing");
}

#[tokio::test]
async fn a_backtest_of_no_time_is_refused() {
    let server = Server::with_acme().await;
    let body = json!({"customer": "acme", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"});
    let answer = server.post("/v1/policies/standard/versions/1/backtests", &body).await;
    assert_eq!(answer.pointers(), ["/to"]);
}

/// "`has_access` of a metered feature is what a check of the smallest usage would say": of one with a price for each usage, whatever its
/// quantities, that is its price.
#[tokio::test]
async fn a_metered_feature_can_be_accessed_when_its_smallest_usage_is_allowed() {
    let server = Server::with_acme().await;
    let settings = json!({
        "rates": [
            {"feature": "search", "price": {"flat": "3"}},
            {"feature": "help", "price": {"flat": "0"}},
            {"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": "1"}},
        ],
        "overage": {"mode": "allow", "limit": "2"},
        "reset": {"allowance": [{"amount": "8"}]},
    });
    let metered = json!({"type": "metered"});
    let plan = json!({
        "interval": "month",
        "entitlements": {"search": metered, "help": metered, "chat": metered},
        "terms": {"policy": "standard", "settings": settings},
    });
    server.put("/v1/plans/flat", &plan).await.expect(201);
    server.put("/v1/customers/beta", &json!({"plan": "flat"})).await.expect(201);
    let tokens = json!({"input_tokens": "0.000000000001"});
    // 8 credits and 2 of overage: three searches, then one credit more.
    for (left, search, chat) in
        [("8", true, true), ("5", true, true), ("2", true, true), ("0", false, true), ("0", false, false)]
    {
        for (feature, quantities, expected) in
            [("search", json!({}), search), ("help", json!({}), true), ("chat", tokens.clone(), chat)]
        {
            let entitlement =
                server.get(&format!("/v1/customers/beta/entitlements/{feature}")).await.expect(200);
            let body = json!({"feature": feature, "quantities": quantities});
            let check = server.post("/v1/customers/beta/check", &body).await.expect(200);
            let said = [&entitlement["has_access"], &check["allowed"]];
            assert_eq!(
                said,
                [&json!(expected), &json!(expected)],
                "{feature} with {left}: {entitlement} {check}"
            );
            assert_eq!(entitlement["reason"], check["reason"], "{feature} with {left}");
            assert_eq!(entitlement["balance"]["available"], left);
        }
        let body = match (search, chat) {
            (true, _) => json!({"feature": "search", "quantities": {}}),
            (false, true) => json!({"feature": "chat", "quantities": {"input_tokens": 1}}),
            (false, false) => return,
        };
        server.post("/v1/customers/beta/charges", &body).await.expect(201);
    }
}
