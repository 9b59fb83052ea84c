//! Canaries and signed modules over HTTP: what is taken, what is refused, and what is answered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proviso_engine::{ModuleSignature, PolicyKey, SigningKey};
use proviso_ledger::model::ids::Digest;
use serde_json::{Value, json};
use support::{Answer, STANDARD, Server, settings};

fn terms(canary: Value) -> Value {
    json!({"policy": "standard", "settings": settings("0.002", "1000"), "canary": canary})
}

#[tokio::test]
async fn a_canary_is_bound_raised_and_ended() {
    let server = Server::with_acme().await;
    let limits = json!({"max_fault_percent": 1, "max_drift_percent": "250.5"});
    // Acme's place is 4,804 of 10,000.
    let canary = terms(json!({"share_percent": "48.04", "rollback": limits}));
    let bound = server.post("/v1/plans/pro/terms", &canary).await.expect(201);
    let canary = &bound["canary"];
    assert_eq!((&bound["id"], &canary["share_percent"]), (&json!("terms_2"), &json!("48.04")), "{bound}");
    let expected = json!({
        "max_fault_percent": "1", "max_drift_percent": "250.5", "min_decisions": 20, "within_seconds": null,
    });
    assert_eq!(canary["rollback"], expected);
    server.charge("a", 1_000).await.expect(201);
    let path = "/v1/plans/pro/terms/terms_2";
    let report = server.get(&format!("{path}/rollout")).await.expect(200);
    assert_eq!((&report["state"], &report["decisions"]), (&json!("running"), &json!(0)), "{report}");
    assert_eq!(
        (&report["replaces"], &report["affected"]),
        (&json!("plan/pro/terms_1"), &json!([])),
        "{report}"
    );

    server.now("2026-01-15T10:00:01Z").await;
    let raised = server.post(&format!("{path}/canary"), &json!({"share_percent": 50})).await.expect(200);
    assert_eq!(raised["canary"]["steps"].as_array().unwrap().len(), 2, "{raised}");
    let charge = server.charge("b", 1_000).await.expect(201);
    assert_eq!(charge["cost"], "2", "{charge}");
    let report = server.get(&format!("{path}/rollout")).await.expect(200);
    let drift =
        json!([{"credit": "credits", "cost": "2", "replaced_cost": "1", "apart": "1", "percent": "100"}]);
    assert_eq!((&report["decisions"], &report["drift"]), (&json!(1), &drift), "{report}");
    let affected = &report["affected"][0];
    assert_eq!((&affected["customer"], &affected["type"]), (&json!("acme"), &json!("charged")), "{report}");
    assert_eq!((&affected["cost"], &affected["replaced_cost"]), (&json!("2"), &json!("1")), "{report}");
    // The plan shows what decides for all.
    assert_eq!(server.get("/v1/plans/pro").await.expect(200)["terms"]["id"], "terms_1");
    let all = server.get("/v1/plans/pro/terms").await.expect(200);
    let in_force: Vec<&Value> =
        all["data"].as_array().unwrap().iter().filter(|terms| terms["in_force"] == true).collect();
    assert!(in_force.len() == 1 && in_force[0]["id"] == "terms_1", "{all}");

    server
        .post("/v1/plans/pro/terms", &terms(json!({"share_percent": 1})))
        .await
        .refuses(409, "canary_running");
    let lower = server.post(&format!("{path}/canary"), &json!({"share_percent": "49.99"})).await;
    assert_eq!(lower.pointers(), ["/share_percent"]);
    lower.refuses(409, "canary_share_lower");
    server.post(&format!("{path}/end"), &json!({})).await.expect(200);
    assert_eq!(server.charge("c", 1_000).await.expect(201)["cost"], "1");
    assert_eq!(server.get(&format!("{path}/rollout")).await.expect(200)["state"], "ended");
    server.post(&format!("{path}/canary"), &json!({"share_percent": 90})).await.refuses(409, "terms_ended");
    // And then another one.
    server.post("/v1/plans/pro/terms", &terms(json!({"share_percent": 1}))).await.expect(201);
}

/// What a plan itself gives is no difference between its terms: it gives that whichever decide.
#[tokio::test]
async fn the_grants_of_a_plan_are_no_drift() {
    let server = Server::with_acme().await;
    let grants = json!([
        {"key": "included", "amount": "500"},
        {"key": "welcome", "amount": "50", "recurrence": "once"},
    ]);
    let trial = json!({"duration": "P14D", "grants": [{"key": "try", "amount": "20"}], "then": "stay"});
    server.put("/v1/plans/pro", &json!({"grants": grants, "trial": trial})).await.expect(200);
    let mut same = settings("0.001", "1000");
    same["minimum_charge"] = json!("0.000001");
    let rollback = json!({"max_drift_percent": 1, "min_decisions": 1});
    let canary = json!({"policy": "standard", "settings": same,
        "canary": {"share_percent": "99.99", "rollback": rollback}});
    let canary = server.post("/v1/plans/pro/terms", &canary).await.expect(201);
    let shadow = json!({"policy": "standard", "settings": settings("0.001", "400"), "mode": "shadow"});
    let shadow = server.post("/v1/plans/pro/terms", &shadow).await.expect(201);
    for customer in ["c1", "c2", "c3"] {
        let path = format!("/v1/customers/{customer}");
        server.put(&path, &json!({"plan": "pro"})).await.expect(201);
        let balance = server.get(&format!("{path}/balance")).await.expect(200);
        assert_eq!(balance["balances"][0]["granted"], "1570", "{balance}");
        // A change within the cycle reduces plan and policy alike.
        server
            .post(&format!("{path}/plan-changes"), &json!({"plan": "pro", "plan_version": 1}))
            .await
            .expect(201);
    }
    let path = |terms: &Value| format!("/v1/plans/pro/terms/{}", terms["id"].as_str().unwrap());
    let report = server.get(&format!("{}/rollout", path(&canary))).await.expect(200);
    assert_eq!(report["state"], "running", "{report}");
    let openings: Vec<&Value> =
        report["affected"].as_array().unwrap().iter().filter(|one| one["type"] == "period_opened").collect();
    assert!(openings.len() >= 6, "{report}");
    assert!(openings.iter().all(|one| one["cost"] == one["replaced_cost"]), "{report}");
    let report = server.get(&format!("{}/shadow-report", path(&shadow))).await.expect(200);
    // Its allowance is 600 less, each time.
    assert_eq!(
        (&report["openings"]["compared"], &report["openings"]["less"]),
        (&json!(openings.len()), &json!((600 * openings.len()).to_string())),
        "{report}"
    );
}

