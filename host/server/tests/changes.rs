//! PUT: absent fields stay, null clears, the same again changes nothing, and `If-Match` finds what changed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Server, plan, settings, usage};

async fn entries(server: &Server) -> usize {
    let ledger = server.get("/v1/customers/acme/ledger?limit=1000").await.expect(200);
    ledger["data"].as_array().unwrap().len()
}

/// Each row: a body, and the fields that it changes in what is read afterwards.
#[tokio::test]
async fn a_customer_keeps_what_a_put_does_not_name() {
    let server = Server::with_acme().await;
    let path = "/v1/customers/acme";
    for (body, changes) in [
        (json!({}), json!({})),
        (json!({"time_zone": "Europe/Berlin"}), json!({"time_zone": "Europe/Berlin"})),
        (json!({"name": "Acme Inc."}), json!({"name": "Acme Inc."})),
        (json!({"attributes": {"tier": "gold"}}), json!({"attributes": {"tier": "gold"}})),
        (json!({"external_ids": {"stripe": "cus_1"}}), json!({"external_ids": {"stripe": "cus_1"}})),
        (json!({"external_ids": {"erp": "7"}}), json!({"external_ids": {"erp": "7"}})),
        (json!({"name": null, "attributes": null}), json!({"name": "acme", "attributes": {}})),
        (json!({"time_zone": null, "external_ids": null}), json!({"time_zone": "UTC", "external_ids": {}})),
        (json!({"anchor": "2026-01-20T10:00:00Z"}), json!({"anchor": "2026-01-20T10:00:00Z"})),
        (json!({"anchor": null}), json!({"anchor": "2026-01-15T10:00:00Z"})),
        (json!({"plan": null}), json!({"plan": null, "plan_version": null})),
    ] {
        let mut expected = server.get(path).await.expect(200);
        expected.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let mut changed = server.put(path, &body).await.expect(200);
        // A change of anchor, zone or plan moves the period's end.
        for value in [&mut changed, &mut expected] {
            value.as_object_mut().unwrap().remove("period");
        }
        assert_eq!(changed, expected, "{body}");
        let before = (entries(&server).await, server.get(path).await);
        let again = server.put(path, &body).await;
        assert_eq!(again.header("etag"), before.1.header("etag"), "{body}");
        assert_eq!((entries(&server).await, again.expect(200)), (before.0, before.1.json()), "{body}");
    }
    for (body, pointer) in [
        (json!({"external_ids": {"stripe": ""}}), "/external_ids/stripe"),
        (json!({"external_ids": {"a b": "c"}}), "/external_ids"),
        (json!({"external_ids": {"stripe": 7}}), "/external_ids/stripe"),
        (json!({"stripe_customer": "cus_1"}), "/stripe_customer"),
    ] {
        let answer = server.put(path, &body).await;
        assert!(answer.pointers()[0].starts_with(pointer), "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_plan_keeps_what_a_put_does_not_name() {
    let server = Server::with_acme().await;
    let path = "/v1/plans/pro";
    let pro = server.get(path).await.expect(200);
    assert_eq!(server.put(path, &json!({})).await.expect(200), pro);
    let renamed = server.put(path, &json!({"name": "Professional"})).await.expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["interval"], &renamed["entitlements"], &renamed["terms"]),
        (&json!("Professional"), &pro["interval"], &pro["entitlements"], &pro["terms"])
    );
    let cleared = server.put(path, &json!({"name": null, "entitlements": null})).await.expect(200);
    assert_eq!((&cleared["name"], &cleared["entitlements"]), (&json!("pro"), &json!({})));
    server.put(path, &json!({"interval": null})).await.refuses(409, "plan_interval_fixed");
    let ended = server.put(path, &json!({"terms": null})).await.expect(200);
    assert_eq!(ended["terms"], Value::Null);
    assert_eq!(server.put(path, &json!({"terms": null})).await.expect(200), ended);
    server.charge("none", 1).await.refuses(409, "no_terms_in_force");
    let keyed = json!({"entitlements": {"openai/gpt-4o~x": {"type": "boolean"}}});
    let answer = server.put(path, &keyed).await;
    assert_eq!(answer.pointers(), ["/entitlements/openai~1gpt-4o~0x/value"]);
}

