//! What someone tries who wants more than they may have: keys that are used before the host needs them, cursors of other lists, imports
//! over what exists, names that come twice, bodies that unfold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::Body;
use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::{Value, json};
use std::convert::Infallible;
use support::{Answer, Server, usage};

const ACME: &str = "/v1/customers/acme";
const RULE: &str = "/v1/customers/acme/auto-top-ups/credits";
const REVERSALS: &str = "/v1/charges/reversals";

async fn import(server: &Server, record: &Value) -> Value {
    let ask = server.ask("POST", "/v1/imports?import=move").header("content-type", "application/x-ndjson");
    ask.raw(record.to_string()).send().await.expect(200)
}

/// The key of an entry, as the ledger shows it.
async fn key_of(server: &Server, kind: &str) -> String {
    let entries = server.get(&format!("{ACME}/ledger?type={kind}&order=desc")).await.expect(200);
    entries["data"][0]["key"].as_str().unwrap().to_owned()
}

/// A customer who could use the key of a reversal, an import or an event before it comes would keep what it should lose, or use for
/// nothing: those keys are no caller's.
#[tokio::test]
async fn keys_that_hosts_make_can_not_be_used_before() {
    let server = Server::with_acme().await;
    let own = server.secret(&json!({"name": "own", "scopes": ["usage"], "customer": "acme"})).await;
    let charge = |key: &str| server.ask("POST", &format!("{ACME}/charges")).by(&own).key(key).json(&usage(1));
    let id = server.charge("a", 1_000).await.expect(201)["id"].as_str().unwrap().to_owned();
    // What the names were once is a name like any other.
    charge(&format!("reversal:{id}")).send().await.expect(201);
    charge(&format!("proviso:reversal:{id}")).send().await.refuses(400, "invalid_idempotency_key");
    let item = json!([{"customer": "acme", "idempotency_key": format!("proviso:reversal:{id}"),
        "feature": "chat", "quantities": {"input_tokens": 1}}]);
    let batch = server.ask("POST", "/v1/charges/batch").by(&own).json(&item).send().await.expect(200);
    assert_eq!(batch[0]["status"], 400, "{batch}");
    assert_eq!(batch[0]["body"]["code"], "invalid_idempotency_key", "{batch}");
    assert_eq!(batch[0]["body"]["errors"][0]["pointer"], "/0/idempotency_key", "{batch}");
    let lease = server.ask("POST", &format!("{ACME}/leases")).by(&own).key("lease");
    let lease = lease.json(&json!({"amount": "1"})).send().await.expect(201);
    let settlements = format!("{ACME}/leases/{}/settlements", lease["id"].as_str().unwrap());
    let item = json!([{"idempotency_key": format!("proviso:reversal:{id}"), "feature": "chat",
        "quantities": {"input_tokens": 1}}]);
    let settled = server.ask("POST", &settlements).by(&own).json(&item).send().await.expect(200);
    assert_eq!(settled[0]["body"]["code"], "invalid_idempotency_key", "{settled}");
    assert_eq!(settled[0]["body"]["errors"][0]["pointer"], "/0/idempotency_key", "{settled}");
    let undone = json!({"reason": "the wrong model", "charges": [{"customer": "acme", "charge": id}]});
    let undone = server.ask("POST", REVERSALS).json(&undone).send().await.expect(200);
    assert_eq!((&undone["reversed"], &undone["refused"]), (&json!(1), &json!(0)), "{undone}");

    let grant =
        json!({"type": "grant", "customer": "acme", "id": "order-7", "amount": "5", "category": "prepaid"});
    assert_eq!(import(&server, &grant).await["imported"]["grant"], 1);
    let event = json!({"specversion": "1.0", "source": "app", "id": "1", "type": "chat", "subject": "acme",
        "data": {"quantities": {"input_tokens": 1}}});
    let event = server
        .ask("POST", "/v1/events")
        .header("content-type", "application/cloudevents+json")
        .raw(event.to_string());
    event.send().await.expect(201);
    for kind in ["charged", "refunded", "grant_imported"] {
        let key = key_of(&server, kind).await;
        assert!(key.starts_with("proviso:"), "{kind}: {key}");
        charge(&key).send().await.refuses(400, "invalid_idempotency_key");
    }
}

