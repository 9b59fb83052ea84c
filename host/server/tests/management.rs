//! Customers, plans, policies, terms, grants and what is read of them: what is put is what is got, in pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{STANDARD, Server, plan, settings, usage};

#[tokio::test]
async fn customers_are_put_read_and_listed() {
    let server = Server::with_acme().await;
    let acme = server.get("/v1/customers/acme").await.expect(200);
    assert_eq!(
        acme,
        json!({
            "customer": "acme", "name": "Acme", "plan": "pro", "plan_version": 1, "time_zone": "UTC",
            "anchor": "2026-01-15T10:00:00Z",
            "attributes": {}, "external_ids": {}, "closed": false, "created_at": "2026-01-15T10:00:00Z",
            "period": {"number": 1, "start": "2026-01-15T10:00:00Z", "end": "2026-02-15T10:00:00Z"}
        })
    );
    let body = json!({
        "name": "Acme Inc.", "plan": "pro", "time_zone": "Europe/Berlin", "anchor": "2026-01-01T00:00:00+01:00",
        "attributes": {"tier": "gold", "seats": 5}, "external_ids": {"stripe": "cus_1"}
    });
    let changed = server.put("/v1/customers/acme", &body).await.expect(200);
    assert_eq!(
        (&changed["time_zone"], &changed["anchor"]),
        (&json!("Europe/Berlin"), &json!("2025-12-31T23:00:00Z"))
    );
    assert_eq!(changed["period"]["end"], "2026-01-31T23:00:00Z");
    assert_eq!(changed["attributes"], json!({"tier": "gold", "seats": "5"}));
    let entries = server.get("/v1/customers/acme/ledger").await.expect(200)["data"].as_array().unwrap().len();
    assert_eq!(server.put("/v1/customers/acme", &body).await.expect(200), changed);
    let after = server.get("/v1/customers/acme/ledger").await.expect(200);
    assert_eq!(after["data"].as_array().unwrap().len(), entries, "the same again is no entry");

    let bare = server.put("/v1/customers/bare", &json!({})).await.expect(201);
    assert_eq!((&bare["name"], &bare["plan"], &bare["period"]), (&json!("bare"), &Value::Null, &Value::Null));
    let balance = server.get("/v1/customers/bare/balance").await.expect(200);
    assert_eq!(
        (&balance["balances"][0]["credit"], &balance["balances"][0]["granted"]),
        (&json!("credits"), &json!("0"))
    );
    server
        .ask("POST", "/v1/customers/bare/charges")
        .key("k")
        .json(&usage(1))
        .send()
        .await
        .refuses(409, "no_terms_in_force");
    let check = server.post("/v1/customers/bare/check", &usage(1)).await.expect(200);
    assert_eq!(check["reason"], "no_terms_in_force");
    server.post("/v1/customers/bare/resets", &json!({})).await.refuses(409, "no_period");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = Server::with_acme().await;
    for n in 0..7 {
        server.put(&format!("/v1/customers/c{n}"), &json!({})).await.expect(201);
        server.put(&format!("/v1/plans/p{n}"), &json!({})).await.expect(201);
        server.put(&format!("/v1/policies/y{n}"), &json!({"description": "d"})).await.expect(201);
        server
            .post("/v1/customers/acme/grants", &json!({"amount": "1", "category": "prepaid"}))
            .await
            .expect(201);
        let terms = json!({"policy": "standard", "settings": settings("0.001", &format!("{}", n + 1))});
        server.post("/v1/customers/acme/terms", &terms).await.expect(201);
        server.post("/v1/plans/pro/terms", &terms).await.expect(201);
        server.post("/v1/api_keys", &json!({"name": "k", "scopes": ["read"]})).await.expect(201);
        let mut charge = usage(1);
        charge["entity"] = json!(format!("e{n}"));
        server
            .ask("POST", "/v1/customers/acme/charges")
            .key(&format!("{n}"))
            .json(&charge)
            .send()
            .await
            .expect(201);
    }
    for (path, field, expected) in [
        ("/v1/customers", "customer", 8),
        ("/v1/plans", "plan", 8),
        ("/v1/policies", "policy", 8),
        ("/v1/policies/standard/versions", "version", 1),
        ("/v1/customers/acme/grants", "id", 8),
        ("/v1/customers/acme/terms", "id", 7),
        ("/v1/plans/pro/terms", "id", 8),
        ("/v1/customers/acme/entitlements", "feature", 3),
        ("/v1/customers/acme/ledger", "entry", 23),
        ("/v1/customers/acme/usage?group_by=entity", "group", 7),
        ("/v1/api_keys", "id", 8),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let whole = server.get(path).await.expect(200);
        assert_eq!(whole["next_cursor"], Value::Null);
        for limit in [1, 3, 8, 50] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = server.get(&format!("{path}{separator}limit={limit}{cursor}")).await.expect(200);
                let data = page["data"].as_array().unwrap();
                assert!(data.len() <= limit && !data.is_empty(), "{path}");
                seen.extend(data.iter().map(|item| item[field].clone()));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let all: Vec<_> =
                whole["data"].as_array().unwrap().iter().map(|item| item[field].clone()).collect();
            assert_eq!((seen.len(), &seen), (expected, &all), "{path} limit {limit}");
        }
    }
}

