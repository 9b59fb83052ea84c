//! Backtests as jobs: asked for, waited for, read; of a plan, a customer or a policy, also by a version that was deleted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::{Server, settings};

const VERSION: &str = "/v1/policies/standard/versions/1/backtests";

/// The job once it has ended.
async fn ended(server: &Server, body: &Value) -> Value {
    let started = server.post(VERSION, body).await.expect(202);
    let path = format!("{VERSION}/{}", started["id"].as_str().unwrap());
    for _ in 0..2_000 {
        let job = server.get(&path).await.expect(200);
        if job["status"] == "done" || job["status"] == "failed" {
            return job;
        }
        assert!(job.get("report").is_none(), "{job}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the job does not end");
}

#[tokio::test]
async fn a_version_is_tried_on_what_is_recorded() {
    let server = Server::with_acme().await;
    server.charge("a", 500_000).await.expect(201);
    server.charge("b", 400_000).await.expect(201);
    server.delete("/v1/policies/standard/versions/1").await.expect(200);

    for body in [json!({}), json!({"plan": "pro"}), json!({"customer": "acme"})] {
        let same = ended(&server, &body).await;
        assert_eq!(
            (&same["status"], &same["report"]["total"]["differ"]),
            (&json!("done"), &json!(0)),
            "{same}"
        );
        assert_eq!(same["report"]["total"]["recorded"], "900", "{same}");
        assert_eq!(same["report"]["customers_changed"], 0);
    }
    let dearer = ended(&server, &json!({"plan": "pro", "settings": settings("0.002", "1000")})).await;
    let report = &dearer["report"];
    assert_eq!(
        (&report["total"]["candidate"], &report["total"]["difference"]),
        (&json!("1000"), &json!("100"))
    );
    assert_eq!(report["new_refusals"], json!({"insufficient_credits": 1}), "{report}");
    assert_eq!(report["by_customer"][0]["customer"], "acme");
    assert_eq!(report["by_customer"][0]["balances"][0]["candidate_available"], "0");
    assert_eq!(report["changes"][0]["recorded"]["lines"][0]["unit_cost"], "0.001");
    let later = ended(&server, &json!({"plan": "pro", "from": "2126-01-01T00:00:00Z"})).await;
    assert_eq!((&later["report"]["entries"], &later["status"]), (&json!(0), &json!("done")));
    let refused = ended(&server, &json!({"plan": "pro", "settings": {"rates": 7}})).await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!("failed"), &json!("settings_invalid")),
        "{refused}"
    );
    assert!(refused["detail"].as_str().unwrap().contains("plan/pro/terms_1"), "{refused}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::with_acme().await;
    let both = server.post(VERSION, &json!({"plan": "pro", "customer": "acme"})).await;
    assert_eq!(both.pointers(), ["/plan"]);
    let plan = server.post(VERSION, &json!({"plan": "none"})).await;
    assert_eq!(plan.pointers(), ["/plan"]);
    plan.refuses(422, "plan_not_found");
    let customer = server.post(VERSION, &json!({"customer": "nobody"})).await;
    customer.refuses(422, "customer_not_found");
    server
        .post("/v1/policies/standard/versions/9/backtests", &json!({}))
        .await
        .refuses(404, "version_not_found");
    server.post("/v1/policies/none/versions/1/backtests", &json!({})).await.refuses(404, "policy_not_found");
    server.get(&format!("{VERSION}/backtest_7")).await.refuses(404, "backtest_not_found");
    let narrowed = server.secret(&json!({"name": "n", "scopes": ["read"], "customer": "acme"})).await;
    let asked = server.ask("POST", VERSION).by(&narrowed).json(&json!({})).send().await;
    asked.refuses(403, "key_is_narrowed");
}

#[tokio::test]
async fn only_so_many_wait() {
    let server = Server::with_acme().await;
    for n in 0..1_500 {
        server.charge(&format!("k{n}"), 10).await.expect(201);
    }
    let mut refused = None;
    for _ in 0..12 {
        let answer = server.post(VERSION, &json!({})).await;
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
    }
    refused.expect("one too many").refuses(503, "overloaded");
    // Charges go on meanwhile.
    server.charge("while", 10).await.expect(201);
}
