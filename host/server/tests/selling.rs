//! What plans give whatever their policies do: grants with each period or once, and trials.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::Server;

const CHANGES: &str = "/v1/customers/zoe/plan-changes";

async fn grants(server: &Server) -> Vec<Value> {
    let grants = server.get("/v1/customers/zoe/grants").await.expect(200)["data"].clone();
    grants.as_array().unwrap().clone()
}

async fn available(server: &Server) -> Value {
    server.get("/v1/customers/zoe/balance").await.expect(200)["balances"][0]["available"].clone()
}

#[tokio::test]
async fn a_plan_gives_grants_without_terms() {
    let server = Server::start().await;
    let plan = json!({
        "interval": "month",
        "grants": [
            {"key": "included", "amount": "1000", "cost_basis": {"amount": "29", "currency": "EUR"}},
            {"key": "welcome", "amount": "50.5", "recurrence": "once", "priority": -1,
             "features": ["chat"], "expires": {"after": "P30D"}},
        ],
    });
    let put = server.put("/v1/plans/starter", &plan).await.expect(201);
    let included = json!({
        "key": "included", "amount": "1000", "credit": "credits", "category": "plan", "priority": 0, "features": [],
        "cost_basis": {"amount": "29", "currency": "EUR"}, "recurrence": "period", "expires": "with_period",
    });
    let welcome = json!({
        "key": "welcome", "amount": "50.5", "credit": "credits", "category": "promotional", "priority": -1,
        "features": ["chat"], "cost_basis": null, "recurrence": "once",
        "expires": {"after": {"unit": "day", "count": 30}},
    });
    assert_eq!(put["grants"], json!([included, welcome]));
    assert_eq!((&put["trial"], &put["terms"]), (&Value::Null, &Value::Null));
    // What it answers is taken as well, and changes nothing; other fields leave it; null clears it.
    let same = server.put("/v1/plans/starter", &json!({"grants": put["grants"]})).await;
    let tag = same.header("etag").map(str::to_owned);
    assert_eq!(same.expect(200)["grants"], put["grants"]);
    let named = server.put("/v1/plans/starter", &json!({"name": "Starter"})).await;
    assert_ne!(named.header("etag").map(str::to_owned), tag);
    assert_eq!(named.expect(200)["grants"], put["grants"]);

    server.put("/v1/customers/zoe", &json!({"plan": "starter"})).await.expect(201);
    let given = grants(&server).await;
    let told = |grant: &Value| {
        json!([
            grant["amount"],
            grant["category"],
            grant["expires_at"],
            grant["cost_basis"],
            grant["metadata"]["plan_grant"]
        ])
    };
    let euros = json!({"amount": "29", "currency": "EUR"});
    assert_eq!(told(&given[0]), json!(["1000", "plan", "2026-02-15T10:00:00Z", euros, "included"]));
    assert_eq!(told(&given[1]), json!(["50.5", "promotional", "2026-02-14T10:00:00Z", null, "welcome"]));
    let cleared = server.put("/v1/plans/starter", &json!({"grants": null})).await.expect(200);
    assert_eq!((&cleared["grants"], &cleared["version"]), (&json!([]), &json!(2)));
    // The customer stays on what it was sold, until it is moved.
    assert_eq!(available(&server).await, "1050.5");
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!(available(&server).await, "1000");
    server.post("/v1/plans/starter/migrations", &json!({})).await.expect(200);
    assert_eq!(available(&server).await, "0");
}

#[tokio::test]
async fn changes_of_plan_say_what_the_plan_gives() {
    let server = Server::start().await;
    for (name, amount) in [("small", "100"), ("large", "500")] {
        let plan = json!({"interval": "month", "grants": [
            {"key": name, "amount": amount}, {"key": "welcome", "amount": "7", "recurrence": "once", "category": "promotional"},
        ]});
        server.put(&format!("/v1/plans/{name}"), &plan).await.expect(201);
    }
    server.put("/v1/customers/zoe", &json!({"plan": "small"})).await.expect(201);
    let adjust = json!({"amount": "-60", "reason": "used elsewhere"});
    server.post("/v1/customers/zoe/adjustments", &adjust).await.expect(201);
    let issued = |answer: Value| -> Vec<Value> {
        answer["opened"]["grants"].as_array().unwrap().iter().map(|grant| grant["amount"].clone()).collect()
    };
    for (allowance, amounts) in [("carry", json!(["440"])), ("full", json!(["500"]))] {
        let body = json!({"plan": "large", "allowance": allowance, "dry_run": true});
        let preview = server.ask("POST", CHANGES).json(&body).send().await.expect(200);
        assert_eq!(json!(issued(preview)), amounts, "{allowance}");
    }
    let done = server.post(CHANGES, &json!({"plan": "large"})).await.expect(201);
    assert_eq!(json!(issued(done)), json!(["440"]));
    let back = server.post(CHANGES, &json!({"plan": "small"})).await.expect(201);
    assert_eq!(json!(issued(back)), json!(["40"]));
    // A customer's own key can't put it on another plan, and so gives it nothing.
    let key = json!({"name": "own", "scopes": ["manage"], "customer": "zoe"});
    let own = server.secret(&key).await;
    let change = server.ask("POST", CHANGES).key("own").by(&own).json(&json!({"plan": "large"})).send().await;
    change.refuses(403, "key_may_not_grant");
    let plan = server.ask("PUT", "/v1/plans/small").by(&own).json(&json!({"grants": []})).send().await;
    plan.refuses(403, "key_is_narrowed");
}

