//! Usage that a gateway reports as CloudEvents: charged once, whatever the mode, the relay or the host's restart; and a
//! host that ends says so before it is gone.

use crate::support::{ADMIN_KEY, Client, Host, verify};
use hyper::Method;
use serde_json::{Value, json};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCHED: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

/// A call of a model as an instrumentation reports it: 1.5 credits at the prices of the plan `pro`.
fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "//gateway/eu 1", "type": "chat", "subject": "acme",
        "data": {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "large",
            "gen_ai.usage.input_tokens": 1_100, "gen_ai.usage.output_tokens": 200,
            "gen_ai.response.finish_reasons": ["stop"], "user.id": "user-7"
        }
    })
}

async fn send(client: &mut Client, headers: &[(&str, &str)], body: &Value) -> crate::support::Answer {
    client.send(Method::POST, "/v1/events", headers, body.to_string()).await.expect("the host answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_charged_once_in_every_mode_and_after_a_crash() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let charge = send(&mut client, &[STRUCTURED], &event("1")).await;
    assert!(!charge.replayed);
    let charge = charge.expect(201);
    assert_eq!(
        (&charge["cost"], &charge["entity"], &charge["balance"]["available"]),
        (&json!("1.5"), &json!("user-7"), &json!("998.5"))
    );
    let host = Host::start_in(host.kill().await).await;
    let mut client = host.client().await;
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "//gateway/eu%201"),
        ("ce-type", "chat"),
        ("ce-subject", "acme"),
    ];
    let again = send(&mut client, &binary, &event("1")["data"]).await;
    assert!(again.replayed, "{}", again.body);
    assert_eq!(again.expect(201), charge);
    let results =
        send(&mut client, &[BATCHED], &json!([event("1"), event("2"), event("")])).await.expect(200);
    let statuses: Vec<_> = (0..3).map(|n| (&results[n]["status"], results[n]["replayed"] == true)).collect();
    assert_eq!(statuses, [(&json!(201), true), (&json!(201), false), (&json!(400), false)]);
    assert_eq!(results[2]["body"]["errors"][0]["pointer"], "/2/id");
    let mut other = event("1");
    other["data"]["gen_ai.usage.output_tokens"] = json!(201);
    let reused = send(&mut client, &[STRUCTURED], &other).await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
    let balance = client.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(balance["balances"][0]["used"], "3");
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_says_so_first() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.get("/readyz").await.expect(200);
    let address = host.address.clone();
    let ended = tokio::spawn(host.terminate());
    let told = loop {
        // A new connection each time, as probes have: the last answer before the drain may end its own.
        let answer = Client::connect(&address, ADMIN_KEY).await.unwrap().get("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((told.status, told.code()), (503, "draining"));
    // All else is still answered.
    let mut other = Client::connect(&address, ADMIN_KEY).await.unwrap();
    other.get("/v1/customers").await.expect(200);
    assert!(ended.await.unwrap().success());
}
