//! What one customer may keep and what one answer may hold is bounded, whatever the customer's own keys put in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn values_of_entitlements_are_bounded_one_by_one_and_together() {
    let server = Server::with_acme().await;
    let put = |feature: &str, value: Value| {
        let path = format!("/v1/customers/acme/entitlements/{feature}");
        server.ask("PUT", &path).json(&json!({"type": "static", "value": value})).send()
    };
    let largest = "x".repeat((16 << 10) - 2);
    put("one", json!(largest)).await.expect(200);
    for value in [json!(format!("{largest}x")), json!(vec![0; 10_000]), json!({ "a": largest })] {
        let answer = put("one", value).await;
        assert_eq!(answer.pointers(), ["/value"]);
        answer.refuses(400, "invalid_request");
    }
    let mut plan = support::plan("0.001", "1000");
    plan["entitlements"]["seats"]["value"] = json!(format!("{largest}x"));
    let answer = server.put("/v1/plans/large", &plan).await;
    assert_eq!(answer.pointers(), ["/entitlements/seats/value"]);
    answer.refuses(400, "invalid_request");
    let mut kept = 1;
    let refused = loop {
        let answer = put(&format!("f{kept}"), json!(largest)).await;
        if answer.status != 200 {
            break answer;
        }
        kept += 1;
        assert!(kept < 1_000, "all of them are kept");
    };
    let problem = refused.refuses(409, "too_large");
    assert!(problem["detail"].as_str().unwrap().contains("overrides"), "{problem}");
    assert_eq!(kept, 4 * MIB / largest.len());
    // What is there still works, and taking one back makes place for another.
    assert_eq!(server.get("/v1/customers/acme/entitlements/f1").await.expect(200)["value"], json!(largest));
    assert_eq!(server.delete("/v1/customers/acme/entitlements/f1").await.status, 204);
    put("another", json!(largest)).await.expect(200);
    server.charge("k", 1).await.expect(201);
    // All of them are read, in answers of about 1 MiB.
    let path = "/v1/customers/acme/entitlements?limit=1000";
    let (features, pages) = all_pages(&server, path, "feature", 16 << 10).await;
    assert_eq!((features.len(), pages), (kept + 3, 5));
}

