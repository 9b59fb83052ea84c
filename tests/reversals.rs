//! A whole batch is undone, once, whoever asks how often: by two clients at once, after a crash, and by keys as by ids.

use crate::support::{ADMIN_KEY, Client, Host, traffic::thousandths, verify};
use serde_json::{Value, json};

fn reversal(charges: &Value) -> Value {
    json!({"reason": "the wrong model", "charges": charges})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_undone_once() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    for customer in ["acme", "beta"] {
        client.customer(customer).await;
    }
    client.charge("acme", "before", 1_000).await.expect(201);
    // Some of many customers, one that is refused, one that is refunded in part already.
    let mut batch = Vec::new();
    let mut keys = Vec::new();
    for n in 0..40 {
        let customer = if n % 3 == 0 { "beta" } else { "acme" };
        let tokens = if n == 7 { 90_000_000 } else { 100 * (n + 1) };
        batch.push(json!({
            "customer": customer, "idempotency_key": format!("b-{n}"), "feature": "chat",
            "quantities": {"input_tokens": tokens}, "entity": "ann",
        }));
        keys.push(json!({"customer": customer, "idempotency_key": format!("b-{n}")}));
    }
    let results = client.post("/v1/charges/batch", json!(batch)).await.expect(200);
    assert_eq!((&results[6]["status"], &results[7]["status"]), (&json!(201), &json!(402)));
    let third = results[3]["body"]["id"].as_str().unwrap();
    let path = format!("/v1/customers/beta/charges/{third}/refunds");
    client.post_once(&path, "part", json!({"amount": "0.1", "reason": "slow"})).await.expect(201);
    // One by its id.
    keys[4] = json!({"customer": "acme", "charge": results[4]["body"]["id"]});
    let all = json!(keys);

    // Two at once: each charge is undone by one of them.
    let mut other = Client::connect(&host.address, ADMIN_KEY).await.unwrap();
    let (one, two) = tokio::join!(
        client.post("/v1/charges/reversals", reversal(&all)),
        other.post("/v1/charges/reversals", reversal(&all)),
    );
    let (one, two) = (one.expect(200), two.expect(200));
    let sum = |name: &str| one[name].as_u64().unwrap() + two[name].as_u64().unwrap();
    assert_eq!((sum("reversed"), sum("repeated"), sum("refused")), (39, 39, 2), "{one}\n{two}");
    let refused = &one["results"][7];
    assert_eq!((&refused["status"], &refused["body"]["code"]), (&json!(422), &json!("charge_not_found")));
    assert_eq!(refused["body"]["errors"][0]["pointer"], "/charges/7/idempotency_key");
    // What all cost but the refused one, less what was refunded before.
    let given_back = |report: &Value| -> u64 {
        report["refunded"].as_array().unwrap().iter().map(|one| thousandths(&one["amount"])).sum()
    };
    assert_eq!(given_back(&one) + given_back(&two), 81_100, "{one}\n{two}");

    let host = Host::start_in(host.kill().await).await;
    let mut client = host.client().await;
    let again = client.post("/v1/charges/reversals", reversal(&all)).await.expect(200);
    assert_eq!(
        (&again["reversed"], &again["repeated"], &again["refunded"]),
        (&json!(0), &json!(39), &json!([]))
    );
    for (customer, available) in [("acme", "999"), ("beta", "1000")] {
        let balance = client.get(&format!("/v1/customers/{customer}/balance")).await.expect(200);
        assert_eq!(balance["balances"][0]["available"], available, "{balance}");
    }
    let usage = client.get("/v1/customers/acme/usage?entity=ann").await.expect(200);
    assert_eq!(usage["data"][0]["cost"], json!([{"credit": "credits", "cost": "0"}]), "{usage}");
    assert_eq!(usage["data"][0]["quantities"]["input_tokens"], "0");

    // What names nothing, or two things, does not hold back the others.
    client.charge("acme", "late", 1_000).await.expect(201);
    let odd = json!([
        {"customer": "acme"}, {"customer": "acme", "idempotency_key": "late"}, {"customer": "nobody", "charge": "chg_1"},
    ]);
    let found = client.post("/v1/charges/reversals", reversal(&odd)).await.expect(200);
    let codes: Vec<_> =
        (0..3).map(|n| found["results"][n]["body"]["code"].as_str().unwrap_or("fine")).collect();
    assert_eq!(codes, ["invalid_request", "fine", "customer_not_found"], "{found}");
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
}