#[tokio::test]
async fn a_cursor_leads_through_its_own_list_alone() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({"plan": "pro"})).await.expect(201);
    for customer in ["acme", "beta"] {
        for number in 0..3 {
            let path = format!("/v1/customers/{customer}");
            server.put(&format!("{path}/entities/e{number}"), &json!({})).await.expect(201);
            let grant = json!({"amount": "5", "category": "prepaid"});
            server.post(&format!("{path}/grants"), &grant).await.expect(201);
            server
                .ask("POST", &format!("{path}/charges"))
                .key(&format!("c{number}"))
                .json(&usage(1))
                .send()
                .await
                .expect(201);
        }
    }
    let first = async |path: &str| {
        let page = server.get(path).await.expect(200);
        page["next_cursor"].as_str().unwrap_or_else(|| panic!("{path}: {page}")).to_owned()
    };
    let next = async |path: &str, cursor: &str| -> Answer {
        let and = if path.contains('?') { '&' } else { '?' };
        server.get(&format!("{path}{and}cursor={cursor}")).await
    };
    let entities = first(&format!("{ACME}/entities?limit=1")).await;
    let grants = first(&format!("{ACME}/grants?limit=1")).await;
    let ledger = first(&format!("{ACME}/ledger?limit=1&type=charged")).await;
    for (path, cursor) in [
        // Its own, with another limit, and however the filters are written.
        (format!("{ACME}/entities?limit=2"), &entities),
        (format!("{ACME}/grants"), &grants),
        (format!("{ACME}/ledger?type=%63harged&limit=2"), &ledger),
        ("/v1/customers/%61cme/ledger?type=charged".to_owned(), &ledger),
    ] {
        next(&path, cursor).await.expect(200);
    }
    for (path, cursor) in [
        // Of another customer, of another list, with other filters.
        ("/v1/customers/beta/entities".to_owned(), &entities),
        ("/v1/customers/beta/ledger?type=charged".to_owned(), &ledger),
        (format!("{ACME}/budgets"), &entities),
        (format!("{ACME}/reservations"), &grants),
        ("/v1/customers".to_owned(), &entities),
        (format!("{ACME}/ledger"), &ledger),
        (format!("{ACME}/ledger?type=charged&order=desc"), &ledger),
        (format!("{ACME}/ledger?type=charged&feature=chat"), &ledger),
    ] {
        next(&path, cursor).await.refuses(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn a_page_of_a_migration_leads_to_the_next_of_the_same_one() {
    let server = Server::with_acme().await;
    server
        .put("/v1/customers/beta", &json!({"plan": "pro", "attributes": {"tier": "gold"}}))
        .await
        .expect(201);
    server.put("/v1/plans/pro", &json!({"grants": [{"key": "more", "amount": "5"}]})).await.expect(200);
    let path = "/v1/plans/pro/migrations";
    let page = json!({"from_version": 1, "dry_run": true, "limit": 1});
    let first = server.post(path, &page).await.expect(200);
    let with = |more: Value| {
        let mut body = page.clone();
        body["cursor"] = first["next_cursor"].clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let second = server.post(path, &with(json!({"limit": 5}))).await.expect(200);
    assert_eq!(second["data"][0]["customer"], "beta", "{second}");
    for other in [
        json!({"from_version": null}),
        json!({"attributes": {"tier": "gold"}}),
        json!({"customers": ["beta"]}),
    ] {
        let refused = server.post(path, &with(other)).await.refuses(400, "invalid_request");
        assert_eq!(refused["errors"][0]["pointer"], "/cursor", "{refused}");
    }
}

/// "An import creates; it changes nothing that is there."
#[tokio::test]
async fn an_import_changes_nothing_that_exists() {
    let server = Server::with_acme().await;
    let entity = |role: &str| json!({"type": "entity", "customer": "acme", "entity": "ann", "attributes": {"role": role}});
    let budget = |limit: &str| json!({"type": "budget", "customer": "acme", "budget": "all", "window": "month", "limit": limit});
    let chat = |value: bool| {
        json!({"type": "entitlement", "customer": "acme", "feature": "chat",
            "entitlement": {"type": "boolean", "value": value}})
    };
    server.put(&format!("{ACME}/entities/ann"), &json!({"attributes": {"role": "user"}})).await.expect(201);
    server.put(&format!("{ACME}/budgets/all"), &json!({"window": "month", "limit": "5"})).await.expect(201);
    let off = json!({"type": "boolean", "value": false});
    server.put(&format!("{ACME}/entitlements/chat"), &off).await;
    let places = ["entities/ann", "budgets/all", "entitlements/chat"];
    let mut before = Vec::new();
    for place in places {
        before.push(server.get(&format!("{ACME}/{place}")).await.expect(200));
    }
    for record in [entity("admin"), budget("5000"), chat(true)] {
        let report = import(&server, &record).await;
        assert_eq!(report["refused"][0]["code"], "customer_exists", "{report}");
        assert_eq!(report["imported"], json!({}), "{report}");
    }
    for (place, before) in places.iter().zip(&before) {
        assert_eq!(server.get(&format!("{ACME}/{place}")).await.expect(200), *before);
    }
    // What is the same is there already; what is new comes in.
    for record in [entity("user"), budget("5"), chat(false)] {
        let report = import(&server, &record).await;
        assert_eq!((&report["repeated"], &report["refused"]), (&json!(1), &json!([])), "{report}");
    }
    let bob = json!({"type": "entity", "customer": "acme", "entity": "bob", "attributes": null});
    assert_eq!(import(&server, &bob).await["imported"]["entity"], 1);
    // A credit type that is spelled out is the one that is meant without it.
    let grant = json!({"type": "grant", "customer": "acme", "id": "1", "amount": "5", "category": "prepaid"});
    assert_eq!(import(&server, &grant).await["imported"]["grant"], 1);
    let mut same = grant;
    same["credit"] = json!("credits");
    assert_eq!(import(&server, &same).await["repeated"], 1);
}

/// Whatever a file is like, each of its lines is accounted for.
#[tokio::test]
async fn no_line_of_an_import_is_lost() {
    let server = Server::with_acme().await;
    let send = |query: &str, kind: &str, body: &str| {
        let path = format!("/v1/imports?import=odd{query}");
        server.ask("POST", &path).header("content-type", kind).raw(body.to_owned()).send()
    };
    let open = "type,customer,name\ncustomer,c1,\"One\ncustomer,c2,Two\n\ncustomer,c3,\"Three\"\n\ncustomer,c4,Four\n";
    let report = send("", "text/csv", open).await.expect(200);
    assert_eq!((&report["records"], &report["imported"]), (&json!(2), &json!({"customer": 1})), "{report}");
    assert_eq!(
        (&report["refused"][0]["line"], &report["refused"][0]["code"]),
        (&json!(2), &json!("invalid_request"))
    );
    send("", "text/csv", "\"type,customer\ncustomer,c5\n").await.refuses(400, "invalid_request");
    let twice = "type,customer,id,amount,amount,category\ngrant,acme,1,5,500,prepaid\n";
    send("", "text/csv", twice).await.refuses(400, "invalid_request");
    let line = r#"{"type":"customer","customer":"c6"}"#;
    let last = u64::MAX;
    send(&format!("&first_line={last}"), "application/x-ndjson", &format!("{line}\n{line}\n"))
        .await
        .refuses(400, "invalid_query");
}

#[tokio::test]
async fn a_name_that_comes_twice_is_refused() {
    let server = Server::with_acme().await;
    let plan = r#""pro": {"interval": "month"}"#;
    for (method, path, body, pointer) in [
        ("POST", "/v1/apply", format!(r#"{{"dry_run": true, "plans": {{{plan}, {plan}}}}}"#), "/plans"),
        (
            "POST",
            "/v1/apply",
            r#"{"dry_run": true, "policies": {"standard": {}, "standard": {}}}"#.to_owned(),
            "/policies",
        ),
        (
            "PUT",
            "/v1/plans/pro",
            r#"{"entitlements": {"a": {"type": "metered"}, "a": {"type": "boolean", "value": false}}}"#
                .to_owned(),
            "/entitlements",
        ),
    ] {
        let ask = server.ask(method, path).header("content-type", "application/json");
        let refused = ask.raw(body).send().await.refuses(400, "invalid_request");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("duplicate key"), "{refused}");
    }
}

/// In the body of a POST a field that is null is as absent.
#[tokio::test]
async fn null_is_as_absent_in_what_is_applied_reversed_and_imported() {
    let server = Server::with_acme().await;
    let apply = |body: Value| server.ask("POST", "/v1/apply").json(&body);
    for field in ["plans", "policies", "prune"] {
        let mut body = json!({"dry_run": true});
        body[field] = Value::Null;
        let report = apply(body).send().await.expect(200);
        assert_eq!(report["changes"], json!([]), "{field}: {report}");
    }
    let mut plan = json!({"interval": "month"});
    for field in ["name", "entitlements", "grants", "trial", "terms"] {
        plan[field] = Value::Null;
    }
    let nulls = apply(json!({"dry_run": true, "plans": {"pro": plan}})).send().await.expect(200);
    let absent = json!({"dry_run": true, "plans": {"pro": {"interval": "month"}}});
    assert_eq!(nulls["digest"], apply(absent).send().await.expect(200)["digest"]);
    let grant = json!({"key": "g", "amount": "5", "credit": null, "priority": null, "features": null, "recurrence": null});
    let plan = json!({"interval": "month", "grants": [grant]});
    apply(json!({"dry_run": null, "plans": {"new": plan}})).send().await.expect(200);
    let made = server.get("/v1/plans/new").await.expect(200);
    assert_eq!(
        (&made["grants"][0]["credit"], &made["grants"][0]["priority"]),
        (&json!("credits"), &json!(0))
    );

    let body = json!({"reason": "a test", "reissue_expired": null, "charges": []});
    server.ask("POST", REVERSALS).json(&body).send().await.expect(200);
    for record in [
        json!({"type": "customer", "customer": "gamma", "attributes": null, "external_ids": null, "period": null}),
        json!({"type": "grant", "customer": "gamma", "id": "1", "amount": "5", "category": "prepaid", "used": null,
            "voided": null, "priority": null, "features": null, "metadata": null}),
        json!({"type": "usage", "customer": "gamma", "id": "1", "feature": "chat", "occurred_at": support::START,
            "quantities": null, "attributes": null, "cost": null, "paid": null, "refund": null}),
    ] {
        let report = import(&server, &record).await;
        assert_eq!(report["refused"], json!([]), "{record}: {report}");
    }
}

/// Payments that fail are not remembered in the place of those that count toward the rule's limit.
#[tokio::test]
async fn failed_payments_do_not_raise_the_limit_of_a_rule() {
    let server = Server::with_acme().await;
    let rule = json!({"threshold": "5000", "amount": "1", "max": 2, "per": "lifetime", "cool_down_seconds": 60,
        "max_failures": 100});
    server.put(RULE, &rule).await.expect(201);
    let answer = async |how: &str| {
        let pending = server.get(&format!("{ACME}/top-ups?status=pending")).await.expect(200);
        let id = pending["data"][0]["id"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
        server.post(&format!("{ACME}/top-ups/{id}/{how}"), &json!({})).await.expect(200);
    };
    answer("pay").await;
    let start: proviso_ledger::model::time::Timestamp = support::START.parse().unwrap();
    for number in 1..=105 {
        answer("decline").await;
        if number == 60 {
            // Or else as many in a row would end it.
            server.put(RULE, &rule).await.expect(200);
        }
        server.now(&start.plus_micros(number * 61_000_000).to_string()).await;
    }
    answer("pay").await;
    let rule = server.get(RULE).await.expect(200);
    assert_eq!((&rule["status"], &rule["count"]), (&json!("limit_reached"), &json!(2)), "{rule}");
}

/// One customer's key that sends halves of bodies and waits keeps no other's bodies out.
#[tokio::test]
async fn half_bodies_of_one_customer_hold_up_nobody() {
    let server = Server::with_acme().await;
    let own = server.secret(&json!({"name": "own", "scopes": ["usage"], "customer": "acme"})).await;
    let batch = |secret: &str, ends: bool| {
        let pieces = stream::iter([400_000, 400_000]).map(|size| Ok::<_, Infallible>(vec![b' '; size]));
        let body = if ends {
            Body::from_stream(pieces.chain(stream::iter([Ok(b"[]".to_vec())])))
        } else {
            Body::from_stream(pieces.chain(stream::pending()))
        };
        let ask = server.ask("POST", "/v1/charges/batch").header("content-type", "application/json");
        ask.by(secret).raw(body).send()
    };
    let halves = join_all((0..20).map(|_| batch(&own, false)));
    let other = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        batch(support::ADMIN, true).await.expect(200)
    };
    tokio::select! {
        biased;
        _ = halves => panic!("a half that found a place waits for its other half"),
        answer = other => assert_eq!(answer, json!([])),
    }
}

/// A body that unfolds would be larger than it says. None is taken, and the refusal says so.
#[tokio::test]
async fn encoded_bodies_are_refused() {
    let server = Server::with_acme().await;
    let ask = |encoding: &str| {
        server.ask("POST", &format!("{ACME}/check")).header("content-encoding", encoding).json(&usage(1))
    };
    for encoding in ["gzip", "br", "identity, gzip"] {
        ask(encoding).send().await.refuses(415, "unsupported_media_type");
    }
    ask("identity").send().await.expect(200);
}
