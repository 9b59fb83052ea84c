//! Revenue as it is asked for: by month and currency, for one customer and for all, as JSON and as CSV.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

async fn sold(server: &Server, customer: &str, amount: &str, price: &str, currency: &str) -> String {
    let body = json!({
        "amount": amount, "category": "prepaid", "priority": -10,
        "cost_basis": {"amount": price, "currency": currency}, "expires_at": "2026-03-10T00:00:00Z"
    });
    let granted = server.post(&format!("/v1/customers/{customer}/grants"), &body).await.expect(201);
    granted["grant"]["id"].as_str().or(granted["id"].as_str()).unwrap().to_owned()
}

async fn charge(server: &Server, customer: &str, tokens: u64) -> String {
    let path = format!("/v1/customers/{customer}/charges");
    let charged = server.post(&path, &usage(tokens)).await.expect(201);
    charged["id"].as_str().unwrap().to_owned()
}

fn words(page: &Value) -> Vec<String> {
    let amounts = ["opening", "sold", "earned", "breakage", "voided", "refunded", "deferred"];
    let row = |row: &Value| {
        let group: Vec<_> =
            row["group"].as_object().unwrap().values().map(|one| one.as_str().unwrap()).collect();
        let amounts = amounts.map(|name| row[name].as_str().unwrap().to_owned());
        format!("{} {}: {}", group.join(" "), row["currency"].as_str().unwrap(), amounts.join(" "))
    };
    page["data"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn each_month_begins_with_what_the_last_one_deferred() {
    let server = Server::with_acme().await;
    sold(&server, "acme", "3", "10", "EUR").await;
    charge(&server, "acme", 1_000).await;
    server.now("2026-02-10T00:00:00Z").await;
    let refunded = charge(&server, "acme", 1_000).await;
    let path = format!("/v1/customers/acme/charges/{refunded}/refunds");
    server.post(&path, &json!({"reason": "r"})).await.expect(201);
    charge(&server, "acme", 500).await;
    server.now("2026-03-15T00:00:00Z").await;
    let expected = [
        "EUR 2026-01 EUR: 0 10 3.33 0 0 0 6.67",
        "EUR 2026-02 EUR: 6.67 0 1.67 0 0 3.34 5",
        "EUR 2026-03 EUR: 5 0 0 5 0 0 0",
    ];
    let path = "/v1/customers/acme/revenue";
    assert_eq!(words(&server.get(path).await.expect(200)), expected);
    assert_eq!(words(&server.get("/v1/revenue").await.expect(200)), expected);
    let february = format!("{path}?from=2026-02-01&to=2026-03-01&group_by=category");
    assert_eq!(words(&server.get(&february).await.expect(200)), ["prepaid EUR: 6.67 0 1.67 0 0 3.34 5"]);
    // What is later than now is not known yet.
    assert_eq!(words(&server.get(&format!("{path}?to=2030-01-01")).await.expect(200)), expected);
    let table =
        server.ask("GET", &format!("{path}?group_by=month")).header("accept", "text/csv").send().await;
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(
        table.text(),
        "month,currency,opening,sold,earned,breakage,voided,refunded,deferred\n\
         2026-01,EUR,0,10,3.33,0,0,0,6.67\n\
         2026-02,EUR,6.67,0,1.67,0,0,3.34,5\n\
         2026-03,EUR,5,0,0,5,0,0,0\n"
    );
    for query in
        ["group_by=day", "group_by=month,month", "from=2026-02-01&to=2026-01-01", "limit=0x", "by=month"]
    {
        server.get(&format!("{path}?{query}")).await.refuses(400, "invalid_query");
    }
    server.get("/v1/customers/nobody/revenue").await.refuses(404, "customer_not_found");
}

#[tokio::test]
async fn customers_and_currencies_are_kept_apart() {
    let server = Server::with_acme().await;
    for customer in ["beta", "idle", "zoe"] {
        server.put(&format!("/v1/customers/{customer}"), &json!({"plan": "pro"})).await.expect(201);
    }
    sold(&server, "acme", "2", "10", "EUR").await;
    let voided = sold(&server, "beta", "4", "3", "JPY").await;
    sold(&server, "beta", "4", "0.035", "USD").await;
    sold(&server, "zoe", "5", "5", "EUR").await;
    charge(&server, "acme", 1_000).await;
    charge(&server, "beta", 1_000).await;
    charge(&server, "zoe", 1_000).await;
    server.post(&format!("/v1/customers/beta/grants/{voided}/void"), &json!({})).await.expect(200);
    assert_eq!(
        words(&server.get("/v1/revenue?group_by=currency").await.expect(200)),
        ["EUR EUR: 0 15 6 0 0 0 9", "JPY JPY: 0 3 1 0 2 0 0", "USD USD: 0 0.035 0 0 0 0 0.035"]
    );
    let by_customer = [
        "acme EUR: 0 10 5 0 0 0 5",
        "beta JPY: 0 3 1 0 2 0 0",
        "beta USD: 0 0.035 0 0 0 0 0.035",
        "zoe EUR: 0 5 1 0 0 0 4",
    ];
    for limit in [1, 2, 50] {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/revenue?group_by=customer&limit={limit}&cursor={cursor}");
            let page = server.get(&path).await.expect(200);
            rows.extend(words(&page));
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(rows, by_customer, "limit {limit}");
    }
    let narrowed = server.secret(&json!({"name": "n", "scopes": ["read"], "customer": "acme"})).await;
    server.ask("GET", "/v1/revenue").by(&narrowed).send().await.refuses(403, "key_is_narrowed");
    server.ask("GET", "/v1/customers/acme/revenue").by(&narrowed).send().await.expect(200);
}
