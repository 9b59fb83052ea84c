//! Periods, plan changes, late usage, holds and grants as a customer, a contract and an auditor see them: by requests alone. They run
//! on SQLite here and on PostgreSQL in `postgres.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings, usage};

const ACME: &str = "/v1/customers/acme";

/// With a plan `pro` of these settings, from 15 January at 10:00 on, and `acme` on it.
async fn with(settings: &Value) -> Server {
    let server = Server::start().await;
    server.upload("standard").await.expect(201);
    put_plan(&server, "pro", settings).await;
    server.put(ACME, &json!({"plan": "pro"})).await.expect(201);
    server
}

async fn put_plan(server: &Server, plan: &str, settings: &Value) {
    let body = json!({
        "interval": "month",
        "entitlements": {"chat": {"type": "metered"}, "image": {"type": "metered"}},
        "terms": {"policy": "standard", "settings": settings},
    });
    server.put(&format!("/v1/plans/{plan}"), &body).await.expect(201);
}

/// A credit for a thousand tokens.
fn with_reset(allowance: &str, more: &Value) -> Value {
    let mut all = settings("0.001", allowance);
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "rollover" | "overage_at_end" => {
                let name = if name == "rollover" { "rollover" } else { "overage" };
                all["reset"][name] = value.clone();
            }
            _ => all[name] = value.clone(),
        }
    }
    all
}

async fn balance(server: &Server) -> (String, String) {
    let read = server.get(&format!("{ACME}/balance")).await.expect(200);
    let of = |name: &str| read["balances"][0][name].as_str().unwrap().to_owned();
    (of("available"), of("overage"))
}

async fn available(server: &Server) -> String {
    balance(server).await.0
}

async fn charge(server: &Server, tokens: u64) -> Value {
    server.post(&format!("{ACME}/charges"), &usage(tokens)).await.expect(201)
}

async fn reserve(server: &Server, tokens: u64, ttl: u32) -> String {
    let mut body = usage(tokens);
    body["ttl_seconds"] = json!(ttl);
    let held = server.post(&format!("{ACME}/reservations"), &body).await.expect(201);
    format!("{ACME}/reservations/{}", held["id"].as_str().unwrap())
}

async fn release(server: &Server, reservation: &str) {
    server.ask("POST", &format!("{reservation}/release")).key(reservation).send().await.expect(200);
}

async fn change_plan(server: &Server, plan: &str) -> Value {
    server.put(ACME, &json!({"plan": plan})).await.expect(200)
}

async fn newest(server: &Server, kind: &str) -> Value {
    let list = server.get(&format!("{ACME}/ledger?type={kind}&order=desc&limit=1")).await.expect(200);
    list["data"][0].clone()
}

#[tokio::test]
async fn a_period_is_closed_by_the_terms_that_it_ran_on() {
    let owes = with_reset("100", &json!({"overage": {"mode": "allow"}, "overage_at_end": "invoice"}));
    let server = with(&owes).await;
    put_plan(&server, "generous", &with_reset("100", &json!({"overage_at_end": "waive"}))).await;
    charge(&server, 600_000).await;
    assert_eq!(balance(&server).await, ("0".to_owned(), "500".to_owned()));
    change_plan(&server, "generous").await;
    assert_eq!(balance(&server).await.1, "0");
    let closed = newest(&server, "period_closed").await.to_string();
    assert!(closed.contains("invoice") && closed.contains("500") && !closed.contains("waive"), "{closed}");
}

#[tokio::test]
async fn an_anchor_that_moves_later_takes_the_allowance_along() {
    let server = with(&with_reset("1000", &json!({"rollover": {"percent": 100}}))).await;
    charge(&server, 400_000).await;
    server.now("2026-01-20T00:00:00Z").await;
    server.put(ACME, &json!({"anchor": "2026-01-10T10:00:00Z"})).await.expect(200);
    server.put(ACME, &json!({"anchor": "2026-01-19T10:00:00Z"})).await.expect(200);
    server.now("2026-02-19T09:59:59Z").await;
    assert_eq!(available(&server).await, "600");
    server.now("2026-02-19T10:00:00Z").await;
    assert_eq!(available(&server).await, "1600");
}

