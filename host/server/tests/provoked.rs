//! What an operation documents, it answers: each problem that any client can provoke is provoked for every operation that
//! lists it. The other direction, that nothing else is answered, is checked in every test by the harness.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{Answer, Ask, Server};

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    codes: Vec<String>,
    /// The body's media type.
    media_type: Option<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().values();
            let examples = responses
                .filter_map(|one| one.pointer("/content/application~1problem+json/examples")?.as_object());
            let content = operation["requestBody"]["content"].as_object();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                codes: examples.flat_map(|codes| codes.keys().cloned()).collect(),
                media_type: content.and_then(|content| content.keys().next().cloned()),
            });
        }
    }
    operations
}

/// The path with parts that exist, or with `other` in the place of those that callers choose.
fn filled(path: &str, other: Option<&str>) -> String {
    [
        ("{customer}", other.unwrap_or("acme")),
        ("{plan}", other.unwrap_or("pro")),
        ("{policy}", other.unwrap_or("standard")),
        ("{feature}", other.unwrap_or("chat")),
        ("{entity}", other.unwrap_or("user-7")),
        ("{budget}", other.unwrap_or("all")),
        ("{credit}", other.unwrap_or("credits")),
        ("{add_on}", other.unwrap_or("more")),
        ("{bundle}", other.unwrap_or("pack")),
        ("{promotion}", other.unwrap_or("SPRING")),
        ("{top_up}", "topup_99"),
        ("{version}", "1"),
        ("{number}", "1"),
        ("{grant}", "grant_2"),
        ("{reservation}", "res_1"),
        ("{lease}", "lease_1"),
        ("{charge}", "chg_1"),
        ("{terms}", "terms_1"),
        ("{change}", "change_9"),
        ("{api_key}", if other.is_some() { "key_99" } else { "key_1" }),
        ("{backtest}", "backtest_99"),
        ("{file}", "page.js"),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (part, value)| path.replace(part, value))
}

async fn typed(ask: Ask<'_>, media_type: &str, body: Vec<u8>) -> Answer {
    ask.header("content-type", media_type).raw(body).send().await
}

