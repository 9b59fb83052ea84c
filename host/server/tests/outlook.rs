//! What is left, what paid, and how long it lasts: charts, forecasts, deductions by category, and what expires soon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::json;
use support::{Server, usage};

/// Ten credits on each of ten days, of an allowance of 1,000.
async fn ten_days() -> Server {
    let server = Server::with_acme().await;
    for day in 16..26 {
        server.now(&format!("2026-01-{day}T12:00:00Z")).await;
        server.post("/v1/customers/acme/charges", &usage(10_000)).await.expect(201);
    }
    server.now("2026-01-26T00:00:00Z").await;
    server
}

#[tokio::test]
async fn a_burndown_is_ready_to_chart() {
    let server = ten_days().await;
    let path = "/v1/customers/acme/burndown";
    let query = format!("{path}?from=2026-01-20&to=2026-01-23");
    let chart = server.get(&query).await.expect(200);
    let points: Vec<String> = (20..24).map(|day| format!("2026-01-{day}T00:00:00Z")).collect();
    assert_eq!(chart["points"], json!(points));
    assert_eq!(chart["grants"].as_array().unwrap().len(), 1, "{chart}");
    let grant = &chart["grants"][0];
    assert_eq!((&grant["category"], &grant["credit"]), (&json!("plan"), &json!("credits")));
    assert_eq!(grant["left"], json!(["960", "950", "940", "930"]));
    let table = server.ask("GET", &query).header("accept", "text/csv").send().await.text();
    let expected = format!(
        "at,{}\n{},960\n{},950\n{},940\n{},930\n",
        grant["grant"].as_str().unwrap(),
        points[0],
        points[1],
        points[2],
        points[3]
    );
    assert_eq!(table, expected);
    // Each point is what the balance was then.
    let hours = format!("{path}?interval=hour&from=2026-01-20T10:30:00Z&to=2026-01-20T13:00:00Z");
    let chart = server.get(&hours).await.expect(200);
    assert_eq!(chart["points"].as_array().unwrap().len(), 4);
    for (place, at) in chart["points"].as_array().unwrap().iter().enumerate() {
        let balance = format!("/v1/customers/acme/balance?at={}", at.as_str().unwrap());
        let balance = server.get(&balance).await.expect(200);
        assert_eq!(balance["balances"][0]["available"], chart["grants"][0]["left"][place], "{at}");
    }
    // Before there was anything, and by default the last 30 days.
    let chart = server.get(&format!("{path}?from=2025-12-31&to=2026-01-01")).await.expect(200);
    assert_eq!(chart["grants"], json!([]));
    let chart = server.get(path).await.expect(200);
    assert_eq!(chart["points"].as_array().unwrap().len(), 31);
    let left = chart["grants"][0]["left"].as_array().unwrap();
    assert_eq!((&left[0], left.last().unwrap()), (&json!("0"), &json!("900")));
    for query in
        ["interval=year", "interval=hour&from=2026-01-01", "from=2026-02-01", "from=2026-01-20&to=2026-01-19"]
    {
        server.get(&format!("{path}?{query}")).await.refuses(400, "invalid_query");
    }
    server.get("/v1/customers/nobody/burndown").await.refuses(404, "customer_not_found");
}

#[tokio::test]
async fn a_forecast_says_when_credits_run_out() {
    let server = ten_days().await;
    let path = "/v1/customers/acme/forecast";
    let end = "2026-02-15T10:00:00Z";
    let mut forecast = server.get(path).await.expect(200);
    let expected = json!({
        "at": "2026-01-26T00:00:00Z",
        "credits": [{
            "credit": "credits", "available": "900", "observed_days": 10,
            "daily": {"low": "10", "expected": "10", "high": "10"},
            // The allowance ends before it is used up.
            "runs_out": {"earliest": end, "expected": end, "latest": end}
        }]
    });
    assert_eq!(forecast, expected);
    // Twice as much for a week.
    for day in 26..33 {
        let date = if day < 32 { format!("2026-01-{day}") } else { "2026-02-01".to_owned() };
        server.now(&format!("{date}T12:00:00Z")).await;
        server.post("/v1/customers/acme/charges", &usage(110_000)).await.expect(201);
    }
    server.now("2026-02-02T00:00:00Z").await;
    forecast = server.get(path).await.expect(200);
    let of_credit = &forecast["credits"][0];
    assert_eq!((&of_credit["available"], &of_credit["observed_days"]), (&json!("130"), &json!(17)));
    let daily = &of_credit["daily"];
    assert_eq!((&daily["low"], &daily["high"]), (&json!("10"), &json!("95.714285714286")));
    let runs_out = &of_credit["runs_out"];
    assert!(runs_out["earliest"].as_str().unwrap().starts_with("2026-02-03T08:"), "{runs_out}");
    assert_eq!(runs_out["latest"], "2026-02-15T00:00:00Z");
    // Nothing is known of a customer without a whole day.
    server.put("/v1/customers/new", &json!({"plan": "pro"})).await.expect(201);
    let forecast = server.get("/v1/customers/new/forecast").await.expect(200);
    assert_eq!(forecast["credits"][0]["daily"], json!(null));
    assert_eq!(forecast["credits"][0]["runs_out"], json!(null));
    server.get("/v1/customers/nobody/forecast").await.refuses(404, "customer_not_found");
}

#[tokio::test]
async fn what_paid_and_what_expires_soon_is_told() {
    let server = ten_days().await;
    let prepaid = json!({
        "amount": "15", "category": "prepaid", "priority": -5, "expires_at": "2026-02-01T00:00:00Z"
    });
    server.post("/v1/customers/acme/grants", &prepaid).await.expect(201);
    let expiring = async |before: &str| {
        let path = format!("/v1/customers/acme/grants?expiring_before={before}");
        let page = server.get(&path).await.expect(200);
        let all = page["data"].as_array().unwrap().clone();
        all.iter().map(|one| one["category"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(expiring("2026-02-01T00:00:00Z").await, Vec::<String>::new());
    assert_eq!(expiring("2026-02-02T00:00:00Z").await, ["prepaid"]);
    assert_eq!(expiring("2026-03-01T00:00:00Z").await, ["plan", "prepaid"]);
    server.get("/v1/customers/acme/grants?expiring_before=soon").await.refuses(400, "invalid_query");
    let charged = server.post("/v1/customers/acme/charges", &usage(20_000)).await.expect(201);
    assert_eq!(expiring("2026-02-02T00:00:00Z").await, Vec::<String>::new());

    let by_category = async || {
        let table =
            server.ask("GET", "/v1/customers/acme/usage?group_by=category").header("accept", "text/csv");
        table.send().await.text()
    };
    assert_eq!(by_category().await, "category,charges,cost.credits\nplan,11,105\nprepaid,1,15\n");
    // What was drawn last goes back first.
    let path = format!("/v1/customers/acme/charges/{}/refunds", charged["id"].as_str().unwrap());
    server.post(&path, &json!({"amount": "6", "reason": "r"})).await.expect(201);
    assert_eq!(by_category().await, "category,charges,cost.credits\nplan,11,100\nprepaid,1,14\n");
    server.engine.roll_up_usage().await;
    assert_eq!(by_category().await, "category,charges,cost.credits\nplan,11,100\nprepaid,1,14\n");
}