#[tokio::test]
async fn an_anchor_that_moves_earlier_leaves_no_gap_and_gives_nothing_twice() {
    let server = with(&settings("0.001", "1000")).await;
    charge(&server, 1_000_000).await;
    server.now("2026-01-20T00:00:00Z").await;
    let moved = server.put(ACME, &json!({"anchor": "2026-02-14T10:00:00Z"})).await.expect(200);
    assert!(moved.to_string().contains("2026-02-14T10:00:00Z"), "{moved}");
    // The month that was paid for lasts until the fifteenth.
    server.now("2026-02-14T10:00:00Z").await;
    assert_eq!(available(&server).await, "0");
    server.now("2026-02-15T09:59:59Z").await;
    assert_eq!(available(&server).await, "0");
    // 27 of the 28 days up to the next boundary.
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!(available(&server).await, "964.285714285714");
    change_plan(&server, "pro").await;
    put_plan(&server, "same", &settings("0.001", "1000")).await;
    charge(&server, 900_000).await;
    change_plan(&server, "same").await;
    assert_eq!(available(&server).await, "64.285714285714");
    server.now("2026-03-14T10:00:00Z").await;
    assert_eq!(available(&server).await, "1000");
    server.now("2026-04-14T10:00:00Z").await;
    assert_eq!(available(&server).await, "1000");
}

#[tokio::test]
async fn flipping_plans_refills_nothing() {
    let server = with(&settings("0.001", "1000")).await;
    put_plan(&server, "other", &settings("0.001", "1000")).await;
    charge(&server, 1_000_000).await;
    for plan in ["other", "pro", "other", "pro"] {
        change_plan(&server, plan).await;
        assert_eq!(available(&server).await, "0");
    }
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!(available(&server).await, "1000");
}

#[tokio::test]
async fn what_is_held_at_a_reset_rolls_over_as_if_it_had_not_been() {
    for end in ["release", "commit", "expiry"] {
        let server = with(&with_reset("1000", &json!({"rollover": {"percent": 100}}))).await;
        server.now("2026-02-15T09:59:50Z").await;
        let held = reserve(&server, 900_000, 60).await;
        server.now("2026-02-15T10:00:05Z").await;
        assert_eq!(available(&server).await, "1100");
        let expected = match end {
            "release" => {
                release(&server, &held).await;
                "2000"
            }
            "commit" => {
                let actual = json!({"quantities": {"input_tokens": 300_000}});
                server.post(&format!("{held}/commit"), &actual).await.expect(200);
                "1700"
            }
            _ => {
                server.now("2026-02-15T10:01:00Z").await;
                "2000"
            }
        };
        assert_eq!(available(&server).await, expected, "{end}");
    }
}

#[tokio::test]
async fn a_commit_above_the_hold_and_the_balance_is_billed() {
    let server = with(&settings("0.001", "1000")).await;
    let held = reserve(&server, 100_000, 900).await;
    let actual = json!({"quantities": {"input_tokens": 1_500_000}});
    let billed = server.post(&format!("{held}/commit"), &actual).await.expect(200);
    let of = |name: &str| billed[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [of("cost"), of("overage"), of("exceeded"), of("returned")],
        ["1500", "500", "500", "0"],
        "{billed}"
    );
    let again = server.post(&format!("{held}/commit"), &actual).await;
    again.refuses(409, "reservation_closed");
}

#[tokio::test]
async fn a_cap_counts_what_is_in_flight() {
    let server = with(&settings("0.001", "1000")).await;
    let cap = json!({"window": "day", "limit": "20", "quantity": "input_tokens"});
    server.put(&format!("{ACME}/budgets/daily"), &cap).await.expect(201);
    let held = reserve(&server, 15, 900).await;
    let refused = server.post(&format!("{ACME}/reservations"), &usage(15)).await;
    refused.refuses(402, "budget_exceeded");
    // A commit is never refused for it.
    let actual = json!({"quantities": {"input_tokens": 40}});
    server.post(&format!("{held}/commit"), &actual).await.expect(200);
}

