//! Changes of a customer's plan: now, later, previewed, read and called off.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, plan};

const PATH: &str = "/v1/customers/acme/plan-changes";

/// `acme` on `pro` (1,000 a month from 15 January, 10:00), with 400 used, and a plan `max` of 2,500.
async fn with_two_plans() -> Server {
    let server = Server::with_acme().await;
    server.put("/v1/plans/max", &plan("0.001", "2500")).await.expect(201);
    server.charge("use", 400_000).await.expect(201);
    server
}

async fn available(server: &Server) -> Value {
    server.get("/v1/customers/acme/balance").await.expect(200)["balances"][0]["available"].clone()
}

async fn entries(server: &Server) -> usize {
    let ledger = server.get("/v1/customers/acme/ledger?limit=1000").await.expect(200);
    ledger["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_change_now_answers_what_ended_and_what_began() {
    let server = with_two_plans().await;
    let change = server.ask("POST", PATH).key("c1").json(&json!({"plan": "max"})).send().await;
    let text = change.text();
    let done = change.expect(201);
    assert_eq!(
        (&done["status"], &done["plan"], &done["when"]),
        (&json!("done"), &json!("max"), &json!("now"))
    );
    assert_eq!((&done["id"], &done["effective_at"]), (&Value::Null, &json!(support::START)));
    let closed = &done["closed"];
    assert_eq!((&closed["reason"], &closed["period"]["number"]), (&json!("plan_changed"), &json!(1)));
    assert_eq!(closed["expired"], json!([{"grant": "grant_2", "credit": "credits", "amount": "600"}]));
    let opened = &done["opened"];
    assert_eq!((&opened["reason"], &opened["grants"][0]["amount"]), (&json!("plan_changed"), &json!("2100")));
    assert_eq!(opened["balance"]["available"], "2100");
    // A repeat, also after something else happened, is answered with the same bytes.
    server.charge("more", 100_000).await.expect(201);
    let again = server.ask("POST", PATH).key("c1").json(&json!({"plan": "max"})).send().await;
    assert!(again.is_replay());
    assert_eq!((again.status, again.text()), (201, text));
    let other = server.ask("POST", PATH).key("c1").json(&json!({"plan": "pro"})).send().await;
    other.refuses(422, "idempotency_key_reused");
    server.post(PATH, &json!({"plan": "max"})).await.refuses(409, "plan_unchanged");
    let gone = server.post(PATH, &json!({"plan": null})).await.expect(201);
    assert_eq!((&gone["plan"], &gone["opened"]), (&Value::Null, &Value::Null));
    assert_eq!(gone["closed"]["reason"], "plan_ended");
    server.post(PATH, &json!({"plan": "pro", "when": "period_end"})).await.refuses(409, "no_period_end");
    let back = server.post(PATH, &json!({"plan": "pro"})).await.expect(201);
    assert_eq!((&back["closed"], &back["opened"]["reason"]), (&Value::Null, &json!("plan_changed")));
}

#[tokio::test]
async fn a_change_at_the_periods_end_is_pending_until_then() {
    let server = with_two_plans().await;
    assert_eq!(server.get(PATH).await.expect(200), json!({"data": [], "next_cursor": null}));
    let ask = json!({"plan": "max", "when": "period_end"});
    let first = server.ask("POST", PATH).key("later").json(&ask).send().await;
    let text = first.text();
    let pending = first.expect(201);
    let id = pending["id"].as_str().unwrap().to_owned();
    assert_eq!(
        pending,
        json!({
            "id": id, "status": "pending", "plan": "max", "plan_version": 1, "when": "period_end", "allowance": "carry",
            "effective_at": "2026-02-15T10:00:00Z", "closed": null, "opened": null,
        })
    );
    assert_eq!(server.get(PATH).await.expect(200)["data"], json!([pending]));
    let one = format!("{PATH}/{id}");
    assert_eq!(server.get(&one).await.expect(200), pending);
    // It follows the period's end; its repeat still says what it said.
    server.put("/v1/customers/acme", &json!({"anchor": "2026-01-20T00:00:00Z"})).await.expect(200);
    assert_eq!(server.get(&one).await.expect(200)["effective_at"], "2026-01-20T00:00:00Z");
    let again = server.ask("POST", PATH).key("later").json(&ask).send().await;
    assert_eq!((again.is_replay(), again.text()), (true, text));
    server.put("/v1/customers/acme", &json!({"anchor": "2026-01-15T10:00:00Z"})).await.expect(200);
    server.now("2026-02-15T10:00:00Z").await;
    assert_eq!(available(&server).await, "2500");
    let customer = server.get("/v1/customers/acme").await.expect(200);
    assert_eq!((&customer["plan"], &customer["period"]["number"]), (&json!("max"), &json!(2)));
    server.get(&one).await.refuses(404, "plan_change_not_found");
    // The ledger says why the profile changed.
    let ledger = server.get("/v1/customers/acme/ledger").await.expect(200);
    let configured =
        ledger["data"].as_array().unwrap().iter().find(|one| one["type"] == "configured").unwrap();
    assert_eq!(configured["event"]["plan_change"], id);
}

#[tokio::test]
async fn a_pending_change_is_called_off_or_replaced() {
    let server = with_two_plans().await;
    let change = json!({"plan": "max", "when": "2026-01-20T00:00:00Z", "allowance": "full"});
    let pending = server.post(PATH, &change).await.expect(201);
    assert_eq!(pending["effective_at"], "2026-01-20T00:00:00Z");
    let one = format!("{PATH}/{}", pending["id"].as_str().unwrap());
    assert_eq!(server.delete(&one).await.status, 204);
    server.delete(&one).await.refuses(404, "plan_change_not_found");
    server.delete(&format!("{PATH}/nonsense")).await.refuses(404, "plan_change_not_found");
    server.now("2026-01-21T00:00:00Z").await;
    assert_eq!(available(&server).await, "600");
    let first = server.post(PATH, &json!({"plan": null, "when": "period_end"})).await.expect(201);
    assert_eq!(first["plan"], Value::Null);
    let second = server.post(PATH, &json!({"plan": "max", "when": "period_end"})).await.expect(201);
    assert_eq!(server.get(PATH).await.expect(200)["data"], json!([second]));
    // Another plan by PUT is now, and has the last word.
    server.put("/v1/customers/acme", &json!({"plan": "max"})).await.expect(200);
    assert_eq!(server.get(PATH).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let server = with_two_plans().await;
    let before = entries(&server).await;
    for (body, at, reason, expired, issued) in [
        (json!({"plan": "max"}), support::START, "plan_changed", "600", "2100"),
        (json!({"plan": "max", "allowance": "full"}), support::START, "plan_changed", "600", "2500"),
        (json!({"plan": "max", "when": "period_end"}), "2026-02-15T10:00:00Z", "scheduled", "600", "2500"),
        (
            json!({"plan": "max", "when": "2026-01-20T00:00:00Z"}),
            "2026-01-20T00:00:00Z",
            "plan_changed",
            "600",
            "2100",
        ),
    ] {
        let mut body = body;
        body["dry_run"] = json!(true);
        // No key is needed, and one is not used up.
        let preview = server.ask("POST", PATH).json(&body).send().await.expect(200);
        let keyed = server.ask("POST", PATH).key("k").json(&body).send().await.expect(200);
        assert_eq!(preview, keyed);
        assert_eq!(
            (&preview["status"], &preview["id"], &preview["effective_at"]),
            (&json!("preview"), &Value::Null, &json!(at)),
            "{body}"
        );
        assert_eq!(
            (&preview["closed"]["reason"], &preview["closed"]["expired"][0]["amount"]),
            (&json!(reason), &json!(expired)),
            "{body}"
        );
        assert_eq!(preview["opened"]["grants"][0]["amount"], issued, "{body}");
        assert_eq!(preview["opened"]["balance"]["available"], issued, "{body}");
    }
    assert_eq!(entries(&server).await, before);
    assert_eq!(server.get(PATH).await.expect(200)["data"], json!([]));
    server.ask("POST", PATH).key("k").json(&json!({"plan": "max"})).send().await.expect(201);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = with_two_plans().await;
    for (body, pointer) in [
        (json!({}), "/plan"),
        (json!({"plan": "max", "when": "tomorrow"}), "/when"),
        (json!({"plan": "max", "when": support::START}), "/when"),
        (json!({"plan": "max", "when": "2020-01-01T00:00:00Z"}), "/when"),
        (json!({"plan": "max", "allowance": "some"}), "/allowance"),
        (json!({"plan": "max", "dry_run": "yes"}), "/dry_run"),
        (json!({"plan": "max", "at": 1}), "/at"),
        (json!({"plan": "max", "when": "2036-01-01T00:00:00Z", "dry_run": true}), "/when"),
    ] {
        let answer = server.post(PATH, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    let answer = server.post(PATH, &json!({"plan": "nope"})).await;
    assert_eq!(answer.pointers(), ["/plan"]);
    answer.refuses(422, "plan_not_found");
    server
        .post("/v1/customers/nobody/plan-changes", &json!({"plan": "max"}))
        .await
        .refuses(404, "customer_not_found");
    server.delete("/v1/customers/acme").await.expect(200);
    server.post(PATH, &json!({"plan": "max"})).await.refuses(409, "customer_closed");
}
