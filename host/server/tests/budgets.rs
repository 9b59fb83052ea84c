//! Entities and budgets over HTTP: the routes, what a refusal says, pages, and who may change what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Server};

const ACME: &str = "/v1/customers/acme";

/// `acme`, with Ann in a team of a company.
async fn with_team() -> Server {
    let server = Server::with_acme().await;
    for (entity, body) in [
        ("company", json!({})),
        ("team", json!({"parent": "company", "attributes": {"floor": 3}})),
        ("ann%40example.com", json!({"parent": "team"})),
    ] {
        server.put(&format!("{ACME}/entities/{entity}"), &body).await.expect(201);
    }
    server
}

fn by_ann(tokens: u64) -> Value {
    json!({"feature": "chat", "quantities": {"input_tokens": tokens}, "entity": "ann@example.com", "attributes": {"model": "large"}})
}

async fn put(server: &Server, budget: &str, body: Value) -> Answer {
    server.put(&format!("{ACME}/budgets/{budget}"), &body).await
}

#[tokio::test]
async fn entities_are_put_read_moved_and_forgotten() {
    let server = with_team().await;
    let path = format!("{ACME}/entities/ann%40example.com");
    let read = server.get(&path).await;
    let tag = read.header("etag").unwrap().to_owned();
    let ann = json!({"entity": "ann@example.com", "parent": "team", "attributes": {}});
    assert_eq!(read.expect(200), ann);
    // The same again changes nothing; what is not said stays.
    assert_eq!(server.put(&path, &json!({"parent": "team"})).await.expect(200), ann);
    let team = server.put(&format!("{ACME}/entities/team"), &json!({"parent": null})).await.expect(200);
    assert_eq!(team, json!({"entity": "team", "parent": null, "attributes": {"floor": "3"}}));
    // A page at a time, by key.
    let page = server.get(&format!("{ACME}/entities?limit=2")).await.expect(200);
    let keys = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["entity"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(&page), ["ann@example.com", "company"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = server.get(&format!("{ACME}/entities?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((keys(&rest), &rest["next_cursor"]), (vec!["team".to_owned()], &Value::Null));
    // Preconditions.
    let change = |tag: &str, body: Value| server.ask("PUT", &path).header("if-match", tag).json(&body).send();
    change(&tag, json!({"attributes": {"role": "developer"}})).await.expect(200);
    change(&tag, json!({"parent": null})).await.refuses(412, "changed_meanwhile");
    // Wrong places.
    let unknown = server.put(&path, &json!({"parent": "nobody"})).await;
    assert_eq!(unknown.pointers(), ["/parent"]);
    unknown.refuses(422, "entity_not_found");
    let above_itself =
        server.put(&format!("{ACME}/entities/team"), &json!({"parent": "ann@example.com"})).await;
    assert_eq!(above_itself.pointers(), ["/parent"]);
    above_itself.refuses(400, "invalid_request");
    server.delete(&format!("{ACME}/entities/team")).await.refuses(409, "entity_in_use");
    assert_eq!(server.delete(&path).await.status, 204);
    server.get(&path).await.refuses(404, "entity_not_found");
    server.delete(&path).await.refuses(404, "entity_not_found");
    let ledger = server.get(&format!("{ACME}/ledger?type=entity_changed,entity_removed")).await.expect(200);
    assert_eq!(ledger["data"].as_array().unwrap().len(), 6, "{ledger}");
}

#[tokio::test]
async fn budgets_are_put_read_changed_and_taken_back() {
    let server = with_team().await;
    let made = put(&server, "team-a", json!({"entity": "team", "window": "month", "limit": "2"})).await;
    let tag = made.header("etag").unwrap().to_owned();
    let expected = json!({
        "budget": "team-a", "level": "entity", "entity": "team", "features": [], "window": "month",
        "credit": "credits", "limit": "2", "hard": true, "warn_at": [50, 80, 100],
        "used": "0", "held": "0", "remaining": "2", "resets_at": "2026-02-01T00:00:00Z",
    });
    assert_eq!(made.expect(201), expected);
    server.post(&format!("{ACME}/charges"), &by_ann(500)).await.expect(201);
    let held = server.post(&format!("{ACME}/reservations"), &by_ann(700)).await.expect(201);
    let read = server.get(&format!("{ACME}/budgets/team-a")).await;
    assert_eq!(read.header("etag"), Some(&*tag), "usage does not change it");
    let read = read.expect(200);
    assert_eq!(
        (&read["used"], &read["held"], &read["remaining"]),
        (&json!("0.5"), &json!("0.7"), &json!("0.8"))
    );
    // A patch; what was counted stays.
    let soft = put(&server, "team-a", json!({"soft": true, "warn_at": [90], "limit": "1"})).await.expect(200);
    assert_eq!((&soft["hard"], &soft["warn_at"]), (&json!(false), &json!([90])));
    assert_eq!((&soft["used"], &soft["remaining"]), (&json!("0.5"), &json!("0")));
    let id = held["id"].as_str().unwrap();
    let commit = json!({"quantities": {"input_tokens": 600}});
    server.post(&format!("{ACME}/reservations/{id}/commit"), &commit).await.expect(200);
    let ledger = server.get(&format!("{ACME}/ledger?type=committed")).await.expect(200);
    let entry = &ledger["data"][0];
    assert_eq!(entry["budgets"], json!([{"budget": "team-a", "in": 24312, "add": "0.6"}]));
    assert_eq!(
        entry["thresholds"],
        json!([{"budget": "team-a", "in": 24312, "percent": 90, "used": "1.1", "limit": "1"}])
    );
    assert_eq!(entry["event"]["usage"]["ancestors"], json!(["team", "company"]));
    // By attribute and quantity.
    let tokens = json!({
        "attribute": {"name": "model", "value": "large"}, "quantity": "input_tokens", "window": "hours:24",
        "limit": 1000, "features": ["chat"], "hard": true,
    });
    let tokens = put(&server, "tokens", tokens).await.expect(201);
    assert_eq!(tokens["attribute"], json!({"name": "model", "value": "large"}));
    assert_eq!((&tokens["quantity"], &tokens["resets_at"]), (&json!("input_tokens"), &Value::Null));
    let list = server.get(&format!("{ACME}/budgets?limit=1")).await.expect(200);
    assert_eq!(list["data"][0]["budget"], "team-a");
    let cursor = list["next_cursor"].as_str().unwrap();
    let list = server.get(&format!("{ACME}/budgets?limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((&list["data"][0]["budget"], &list["next_cursor"]), (&json!("tokens"), &Value::Null));
    server.delete(&format!("{ACME}/entities/team")).await.refuses(409, "entity_in_use");
    assert_eq!(server.delete(&format!("{ACME}/budgets/team-a")).await.status, 204);
    server.get(&format!("{ACME}/budgets/team-a")).await.refuses(404, "budget_not_found");
    server.delete(&format!("{ACME}/budgets/team-a")).await.refuses(404, "budget_not_found");
}

#[tokio::test]
async fn what_is_wrong_with_a_budget_is_pointed_at() {
    let server = with_team().await;
    for (body, pointer) in [
        (json!({"limit": "1"}), "/window"),
        (json!({"window": "day"}), "/limit"),
        (json!({"window": "fortnight", "limit": "1"}), "/window"),
        (json!({"window": "hours:745", "limit": "1"}), "/window"),
        (json!({"window": "day", "limit": 1}), "/limit"),
        (json!({"window": "day", "limit": "-1"}), "/limit"),
        (json!({"window": "day", "limit": "1", "hard": true, "soft": false}), "/soft"),
        (json!({"window": "day", "limit": "1", "warn_at": [0]}), "/warn_at/0"),
        (json!({"window": "day", "limit": "1", "quantity": "n", "credit": "credits"}), "/credit"),
        (
            json!({"window": "day", "limit": "1", "entity": "a", "attribute": {"name": "m", "value": "x"}}),
            "/attribute",
        ),
        (
            json!({"window": "day", "limit": "1", "attribute": {"name": "m n", "value": "x"}}),
            "/attribute/name",
        ),
    ] {
        let answer = put(&server, "wrong", body.clone()).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.get(&format!("{ACME}/budgets/wrong")).await.refuses(404, "budget_not_found");
}

#[tokio::test]
async fn a_refusal_names_the_budget_its_level_and_when_it_opens_again() {
    let server = with_team().await;
    for (budget, body) in [
        ("customer", json!({"window": "day", "limit": "100"})),
        ("company", json!({"entity": "company", "window": "week", "limit": "3"})),
        ("team", json!({"entity": "team", "window": "day", "limit": "2", "hard": true})),
        ("model", json!({"attribute": {"name": "model", "value": "large"}, "window": "hour", "limit": "50"})),
    ] {
        put(&server, budget, body).await.expect(201);
    }
    server.post(&format!("{ACME}/charges"), &by_ann(1_200)).await.expect(201);
    server.post(&format!("{ACME}/reservations"), &by_ann(500)).await.expect(201);
    for path in ["charges", "reservations"] {
        let refused =
            server.post(&format!("{ACME}/{path}"), &by_ann(400)).await.refuses(402, "budget_exceeded");
        for (field, value) in [
            ("budget", json!("team")),
            ("level", json!("entity")),
            ("entity", json!("team")),
            ("window", json!("day")),
            ("limit", json!("2")),
            ("used", json!("1.2")),
            ("held", json!("0.5")),
            ("remaining", json!("0.3")),
            ("required", json!("0.4")),
            ("retry_at", json!("2026-01-16T00:00:00Z")),
        ] {
            assert_eq!(refused[field], value, "{field} of {refused}");
        }
    }
    let check = server.post(&format!("{ACME}/check"), &by_ann(400)).await.expect(200);
    assert_eq!((&check["allowed"], &check["reason"]), (&json!(false), &json!("budget_exceeded")));
    assert_eq!((&check["budget"], &check["remaining"]), (&json!("team"), &json!("0.3")));
    assert_eq!(check["retry_at"], "2026-01-16T00:00:00Z");
    let fits = server.post(&format!("{ACME}/check"), &by_ann(300)).await.expect(200);
    assert_eq!((&fits["allowed"], fits.get("budget")), (&json!(true), None));
    // The refusal is in the journal.
    let ledger = server.get(&format!("{ACME}/ledger?type=refused")).await.expect(200);
    assert_eq!(ledger["data"][0]["event"]["over_budget"]["budget"], "team");
    // The next day the company's week is what says no.
    server.now("2026-01-16T00:00:00Z").await;
    let refused =
        server.post(&format!("{ACME}/charges"), &by_ann(1_900)).await.refuses(402, "budget_exceeded");
    assert_eq!(
        (&refused["budget"], &refused["retry_at"]),
        (&json!("company"), &json!("2026-01-19T00:00:00Z"))
    );
}

#[tokio::test]
async fn reports_and_ledgers_take_in_those_below() {
    let server = with_team().await;
    server.post(&format!("{ACME}/charges"), &by_ann(100)).await.expect(201);
    server
        .put(&format!("{ACME}/entities/ann%40example.com"), &json!({"parent": "company"}))
        .await
        .expect(200);
    server.post(&format!("{ACME}/charges"), &by_ann(10)).await.expect(201);
    for (entity, tokens) in
        [("team", Some("100")), ("company", Some("110")), ("ann@example.com", Some("110")), ("x", None)]
    {
        let report = server.get(&format!("{ACME}/usage?entity={entity}&group_by=feature")).await.expect(200);
        assert_eq!(report["data"][0]["quantities"]["input_tokens"].as_str(), tokens, "{entity}: {report}");
        let ledger = server.get(&format!("{ACME}/ledger?entity={entity}")).await.expect(200);
        let entries = ledger["data"].as_array().unwrap().len();
        assert_eq!(entries, [0, 1, 2][usize::from(tokens.is_some()) + usize::from(tokens == Some("110"))]);
    }
}

/// A customer's own key keeps its tree and its budgets. What policies may price by is not for it to say.
#[tokio::test]
async fn a_customers_own_key_keeps_its_budgets() {
    let server = with_team().await;
    let own = server.secret(&json!({"name": "own", "scopes": ["manage"], "customer": "acme"})).await;
    let ask = |method: &str, path: &str, body: Value| {
        server.ask(method, &format!("{ACME}/{path}")).by(&own).json(&body).send()
    };
    ask("PUT", "entities/bob", json!({"parent": "team"})).await.expect(201);
    ask("PUT", "entities/bob", json!({"attributes": {"role": "x"}})).await.refuses(403, "key_may_not_grant");
    ask("PUT", "budgets/bob", json!({"entity": "bob", "window": "day", "limit": "1"})).await.expect(201);
    assert_eq!(ask("DELETE", "budgets/bob", json!({})).await.status, 204);
    assert_eq!(ask("DELETE", "entities/bob", json!({})).await.status, 204);
    ask("PUT", "entities/ann%40example.com", json!({"parent": null})).await.expect(200);
    ask("DELETE", "entities/team", json!({})).await.refuses(403, "key_may_not_grant");
}