#[tokio::test]
async fn late_usage_belongs_to_its_own_time() {
    let server = with(&settings("0.001", "1000")).await;
    charge(&server, 400_000).await;
    server.now("2026-02-17T00:00:00Z").await;
    let mut late = usage(100_000);
    late["occurred_at"] = json!("2026-02-10T12:00:00Z");
    let charged = server.post(&format!("{ACME}/charges"), &late).await.expect(201);
    assert_eq!(charged["late"], json!({"period": 1}), "{charged}");
    // Of what the old period had left.
    assert_eq!((charged["overage"].as_str(), available(&server).await.as_str()), (Some("0"), "1000"));
    let report = server.get(&format!("{ACME}/usage?from=2026-02-10&to=2026-02-11&group_by=day")).await;
    let report = report.expect(200);
    assert_eq!(report["data"][0]["cost"], json!([{"credit": "credits", "cost": "100"}]), "{report}");
    // Held late and given back, what had expired has expired again.
    let mut hold = late.clone();
    hold["ttl_seconds"] = json!(60);
    let held = server.post(&format!("{ACME}/reservations"), &hold).await.expect(201);
    release(&server, &format!("{ACME}/reservations/{}", held["id"].as_str().unwrap())).await;
    assert_eq!(available(&server).await, "1000");
    let old =
        json!({"feature": "chat", "quantities": {"input_tokens": 1}, "occurred_at": "2026-01-01T00:00:00Z"});
    server.post(&format!("{ACME}/charges"), &old).await.refuses(400, "occurred_at_too_old");
}