#[tokio::test]
async fn documented_problems_are_answered() {
    let server = Server::with_acme().await;
    let document = server.get("/openapi.json").await.expect(200);
    let entity = json!({"attributes": {"role": "developer"}});
    server.put("/v1/customers/acme/entities/user-7", &entity).await.expect(201);
    let all = ["usage", "read", "manage", "policies", "admin"];
    let narrowed = server.secret(&json!({"name": "n", "scopes": all, "customer": "acme"})).await;
    let mut with_scope = Vec::new();
    for scope in ["usage", "policies"] {
        with_scope.push(server.secret(&json!({"name": scope, "scopes": [scope]})).await);
    }
    let mut provoked: BTreeMap<&str, u32> = BTreeMap::new();
    let mut keys = 0;
    for Operation { method, path, codes, media_type } in operations(&document) {
        let lists = |code: &str| codes.iter().any(|one| one == code);
        let mut keyed = |path: &str| {
            keys += 1;
            let ask = server.ask(&method, path);
            if method == "POST" { ask.key(&format!("provoked-{keys}")) } else { ask }
        };
        let media_type = media_type.as_deref().unwrap_or("application/json");
        let here = filled(&path, None);
        let mut answers = vec![
            ("api_key_required", server.ask(&method, &here).anonymous().send().await),
            ("api_key_invalid", server.ask(&method, &here).by("nonsense").send().await),
        ];
        if lists("key_may_not_grant") {
            // A customer's profile may be changed, but not its plan; its tree, but not what policies may read of entities.
            let ask = keyed(&here).by(&narrowed);
            let change =
                if path.contains("{entity}") { json!({ "attributes": {} }) } else { json!({ "plan": null }) };
            let ask = if method == "PUT" { ask.json(&change) } else { ask };
            answers.push(("key_may_not_grant", ask.send().await));
        } else {
            answers.push(("key_is_narrowed", keyed(&here).by(&narrowed).send().await));
        }
        if lists("scope_missing") {
            let mut refused = None;
            for secret in &with_scope {
                let answer = keyed(&here).by(secret).send().await;
                if answer.status == 403 {
                    refused = Some(answer);
                }
            }
            answers
                .push(("scope_missing", refused.unwrap_or_else(|| panic!("{method} {path} needs no scope"))));
        }
        if lists("invalid_path") && path.contains(['{']) && !path.starts_with("/v1/api_keys") {
            answers.push(("invalid_path", keyed(&filled(&path, Some("%0A"))).send().await));
        }
        if lists("customer_not_found") && path.contains("{customer}") {
            let ask = keyed(&filled(&path, Some("nobody"))).by(&narrowed);
            answers.push(("customer_not_found", ask.send().await));
        }
        if lists("invalid_query") {
            answers.push(("invalid_query", keyed(&format!("{here}?surprise=1")).send().await));
        }
        if lists("invalid_cursor") {
            answers.push(("invalid_cursor", server.get(&format!("{here}?cursor=!")).await));
        }
        // One parameter is required.
        let asked = if path == "/v1/imports" { format!("{here}?import=move") } else { here.clone() };
        if lists("idempotency_key_required") {
            answers.push(("idempotency_key_required", server.ask(&method, &asked).send().await));
        }
        if lists("invalid_idempotency_key") {
            answers.push(("invalid_idempotency_key", server.ask(&method, &asked).key("").send().await));
        }
        if lists("malformed_json") {
            answers.push(("malformed_json", typed(keyed(&asked), media_type, b"nonsense".to_vec()).await));
        }
        if lists("unsupported_media_type") {
            let ask = keyed(&asked).header("content-type", "text/plain").raw("x");
            answers.push(("unsupported_media_type", ask.send().await));
        }
        if lists("body_too_large") {
            answers
                .push(("body_too_large", typed(keyed(&asked), media_type, vec![b' '; (4 << 20) + 1]).await));
        }
        if lists("changed_meanwhile") {
            let ask = keyed(&asked).header("if-match", "\"other\"");
            let body = match here.rsplit('/').next().unwrap() {
                "terms" => json!({ "policy": "standard", "settings": support::settings("1", "1") }),
                "canary" => json!({ "share_percent": 5 }),
                "plan-changes" => json!({ "plan": null }),
                _ => json!({}),
            };
            let answer = if method == "DELETE" { ask.send().await } else { ask.json(&body).send().await };
            answers.push(("changed_meanwhile", answer));
        }
        if lists("precondition_unsupported") {
            let ask = keyed(&asked).header("if-match", "\"other\"");
            answers.push(("precondition_unsupported", ask.send().await));
        } else if method != "GET" {
            assert!(lists("changed_meanwhile"), "{method} {path} says nothing of If-Match");
        }
        for (code, answer) in answers.into_iter().filter(|(code, _)| lists(code)) {
            assert_eq!(answer.code(), code, "{method} {path}: {}", answer.text());
            *provoked.entry(code).or_default() += 1;
        }
    }
    for (code, least) in [
        ("api_key_required", 45),
        ("api_key_invalid", 45),
        ("scope_missing", 45),
        ("key_is_narrowed", 20),
        ("key_may_not_grant", 8),
        ("invalid_path", 30),
        ("customer_not_found", 20),
        ("invalid_query", 50),
        ("invalid_cursor", 10),
        ("idempotency_key_required", 8),
        ("malformed_json", 15),
        ("unsupported_media_type", 15),
        ("body_too_large", 15),
        ("changed_meanwhile", 14),
        ("precondition_unsupported", 15),
    ] {
        assert!(provoked.get(code).is_some_and(|count| *count >= least), "{code}: {provoked:?}");
    }
}