/// Each row: what is put of the terms besides policy and settings, and the terms that are in force afterwards: the active
/// ones as id, `on_fault` and end, and the ids of the shadows. Every row is put twice.
#[tokio::test]
async fn terms_in_a_plan_are_what_is_in_force() {
    let server = Server::with_acme().await;
    let path = "/v1/plans/pro";
    let end = "2026-03-01T00:00:00Z";
    for (price, extra, active, shadows) in [
        ("0.001", json!({}), json!(["terms_1", "deny", null]), json!([])),
        ("0.001", json!({"on_fault": "last_good"}), json!(["terms_2", "last_good", null]), json!([])),
        ("0.001", json!({}), json!(["terms_2", "last_good", null]), json!([])),
        ("0.001", json!({"ends_at": end}), json!(["terms_2", "last_good", end]), json!([])),
        ("0.001", json!({"name": 1}), Value::Null, Value::Null),
        ("0.001", json!({"ends_at": null}), json!(["terms_2", "last_good", null]), json!([])),
        ("0.002", json!({"mode": "shadow"}), json!(["terms_2", "last_good", null]), json!(["terms_3"])),
        ("0.002", json!({}), json!(["terms_2", "last_good", null]), json!(["terms_3"])),
        ("0.002", json!({"mode": "active"}), json!(["terms_4", "deny", null]), json!([])),
        ("0.002", json!({"mode": "shadow"}), json!(["terms_2", "last_good", null]), json!(["terms_5"])),
        ("0.002", json!({"mode": null}), json!(["terms_6", "deny", null]), json!([])),
        ("0.003", json!({"on_fault": "plan"}), json!(["terms_7", "plan", null]), json!([])),
        ("0.003", json!({"on_fault": null}), json!(["terms_8", "deny", null]), json!([])),
    ] {
        let mut terms = json!({"policy": "standard", "settings": settings(price, "1000")});
        terms.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let body = json!({ "terms": terms });
        if active.is_null() {
            server.put(path, &body).await.refuses(400, "invalid_request");
            continue;
        }
        let first = server.put(path, &body).await.expect(200);
        let found = &first["terms"];
        let ids: Vec<_> = first["shadows"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(
            (json!([found["id"], found["on_fault"], found["ends_at"]]), json!(ids)),
            (active, shadows),
            "{price} {extra}"
        );
        assert_eq!(server.put(path, &body).await.expect(200), first, "{price} {extra} again");
        assert_eq!(server.get(path).await.expect(200), first);
    }
    let past = json!({"terms": {
        "policy": "standard", "settings": settings("0.003", "1000"), "ends_at": "2026-01-01T00:00:00Z"
    }});
    server.put(path, &past).await.refuses(400, "invalid_request");
    // Terms that are put to begin later are bound once.
    let later = json!({"terms": {
        "policy": "standard", "settings": settings("0.004", "1000"), "effective_at": "2026-02-01T00:00:00Z"
    }});
    for _ in 0..2 {
        server.put(path, &later).await.expect(200);
    }
    let terms = server.get("/v1/plans/pro/terms").await.expect(200);
    assert_eq!(terms["data"].as_array().unwrap().len(), 9, "{terms}");
}

#[tokio::test]
async fn an_override_keeps_what_a_put_does_not_name() {
    let server = Server::with_acme().await;
    let path = "/v1/customers/acme/entitlements/seats";
    server.put(path, &json!({"ends_at": null})).await.refuses(400, "invalid_request");
    server.put(path, &json!({"value": 7})).await.refuses(400, "invalid_request");
    let end = "2026-02-01T00:00:00Z";
    let begun = "2026-01-15T10:00:00Z";
    for (body, value, starts_at, ends_at) in [
        (json!({"type": "static", "value": 7}), json!(7), begun, Value::Null),
        (json!({"ends_at": end}), json!(7), begun, json!(end)),
        (json!({"type": "static", "value": 8}), json!(8), begun, json!(end)),
        (json!({"ends_at": null}), json!(8), begun, Value::Null),
        (json!({"starts_at": null}), json!(8), begun, Value::Null),
    ] {
        let put = server.put(path, &body).await.expect(200);
        let expected = json!({
            "feature": "seats", "type": "static", "value": value, "starts_at": starts_at, "ends_at": ends_at
        });
        assert_eq!(put, expected, "{body}");
        let before = entries(&server).await;
        assert_eq!(server.put(path, &body).await.expect(200), expected, "{body} again");
        assert_eq!(entries(&server).await, before, "{body} again");
        server.now("2026-01-15T12:00:00Z").await;
        assert_eq!(server.get(path).await.expect(200)["value"], value);
    }
    server.put(path, &json!({"ends_at": end})).await.expect(200);
    server.now(end).await;
    assert_eq!(
        server.get(path).await.expect(200)["source"],
        "plan",
        "an override that ended is not in force"
    );
}

#[tokio::test]
async fn a_policy_keeps_its_description() {
    let server = Server::start().await;
    let described = server.put("/v1/policies/p", &json!({"description": "ours"})).await.expect(201);
    assert_eq!(server.put("/v1/policies/p", &json!({})).await.expect(200), described);
    assert_eq!(server.ask("PUT", "/v1/policies/p").send().await.expect(200), described);
    let cleared = server.put("/v1/policies/p", &json!({"description": null})).await.expect(200);
    assert_eq!(cleared["description"], "");
}

/// Reads a tag, lets something else happen, and changes with the tag: refused. With the tag of now: carried out.
#[tokio::test]
async fn a_change_that_was_overtaken_is_refused() {
    let server = Server::with_acme().await;
    server
        .put("/v1/customers/acme/entitlements/seats", &json!({"type": "static", "value": 1}))
        .await
        .expect(200);
    let own = json!({"policy": "standard", "settings": settings("0.003", "1")});
    server.post("/v1/customers/acme/terms", &own).await.expect(201);
    let terms = server.get("/v1/customers/acme/terms").await.expect(200)["data"][0]["id"].clone();
    let own_terms = format!("/v1/customers/acme/terms/{}", terms.as_str().unwrap());
    let own_end = format!("{own_terms}/end");
    let later = json!({"ends_at": "2027-01-01T00:00:00Z"});
    for (read, method, path, other, change) in [
        ("/v1/customers/acme", "PUT", "/v1/customers/acme", json!({"name": "a"}), json!({"name": "b"})),
        ("/v1/plans/pro", "PUT", "/v1/plans/pro", plan("0.002", "1"), json!({"name": "b"})),
        ("/v1/policies/standard", "PUT", "/v1/policies/standard", json!({"description": "a"}), json!({})),
        (
            "/v1/customers/acme/entitlements/seats",
            "PUT",
            "/v1/customers/acme/entitlements/seats",
            json!({"type": "static", "value": 2}),
            json!({"type": "static", "value": 3}),
        ),
        (own_terms.as_str(), "POST", own_end.as_str(), later.clone(), json!({})),
        ("/v1/plans/pro/terms/terms_1", "POST", "/v1/plans/pro/terms/terms_1/end", Value::Null, json!({})),
    ] {
        let tag =
            |answer: Answer| answer.header("etag").unwrap_or_else(|| panic!("{read} has no tag")).to_owned();
        let send = async |tag: Option<&str>, body: &Value, key: &str| {
            let ask = server.ask(method, path).key(&format!("{read} {key}")).json(body);
            if let Some(tag) = tag { ask.header("if-match", tag) } else { ask }.send().await
        };
        let first = tag(server.get(read).await);
        assert!(first.starts_with('"') && first.ends_with('"'), "{first}");
        assert_eq!(tag(server.get(read).await), first, "{read}: reading changes nothing");
        if !other.is_null() {
            send(None, &other, "other").await.expect(200);
            send(Some(&first), &change, "stale").await.refuses(412, "changed_meanwhile");
        }
        send(Some("\"nothing\""), &change, "unknown").await.refuses(412, "changed_meanwhile");
        let now = tag(server.get(read).await);
        send(Some(&format!("\"x\", {now}")), &change, "fresh").await.expect(200);
    }
    // What does not exist has no tag.
    let create = |tag: &'static str| {
        server.ask("PUT", "/v1/customers/new").header("if-match", tag).json(&json!({})).send()
    };
    create("*").await.refuses(412, "changed_meanwhile");
    create("\"a\"").await.refuses(412, "changed_meanwhile");
    server.get("/v1/customers/new").await.refuses(404, "customer_not_found");
    let delete =
        |tag: &'static str| server.ask("DELETE", "/v1/customers/acme").header("if-match", tag).send();
    delete("\"a\"").await.refuses(412, "changed_meanwhile");
    delete("*").await.expect(200);
}

