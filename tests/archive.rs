//! Old entries that were archived beside a running host: nobody is answered anything else, and `verify` reads them too.

use crate::support::{BINARY, Setup, cluster::shared, verify_database};
use serde_json::json;
use std::process::{Command, Output};

const CHARGES: usize = 900;

fn archive(database_url: &str) -> Output {
    Command::new(BINARY)
        .args(["archive", "--older-than", "0s", "--database-url", database_url])
        .output()
        .expect("the binary runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_answered_as_before() {
    let url = shared().url(&shared().create_database());
    let host = Setup::on(&url).start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let charge = |number: usize| {
        json!({"customer": "acme", "idempotency_key": format!("k{number}"), "feature": "chat",
               "quantities": {"input_tokens": 1}})
    };
    let batch = json!((0..CHARGES).map(charge).collect::<Vec<_>>());
    let charged = client.post("/v1/charges/batch", batch.clone()).await.expect(200);
    let before = client.seen("acme").await;

    let output = archive(&url);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let moved: usize = said.split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap();
    assert!((256..=CHARGES + 2).contains(&moved), "{said}");
    assert!(archive(&url).status.success(), "once more finds nothing to do");

    assert_eq!(client.seen("acme").await, before);
    // A host that remembers nothing answers alike, and goes on where the journal ends.
    assert!(host.terminate().await.success());
    let host = Setup::on(&url).start().await;
    let mut client = host.client().await;
    assert_eq!(client.seen("acme").await, before);
    let again = client.post("/v1/charges/batch", batch).await.expect(200);
    for (again, first) in again.as_array().unwrap().iter().zip(charged.as_array().unwrap()) {
        assert_eq!((&again["body"], &again["replayed"]), (&first["body"], &json!(true)));
    }
    client.charge("acme", "one more", 1).await.expect(201);
    assert!(host.terminate().await.success());
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}
