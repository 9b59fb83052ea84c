//! The hot path: charges, checks, reservations and batches, their refusals and their repeats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings, usage};

#[tokio::test]
async fn a_charge_is_explained_and_drawn() {
    let server = Server::with_acme().await;
    let mut body = usage(1_200);
    body["attributes"] = json!({ "model": "large", "seed": 7, "cached": true });
    body["entity"] = json!("user-7");
    let ask = server.ask("POST", "/v1/customers/acme/charges").key("k1");
    let charge = ask.json(&body).send().await.expect(201);
    let policy = server.get("/v1/policies/standard/versions/1").await.expect(200);
    let grant = charge["draws"][0]["grant"].clone();
    assert_eq!(
        charge,
        json!({
            "id": "chg_3", "customer": "acme", "feature": "chat", "entity": "user-7",
            "occurred_at": "2026-01-15T10:00:00Z", "cost": "1.2", "credit": "credits",
            "lines": [{"label": "input tokens", "quantity": "1200", "unit_cost": "0.001", "cost": "1.2"}],
            "draws": [{"grant": grant, "amount": "1.2"}], "overage": "0",
            "balance": {
                "granted": "1000", "used": "1.2", "reserved": "0", "available": "998.8", "overage": "0",
                "next_reset_at": "2026-02-15T10:00:00Z"
            },
            "policy": {"name": "standard", "version": 1, "digest": policy["digest"]},
            "terms": "plan/pro/terms_1", "entry": 3, "degraded": false
        })
    );
}

#[tokio::test]
async fn repeats_are_answered_with_the_same_bytes() {
    let server = Server::with_acme().await;
    let reserve =
        server.ask("POST", "/v1/customers/acme/reservations").key("r0").json(&usage(10)).send().await;
    let reservation = reserve.expect(201)["id"].as_str().unwrap().to_owned();
    let grant = json!({"amount": "5", "category": "promotional", "metadata": {"a": "b"}});
    let grant = server.post("/v1/customers/acme/grants", &grant).await.expect(201);
    let void = format!("/v1/customers/acme/grants/{}/void", grant["id"].as_str().unwrap());
    let commit = format!("/v1/customers/acme/reservations/{reservation}/commit");
    let terms = json!({"policy": "standard", "settings": settings("0.002", "10")});
    for (key, path, body, status) in [
        ("a", "/v1/customers/acme/charges", usage(100), 201),
        ("b", "/v1/customers/acme/charges", usage(900_000_000), 402),
        ("c", "/v1/customers/acme/reservations", usage(1_000), 201),
        ("d", &commit, json!({"quantities": {"input_tokens": 5}}), 200),
        ("e", "/v1/customers/acme/grants", json!({"amount": "7", "category": "prepaid"}), 201),
        ("f", &void, json!({}), 200),
        ("g", "/v1/customers/acme/adjustments", json!({"amount": "-0.5", "reason": "a mistake"}), 201),
        ("h", "/v1/customers/acme/resets", json!({}), 200),
        ("i", "/v1/customers/acme/terms", terms.clone(), 201),
        ("j", "/v1/plans/pro/terms", terms.clone(), 201),
    ] {
        let ask = |body: &Value| server.ask("POST", path).key(key).json(body).send();
        let first = ask(&body).await;
        assert_eq!((first.status, first.is_replay()), (status, false), "{path}: {}", first.text());
        // Something else happens in between.
        server.charge(&format!("between-{key}"), 1).await.expect(201);
        let again = ask(&body).await;
        assert_eq!((again.status, again.is_replay()), (status, true), "{path}: {}", again.text());
        assert_eq!(first.bytes, again.bytes, "{path}");
        let mut other = body.clone();
        other["settings"] = json!({});
        other["entity"] = json!("someone-else");
        let other =
            if body["quantities"].is_object() || body["policy"].is_string() { other } else { continue };
        if body["feature"].is_string() {
            let mut other = other;
            other.as_object_mut().unwrap().remove("settings");
            ask(&other).await.refuses(422, "idempotency_key_reused");
        }
    }
}

