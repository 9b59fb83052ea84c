//! Who changed what: every kind of change, with the key that asked, and what was there before and afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, plan, settings};

/// `type subject` of each, oldest first.
fn told(page: &Value) -> Vec<String> {
    let entries = page["data"].as_array().unwrap().iter().rev();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    entries.map(|entry| format!("{} {}", text(entry, "type"), text(entry, "subject"))).collect()
}

#[tokio::test]
async fn changes_of_the_catalog_are_recorded_with_who_made_them() {
    let server = Server::start().await;
    let scopes = json!(["manage", "policies"]);
    let secret = server.secret(&json!({"name": "ops", "scopes": scopes})).await;
    server.upload("standard").await.expect(201);
    let by_ops = |method: &'static str, path: &'static str, body: Value| {
        server.ask(method, path).by(&secret).json(&body).send()
    };
    by_ops("PUT", "/v1/plans/pro", plan("0.001", "1000")).await.expect(201);
    by_ops("PUT", "/v1/plans/pro", json!({"name": "Pro 2"})).await.expect(200);
    // The same again changes nothing, and is no change.
    by_ops("PUT", "/v1/plans/pro", json!({"name": "Pro 2"})).await.expect(200);
    let terms = json!({"policy": "standard", "settings": settings("0.002", "1000"), "mode": "shadow"});
    by_ops("POST", "/v1/plans/pro/terms", terms).await.expect(201);
    by_ops("POST", "/v1/plans/pro/terms/terms_2/end", json!({})).await.expect(200);
    by_ops("PUT", "/v1/policies/other", json!({"description": "d"})).await.expect(201);
    by_ops("PUT", "/v1/policies/other", json!({"description": "e"})).await.expect(200);
    server.delete("/v1/policies/standard/versions/1").await.expect(200);
    server.delete("/v1/api_keys/key_2").await.expect(200);

    let page = server.get("/v1/audit").await.expect(200);
    assert_eq!(
        told(&page),
        [
            "api_key_created api_key/key_1",
            "api_key_created api_key/key_2",
            "policy_created policy/standard",
            "version_uploaded policy/standard/1",
            "plan_created plan/pro",
            "terms_bound plan/pro/terms_1",
            "plan_changed plan/pro",
            "terms_bound plan/pro/terms_2",
            "terms_changed plan/pro/terms_2",
            "policy_created policy/other",
            "policy_changed policy/other",
            "version_deleted policy/standard/1",
            "api_key_revoked api_key/key_2",
        ]
    );
    let find = |kind: &str| {
        page["data"].as_array().unwrap().iter().find(|entry| entry["type"] == kind).unwrap().clone()
    };
    let changed = find("plan_changed");
    assert_eq!((&changed["actor"], &changed["number"]), (&json!("key_2"), &json!(7)));
    assert_eq!((&changed["before"], &changed["after"]), (&json!({"name": "Pro"}), &json!({"name": "Pro 2"})));
    let ended = find("terms_changed");
    assert_eq!(ended["before"], json!({"ends_at": null}), "{ended}");
    assert!(ended["after"]["ends_at"].is_string() || ended["after"]["ends_at"].is_number(), "{ended}");
    let bound = find("terms_bound");
    assert_eq!(bound["before"], Value::Null);
    assert_eq!(bound["after"]["settings"], settings("0.002", "1000"), "{bound}");
    assert!(bound["after"].get("prepared").is_none(), "{bound}");
    assert_eq!(find("version_deleted")["after"], json!({"deleted": true}));
    assert_eq!(find("version_deleted")["actor"], "key_1");
    assert_eq!(find("api_key_revoked")["before"], json!({"revoked_at": null}));
    // No secret, and no hash of one.
    let whole = page.to_string();
    let hash = proviso_ledger::model::ids::Digest::of(secret.as_bytes()).to_string();
    assert!(!whole.contains(&secret) && !whole.contains(hash.trim_start_matches("sha256:")), "{whole}");

    let of_ops = server.get("/v1/audit?actor=key_2").await.expect(200);
    assert_eq!(of_ops["data"].as_array().unwrap().len(), 7);
    let one_type = server.get("/v1/audit?type=plan_changed").await.expect(200);
    assert_eq!(told(&one_type), ["plan_changed plan/pro"]);
    let later = server.get("/v1/audit?from=2126-01-01T00:00:00Z").await.expect(200);
    assert_eq!(later["data"], json!([]));
    let mut paged = Vec::new();
    let mut path = "/v1/audit?limit=4".to_owned();
    loop {
        let part = server.get(&path).await.expect(200);
        paged.extend(part["data"].as_array().unwrap().clone());
        let Some(next) = part["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=4&cursor={next}");
    }
    assert_eq!(json!(paged), page["data"]);
}

