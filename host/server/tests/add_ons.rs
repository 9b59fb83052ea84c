//! Add-ons as a client sees them: put, attached with a quantity, given with their own cycle, and taken away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::Server;

const MORE: &str = "/v1/customers/acme/add-ons/more";

async fn available(server: &Server) -> Value {
    server.get("/v1/customers/acme/balance").await.expect(200)["balances"][0]["available"].clone()
}

fn more() -> Value {
    json!({
        "name": "More chats", "interval": "month",
        "grants": [
            {"key": "more", "amount": "100", "cost_basis": {"amount": "9.99", "currency": "EUR"}},
            {"key": "hello", "amount": "7", "recurrence": "once", "features": ["chat"]},
        ],
        "entitlements": {
            "export": {"type": "boolean", "value": true},
            "seats": {"type": "static", "value": 40},
            "search": {"type": "boolean", "value": true},
        },
        "max_quantity": 3,
    })
}

#[tokio::test]
async fn add_ons_are_put_like_plans() {
    let server = Server::start().await;
    let put = server.put("/v1/add-ons/more", &more()).await.expect(201);
    let given = json!({
        "key": "more", "amount": "100", "credit": "credits", "category": "prepaid", "priority": 0, "features": [],
        "cost_basis": {"amount": "9.99", "currency": "EUR"}, "recurrence": "period", "expires": "with_period",
    });
    assert_eq!(put["grants"][0], given);
    assert_eq!(
        json!([put["name"], put["version"], put["interval"], put["max_quantity"], put["for_sale"]]),
        json!(["More chats", 1, {"unit": "month", "count": 1}, 3, true])
    );
    // What is not sold differently makes no version.
    for (body, version) in [
        (more(), 1),
        (json!({"name": "Chats", "max_quantity": null}), 1),
        (json!({"entitlements": {}}), 2),
        (json!({"interval": "P14D"}), 3),
    ] {
        let put = server.put("/v1/add-ons/more", &body).await.expect(200);
        assert_eq!(put["version"], version, "{body}");
    }
    assert_eq!(server.get("/v1/add-ons").await.expect(200)["data"][0]["add_on"], "more");
    let audit = server.get("/v1/audit?type=add_on_changed").await.expect(200);
    assert_eq!(audit["data"][0]["subject"], "add_on/more");
    for (body, pointer) in [
        (json!({"grants": [{"key": "a", "amount": "1"}]}), "/interval"),
        (
            json!({"grants": [{"key": "a", "amount": "1", "recurrence": "once", "expires": "with_period"}]}),
            "/interval",
        ),
        (json!({"interval": "month", "grants": [{"key": "a", "amount": "0"}]}), "/grants/0/amount"),
        (json!({"max_quantity": 0}), "/max_quantity"),
        (json!({"entitlements": {"chat": {"type": "boolean"}}}), "/entitlements/chat/value"),
    ] {
        let answer = server.put("/v1/add-ons/new", &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.get("/v1/add-ons/new").await.refuses(404, "add_on_not_found");
}

#[tokio::test]
async fn a_customer_has_an_add_on_with_a_quantity() {
    let server = Server::with_acme().await;
    server.put("/v1/add-ons/more", &more()).await.expect(201);
    server.get(MORE).await.refuses(404, "add_on_not_attached");
    server.put("/v1/customers/acme/add-ons/other", &json!({})).await.refuses(404, "add_on_not_found");
    let attached = server.put(MORE, &json!({"quantity": 2})).await;
    let tag = attached.header("etag").unwrap().to_owned();
    let shown = json!({
        "add_on": "more", "version": 1, "quantity": 2, "status": "active", "starts_at": support::START, "ends_at": null,
        "next_grant_at": "2026-02-15T10:00:00Z", "given": {"credits": "200"},
    });
    assert_eq!(attached.expect(201), shown);
    assert_eq!(available(&server).await, "1200");
    let grants = server.get("/v1/customers/acme/grants").await.expect(200)["data"].clone();
    let own = grants.as_array().unwrap().iter().find(|one| one["amount"] == "200").unwrap();
    assert_eq!(
        json!([own["category"], own["expires_at"], own["cost_basis"], own["metadata"]]),
        json!([
            "prepaid", "2026-02-15T10:00:00Z", {"amount": "19.98", "currency": "EUR"},
            {"add_on": "more", "add_on_grant": "more"}
        ])
    );
    // The same again changes nothing, with or without a body.
    for body in [json!({"quantity": 2}), json!({})] {
        assert_eq!(server.put(MORE, &body).await.expect(200), shown);
    }
    let bare = server.ask("PUT", MORE).send().await;
    assert_eq!(bare.header("etag").unwrap(), tag);
    assert_eq!(available(&server).await, "1200");
    let stale =
        server.ask("PUT", MORE).header("if-match", "\"0\"").json(&json!({"quantity": 3})).send().await;
    stale.refuses(412, "changed_meanwhile");
    let raised = server.ask("PUT", MORE).header("if-match", &tag).json(&json!({"quantity": 3})).send().await;
    assert_eq!(raised.expect(200)["given"], json!({"credits": "300"}));
    assert_eq!(available(&server).await, "1300");
    for (body, pointer) in [
        (json!({"quantity": 4}), "/quantity"),
        (json!({"quantity": 0}), "/quantity"),
        (json!({"starts_at": "2026-01-16T00:00:00Z"}), "/starts_at"),
        (json!({"ends_at": support::START}), "/ends_at"),
    ] {
        let answer = server.put(MORE, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.put(MORE, &json!({"version": 2})).await.refuses(409, "add_on_version_not_sold");

    // Taken away and taken again within its cycle, it gives nothing twice.
    for _ in 0..3 {
        assert_eq!(server.delete(MORE).await.status, 204);
        server.delete(MORE).await.refuses(404, "add_on_not_attached");
        server.put(MORE, &json!({"quantity": 3})).await.expect(201);
    }
    assert_eq!(available(&server).await, "1300");
    // Each cycle of its own gives its allowance once, whoever asks first.
    server.now("2026-04-15T10:00:00Z").await;
    let listed = server.get("/v1/customers/acme/add-ons").await.expect(200);
    assert_eq!(listed["data"][0]["next_grant_at"], "2026-05-15T10:00:00Z");
    let ledger = server.get("/v1/customers/acme/ledger?type=add_on_given").await.expect(200);
    assert_eq!(ledger["data"].as_array().unwrap().len(), 3);
    assert_eq!(available(&server).await, "1300");
    // With what is left of what it gave, where that is asked.
    assert_eq!(server.delete(&format!("{MORE}?void=true")).await.status, 204);
    assert_eq!(available(&server).await, "1000");
    let audit = server.get("/v1/audit?customer=acme&type=add_on_ended").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 4);

    server.put("/v1/add-ons/more", &json!({"for_sale": false})).await.expect(200);
    server.put(MORE, &json!({})).await.refuses(409, "add_on_withdrawn");
    let own = server.secret(&json!({"name": "own", "scopes": ["manage"], "customer": "acme"})).await;
    server.ask("PUT", MORE).by(&own).json(&json!({})).send().await.refuses(403, "key_may_not_grant");
    server.delete("/v1/customers/acme").await;
    server.put("/v1/add-ons/more", &json!({"for_sale": true})).await.expect(200);
    server.put(MORE, &json!({})).await.refuses(409, "customer_closed");
    server.delete(MORE).await.refuses(409, "customer_closed");
}

#[tokio::test]
async fn entitlements_say_which_come_of_add_ons() {
    let server = Server::with_acme().await;
    server.put("/v1/add-ons/more", &more()).await.expect(201);
    let told = async |feature: &str| {
        let answer = server.get(&format!("/v1/customers/acme/entitlements/{feature}")).await.expect(200);
        json!([answer["has_access"], answer["source"], answer["value"]])
    };
    assert_eq!(told("export").await, json!([false, "plan", false]));
    server.put(MORE, &json!({"starts_at": "2026-01-16T00:00:00Z"})).await.expect(201);
    assert_eq!(told("seats").await, json!([true, "plan", 25]));
    server.now("2026-01-16T00:00:00Z").await;
    assert_eq!(told("export").await, json!([true, "add_on", true]));
    assert_eq!(told("seats").await, json!([true, "add_on", 40]));
    assert_eq!(told("search").await, json!([true, "add_on", true]));
    assert_eq!(told("chat").await[1], "plan");
    let listed = server.get("/v1/customers/acme/entitlements").await.expect(200);
    let features: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|one| one["feature"].clone()).collect();
    assert_eq!(json!(features), json!(["chat", "export", "search", "seats"]));
    let switched_off = json!({"type": "boolean", "value": false});
    server.put("/v1/customers/acme/entitlements/export", &switched_off).await.expect(201);
    assert_eq!(told("export").await, json!([false, "override", false]));
    assert_eq!(server.delete(MORE).await.status, 204);
    server.get("/v1/customers/acme/entitlements/search").await.refuses(404, "feature_not_found");
    assert_eq!(told("seats").await, json!([true, "plan", 25]));
}

/// Many who attach, raise and take away at once: one cycle's allowance of the most that was had, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_changes_give_one_cycles_allowance() {
    let server = std::sync::Arc::new(Server::with_acme().await);
    server.put("/v1/add-ons/more", &more()).await.expect(201);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..24_u64 {
        let server = server.clone();
        clients.spawn(async move {
            let status = if n % 3 == 2 {
                server.delete(MORE).await.status
            } else {
                server.put(MORE, &json!({"quantity": 1 + n % 3})).await.status
            };
            assert!([200, 201, 204, 404].contains(&status), "{status}");
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    server.put(MORE, &json!({"quantity": 2})).await;
    assert_eq!(available(&server).await, "1200");
}