#[tokio::test]
async fn refusals_say_what_is_missing_and_are_in_the_ledger() {
    let server = Server::with_acme().await;
    let refused = server.charge("k", 1_000_001).await.refuses(402, "insufficient_credits");
    assert_eq!((&refused["required"], &refused["available"]), (&json!("1000.001"), &json!("1000")));
    assert_eq!(refused["instance"], "/v1/customers/acme/charges");
    assert_eq!(refused["policy"]["version"], 1);
    let ledger = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200);
    assert_eq!(
        (&ledger["data"][0]["type"], &ledger["data"][0]["entry"]),
        (&json!("refused"), &refused["entry"])
    );
    assert_eq!(ledger["data"][0]["event"]["code"], "insufficient_credits");

    for (overage, code) in [
        (
            json!({"mode": "require_purchase", "offers": [{
                "code": "pack", "label": "1,000 credits", "credits": "1000", "price": {"amount": "9.9", "currency": "EUR"}
            }]}),
            "purchase_required",
        ),
        (json!({"mode": "allow", "limit": "1"}), "insufficient_credits"),
    ] {
        let mut settings = settings("0.001", "1000");
        settings["overage"] = overage;
        let terms = json!({"policy": "standard", "settings": settings});
        server.post("/v1/customers/acme/terms", &terms).await.expect(201);
        let refused = server.charge(code, 5_000_000).await;
        let offers = refused.json()["offers"].clone();
        refused.clone().refuses(402, refused.code().as_str());
        if code == "purchase_required" {
            assert_eq!(refused.code(), code);
            assert_eq!(offers[0]["price"], json!({"amount": "9.9", "currency": "EUR"}), "{offers}");
        }
    }
    let unrated = json!({"feature": "unheard-of", "quantities": {}});
    let ask = server.ask("POST", "/v1/customers/acme/charges").key("unrated").json(&unrated);
    let unrated = ask.send().await.refuses(422, "feature_not_rated");
    assert_eq!(unrated["required"], "0", "{unrated}");
}

#[tokio::test]
async fn a_check_changes_nothing() {
    let server = Server::with_acme().await;
    let before = server.get("/v1/customers/acme/ledger").await.expect(200);
    let check = async |body: Value| server.post("/v1/customers/acme/check", &body).await.expect(200);
    let fine = check(usage(2_000)).await;
    assert_eq!((&fine["allowed"], &fine["reason"], &fine["cost"]), (&json!(true), &json!("ok"), &json!("2")));
    assert_eq!(fine["balance"]["available"], "1000");
    let short = check(usage(2_000_000)).await;
    assert_eq!((&short["allowed"], &short["reason"]), (&json!(false), &json!("insufficient_credits")));
    let off = check(json!({"feature": "export", "quantities": {}})).await;
    assert_eq!(
        (&off["allowed"], &off["reason"], &off["cost"]),
        (&json!(false), &json!("not_entitled"), &Value::Null)
    );
    assert_eq!(server.get("/v1/customers/acme/ledger").await.expect(200), before);
    let off = json!({"feature": "export", "quantities": {}});
    let ask = server.ask("POST", "/v1/customers/acme/charges").key("off").json(&off);
    ask.send().await.refuses(402, "not_entitled");
}