async fn has_access(server: &Server, feature: &str) -> (bool, String) {
    let one = server.get(&format!("{ACME}/entitlements/{feature}")).await.expect(200);
    let body = json!({"customers": ["acme"], "features": [feature]});
    let many = server.post("/v1/entitlements/query", &body).await.expect(200);
    assert!(many.to_string().contains(&format!("\"has_access\":{}", one["has_access"])), "{many}");
    (one["has_access"].as_bool().unwrap(), one["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn entitlements_say_what_a_check_says() {
    let rates = json!([
        {"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": "1"}, "included": {"units": 10, "per": "period"}},
        {"feature": "image", "quantity": "images", "price": {"per_unit": "2"}},
    ]);
    let server = with(&json!({"rates": rates})).await;
    let check = async |feature: &str, quantity: &str| {
        let body = json!({"feature": feature, "quantities": {quantity: 1}});
        server.post(&format!("{ACME}/check"), &body).await.expect(200)["allowed"].as_bool().unwrap()
    };
    // Units that are included need no credits.
    assert_eq!((has_access(&server, "chat").await.0, check("chat", "input_tokens").await), (true, true));
    assert_eq!((has_access(&server, "image").await.0, check("image", "images").await), (false, false));
    charge(&server, 10).await;
    let no = (false, "insufficient_credits".to_owned());
    assert_eq!((has_access(&server, "chat").await, check("chat", "input_tokens").await), (no, false));
    // Credits that only one of them may draw.
    let scoped = json!({"amount": "10", "category": "prepaid", "features": ["image"]});
    server.post(&format!("{ACME}/grants"), &scoped).await.expect(201);
    assert_eq!((has_access(&server, "image").await.0, check("image", "images").await), (true, true));
    assert_eq!((has_access(&server, "chat").await.0, check("chat", "input_tokens").await), (false, false));
    // A budget of a quantity that is used up.
    let budget = json!({"window": "day", "limit": "1", "quantity": "images"});
    server.put(&format!("{ACME}/budgets/images"), &budget).await.expect(201);
    let one = json!({"feature": "image", "quantities": {"images": 1}});
    server.post(&format!("{ACME}/charges"), &one).await.expect(201);
    let over = (false, "budget_exceeded".to_owned());
    assert_eq!((has_access(&server, "image").await, check("image", "images").await), (over, false));
}

#[tokio::test]
async fn a_rolled_over_part_has_its_share_of_the_price() {
    let mut all = with_reset("1000", &json!({"rollover": {"percent": 100}}));
    all["reset"]["allowance"][0]["cost_basis"] = json!({"amount": "100.00", "currency": "EUR"});
    let server = with(&all).await;
    charge(&server, 990_000).await;
    server.now("2026-02-15T10:00:00Z").await;
    let grants = server.get(&format!("{ACME}/grants")).await.expect(200);
    let rolled = grants["data"].as_array().unwrap().iter().find(|one| one["category"] == "rollover").unwrap();
    assert_eq!((&rolled["amount"], &rolled["cost_basis"]["amount"]), (&json!("10"), &json!("1")), "{rolled}");
}

#[tokio::test]
async fn a_grant_may_begin_in_the_late_window_and_a_cycle_at_once() {
    let server = with(&settings("0.001", "1000")).await;
    charge(&server, 1_000_000).await;
    server.now("2026-02-20T00:00:00Z").await;
    let past = json!({"amount": "5", "category": "prepaid", "effective_at": "2026-02-01T00:00:00Z"});
    let given = server.post(&format!("{ACME}/grants"), &past).await.expect(201);
    assert_eq!(given["effective_at"], "2026-02-01T00:00:00Z", "{given}");
    let mut late = usage(5_000);
    late["occurred_at"] = json!("2026-02-02T00:00:00Z");
    let charged = server.post(&format!("{ACME}/charges"), &late).await.expect(201);
    assert_eq!(charged["draws"][0]["grant"], given["id"], "{charged}");
    let older = json!({"amount": "5", "category": "prepaid", "effective_at": "2026-01-01T00:00:00Z"});
    let refused = server.post(&format!("{ACME}/grants"), &older).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    // Where credits move, a request has a key.
    let bare = server.ask("POST", &format!("{ACME}/resets")).json(&json!({})).send().await;
    bare.refuses(400, "idempotency_key_required");
    charge(&server, 400_000).await;
    server.post(&format!("{ACME}/resets"), &json!({"anchor": "now"})).await.expect(200);
    assert_eq!(available(&server).await, "1000");
    let customer = server.get(ACME).await.expect(200);
    assert_eq!(customer["anchor"], "2026-02-20T00:00:00Z", "{customer}");
}

#[tokio::test]
async fn a_purchase_pays_what_is_owed_first() {
    for (from, expected) in [("purchases", ("30", "0")), ("reset", ("80", "50"))] {
        let all = json!({"overage": {"mode": "allow", "settle_from": from}});
        let server = with(&with_reset("1", &all)).await;
        charge(&server, 51_000).await;
        let bought = json!({"amount": "80", "category": "prepaid"});
        server.post(&format!("{ACME}/grants"), &bought).await.expect(201);
        assert_eq!(balance(&server).await, (expected.0.to_owned(), expected.1.to_owned()), "{from}");
    }
}

#[tokio::test]
async fn grants_at_the_edges_live_as_long_as_they_say() {
    let server = with(&settings("0.001", "1000")).await;
    let at_the_reset = json!({"amount": "7", "category": "plan", "effective_at": "2026-02-15T10:00:00Z"});
    server.post(&format!("{ACME}/grants"), &at_the_reset).await.expect(201);
    let by_category = json!({"amount": "3", "category": "plan"});
    let given = server.post(&format!("{ACME}/grants"), &by_category).await.expect(201);
    let path = format!("{ACME}/grants/{}", given["id"].as_str().unwrap());
    let read = server.get(&path).await.expect(200);
    assert_eq!(read["expires_at"], "2026-02-15T10:00:00Z", "{read}");
    server.post(&format!("{path}/void"), &json!({})).await.expect(200);
    assert_eq!(server.get(&path).await.expect(200)["status"], "voided");
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!(available(&server).await, "1007");
}

#[tokio::test]
async fn a_refusal_says_what_was_required_and_what_there_was() {
    let server = with(&settings("0.001", "1000")).await;
    let refused = server.post(&format!("{ACME}/charges"), &usage(1_000_001)).await;
    let refused = refused.refuses(402, "insufficient_credits");
    assert_eq!(
        (&refused["required"], &refused["available"]),
        (&json!("1000.001"), &json!("1000")),
        "{refused}"
    );
}