#[tokio::test]
async fn policies_are_uploaded_listed_downloaded_and_deleted() {
    let server = Server::start().await;
    let first = server.upload("standard").await.expect(201);
    assert_eq!((&first["policy"], &first["version"]), (&json!("standard"), &json!(1)));
    assert_eq!(first["size_bytes"], STANDARD.len());
    assert!(first["manifest"]["settings_schema"].is_object(), "{first}");
    assert!(first["compile_ms"].is_u64());
    assert_eq!(server.upload("standard").await.expect(200), first);
    assert_eq!(server.get("/v1/policies/standard/versions/1").await.expect(200), first);
    let module = server.get("/v1/policies/standard/versions/1/module").await;
    assert_eq!(module.header("content-type"), Some("application/wasm"));
    assert_eq!(module.bytes, STANDARD.as_slice());
    let policy = server.put("/v1/policies/standard", &json!({"description": "ours"})).await.expect(200);
    assert_eq!((&policy["description"], &policy["latest_version"]), (&json!("ours"), &json!(1)));

    let once = json!({"policy": "standard", "version": 1, "settings": settings("0.001", "1")});
    server.put("/v1/plans/old", &json!({})).await.expect(201);
    server.put("/v1/customers/old", &json!({})).await.expect(201);
    let bind = async |path: &str| server.ask("POST", path).key("once").json(&once).send().await;
    let paths = ["/v1/plans/old/terms", "/v1/customers/old/terms"];
    let bound = [bind(paths[0]).await, bind(paths[1]).await];
    for _ in 0..2 {
        assert_eq!(server.delete("/v1/policies/standard/versions/1").await.expect(200)["deleted"], true);
    }
    let terms = json!({"policy": "standard", "settings": settings("0.001", "1")});
    server.put("/v1/plans/pro", &json!({"terms": terms})).await.refuses(422, "version_not_found");
    assert_eq!(server.get("/v1/policies/standard").await.expect(200)["latest_version"], Value::Null);
    assert_eq!(server.get("/v1/policies/standard/versions/1/module").await.status, 200);
    assert_eq!(server.upload("standard").await.expect(201)["version"], 2);
    for (path, first) in paths.into_iter().zip(bound) {
        let again = bind(path).await;
        assert_eq!((again.status, again.is_replay(), &again.bytes), (201, true, &first.bytes), "{path}");
    }
}

