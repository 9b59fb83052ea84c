//! Versions of plans, and moves of customers from one to another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::Server;

const MIGRATIONS: &str = "/v1/plans/pro/migrations";

fn grants(amount: &str) -> Value {
    json!([{"key": "included", "amount": amount}])
}

/// A plan whose second version gives more and switches chat on, with customers on the first.
async fn with_customers(customers: &[&str]) -> Server {
    let server = Server::start().await;
    let plan = json!({"interval": "month", "grants": grants("1000"), "entitlements": {"seats": {"type": "static", "value": 5}}});
    assert_eq!(server.put("/v1/plans/pro", &plan).await.expect(201)["version"], 1);
    for customer in customers {
        let region = if customer.starts_with("eu") { "eu" } else { "us" };
        let body = json!({"plan": "pro", "attributes": {"region": region}});
        server.put(&format!("/v1/customers/{customer}"), &body).await.expect(201);
    }
    let next = json!({"grants": grants("1500"), "entitlements": {"seats": {"type": "static", "value": 9}}});
    assert_eq!(server.put("/v1/plans/pro", &next).await.expect(200)["version"], 2);
    server
}

async fn version_of(server: &Server, customer: &str) -> Value {
    server.get(&format!("/v1/customers/{customer}")).await.expect(200)["plan_version"].clone()
}

async fn seats(server: &Server, customer: &str) -> Value {
    let path = format!("/v1/customers/{customer}/entitlements/seats");
    server.get(&path).await.expect(200)["value"].clone()
}

#[tokio::test]
async fn only_what_is_sold_makes_a_version() {
    let server = with_customers(&["zoe"]).await;
    server.upload("standard").await.expect(201);
    let plan = server.get("/v1/plans/pro").await.expect(200);
    // The same again, other names, other terms: none of it is another version.
    for body in [
        json!({"grants": plan["grants"], "entitlements": plan["entitlements"]}),
        json!({"name": "Professional"}),
        json!({"terms": {"policy": "standard", "settings": support::settings("1", "1")}}),
    ] {
        assert_eq!(server.put("/v1/plans/pro", &body).await.expect(200)["version"], 2, "{body}");
    }
    let versions = server.get("/v1/plans/pro/versions").await.expect(200);
    let told: Vec<_> = versions["data"].as_array().unwrap().iter().collect();
    let tell = |version: &Value| {
        json!([version["version"], version["is_sold"], version["customers"], version["grants"][0]["amount"]])
    };
    assert_eq!(tell(told[0]), json!([1, false, 1, "1000"]));
    assert_eq!(tell(told[1]), json!([2, true, 0, "1500"]));
    assert_eq!(server.get("/v1/plans/pro/versions/1").await.expect(200), *told[0]);
    server.get("/v1/plans/pro/versions/3").await.refuses(404, "plan_version_not_found");
    server.get("/v1/plans/nothing/versions").await.refuses(404, "plan_not_found");
    // Who takes the plan now takes what is sold now.
    server.put("/v1/customers/new", &json!({"plan": "pro"})).await.expect(201);
    assert_eq!((version_of(&server, "zoe").await, version_of(&server, "new").await), (json!(1), json!(2)));
    assert_eq!((seats(&server, "zoe").await, seats(&server, "new").await), (json!(5), json!(9)));
    server.put("/v1/customers/zoe", &json!({"plan": "pro", "name": "Zoe"})).await.expect(200);
    assert_eq!(version_of(&server, "zoe").await, 1);
    server.put("/v1/customers/zoe", &json!({"plan": null})).await.expect(200);
    assert_eq!(version_of(&server, "zoe").await, Value::Null);
}

#[tokio::test]
async fn a_migration_says_what_it_would_do_and_does_it_once() {
    let server = with_customers(&["eu-1", "us-1", "eu-2"]).await;
    let adjust = json!({"amount": "-400", "reason": "used elsewhere"});
    server.post("/v1/customers/eu-1/adjustments", &adjust).await.expect(201);
    let wanted = json!({"from_version": 1, "attributes": {"region": "eu"}});
    let mut dry = wanted.clone();
    dry["dry_run"] = json!(true);
    let preview = server.ask("POST", MIGRATIONS).json(&dry).send().await.expect(200);
    assert_eq!(preview["outcomes"]["would_migrate"], 2);
    assert_eq!((&preview["to_version"], &preview["customers_left"]), (&json!(2), &json!(3)));
    let credits = json!([{"credit": "credits", "expired": "600", "rolled_over": "0", "given": "1100"}]);
    assert_eq!(preview["data"][0]["customer"], "eu-1");
    assert_eq!(preview["data"][0]["credits"], credits);
    assert_eq!(preview["data"][1]["credits"][0]["given"], "1500");
    assert_eq!(
        preview["credits"][0],
        json!({"credit": "credits", "expired": "1600", "rolled_over": "0", "given": "2600"})
    );
    assert_eq!(version_of(&server, "eu-1").await, 1);

    server.ask("POST", MIGRATIONS).json(&wanted).send().await.refuses(400, "idempotency_key_required");
    let first = server.ask("POST", MIGRATIONS).key("m1").json(&wanted).send().await;
    let done = first.clone().expect(200);
    assert_eq!((&done["outcomes"]["migrated"], &done["customers_left"]), (&json!(2), &json!(1)));
    assert_eq!((&done["data"][0]["credits"], &done["credits"]), (&credits, &preview["credits"]));
    assert_eq!((seats(&server, "eu-1").await, seats(&server, "us-1").await), (json!(9), json!(5)));
    // A repeat is answered as before; another request finds nobody left.
    let repeat = server.ask("POST", MIGRATIONS).key("m1").json(&wanted).send().await;
    assert_eq!((&repeat.bytes, repeat.header("idempotency-replayed")), (&first.bytes, Some("true")));
    let other = json!({"attributes": {"region": "us"}});
    server.ask("POST", MIGRATIONS).key("m1").json(&other).send().await.refuses(422, "idempotency_key_reused");
    let again = server.post(MIGRATIONS, &wanted).await.expect(200);
    assert_eq!((&again["data"], &again["next_cursor"]), (&json!([]), &Value::Null));

    let record = server.get("/v1/audit?type=plan_migrated").await.expect(200)["data"][1].clone();
    assert_eq!((&record["subject"], &record["after"]["migrated"]), (&json!("plan/pro"), &json!(2)));
    let changes = server.get("/v1/audit?customer=eu-1&type=configured").await.expect(200);
    assert_ne!(changes["data"][0]["actor"], Value::Null, "{changes}");
}

