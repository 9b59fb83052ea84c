//! What is sold beside plans, as a client sees it: bundles that are bought, and promotions that are redeemed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Server, settings};

const PURCHASES: &str = "/v1/customers/acme/purchases";
const REDEMPTIONS: &str = "/v1/customers/acme/redemptions";

async fn available(server: &Server, customer: &str) -> Value {
    let path = format!("/v1/customers/{customer}/balance");
    server.get(&path).await.expect(200)["balances"][0]["available"].clone()
}

#[tokio::test]
async fn bundles_are_put_like_plans() {
    let server = Server::start().await;
    let pack = json!({
        "name": "A pack", "amount": "1000.5", "price": {"amount": "9.99", "currency": "EUR"},
        "expires": {"after": "P1Y"}, "features": ["chat"], "priority": 2,
    });
    let put = server.put("/v1/bundles/pack", &pack).await;
    let tag = put.header("etag").unwrap().to_owned();
    let shown = json!({
        "bundle": "pack", "name": "A pack", "amount": "1000.5", "credit": "credits",
        "price": {"amount": "9.99", "currency": "EUR"}, "category": "prepaid", "priority": 2, "features": ["chat"],
        "expires": {"after": {"unit": "year", "count": 1}}, "for_sale": true, "created_at": support::START,
    });
    assert_eq!(put.expect(201), shown);
    // The same again, and nothing, change nothing.
    for same in [pack.clone(), json!({})] {
        let again = server.put("/v1/bundles/pack", &same).await;
        assert_eq!((again.header("etag").unwrap(), again.status), (tag.as_str(), 200));
    }
    assert_eq!(server.get("/v1/bundles/pack").await.expect(200), shown);
    let audit = server.get("/v1/audit?type=bundle_created").await.expect(200);
    assert_eq!(audit["data"][0]["subject"], "bundle/pack");
    assert_eq!(server.get("/v1/audit?type=bundle_changed").await.expect(200)["data"], json!([]));
    let stale =
        server.ask("PUT", "/v1/bundles/pack").header("if-match", "\"0\"").json(&json!({"amount": "1"}));
    stale.send().await.refuses(412, "changed_meanwhile");
    server.put("/v1/bundles/other", &json!({"amount": "5"})).await.expect(201);
    let listed = server.get("/v1/bundles?limit=1").await.expect(200);
    assert_eq!(listed["data"][0]["bundle"], "other");
    let cursor = listed["next_cursor"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/bundles?cursor={cursor}")).await.expect(200)["data"], json!([shown]));
    for (body, pointer) in [
        (json!({}), "/amount"),
        (json!({"amount": "0"}), "/amount"),
        (json!({"amount": 5}), "/amount"),
        (json!({"amount": "5", "category": "plan"}), "/category"),
        (json!({"amount": "5", "expires": "soon"}), "/expires"),
        (json!({"amount": "5", "surprise": 1}), "/surprise"),
        (
            json!({"amount": "5", "features": (0..65).map(|n| format!("f{n}")).collect::<Vec<_>>()}),
            "/features",
        ),
    ] {
        let answer = server.put("/v1/bundles/new", &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    server.get("/v1/bundles/new").await.refuses(404, "bundle_not_found");
}

#[tokio::test]
async fn a_purchase_gives_the_credits_once_and_pays_what_is_owed() {
    let server = Server::with_acme().await;
    let mut terms = settings("1", "10");
    terms["overage"] = json!({"mode": "allow", "limit": "100"});
    let bound = json!({"policy": "standard", "settings": terms});
    server.post("/v1/customers/acme/terms", &bound).await.expect(201);
    server.charge("k", 1_030).await.expect(201);
    assert_eq!(available(&server, "acme").await, "0");
    let pack = json!({"amount": "100", "price": {"amount": "3.335", "currency": "EUR"}, "expires": {"after": "P30D"}});
    server.put("/v1/bundles/pack", &pack).await.expect(201);
    let body = json!({"bundle": "pack", "quantity": 3, "payment": "pi_1"});
    let ask = || server.ask("POST", PURCHASES).key("buy-1").json(&body);
    let first = ask().send().await;
    let bought = first.clone().expect(201);
    assert_eq!(
        json!([bought["bundle"], bought["quantity"], bought["payment"], bought["settled"]]),
        json!(["pack", 3, "pi_1", "30"])
    );
    let grant = &bought["grant"];
    assert_eq!(
        json!([
            grant["amount"],
            grant["category"],
            grant["cost_basis"],
            grant["expires_at"],
            grant["metadata"]
        ]),
        json!([
            "300", "prepaid", {"amount": "10.005", "currency": "EUR"}, "2026-02-14T10:00:00Z", {"bundle": "pack"}
        ])
    );
    assert_eq!(
        (&bought["balance"]["available"], &bought["balance"]["overage"]),
        (&json!("270"), &json!("0"))
    );
    // A repeat is answered with the same bytes, also once the bundle is another one, or withdrawn.
    server.put("/v1/bundles/pack", &json!({"amount": "1", "for_sale": false})).await.expect(200);
    let again = ask().send().await;
    assert!(again.is_replay());
    assert_eq!(again.bytes, first.bytes);
    let other = server.ask("POST", PURCHASES).key("buy-1").json(&json!({"bundle": "pack"})).send().await;
    other.refuses(422, "idempotency_key_reused");
    server.post(PURCHASES, &json!({"bundle": "pack"})).await.refuses(409, "bundle_withdrawn");
    assert_eq!(available(&server, "acme").await, "270");
    // What was paid may differ from the price.
    server.put("/v1/bundles/pack", &json!({"for_sale": null, "category": "top_up"})).await.expect(200);
    let paid = json!({"bundle": "pack", "cost_basis": {"amount": "0.5", "currency": "USD"}});
    let bought = server.post(PURCHASES, &paid).await.expect(201);
    assert_eq!(bought["grant"]["cost_basis"], json!({"amount": "0.5", "currency": "USD"}));
    assert_eq!((&bought["grant"]["category"], &bought["grant"]["amount"]), (&json!("top_up"), &json!("1")));
    // The ledger and the customer's audit have both.
    let ledger = server.get("/v1/customers/acme/ledger?type=bundle_purchased").await.expect(200);
    assert_eq!(ledger["data"].as_array().unwrap().len(), 2);
    let audit = server.get("/v1/audit?customer=acme&type=bundle_purchased").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 2);

    for (body, pointer) in [
        (json!({}), "/bundle"),
        (json!({"bundle": "pack", "quantity": 0}), "/quantity"),
        (json!({"bundle": "pack", "quantity": 1_001}), "/quantity"),
        (json!({"bundle": "pack", "payment": ""}), "/payment"),
    ] {
        let answer = server.post(PURCHASES, &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    let unknown = server.post(PURCHASES, &json!({"bundle": "nothing"})).await;
    assert_eq!(unknown.pointers(), ["/bundle"]);
    unknown.refuses(422, "bundle_not_found");
    server.ask("POST", PURCHASES).json(&body).send().await.refuses(400, "idempotency_key_required");
    // More than any grant may be.
    server.put("/v1/bundles/huge", &json!({"amount": "999999999999999"})).await.expect(201);
    let huge = server.post(PURCHASES, &json!({"bundle": "huge", "quantity": 2})).await;
    assert_eq!(huge.pointers(), ["/quantity"]);
    server.delete("/v1/customers/acme").await;
    server.post(PURCHASES, &json!({"bundle": "pack"})).await.refuses(409, "customer_closed");
}

#[tokio::test]
async fn a_promotion_is_redeemed_once_by_each_customer() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/zoe", &json!({})).await.expect(201);
    server.put("/v1/customers/bob", &json!({"plan": "pro"})).await.expect(201);
    server.put("/v1/customers/cleo", &json!({"plan": "pro"})).await.expect(201);
    let spring = json!({
        "amount": "200", "expires": {"after": "P30D"}, "starts_at": "2026-01-16T00:00:00Z",
        "ends_at": "2026-02-01T00:00:00Z", "max_redemptions": 2, "plans": ["pro"],
    });
    let put = server.put("/v1/promotions/SPRING", &spring).await.expect(201);
    assert_eq!((&put["redemptions"], &put["name"]), (&json!(0), &json!("SPRING")));
    let body = json!({"promotion": "SPRING"});
    let redeem =
        async |customer: &str| server.post(&format!("/v1/customers/{customer}/redemptions"), &body).await;
    redeem("acme").await.refuses(409, "promotion_not_started");
    server.now("2026-01-16T00:00:00Z").await;
    redeem("zoe").await.refuses(409, "promotion_not_for_plan");
    let unknown = server.post(REDEMPTIONS, &json!({"promotion": "spring"})).await;
    assert_eq!(unknown.pointers(), ["/promotion"]);
    unknown.refuses(422, "promotion_not_found");
    // None of those took one.
    assert_eq!(server.get("/v1/promotions/SPRING").await.expect(200)["redemptions"], 0);

    let ask = || server.ask("POST", REDEMPTIONS).key("r-1").json(&body);
    let first = ask().send().await;
    let redeemed = first.clone().expect(201);
    assert_eq!((&redeemed["promotion"], &redeemed["number"]), (&json!("SPRING"), &json!(1)));
    let grant = &redeemed["grant"];
    assert_eq!(
        json!([
            grant["amount"],
            grant["category"],
            grant["cost_basis"],
            grant["expires_at"],
            grant["metadata"]
        ]),
        json!(["200", "promotional", null, "2026-02-15T00:00:00Z", {"promotion": "SPRING"}])
    );
    assert_eq!(redeemed["balance"]["available"], "1200");
    let again = ask().send().await;
    assert!(again.is_replay());
    assert_eq!(again.bytes, first.bytes);
    redeem("acme").await.refuses(409, "already_redeemed");
    assert_eq!(redeem("bob").await.expect(201)["number"], 2);
    redeem("cleo").await.refuses(409, "promotion_exhausted");
    assert_eq!(available(&server, "cleo").await, "1000");

    // A higher limit lets more redeem it; one below what is taken lets nobody.
    server.put("/v1/promotions/SPRING", &json!({"max_redemptions": 1})).await.expect(200);
    redeem("cleo").await.refuses(409, "promotion_exhausted");
    server.put("/v1/promotions/SPRING", &json!({"max_redemptions": 3})).await.expect(200);
    assert_eq!(redeem("cleo").await.expect(201)["number"], 3);
    let all = server.get("/v1/promotions/SPRING/redemptions?limit=2").await.expect(200);
    let customers = |page: &Value| {
        let rows = page["data"].as_array().unwrap().iter();
        json!(rows.map(|row| json!([row["number"], row["customer"]])).collect::<Vec<_>>())
    };
    assert_eq!(customers(&all), json!([[1, "acme"], [2, "bob"]]));
    let path = format!("/v1/promotions/SPRING/redemptions?cursor={}", all["next_cursor"].as_str().unwrap());
    assert_eq!(customers(&server.get(&path).await.expect(200)), json!([[3, "cleo"]]));
    assert_eq!(server.get("/v1/promotions").await.expect(200)["data"][0]["redemptions"], 3);
    server.get("/v1/promotions/NOTHING/redemptions").await.refuses(404, "promotion_not_found");
    server.get("/v1/promotions/NOTHING").await.refuses(404, "promotion_not_found");

    server.now("2026-02-01T00:00:00Z").await;
    server.put("/v1/customers/dora", &json!({"plan": "pro"})).await.expect(201);
    redeem("dora").await.refuses(409, "promotion_ended");
    // Who had it is told so, also now.
    redeem("acme").await.refuses(409, "already_redeemed");
    server.delete("/v1/customers/dora").await;
    redeem("dora").await.refuses(409, "customer_closed");
    for (body, pointer) in [
        (json!({}), "/amount"),
        (json!({"amount": "1", "max_redemptions": 0}), "/max_redemptions"),
        (json!({"amount": "1", "starts_at": support::START, "ends_at": support::START}), "/ends_at"),
        (json!({"amount": "1", "category": "prepaid"}), "/category"),
    ] {
        let answer = server.put("/v1/promotions/NEW", &body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.text());
        answer.refuses(400, "invalid_request");
    }
    let unknown = server.put("/v1/promotions/NEW", &json!({"amount": "1", "plans": ["pro", "no"]})).await;
    assert_eq!(unknown.pointers(), ["/plans"]);
    unknown.refuses(422, "plan_not_found");
}

#[tokio::test]
async fn only_who_decides_what_customers_get_sells() {
    let server = Server::with_acme().await;
    server.put("/v1/bundles/pack", &json!({"amount": "5"})).await.expect(201);
    server.put("/v1/promotions/CODE", &json!({"amount": "5"})).await.expect(201);
    let own = server.secret(&json!({"name": "own", "scopes": ["manage", "read"], "customer": "acme"})).await;
    for (path, body) in [(PURCHASES, json!({"bundle": "pack"})), (REDEMPTIONS, json!({"promotion": "CODE"}))]
    {
        let ask = server.ask("POST", path).key("own").by(&own).json(&body);
        ask.send().await.refuses(403, "key_may_not_grant");
    }
    for path in ["/v1/bundles/pack", "/v1/promotions/CODE"] {
        let put = server.ask("PUT", path).by(&own).json(&json!({"amount": "6"})).send().await;
        put.refuses(403, "key_is_narrowed");
    }
}