#[tokio::test]
async fn changes_of_a_customer_are_read_from_its_journal() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/acme", &json!({"name": "Acme 2"})).await.expect(200);
    let grant = json!({"amount": "50", "category": "prepaid"});
    let grant = server.post("/v1/customers/acme/grants", &grant).await.expect(201);
    let void = format!("/v1/customers/acme/grants/{}/void", grant["id"].as_str().unwrap());
    server.post(&void, &json!({})).await.expect(200);
    for tokens in [100, 200] {
        server.charge(&format!("k{tokens}"), tokens).await.expect(201);
    }
    let terms = json!({"policy": "standard", "settings": settings("0.002", "1000")});
    let bound = server.post("/v1/customers/acme/terms", &terms).await.expect(201);
    let end = format!("/v1/customers/acme/terms/{}/end", bound["id"].as_str().unwrap());
    server.post(&end, &json!({})).await.expect(200);
    server.put("/v1/customers/acme/entitlements/chat", &json!({"type": "boolean", "value": true})).await;
    server.put("/v1/customers/acme/entitlements/chat", &json!({"type": "boolean", "value": false})).await;
    server.delete("/v1/customers/acme").await.expect(200);

    let page = server.get("/v1/audit?customer=acme").await.expect(200);
    let kinds: Vec<_> = told(&page).iter().map(|one| one.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(
        kinds,
        [
            "configured",
            "period_opened",
            "configured",
            "granted",
            "voided",
            "terms_bound",
            "terms_ended",
            "override_set",
            "override_set",
            "period_closed",
            "closed",
        ]
    );
    let data = page["data"].as_array().unwrap();
    assert!(data.iter().all(|entry| entry["actor"] == "key_1" && entry["subject"] == "customer/acme"));
    let oldest_first: Vec<_> = data.iter().rev().collect();
    assert_eq!(oldest_first[0]["before"], Value::Null);
    assert_eq!(oldest_first[0]["after"]["plan"], "pro");
    let renamed = &oldest_first[2];
    assert_eq!(renamed["after"], json!({"name": "Acme 2"}), "{renamed}");
    assert_eq!(renamed["before"].as_object().unwrap().len(), 1, "{renamed}");
    assert_eq!(oldest_first[3]["after"]["amount"], "50");
    assert_eq!(oldest_first[6]["before"]["ends_at"], Value::Null);
    assert!(oldest_first[8]["before"].to_string().contains("true"), "{}", oldest_first[8]);
    assert!(oldest_first[8]["after"].to_string().contains("false"), "{}", oldest_first[8]);

    let mut paged = Vec::new();
    let mut path = "/v1/audit?customer=acme&limit=2".to_owned();
    loop {
        let part = server.get(&path).await.expect(200);
        paged.extend(part["data"].as_array().unwrap().clone());
        let Some(next) = part["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?customer=acme&limit=2&cursor={next}");
    }
    assert_eq!(json!(paged), page["data"]);
    let granted = server.get("/v1/audit?customer=acme&type=granted&actor=key_1").await.expect(200);
    assert_eq!(granted["data"].as_array().unwrap().len(), 1);
    let nobody = server.get("/v1/audit?customer=acme&actor=key_9").await.expect(200);
    assert_eq!(nobody["data"], json!([]));
    server.get("/v1/audit?customer=nobody").await.refuses(404, "customer_not_found");
    server.get("/v1/audit?customer=acme&type=plan_changed").await.refuses(400, "invalid_query");
    server.get("/v1/audit?type=granted").await.refuses(400, "invalid_query");
}

#[tokio::test]
async fn the_audit_is_for_admins() {
    let server = Server::with_acme().await;
    let reader = server.secret(&json!({"name": "r", "scopes": ["read", "manage"]})).await;
    server.ask("GET", "/v1/audit").by(&reader).send().await.refuses(403, "scope_missing");
}