#[tokio::test]
async fn pages_go_through_all_customers_and_one_that_fails_holds_back_none() {
    let server = with_customers(&["a", "b", "c", "d", "e"]).await;
    server.put("/v1/plans/basic", &json!({"interval": "month"})).await.expect(201);
    server
        .post("/v1/customers/c/plan-changes", &json!({"plan": "basic", "when": "period_end"}))
        .await
        .expect(201);
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let body = json!({"when": "period_end", "limit": 2, "cursor": cursor});
        let page = server.post(MIGRATIONS, &body).await.expect(200);
        for one in page["data"].as_array().unwrap() {
            seen.push(json!([one["customer"], one["outcome"], one["code"]]));
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    let pending = |name: &str| json!([name, "pending", null]);
    let failed = json!(["c", "failed", "plan_change_pending"]);
    assert_eq!(json!(seen), json!([pending("a"), pending("b"), failed, pending("d"), pending("e")]));
    assert_eq!(version_of(&server, "a").await, 1);
    let waits = server.get("/v1/customers/a/plan-changes").await.expect(200)["data"][0].clone();
    assert_eq!((&waits["plan"], &waits["plan_version"]), (&json!("pro"), &json!(2)));
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!((version_of(&server, "a").await, version_of(&server, "c").await), (json!(2), json!(1)));
    let balance = server.get("/v1/customers/a/balance").await.expect(200);
    assert_eq!(balance["balances"][0]["available"], "1500");
}

#[tokio::test]
async fn customers_may_be_named_and_moved_back() {
    let server = with_customers(&["a", "b"]).await;
    let body = json!({"customers": ["b", "nobody"], "to_version": 2});
    let page = server.post(MIGRATIONS, &body).await.expect(200);
    let outcomes: Vec<_> =
        page["data"].as_array().unwrap().iter().map(|one| json!([one["outcome"], one["code"]])).collect();
    assert_eq!(json!(outcomes), json!([["migrated", null], ["failed", "customer_not_found"]]));
    assert_eq!((version_of(&server, "a").await, version_of(&server, "b").await), (json!(1), json!(2)));
    server.post(MIGRATIONS, &json!({"to_version": 1})).await.expect(200);
    assert_eq!(version_of(&server, "b").await, 1);
    // One customer's own way there.
    let change = server
        .post("/v1/customers/a/plan-changes", &json!({"plan": "pro", "plan_version": 2}))
        .await
        .expect(201);
    assert_eq!(
        (&change["plan_version"], &change["opened"]["reason"]),
        (&json!(2), &json!("version_changed"))
    );
    let unknown =
        server.post("/v1/customers/a/plan-changes", &json!({"plan": "pro", "plan_version": 7})).await;
    unknown.refuses(422, "plan_version_not_found");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = with_customers(&["a"]).await;
    server.post("/v1/plans/nothing/migrations", &json!({})).await.refuses(404, "plan_not_found");
    for (body, code, pointer) in [
        (json!({"from_version": 7}), "plan_version_not_found", "/from_version"),
        (json!({"to_version": 7}), "plan_version_not_found", "/to_version"),
    ] {
        let answer = server.post(MIGRATIONS, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{}", answer.text());
        answer.refuses(422, code);
    }
    for (body, pointer) in [
        (json!({"from_version": 2, "to_version": 2}), "/to_version"),
        (json!({"limit": 0}), "/limit"),
        (json!({"customers": []}), "/customers"),
        (json!({"cursor": "!"}), "/cursor"),
        (json!({"when": "2026-03-01T00:00:00Z"}), "/when"),
    ] {
        let answer = server.post(MIGRATIONS, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{}", answer.text());
        answer.refuses(400, "invalid_request");
    }
}