#[tokio::test]
async fn a_trial_ends_by_itself() {
    let server = Server::start().await;
    server
        .put("/v1/plans/pro", &json!({"interval": "month", "grants": [{"key": "pro", "amount": "1000"}]}))
        .await;
    let trial =
        json!({"duration": "P14D", "grants": [{"key": "try", "amount": "200"}], "then": {"plan": "pro"}});
    let put = server.put("/v1/plans/try", &json!({"interval": "month", "trial": trial})).await.expect(201);
    let grant = json!({"key": "try", "amount": "200", "credit": "credits", "priority": 0, "features": []});
    assert_eq!(
        put["trial"],
        json!({"duration": {"unit": "day", "count": 14}, "grants": [grant], "then": {"plan": "pro"}})
    );
    let zoe = server.put("/v1/customers/zoe", &json!({"plan": "try"})).await.expect(201);
    assert_eq!(zoe["trial"], json!({"ends_at": "2026-01-29T10:00:00Z"}));
    let given = grants(&server).await;
    assert_eq!((&given[0]["category"], &given[0]["amount"]), (&json!("trial"), &json!("200")));
    assert_eq!(given[0]["expires_at"], "2026-01-29T10:00:00Z");
    // Its end is the pending change of plan: it can be read, called off, and put off.
    let pending = server.get(CHANGES).await.expect(200)["data"][0].clone();
    assert_eq!((&pending["plan"], &pending["status"]), (&json!("pro"), &json!("pending")));
    assert_eq!(pending["effective_at"], "2026-01-29T10:00:00Z");
    let one = format!("{CHANGES}/{}", pending["id"].as_str().unwrap());
    assert_eq!(server.get(&one).await.expect(200), pending);

    server.now("2026-01-29T10:00:00Z").await;
    let zoe = server.get("/v1/customers/zoe").await.expect(200);
    assert_eq!((&zoe["plan"], zoe.get("trial")), (&json!("pro"), None));
    assert_eq!(available(&server).await, "1000");
    server.get(&one).await.refuses(404, "plan_change_not_found");
    server.put("/v1/customers/zoe", &json!({"plan": "try"})).await.refuses(409, "trial_used");
    server.post(CHANGES, &json!({"plan": "try"})).await.refuses(409, "trial_used");
    let later = json!({"plan": "try", "when": "period_end"});
    server.post(CHANGES, &later).await.refuses(409, "trial_used");
}

#[tokio::test]
async fn a_trial_that_was_called_off_keeps_the_customer_on_the_plan() {
    let server = Server::start().await;
    let trial = json!({"duration": {"unit": "week", "count": 1}, "grants": [], "then": "end"});
    server.put("/v1/plans/try", &json!({"trial": trial})).await.expect(201);
    server.put("/v1/customers/zoe", &json!({"plan": "try"})).await.expect(201);
    server.put("/v1/customers/ann", &json!({})).await.expect(201);
    let taken = server.post("/v1/customers/ann/plan-changes", &json!({"plan": "try"})).await.expect(201);
    assert_eq!(taken["opened"]["trial_ends_at"], "2026-01-22T10:00:00Z");
    let pending = server.get(CHANGES).await.expect(200)["data"][0].clone();
    assert_eq!((&pending["plan"], &pending["effective_at"]), (&Value::Null, &json!("2026-01-22T10:00:00Z")));
    let one = format!("{CHANGES}/{}", pending["id"].as_str().unwrap());
    assert_eq!(server.delete(&one).await.status, 204);
    server.now("2026-03-01T00:00:00Z").await;
    assert_eq!(server.get("/v1/customers/zoe").await.expect(200)["plan"], "try");
}

#[tokio::test]
async fn what_is_wrong_with_grants_and_trials_is_named() {
    let server = Server::start().await;
    let grant = |field: &str, value: Value| {
        let mut grant = json!({"key": "k", "amount": "1"});
        grant[field] = value;
        json!({"grants": [{"key": "other", "amount": "1"}, grant]})
    };
    let trial = |field: &str, value: Value| {
        let mut trial = json!({"duration": "P1W", "then": "end"});
        trial[field] = value;
        json!({ "trial": trial })
    };
    for (body, pointer) in [
        (grant("amount", json!("0")), "/grants/1/amount"),
        (grant("amount", json!("-1")), "/grants/1/amount"),
        (grant("amount", json!(5)), "/grants/1/amount"),
        (grant("key", json!("other")), "/grants/1/key"),
        (grant("key", json!("")), "/grants/1/key"),
        (grant("category", json!("gift")), "/grants/1/category"),
        (grant("recurrence", json!("weekly")), "/grants/1/recurrence"),
        (grant("expires", json!("soon")), "/grants/1/expires"),
        (grant("expires", json!({"after": "P0D"})), "/grants/1/expires/after"),
        (grant("features", json!(vec!["f"; 65])), "/grants/1/features"),
        (grant("surprise", json!(1)), "/grants/1/surprise"),
        (json!({"grants": vec![json!({"key": "k", "amount": "1"}); 65]}), "/grants"),
        (trial("duration", json!("14 days")), "/trial/duration"),
        (trial("then", json!("convert")), "/trial/then"),
        (trial("then", json!({"plan": "p"})), "/trial/then/plan"),
        (trial("grants", json!([{"key": "k", "amount": "0"}])), "/trial/grants/0/amount"),
        (
            trial("grants", json!([{"key": "k", "amount": "1", "expires": "never"}])),
            "/trial/grants/0/expires",
        ),
    ] {
        let answer = server.put("/v1/plans/p", &body).await;
        let pointers = answer.pointers();
        answer.refuses(400, "invalid_request");
        assert_eq!(pointers, [pointer], "{body}");
    }
    let unknown = server.put("/v1/plans/p", &trial("then", json!({"plan": "nobody"}))).await;
    assert_eq!(unknown.pointers(), ["/trial/then/plan"]);
    unknown.refuses(422, "plan_not_found");
}