/// Of many who read the same customer and change it, one succeeds.
#[tokio::test]
async fn of_two_who_change_at_once_one_is_refused() {
    let server = Server::with_acme().await;
    for round in 0..10 {
        let tag = server.get("/v1/customers/acme").await.header("etag").unwrap().to_owned();
        let change = |who: &str| {
            let ask = server.ask("PUT", "/v1/customers/acme").header("if-match", &tag);
            ask.json(&json!({ "name": format!("{who} {round}") })).send()
        };
        let (one, other, third) = tokio::join!(change("one"), change("other"), change("third"));
        let mut statuses = [one.status, other.status, third.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412], "round {round}");
    }
}

/// What is no PUT is refused as well, and what changes nothing that could be compared says so.
#[tokio::test]
async fn every_change_heeds_what_is_expected() {
    let server = Server::with_acme().await;
    let given = server
        .post("/v1/customers/acme/grants", &json!({"amount": "5", "category": "prepaid"}))
        .await
        .expect(201);
    let grant = format!("/v1/customers/acme/grants/{}", given["id"].as_str().unwrap());
    let void = format!("{grant}/void");
    let version = "/v1/policies/standard/versions/1";
    let terms = json!({"policy": "standard", "settings": settings("0.003", "1")});
    let change = json!({"plan": null, "when": "period_end"});
    let customer = "/v1/customers/acme";
    for (read, method, path, body, status, moves) in [
        (grant.as_str(), "POST", void.as_str(), json!({}), 200, true),
        (customer, "POST", "/v1/customers/acme/resets", json!({}), 200, true),
        (customer, "POST", "/v1/customers/acme/terms", terms.clone(), 201, false),
        ("/v1/plans/pro", "POST", "/v1/plans/pro/terms", terms, 201, true),
        (customer, "POST", "/v1/customers/acme/plan-changes", change, 201, false),
        (version, "DELETE", version, json!({}), 200, true),
    ] {
        let tag = server.get(read).await.header("etag").unwrap_or_else(|| panic!("{read}")).to_owned();
        let send = async |tag: &str, key: &str| {
            let ask = server.ask(method, path).key(&format!("{path} {key}")).header("if-match", tag);
            if method == "POST" { ask.json(&body).send().await } else { ask.send().await }
        };
        send("\"other\"", "1").await.refuses(412, "changed_meanwhile");
        assert_eq!(server.get(read).await.header("etag"), Some(tag.as_str()), "{path}");
        send(&tag, "2").await.expect(status);
        if moves {
            send(&tag, "3").await.refuses(412, "changed_meanwhile");
        }
        if method == "POST" {
            assert!(send(&tag, "2").await.is_replay(), "{path}: a repeat is answered as before");
        }
    }
    let charge = server.ask("POST", "/v1/customers/acme/charges").key("c").header("if-match", "*");
    charge.json(&usage(1)).send().await.refuses(412, "precondition_unsupported");
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_refused() {
    let server = Server::with_acme().await;
    for path in ["/v1/customers/acme", "/v1/customers/acme/balance", "/v1/plans/pro", "/v1/customers"] {
        server.get(path).await.expect(200);
        server.get(&format!("{path}?")).await.expect(200);
        server.get(&format!("{path}?att=2026-01-01")).await.refuses(400, "invalid_query");
    }
    server.get("/v1/customers/acme/balance?at=2026-01-15T10:00:00Z").await.expect(200);
    let post = server.ask("POST", "/v1/customers/acme/charges?dry_run=true").key("c").json(&usage(1));
    post.send().await.refuses(400, "invalid_query");
    let charged = server.get("/v1/customers/acme/ledger?type=charged").await.expect(200);
    assert_eq!(charged["data"], json!([]), "nothing was charged");
}

#[tokio::test]
async fn a_contract_keeps_its_times_whoever_amends_it() {
    let server = Server::with_acme().await;
    let terms = |price: &str, start: &str| {
        json!({"policy": "standard", "settings": settings(price, "1000"),
               "contract": {"id": "c", "start": start}})
    };
    for owner in ["/v1/plans/pro", "/v1/customers/acme"] {
        let path = format!("{owner}/terms");
        server.post(&path, &terms("0.002", "2026-01-01T00:00:00Z")).await.expect(201);
        server.post(&path, &terms("0.003", "2026-01-02T00:00:00Z")).await.refuses(409, "contract_fixed");
    }
    let amended = json!({"terms": terms("0.004", "2026-01-02T00:00:00Z")});
    server.put("/v1/plans/pro", &amended).await.refuses(409, "contract_fixed");
}
