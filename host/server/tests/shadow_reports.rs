//! What a shadow would have changed, as its report says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings, usage};

async fn bind_shadow(server: &Server, owner: &str, settings: &Value) -> String {
    let terms = json!({"policy": "standard", "settings": settings, "mode": "shadow"});
    let bound = server.post(&format!("/v1/{owner}/terms"), &terms).await.expect(201);
    format!("/v1/{owner}/terms/{}/shadow-report", bound["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_plans_shadow_is_compared_for_all_its_customers() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/zenith", &json!({"plan": "pro"})).await.expect(201);
    let report = bind_shadow(&server, "plans/pro", &settings("0.003", "2000")).await;
    server.charge("a", 1_000).await.expect(201);
    server.charge("b", 500).await.expect(201);
    server.ask("POST", "/v1/customers/zenith/charges").key("c").json(&usage(2_000)).send().await.expect(201);
    // Held, then billed: the credits count once.
    let held = server.ask("POST", "/v1/customers/acme/reservations").key("d").json(&usage(100)).send().await;
    let commit =
        format!("/v1/customers/acme/reservations/{}/commit", held.expect(201)["id"].as_str().unwrap());
    server.post(&commit, &json!({"quantities": {"input_tokens": 200}})).await.expect(200);
    // Refused for want of credits, and priced all the same.
    server.charge("e", 5_000_000).await.refuses(402, "insufficient_credits");

    let found = server.get(&report).await.expect(200);
    assert_eq!((&found["compared"], &found["differ"]), (&json!(6), &json!(6)), "{found}");
    let chat = &found["features"][0];
    assert_eq!((&chat["feature"], &chat["credit"]), (&json!("chat"), &json!("credits")));
    assert_eq!((&chat["cost"], &chat["shadow_cost"]), (&json!("3.7"), &json!("11.1")), "{chat}");
    assert_eq!((&chat["more"], &chat["less"]), (&json!("7.4"), &json!("0")));
    assert_eq!(found["next_cursor"], Value::Null);
    let largest = &found["examples"][0];
    assert_eq!(largest["code"], "insufficient_credits");
    assert_eq!((&largest["cost"], &largest["shadow_cost"]), (&json!("5000"), &json!("15000")));
    let second = &found["examples"][1];
    assert_eq!((&second["customer"], &second["type"]), (&json!("zenith"), &json!("charged")), "{found}");

    // The month's end: 1,000 a month against 2,000.
    server.now("2026-02-20T00:00:00Z").await;
    server.get("/v1/customers/acme/balance").await.expect(200);
    server.get("/v1/customers/zenith/balance").await.expect(200);
    let found = server.get(&report).await.expect(200);
    let openings = &found["openings"];
    let ends = (openings["compared"].as_u64().unwrap(), &openings["more"]);
    assert_eq!(openings["cost"].as_str().unwrap().parse::<u64>().unwrap(), ends.0 * 1_000, "{found}");
    assert_eq!(openings["shadow_cost"].as_str().unwrap().parse::<u64>().unwrap(), ends.0 * 2_000, "{found}");
    assert!(ends.0 >= 2, "{found}");
    // A range that holds nothing of it.
    let later = server.get(&format!("{report}?from=2026-02-20T00:00:00Z")).await.expect(200);
    assert_eq!((&later["compared"], &later["features"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn a_customers_shadow_that_refuses_is_told_by_its_code() {
    let server = Server::with_acme().await;
    let rates = json!({"rates": [{"feature": "image", "quantity": "images", "price": {"per_unit": "1"}}]});
    let report = bind_shadow(&server, "customers/acme", &rates).await;
    server.charge("a", 1_000).await.expect(201);
    let image = json!({"feature": "image", "quantities": {"images": 2}});
    let refused = server.ask("POST", "/v1/customers/acme/charges").key("b").json(&image).send().await;
    assert_ne!(refused.status, 201);
    let found = server.get(&report).await.expect(200);
    let chat = found["features"].as_array().unwrap().iter().find(|one| one["feature"] == "chat").unwrap();
    assert_eq!((&chat["refused_by_shadow"], &chat["cost"]), (&json!(1), &json!("0")), "{found}");
    let image = found["features"].as_array().unwrap().iter().find(|one| one["feature"] == "image").unwrap();
    assert_eq!(image["allowed_by_shadow"], 1, "{found}");
    let example = found["examples"].as_array().unwrap().iter().find(|one| one["feature"] == "chat").unwrap();
    assert!(example["shadow_code"].is_string() && example["shadow_cost"].is_null(), "{example}");
    assert_eq!(example["cost"], "1");
}

#[tokio::test]
async fn only_shadows_have_a_report() {
    let server = Server::with_acme().await;
    server.get("/v1/plans/pro/terms/terms_1/shadow-report").await.refuses(409, "not_a_shadow");
    server.get("/v1/plans/pro/terms/terms_9/shadow-report").await.refuses(404, "terms_not_found");
    server.get("/v1/plans/none/terms/terms_1/shadow-report").await.refuses(404, "plan_not_found");
    let report = bind_shadow(&server, "plans/pro", &settings("0.003", "2000")).await;
    server.get(&format!("{report}?cursor=!")).await.refuses(400, "invalid_cursor");
    server.get(&format!("{report}?from=yesterday")).await.refuses(400, "invalid_query");
}