#[tokio::test]
async fn foreign_json_that_is_accepted_can_be_read_again() {
    let server = Server::with_acme().await;
    let arrays = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let ask = |method: &str, path: &str, body: String| {
        let key = format!("{path} {}", body.len());
        server.ask(method, path).key(&key).header("content-type", "application/json").raw(body).send()
    };
    let value = |value: &str| format!(r#"{{"type": "static", "value": {value}}}"#);
    let plan = |entitlement: &str| format!(r#"{{"entitlements": {{"f": {entitlement}}}}}"#);
    let terms = |settings: &str| format!(r#"{{"policy": "standard", "settings": {settings}}}"#);
    let of_plan = |settings: &str| format!(r#"{{"terms": {}}}"#, terms(settings));
    let backtest = |settings: &str| format!(r#"{{"plan": "pro", "settings": {settings}}}"#);
    const OVERRIDE: &str = "/v1/customers/acme/entitlements/f";
    const BACKTESTS: &str = "/v1/policies/standard/versions/1/backtests";
    let places = |json: &str| {
        [
            ("PUT", OVERRIDE, value(json), "/value"),
            ("PUT", "/v1/plans/deep", plan(&value(json)), "/entitlements/f/value"),
            ("PUT", "/v1/plans/pro", of_plan(json), "/terms/settings"),
            ("POST", "/v1/plans/pro/terms", terms(json), "/settings"),
            ("POST", "/v1/customers/acme/terms", terms(json), "/settings"),
            ("POST", BACKTESTS, backtest(json), "/settings"),
        ]
    };
    for json in [arrays(65), objects(65), arrays(120), r#"{"a": 1, "a": 2}"#.to_owned()] {
        for (method, path, body, pointer) in places(&json) {
            let answer = ask(method, path, body).await;
            let pointers = answer.pointers();
            assert!(pointers.iter().all(|found| found.starts_with(pointer)), "{path} {pointers:?}");
            answer.refuses(400, "invalid_request");
        }
    }
    for (method, path, body, _) in places(&objects(64)) {
        let status = ask(method, path, body).await.status;
        // The standard policy has no such settings.
        assert!(
            [200, 201, 202].contains(&status) || status == 422 && !path.contains("entitlements"),
            "{path}: {status}"
        );
    }
    assert_eq!(server.get(OVERRIDE).await.expect(200)["value"].to_string(), objects(64));
    for path in ["/v1/customers/acme/ledger", "/v1/audit", "/v1/audit?customer=acme", "/v1/plans/deep"] {
        assert!(server.get(path).await.expect(200).to_string().contains(&objects(64)), "{path}");
    }
}

/// Reads a list to its end, in pages that hold about 1 MiB; one item takes up to `largest` bytes. Returns a field of each item, and
/// the number of pages.
async fn all_pages(server: &Server, path: &str, field: &str, largest: usize) -> (Vec<Value>, usize) {
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let answer = server.get(&format!("{path}&cursor={cursor}")).await;
        assert!(answer.bytes.len() < MIB + 2 * largest, "{path}: {} bytes", answer.bytes.len());
        let page = answer.expect(200);
        let data = page["data"].as_array().unwrap();
        assert!(!data.is_empty());
        seen.extend(data.iter().map(|item| item[field].clone()));
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else { return (seen, pages) };
        cursor = next.to_owned();
    }
}

#[tokio::test]
async fn pages_of_large_items_end_early() {
    let server = Server::with_acme().await;
    let rates: Vec<_> = (0..200)
        .map(|n| json!({"feature": format!("{n}{}", "f".repeat(90)), "quantity": "n", "price": {"per_unit": "0.001"}}))
        .collect();
    let terms = json!({"policy": "standard", "settings": {"rates": rates}, "mode": "shadow"});
    for _ in 0..60 {
        server.post("/v1/customers/acme/terms", &terms).await.expect(201);
    }
    let (terms, pages) = all_pages(&server, "/v1/customers/acme/terms?limit=1000", "id", 64 << 10).await;
    assert_eq!(terms.len(), 60);
    assert!(pages > 1, "{pages} pages");
    let (entries, pages) =
        all_pages(&server, "/v1/customers/acme/ledger?limit=1000", "entry", 128 << 10).await;
    assert!(entries.iter().map(|entry| entry.as_u64().unwrap()).eq((1..=62).rev()), "{entries:?}");
    assert!(pages > 1, "{pages} pages");
    // Where they are small, the limit decides.
    for limit in [61, 62, 63] {
        let page = server.get(&format!("/v1/customers/acme/ledger?limit={limit}")).await.expect(200);
        assert!(page["data"].as_array().unwrap().len() <= limit);
    }
}

#[tokio::test]
async fn all_pages_of_a_report_are_of_the_same_usage() {
    let server = Server::with_acme().await;
    let charge = |key: String, entity: String| {
        let mut body = usage(1_000);
        body["entity"] = json!(entity);
        let ask = server.ask("POST", "/v1/customers/acme/charges").key(&key).json(&body).send();
        async move { ask.await.expect(201) }
    };
    for number in 0..20 {
        charge(format!("a{number}"), format!("e{:02}", number % 10)).await;
    }
    let path = "/v1/customers/acme/usage?group_by=entity";
    let whole = server.get(path).await.expect(200);
    assert_eq!(whole["data"].as_array().unwrap().len(), 10);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for round in 0.. {
        let page = server.get(&format!("{path}&limit=3&cursor={cursor}")).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        next.clone_into(&mut cursor);
        // Usage goes on, time too, and others look at other reports in between.
        charge(format!("b{round}"), "e09".to_owned()).await;
        server.now(&format!("2026-01-{}T10:00:00Z", 16 + round)).await;
        for by in ["feature", "day", "model", "hour", "entity,day"] {
            server.get(&format!("/v1/customers/acme/usage?group_by={by}&limit=1")).await.expect(200);
        }
    }
    assert_eq!(&seen, whole["data"].as_array().unwrap());
    let now = server.get(path).await.expect(200);
    assert_eq!(now["data"][9]["charges"], 5, "the next report has what came since: {now}");
    // A cursor belongs to its grouping.
    let other = format!("/v1/customers/acme/usage?group_by=entity,day&cursor={cursor}");
    server.get(&other).await.refuses(400, "invalid_cursor");
}