#[tokio::test]
async fn plans_keep_their_interval_and_bind_terms_when_they_change() {
    let server = Server::with_acme().await;
    let pro = server.get("/v1/plans/pro").await.expect(200);
    assert_eq!(pro["interval"], json!({"unit": "month", "count": 1}));
    assert_eq!(pro["entitlements"]["seats"], json!({"type": "static", "value": 25}));
    assert_eq!((&pro["terms"]["id"], &pro["terms"]["version"]), (&json!("terms_1"), &json!(1)));
    assert_eq!(server.put("/v1/plans/pro", &plan("0.001", "1000")).await.expect(200), pro);
    let dearer = server.put("/v1/plans/pro", &plan("0.002", "1000")).await.expect(200);
    assert_eq!(dearer["terms"]["id"], "terms_2");
    assert_eq!(server.charge("k", 1_000).await.expect(201)["cost"], "2");
    let mut yearly = plan("0.002", "1000");
    yearly["interval"] = json!({"unit": "year", "count": 1});
    server.put("/v1/plans/pro", &yearly).await.refuses(409, "plan_interval_fixed");
}

#[tokio::test]
async fn terms_are_swapped_and_ended_without_a_gap() {
    let server = Server::with_acme().await;
    let cost = async |key: &str| server.charge(key, 1_000).await.expect(201)["cost"].clone();
    assert_eq!(cost("plan").await, "1");
    let bind = |price: &str, extra: Value| {
        let mut terms = json!({"policy": "standard", "version": 1, "settings": settings(price, "1")});
        terms.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        terms
    };
    let own = server
        .post("/v1/customers/acme/terms", &bind("0.003", json!({"on_fault": "plan"})))
        .await
        .expect(201);
    assert_eq!(
        (&own["on_fault"], &own["mode"], &own["ends_at"]),
        (&json!("plan"), &json!("active"), &Value::Null)
    );
    assert_eq!(cost("own").await, "3");
    let later = json!({"effective_at": "2026-01-16T00:00:00Z", "ends_at": "2026-01-17T00:00:00Z"});
    let later = server.post("/v1/customers/acme/terms", &bind("0.005", later)).await.expect(201);
    server.post("/v1/customers/acme/terms", &bind("0.1", json!({"mode": "shadow"}))).await.expect(201);
    assert_eq!(cost("still own").await, "3");
    let ledger = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200);
    assert_eq!(ledger["data"][0]["decision"]["shadows"][0]["cost"], "100");
    server.now("2026-01-16T00:00:00Z").await;
    assert_eq!(cost("later").await, "5");
    let listed = server.get("/v1/customers/acme/terms").await.expect(200);
    let in_force = |list: &Value| {
        let data = list["data"].as_array().unwrap();
        data.iter().find(|one| one["in_force"] == true).unwrap()["id"].clone()
    };
    assert_eq!(in_force(&listed), later["id"]);
    server.now("2026-01-17T00:00:00Z").await;
    assert_eq!(cost("own again").await, "3");
    let end = format!("/v1/customers/acme/terms/{}/end", own["id"].as_str().unwrap());
    let ended = server.ask("POST", &end).key("end").send().await.expect(200);
    assert_eq!(ended, json!({"id": own["id"], "ends_at": "2026-01-17T00:00:00Z"}));
    assert!(server.ask("POST", &end).key("end").send().await.is_replay());
    server.post(&end, &json!({})).await.refuses(409, "terms_ended");
    assert_eq!(cost("plan again").await, "1");
    let end = "/v1/plans/pro/terms/terms_1/end";
    server.post(end, &json!({"ends_at": "2026-01-01T00:00:00Z"})).await.refuses(400, "invalid_request");
    server.post(end, &json!({"ends_at": "2026-01-18T00:00:00Z"})).await.expect(200);
    server.now("2026-01-18T00:00:00Z").await;
    server.charge("none", 1).await.refuses(409, "no_terms_in_force");
}

