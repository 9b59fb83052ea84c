//! What a policy may use, as an operator sets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proviso_fixtures::guest::Draft;
use serde_json::json;
use support::Server;

/// A policy whose decisions cost nothing and burn about so many units of fuel.
fn busy(fuel: u32) -> Vec<u8> {
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[], &[]);
    // Five instructions a turn.
    let turns = fuel / 5;
    let burn = format!(
        "(local $left i32) (local.set $left (i32.const {turns})) \
         (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    );
    draft.body("rate", &format!("{burn} (i32.const {rating})")).build()
}

#[tokio::test]
async fn a_class_bounds_what_each_decision_burns() {
    let server = Server::start().await;
    let wasm = "application/wasm";
    server
        .ask("POST", "/v1/policies/busy/versions")
        .header("content-type", wasm)
        .raw(busy(7_000_000))
        .send()
        .await
        .expect(201);
    server
        .ask("PUT", "/v1/plans/p")
        .json(&json!({"terms": {"policy": "busy", "settings": {}}}))
        .send()
        .await
        .expect(201);
    server.ask("PUT", "/v1/customers/acme").json(&json!({"plan": "p"})).send().await.expect(201);
    let charge = async |key: &str| {
        let body = json!({"feature": "chat", "quantities": {"tokens": 1}});
        server.ask("POST", "/v1/customers/acme/charges").key(key).json(&body).send().await
    };

    let fault = charge("1").await.refuses(402, "policy_fault");
    assert!(fault["detail"].as_str().unwrap().contains("fuel"), "{fault}");
    let class = json!({"resource_class": "large"});
    let author = server.secret(&json!({"name": "author", "scopes": ["policies"]})).await;
    server
        .ask("PUT", "/v1/policies/busy")
        .by(&author)
        .json(&class)
        .send()
        .await
        .refuses(403, "scope_missing");
    let policy = server.ask("PUT", "/v1/policies/busy").json(&class).send().await.expect(200);
    assert_eq!(policy["resource_class"], "large");
    charge("2").await.expect(201);
    // The author may still say what it is for, and null is what it was before.
    let text = json!({"description": "Burns fuel"});
    let policy = server.ask("PUT", "/v1/policies/busy").by(&author).json(&text).send().await.expect(200);
    assert_eq!(policy["resource_class"], "large");
    server.ask("PUT", "/v1/policies/busy").json(&json!({"resource_class": null})).send().await.expect(200);
    charge("3").await.refuses(402, "policy_fault");
}
