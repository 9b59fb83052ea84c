//! From a contract to a durable charge: policies are uploaded, bound, swapped while traffic flows; the ledger verifies.

use crate::support::{Host, policy, settings, verify};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_as_the_contract_shows_it() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let body = json!({
        "feature": "chat", "quantities": {"input_tokens": 1200, "output_tokens": 300},
        "attributes": {"model": "large"}, "entity": "user-7",
    });
    let charge = client.post_once("/v1/customers/acme/charges", "k1", body.clone()).await;
    let replay = client.post_once("/v1/customers/acme/charges", "k1", body).await;
    assert!(replay.replayed && !charge.replayed);
    assert_eq!((charge.status, &charge.body), (replay.status, &replay.body));
    let charge = charge.expect(201);
    assert_eq!(charge["cost"], "1.8");
    assert_eq!(charge["lines"][0]["label"], "input tokens");
    assert_eq!(charge["lines"][0]["unit_cost"], "0.001");
    assert_eq!(charge["draws"][0]["amount"], "1.8");
    assert_eq!(charge["balance"]["available"], "998.2");
    assert_eq!(charge["balance"]["used"], "1.8");
    assert_eq!(charge["policy"]["name"], "standard");
    assert_eq!(charge["degraded"], false);
    let reused = client.charge("acme", "k1", 5).await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
    let refused = client.charge("acme", "k2", 2_000_000).await;
    assert_eq!((refused.status, refused.code()), (402, "insufficient_credits"));
    assert_eq!(refused.body["available"], "998.2");
    assert!(host.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_ends_once() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let usage = json!({"feature": "chat", "quantities": {"input_tokens": 100_000}, "ttl_seconds": 60});
    let reserved = client.post_once("/v1/customers/acme/reservations", "r1", usage.clone()).await.expect(201);
    assert_eq!((&reserved["reserved"], &reserved["balance"]["available"]), (&json!("100"), &json!("900")));
    let path = format!("/v1/customers/acme/reservations/{}", reserved["id"].as_str().unwrap());
    let actual = json!({"quantities": {"input_tokens": 30_000}});
    let committed = client.post_once(&format!("{path}/commit"), "c1", actual.clone()).await.expect(200);
    assert_eq!((&committed["cost"], &committed["returned"]), (&json!("30"), &json!("70")));
    let again = client.post_once(&format!("{path}/commit"), "c1", actual.clone()).await;
    assert!(again.replayed && again.body == committed);
    let second = client.post_once(&format!("{path}/release"), "r1 release", json!({})).await;
    assert_eq!((second.status, second.code()), (409, "reservation_closed"));
    // Another one runs out by itself, also while nobody asks.
    let reserved = client.post_once("/v1/customers/acme/reservations", "r2", usage).await.expect(201);
    let now = reserved["expires_at"].as_str().unwrap().to_owned();
    client.post("/v1/test_clock", json!({"now": now})).await.expect(200);
    let balance = client.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(balance["balances"][0]["available"], "970");
    assert_eq!(balance["reservations"], json!([]));
}

/// Four clients charge two customers without pause; one customer's terms are swapped for a contract exception and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_fails_no_request() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    for customer in ["acme", "other"] {
        client.customer(customer).await;
        let grant = json!({"amount": "100000", "category": "prepaid"});
        client.post_once(&format!("/v1/customers/{customer}/grants"), "grant", grant).await.expect(201);
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut traffic = JoinSet::new();
    for number in 0..4 {
        let (mut client, done) = (host.client().await, done.clone());
        traffic.spawn(async move {
            let customer = if number % 2 == 0 { "acme" } else { "other" };
            let mut costs = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let key = format!("{number}-{}", costs.len());
                let charge = client.charge(customer, &key, 1_000).await.expect(201);
                costs.push((charge["policy"]["name"].to_string(), charge["cost"].to_string()));
            }
            (customer, costs)
        });
    }
    client.upload("night", &policy("night-rates")).await.expect(201);
    for price in ["0.0005", "0.0007", "0.0002"] {
        let terms = json!({"policy": "standard", "settings": settings(price)});
        let bound = client.post("/v1/customers/acme/terms", terms).await.expect(201);
        // The next charge runs on them.
        let charge = client.charge("acme", &format!("after {price}"), 1_000).await.expect(201);
        let expected = json!(format!("{}", price.trim_start_matches("0.000").parse::<u32>().unwrap()));
        assert_eq!(charge["cost"], json!(format!("0.{}", expected.as_str().unwrap())));
        let id = bound["id"].as_str().unwrap();
        client.post(&format!("/v1/customers/acme/terms/{id}/end"), json!({})).await.expect(200);
        assert_eq!(client.charge("acme", &format!("ended {price}"), 1_000).await.expect(201)["cost"], "1");
    }
    done.store(true, Ordering::Relaxed);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (customer, costs) in traffic.join_all().await {
        *seen.entry(customer).or_default() += costs.len();
        if customer == "other" {
            assert!(costs.iter().all(|(_, cost)| cost == "\"1\""), "another customer's price changed");
        }
    }
    assert!(seen.values().all(|charges| *charges > 10), "hardly any traffic: {seen:?}");
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
}