#[tokio::test]
async fn entitlements_follow_plan_override_and_credits() {
    let server = Server::with_acme().await;
    let read = async |feature: &str| {
        server.get(&format!("/v1/customers/acme/entitlements/{feature}")).await.expect(200)
    };
    assert_eq!(
        read("seats").await,
        json!({"feature": "seats", "type": "static", "has_access": true, "reason": "ok", "source": "plan", "value": 25})
    );
    let chat = read("chat").await;
    assert_eq!((&chat["has_access"], &chat["balance"]["available"]), (&json!(true), &json!("1000")));
    let export = read("export").await;
    assert_eq!((&export["has_access"], &export["reason"]), (&json!(false), &json!("switched_off")));
    let on = json!({"type": "boolean", "value": true, "ends_at": "2026-01-20T00:00:00Z"});
    let set = server.put("/v1/customers/acme/entitlements/export", &on).await.expect(200);
    assert_eq!((&set["feature"], &set["starts_at"]), (&json!("export"), &json!("2026-01-15T10:00:00Z")));
    let export = read("export").await;
    assert_eq!((&export["has_access"], &export["source"]), (&json!(true), &json!("override")));
    server.now("2026-01-20T00:00:00Z").await;
    assert_eq!(read("export").await["source"], "plan");
    server
        .put("/v1/customers/acme/entitlements/seats", &json!({"type": "static", "value": {"max": 99}}))
        .await
        .expect(200);
    assert_eq!(read("seats").await["value"], json!({"max": 99}));
    for _ in 0..2 {
        assert_eq!(server.delete("/v1/customers/acme/entitlements/seats").await.status, 204);
    }
    assert_eq!(read("seats").await["value"], 25);
    server.charge("all", 1_000_000).await.expect(201);
    let chat = read("chat").await;
    assert_eq!((&chat["has_access"], &chat["balance"]["available"]), (&json!(false), &json!("0")));
}

#[tokio::test]
async fn balances_are_as_they_were() {
    let server = Server::with_acme().await;
    let grant = json!({
        "amount": "50", "category": "promotional", "priority": -1, "expires_at": "2026-01-20T00:00:00Z",
        "features": ["chat"], "metadata": {"campaign": "winter"}
    });
    let granted = server.post("/v1/customers/acme/grants", &grant).await.expect(201);
    assert_eq!((&granted["remaining"], &granted["status"]), (&json!("50"), &json!("live")));
    let later = json!({"amount": "5", "category": "prepaid", "credit": "gold", "effective_at": "2026-03-01T00:00:00Z",
        "cost_basis": {"amount": "9.99", "currency": "EUR"}});
    let later = server.post("/v1/customers/acme/grants", &later).await.expect(201);
    assert_eq!((&later["status"], &later["cost_basis"]["amount"]), (&json!("scheduled"), &json!("9.99")));
    server.now("2026-01-16T00:00:00Z").await;
    let charge = server.charge("k", 60_000).await.expect(201);
    assert_eq!(charge["draws"][0], json!({"grant": granted["id"], "amount": "50"}));
    let one = |balance: &Value| {
        let credits = balance["balances"].as_array().unwrap();
        credits.iter().find(|one| one["credit"] == "credits").unwrap().clone()
    };
    let now = server.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!((&one(&now)["available"], &one(&now)["used"]), (&json!("990"), &json!("60")));
    assert_eq!(one(&now)["grants"].as_array().unwrap().len(), 2);
    assert_eq!(one(&now)["grants"][0]["metadata"], json!({"campaign": "winter"}));
    let before = server.get("/v1/customers/acme/balance?at=2026-01-15T23:59:59Z").await.expect(200);
    assert_eq!((&one(&before)["available"], &one(&before)["used"]), (&json!("1050"), &json!("0")));
    let void = format!("/v1/customers/acme/grants/{}/void", granted["id"].as_str().unwrap());
    server.post(&void, &json!({})).await.expect(200);
    server.post(&void, &json!({})).await.refuses(409, "grant_closed");
    server.now("2026-02-15T10:00:00Z").await;
    let next = server.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(
        (&one(&next)["available"], &one(&next)["next_reset_at"]),
        (&json!("1000"), &json!("2026-03-15T10:00:00Z"))
    );
    let early = server.post("/v1/customers/acme/resets", &json!({})).await.expect(200);
    assert_eq!((&early["reason"], &early["period"]["number"]), (&json!("early"), &json!(3)));
    assert_eq!(early["balance"]["available"], "1000");
}

