//! The journal by what it is about, usage as a table and of all customers, and many entitlements at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, usage};

async fn charge(server: &Server, customer: &str, feature: &str, entity: Option<&str>) -> Value {
    let mut body = json!({"feature": feature, "quantities": {"input_tokens": 100}});
    if let Some(entity) = entity {
        body["entity"] = json!(entity);
    }
    server.post(&format!("/v1/customers/{customer}/charges"), &body).await.expect(201)
}

/// The entries' numbers of all pages, and how many pages there were.
async fn entries(server: &Server, query: &str) -> (Vec<u64>, usize) {
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/v1/customers/acme/ledger?{query}&cursor={cursor}");
        let page = server.get(&path).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["entry"].as_u64().unwrap()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return (found, pages),
        }
    }
}

#[tokio::test]
async fn the_ledger_is_listed_by_what_it_is_about() {
    let server = Server::with_acme().await;
    // 1 configured, 2 opened.
    charge(&server, "acme", "chat", Some("ann")).await;
    charge(&server, "acme", "chat", None).await;
    let charged = charge(&server, "acme", "chat", Some("ann")).await;
    let refund = format!("/v1/customers/acme/charges/{}/refunds", charged["id"].as_str().unwrap());
    server.post(&refund, &json!({"reason": "r"})).await.expect(201);
    server.now("2026-01-20T00:00:00Z").await;
    server.post("/v1/customers/acme/charges", &usage(2_000_000)).await.refuses(402, "insufficient_credits");
    server
        .post("/v1/customers/acme/grants", &json!({"amount": "5", "category": "promotional"}))
        .await
        .expect(201);
    for (query, expected, pages) in [
        ("", vec![8, 7, 6, 5, 4, 3, 2, 1], 1),
        ("order=desc&limit=3", vec![8, 7, 6, 5, 4, 3, 2, 1], 3),
        ("order=asc&limit=3", vec![1, 2, 3, 4, 5, 6, 7, 8], 3),
        ("order=asc&limit=4", vec![1, 2, 3, 4, 5, 6, 7, 8], 2),
        ("type=charged", vec![5, 4, 3], 1),
        ("type=charged&limit=1", vec![5, 4, 3], 3),
        ("type=charged,%20refunded&order=asc", vec![3, 4, 5, 6], 1),
        ("type=voided", vec![], 1),
        ("feature=chat", vec![7, 6, 5, 4, 3], 1),
        ("feature=image", vec![], 1),
        ("entity=ann", vec![6, 5, 3], 1),
        ("entity=ann&type=charged&limit=1&order=asc", vec![3, 5], 2),
        ("from=2026-01-20T00:00:00Z", vec![8, 7], 1),
        ("from=2026-01-20T00:00:00Z&order=asc&limit=1", vec![7, 8], 2),
        ("to=2026-01-20T00:00:00Z", vec![6, 5, 4, 3, 2, 1], 1),
        ("to=2026-01-20T00:00:00Z&order=asc&limit=4", vec![1, 2, 3, 4, 5, 6], 2),
        ("from=2026-01-15T10:00:00Z&to=2026-01-15T10:00:00.000001Z&limit=4", vec![6, 5, 4, 3, 2, 1], 2),
        ("from=2026-01-16T00:00:00Z&to=2026-01-17T00:00:00Z", vec![], 1),
        ("to=2026-01-01T00:00:00Z", vec![], 1),
    ] {
        let found = entries(&server, query).await;
        assert_eq!(found.0, expected, "{query}");
        // A full page may be followed by an empty one, where nothing else fits.
        assert!(found.1 == pages || found.1 == pages + 1, "{query}: {} pages", found.1);
    }
    for query in ["type=charge", "type=", "order=up", "from=yesterday", "feature=%20", "kind=charged"] {
        let answer = server.get(&format!("/v1/customers/acme/ledger?{query}")).await;
        assert_eq!(answer.code(), "invalid_query", "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn usage_is_a_table_for_those_who_ask_for_one() {
    let server = Server::with_acme().await;
    charge(&server, "acme", "chat", Some("ann, \"the\" first")).await;
    charge(&server, "acme", "chat", None).await;
    charge(&server, "acme", "chat", None).await;
    let path = "/v1/customers/acme/usage?group_by=feature,entity&limit=1";
    for accept in ["text/csv", "application/json;q=0.1, Text/CSV; charset=utf-8"] {
        let answer = server.ask("GET", path).header("accept", accept).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        assert_eq!(
            answer.text(),
            "feature,entity,charges,cost.credits,quantity.input_tokens\n\
             chat,,2,0.2,200\n\
             chat,\"ann, \"\"the\"\" first\",1,0.1,100\n"
        );
    }
    for accept in ["*/*", "application/json", "text/csvx", "text/csv;q=0, */*", "Text/CSV; q=0.000"] {
        let answer = server.ask("GET", path).header("accept", accept).send().await;
        assert_eq!(answer.expect(200)["data"].as_array().unwrap().len(), 1, "{accept}");
    }
}

#[tokio::test]
async fn no_text_in_a_table_is_a_formula() {
    let server = Server::with_acme().await;
    for (entity, cell) in [
        ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'quoted", "''quoted"),
        ("\u{ff1d}1", "'\u{ff1d}1"),
        ("a=1", "a=1"),
    ] {
        charge(&server, "acme", "chat", Some(entity)).await;
        let by = "/v1/customers/acme/usage?group_by=entity";
        let answer = server.ask("GET", by).header("accept", "text/csv").send().await;
        let row = format!("\n{cell},1,0.1,100\n");
        assert!(answer.text().contains(&row), "{row} in {}", answer.text());
        // The JSON says what it is.
        assert!(server.get(by).await.text().contains(&json!(entity).to_string()));
    }
    // Control characters may begin the value of an attribute.
    let body = json!({"feature": "chat", "quantities": {"input_tokens": 1}, "attributes": {"model": "\t=1"}});
    server.post("/v1/customers/acme/charges", &body).await.expect(201);
    let by = "/v1/customers/acme/usage?group_by=model";
    let answer = server.ask("GET", by).header("accept", "text/csv").send().await;
    assert!(answer.text().contains("\n'\t=1,1,"), "{}", answer.text());
}

#[tokio::test]
async fn usage_of_all_customers_is_reported_page_by_page() {
    let server = Server::with_acme().await;
    let tokyo = json!({"plan": "pro", "time_zone": "Asia/Tokyo"});
    server.put("/v1/customers/beta", &json!({"plan": "pro"})).await.expect(201);
    server.put("/v1/customers/idle", &json!({"plan": "pro"})).await.expect(201);
    server.put("/v1/customers/zoe", &tokyo).await.expect(201);
    server.now("2026-01-15T20:00:00Z").await;
    for (customer, entity) in [("acme", "ann"), ("acme", "bob"), ("beta", "ann"), ("zoe", "ann")] {
        charge(&server, customer, "chat", Some(entity)).await;
    }
    for limit in [1, 2, 50] {
        let (mut rows, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/v1/usage?group_by=entity,day&limit={limit}&cursor={cursor}");
            let page = server.get(&path).await.expect(200);
            rows.extend(page["data"].as_array().unwrap().clone());
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        let said: Vec<String> = rows
            .iter()
            .map(|row| {
                let group = &row["group"];
                let texts = [&row["customer"], &group["entity"], &group["day"], &row["cost"][0]["cost"]];
                texts.map(|text| text.as_str().unwrap()).join(" ")
            })
            .collect();
        let expected = [
            "acme ann 2026-01-15 0.1",
            "acme bob 2026-01-15 0.1",
            "beta ann 2026-01-15 0.1",
            "zoe ann 2026-01-16 0.1",
        ];
        assert_eq!(said, expected, "limit {limit}");
        assert_eq!(pages, if limit == 50 { 1 } else { [3, 2][limit - 1] }, "limit {limit}");
    }
    let narrowed = server.secret(&json!({"name": "n", "scopes": ["read"], "customer": "acme"})).await;
    server.ask("GET", "/v1/usage").by(&narrowed).send().await.refuses(403, "key_is_narrowed");
    server
        .get("/v1/usage?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z")
        .await
        .refuses(400, "invalid_query");
}

#[tokio::test]
async fn many_entitlements_are_asked_for_at_once() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({"name": "Beta"})).await.expect(201);
    let body =
        json!({"customers": ["acme", "nobody", "beta"], "features": ["seats", "image", "chat", "export"]});
    let answer = server.post("/v1/entitlements/query", &body).await.expect(200);
    let acme = &answer["data"][0];
    assert_eq!(
        (&acme["customer"], &acme["exists"], &acme["unknown"]),
        (&json!("acme"), &json!(true), &json!(["image"]))
    );
    let features: Vec<&Value> =
        acme["entitlements"].as_array().unwrap().iter().map(|one| &one["feature"]).collect();
    assert_eq!(features, ["seats", "chat", "export"]);
    // Each is what the customer's own route says.
    for one in acme["entitlements"].as_array().unwrap() {
        let path = format!("/v1/customers/acme/entitlements/{}", one["feature"].as_str().unwrap());
        assert_eq!(&server.get(&path).await.expect(200), one);
    }
    assert_eq!(
        answer["data"][1],
        json!({"customer": "nobody", "exists": false, "entitlements": [], "unknown": []})
    );
    assert_eq!(answer["data"][2]["unknown"].as_array().unwrap().len(), 4);

    // All that may be asked.
    let customers: Vec<&str> = std::iter::repeat_n("acme", 100).collect();
    let features: Vec<&str> = std::iter::repeat_n("chat", 100).collect();
    let answer =
        server.post("/v1/entitlements/query", &json!({"customers": customers, "features": features})).await;
    let answer = answer.expect(200);
    assert!(
        answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["entitlements"].as_array().unwrap().len() == 100)
    );

    let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
    for (body, pointer) in [
        (json!({"customers": many, "features": ["chat"]}), "/customers"),
        (json!({"customers": ["acme"], "features": many}), "/features"),
        (json!({"customers": [], "features": ["chat"]}), "/customers"),
        (json!({"customers": ["acme"]}), "/features"),
        (json!({"customers": ["acme"], "features": [" chat"]}), "/features/0"),
        (json!({"customers": ["acme"], "features": ["chat"], "entity": "ann"}), "/entity"),
    ] {
        let answer = server.post("/v1/entitlements/query", &body).await;
        assert_eq!(answer.pointers(), [pointer], "{}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    // A narrowed key learns of its own customer only.
    let narrowed = server.secret(&json!({"name": "n", "scopes": ["read"], "customer": "beta"})).await;
    let body = json!({"customers": ["acme", "beta"], "features": ["chat"]});
    let answer =
        server.ask("POST", "/v1/entitlements/query").by(&narrowed).json(&body).send().await.expect(200);
    assert_eq!(answer["data"][0]["exists"], false);
    assert_eq!(answer["data"][1]["exists"], true);
}