#[tokio::test]
async fn what_can_be_no_canary_is_told_so() {
    let server = Server::with_acme().await;
    for (canary, pointer) in [
        (json!({}), "/canary/share_percent"),
        (json!({"share_percent": 0}), "/canary/share_percent"),
        (json!({"share_percent": "100.01"}), "/canary/share_percent"),
        (json!({"share_percent": "0.001"}), "/canary/share_percent"),
        (json!({"share_percent": 2.5}), "/canary/share_percent"),
        (json!({"share_percent": 5, "sticky": true}), "/canary/sticky"),
        (json!({"share_percent": 5, "rollback": {}}), "/canary/rollback"),
        (json!({"share_percent": 5, "rollback": {"min_decisions": 3}}), "/canary/rollback"),
        (
            json!({"share_percent": 5, "rollback": {"max_fault_percent": -1}}),
            "/canary/rollback/max_fault_percent",
        ),
        (
            json!({"share_percent": 5, "rollback": {"max_drift_percent": 1, "min_decisions": 0}}),
            "/canary/rollback/min_decisions",
        ),
        (
            json!({"share_percent": 5, "rollback": {"max_drift_percent": 1, "within_seconds": 90_000}}),
            "/canary/rollback/within_seconds",
        ),
    ] {
        let refused = server.post("/v1/plans/pro/terms", &terms(canary.clone())).await;
        assert_eq!(refused.pointers(), [pointer], "{canary}: {}", refused.text());
        refused.refuses(400, "invalid_request");
    }
    let canary = terms(json!({"share_percent": 5}));
    let mut shadow = canary.clone();
    shadow["mode"] = json!("shadow");
    for (answer, pointer) in [
        (server.post("/v1/customers/acme/terms", &canary).await, "/canary"),
        (server.post("/v1/plans/pro/terms", &shadow).await, "/canary"),
        (server.put("/v1/plans/pro", &json!({"terms": canary})).await, "/terms/canary"),
    ] {
        assert_eq!(answer.pointers(), [pointer], "{}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.put("/v1/plans/bare", &json!({})).await.expect(201);
    server.post("/v1/plans/bare/terms", &canary).await.refuses(409, "canary_alone");
    server.get("/v1/plans/pro/terms/terms_1/rollout").await.refuses(409, "not_a_canary");
    let raise = json!({"share_percent": 5});
    server.post("/v1/plans/pro/terms/terms_1/canary", &raise).await.refuses(409, "not_a_canary");
    server.post("/v1/plans/pro/terms/terms_9/canary", &raise).await.refuses(404, "terms_not_found");
}

async fn upload(server: &Server, signature: Option<&str>) -> Answer {
    let ask = server.ask("POST", "/v1/policies/standard/versions").header("content-type", "application/wasm");
    let ask = match signature {
        Some(signature) => ask.header("proviso-signature", signature),
        None => ask,
    };
    ask.raw(STANDARD.clone()).send().await
}

#[tokio::test]
async fn a_module_is_taken_with_the_signature_of_a_known_key_only() {
    let key = |seed| SigningKey::from_seed([seed; 32]).unwrap();
    let ann = PolicyKey { name: "ann".parse().unwrap(), key: key(1).public() };
    let server = Server::taking_signed(vec![ann]).await;
    let by = |seed, module: &[u8]| ModuleSignature::by(&key(seed), &Digest::of(module)).unwrap().to_string();
    upload(&server, None).await.refuses(422, "signature_required");
    for wrong in [by(2, &STANDARD), by(1, b"another module"), "ed25519=00".to_owned(), "nonsense".to_owned()]
    {
        upload(&server, Some(&wrong)).await.refuses(422, "signature_invalid");
    }
    server.get("/v1/policies/standard").await.refuses(404, "policy_not_found");
    let signature = by(1, &STANDARD);
    let version = upload(&server, Some(&signature)).await.expect(201);
    let signed = json!({"name": "ann", "public_key": key(1).public().to_string(), "signature": signature});
    assert_eq!(version["signed_by"], signed);
    assert_eq!(server.get("/v1/policies/standard/versions/1").await.expect(200)["signed_by"], signed);
    let audit = server.get("/v1/audit?type=version_uploaded").await.expect(200);
    assert_eq!(audit["data"][0]["after"]["signed_by"], signed, "{audit}");
    // Known bytes are no way around.
    upload(&server, None).await.refuses(422, "signature_required");
    upload(&server, Some(&signature)).await.expect(200);
}

#[tokio::test]
async fn where_no_keys_are_named_signatures_are_not_looked_at() {
    let server = Server::start().await;
    let signature = ModuleSignature([7; 64]).to_string();
    let version = upload(&server, Some(&signature)).await.expect(201);
    assert_eq!(version["signed_by"], Value::Null);
}