#[tokio::test]
async fn usage_is_reported_in_groups() {
    let server = Server::with_acme().await;
    for (n, (entity, model, tokens)) in
        [(Some("u1"), "large", 100), (Some("u1"), "small", 200), (None, "large", 400)].into_iter().enumerate()
    {
        let mut body = usage(tokens);
        body["attributes"] = json!({"model": model});
        body["entity"] = json!(entity);
        server
            .ask("POST", "/v1/customers/acme/charges")
            .key(&n.to_string())
            .json(&body)
            .send()
            .await
            .expect(201);
    }
    server.charge("refused", 9_000_000).await.refuses(402, "insufficient_credits");
    let report = async |query: &str| {
        let report = server.get(&format!("/v1/customers/acme/usage?{query}")).await.expect(200);
        let rows = report["data"].as_array().unwrap().iter();
        let row = |row: &Value| {
            (
                row["group"].clone(),
                row["charges"].clone(),
                row["cost"][0]["cost"].clone(),
                row["quantities"]["input_tokens"].clone(),
            )
        };
        rows.map(row).collect::<Vec<_>>()
    };
    let row = |group: Value, charges: u32, cost: &str, tokens: &str| {
        (group, json!(charges), json!(cost), json!(tokens))
    };
    assert_eq!(report("").await, [row(json!({"feature": "chat"}), 3, "0.7", "700")]);
    assert_eq!(
        report("group_by=entity").await,
        [row(json!({"entity": null}), 1, "0.4", "400"), row(json!({"entity": "u1"}), 2, "0.3", "300")]
    );
    assert_eq!(
        report("group_by=day,attributes.model").await,
        [
            row(json!({"day": "2026-01-15", "attributes.model": "large"}), 2, "0.5", "500"),
            row(json!({"day": "2026-01-15", "attributes.model": "small"}), 1, "0.2", "200"),
        ]
    );
    assert_eq!(report("from=2026-01-01T00:00:00Z&to=2026-01-15T10:00:00Z").await, []);
    // Dates are days of the customer, or of the zone that is named; in Tokyo it is 19:00 on the fifteenth.
    let all = [row(json!({"feature": "chat"}), 3, "0.7", "700")];
    assert_eq!(report("from=2026-01-15&to=2026-01-16").await, all);
    assert_eq!(report("from=2026-01-16&to=2026-01-17").await, []);
    assert_eq!(report("from=2026-01-15&to=2026-01-16&time_zone=Asia/Tokyo").await, all);
    assert_eq!(report("from=2026-01-16&to=2026-01-17&time_zone=Pacific/Kiritimati").await, all);
    assert_eq!(report("from=2026-01-15&entity=u1").await, [row(json!({"feature": "chat"}), 2, "0.3", "300")]);
    assert_eq!(report("feature=image").await, []);
    for (path, status) in [
        ("/v1/customers/acme/usage?from=2026-1-15", 400),
        ("/v1/customers/acme/usage?from=2026-02-30", 400),
        ("/v1/usage?from=2026-01-15", 200),
        ("/v1/usage?from=2026-01-15&time_zone=UTC", 200),
    ] {
        server.get(path).await.expect(status);
    }
}

#[tokio::test]
async fn the_ledger_shows_what_happened_and_why() {
    let server = Server::with_acme().await;
    server.charge("k", 1_500).await.expect(201);
    let ledger = server.get("/v1/customers/acme/ledger").await.expect(200);
    let types: Vec<_> =
        ledger["data"].as_array().unwrap().iter().map(|entry| entry["type"].clone()).collect();
    assert_eq!(types, ["charged", "period_opened", "configured"]);
    let charged = &ledger["data"][0];
    assert_eq!((&charged["entry"], &charged["key"]), (&json!(3), &json!("k")));
    assert_eq!(charged["event"]["rated"]["lines"][0]["cost"], "1.5");
    assert_eq!(charged["decision"]["policy"]["name"], "standard");
    assert!(charged["decision"]["fuel"].as_u64().unwrap() > 0);
    assert_eq!(charged["transfers"][0]["to"], "spent");
    assert_eq!(
        (&charged["after"]["credit"], &charged["after"]["available"]),
        (&json!("credits"), &json!("998.5"))
    );
    assert_eq!(charged["hash"].as_str().unwrap().len(), 64);
}