#[tokio::test]
async fn a_reservation_has_one_outcome() {
    let server = Server::with_acme().await;
    let reserve = |key: &'static str, ttl: u32| {
        let mut body = usage(100_000);
        body["ttl_seconds"] = json!(ttl);
        server.ask("POST", "/v1/customers/acme/reservations").key(key).json(&body).send()
    };
    let path = |reservation: &Value, verb: &str| {
        format!("/v1/customers/acme/reservations/{}/{verb}", reservation["id"].as_str().unwrap())
    };
    let first = reserve("one", 900).await.expect(201);
    assert_eq!((&first["reserved"], &first["expires_at"]), (&json!("100"), &json!("2026-01-15T10:15:00Z")));
    assert_eq!(
        (&first["balance"]["reserved"], &first["balance"]["available"]),
        (&json!("100"), &json!("900"))
    );
    let actual = json!({"quantities": {"input_tokens": 40_000}});
    let committed = server.post(&path(&first, "commit"), &actual).await.expect(200);
    assert_eq!(
        (&committed["cost"], &committed["returned"], &committed["overage"]),
        (&json!("40"), &json!("60"), &json!("0"))
    );
    assert_eq!(committed["balance"]["available"], "960");
    for verb in ["commit", "release"] {
        let body = if verb == "commit" { &actual } else { &json!({}) };
        server.post(&path(&first, verb), body).await.refuses(409, "reservation_closed");
    }
    let second = reserve("two", 900).await.expect(201);
    let released = server.ask("POST", &path(&second, "release")).key("release").send().await.expect(200);
    assert_eq!((&released["returned"], &released["balance"]["available"]), (&json!("100"), &json!("960")));

    let third = reserve("three", 60).await.expect(201);
    let balance = server.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(balance["reservations"][0]["id"], third["id"]);
    server.now("2026-01-15T10:01:00Z").await;
    server.post(&path(&third, "commit"), &actual).await.refuses(409, "reservation_closed");
    assert_eq!(server.get("/v1/customers/acme/balance").await.expect(200)["reservations"], json!([]));

    let fourth = reserve("four", 60).await.expect(201);
    // The usage has happened: what it comes to is billed, and what goes beyond the terms is told.
    let much = json!({"quantities": {"input_tokens": 5_000_000}});
    let beyond = server.post(&path(&fourth, "commit"), &much).await.expect(200);
    assert_eq!(
        (&beyond["cost"], &beyond["overage"], &beyond["exceeded"]),
        (&json!("5000"), &json!("4040"), &json!("4040"))
    );
    for unknown in ["res_1", "res_999", "res_3_1", "nonsense", "grant_1"] {
        let path = format!("/v1/customers/acme/reservations/{unknown}/release");
        server.post(&path, &json!({})).await.refuses(404, "reservation_not_found");
    }
    for ttl in [0, 86_401] {
        assert_eq!(reserve("ttl", ttl).await.pointers(), ["/ttl_seconds"]);
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_each_on_its_own() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({"plan": "pro"})).await.expect(201);
    let item = |customer: &str, key: &str, tokens: Value| json!({"customer": customer, "idempotency_key": key, "feature": "chat", "quantities": {"input_tokens": tokens}});
    let mut early = item("acme", "b7", json!(1));
    early["occurred_at"] = json!("2027-01-01T00:00:00Z");
    let batch = json!([
        item("acme", "b1", json!(1_000)),
        item("nobody", "b2", json!(1_000)),
        item("beta", "b3", json!(2_000)),
        item("acme", "b4", json!(-1)),
        item("acme", "b5", json!(999_999_000)),
        item("acme", "b1", json!(1_000)),
        item("acme", "b1", json!(7)),
        json!(["acme", "b9"]),
        json!(7),
        item("beta", "b6", json!("0.5")),
        early,
    ]);
    let results = server.post("/v1/charges/batch", &batch).await.expect(200);
    let codes = |results: &Value| -> Vec<(u64, String)> {
        let code = |body: &Value| body.get("code").unwrap_or(&body["cost"]).as_str().unwrap().to_owned();
        let results = results.as_array().unwrap();
        results.iter().map(|one| (one["status"].as_u64().unwrap(), code(&one["body"]))).collect()
    };
    let expected: Vec<(u64, String)> = [
        (201, "1"),
        (404, "customer_not_found"),
        (201, "2"),
        (400, "invalid_request"),
        (402, "insufficient_credits"),
        (201, "1"),
        (422, "idempotency_key_reused"),
        (400, "invalid_request"),
        (400, "invalid_request"),
        (201, "0.0005"),
        (400, "occurred_at_in_future"),
    ]
    .map(|(status, code)| (status, code.to_owned()))
    .into();
    assert_eq!(codes(&results), expected);
    assert_eq!(results[3]["body"]["errors"][0]["pointer"], "/3/quantities/input_tokens");
    assert_eq!(results[10]["body"]["errors"][0]["pointer"], "/10/occurred_at");
    assert_eq!(results[0]["body"], results[5]["body"]);
    let again = server.post("/v1/charges/batch", &batch).await.expect(200);
    assert_eq!(codes(&again), expected);
    assert_eq!(again[0]["replayed"], true);

    assert_eq!(server.post("/v1/charges/batch", &json!([])).await.expect(200), json!([]));
    let many = Value::Array(vec![json!({}); 1_001]);
    server.post("/v1/charges/batch", &many).await.refuses(400, "invalid_request");
    server.post("/v1/charges/batch", &json!({})).await.refuses(400, "invalid_request");
    let thousand: Vec<_> = (0..1_000_u32).map(|n| item("beta", &format!("t{n}"), json!(n + 1))).collect();
    let results = server.post("/v1/charges/batch", &Value::Array(thousand)).await.expect(200);
    let results = results.as_array().unwrap();
    for (n, result) in (1..).zip(results) {
        assert_eq!(
            (&result["status"], &result["body"]["lines"][0]["quantity"]),
            (&json!(201), &json!(format!("{n}")))
        );
    }
}

#[tokio::test]
async fn usage_may_be_late_but_not_too_late() {
    let server = Server::with_acme().await;
    for (at, expected) in [
        ("2026-01-15T10:05:00Z", Ok("2026-01-15T10:05:00Z")),
        ("2026-01-15T10:05:00.000001Z", Err("occurred_at_in_future")),
        ("2025-12-11T10:00:00Z", Ok("2025-12-11T10:00:00Z")),
        ("2025-12-11T09:59:59.999999Z", Err("occurred_at_too_old")),
        ("2026-01-15T11:00:00+01:00", Ok("2026-01-15T10:00:00Z")),
    ] {
        let mut body = usage(1);
        body["occurred_at"] = json!(at);
        let answer = server.ask("POST", "/v1/customers/acme/charges").key(at).json(&body).send().await;
        match expected {
            Ok(stored) => assert_eq!(answer.expect(201)["occurred_at"], stored),
            Err(code) => {
                assert_eq!(answer.pointers(), ["/occurred_at"]);
                answer.refuses(400, code);
            }
        }
    }
}
