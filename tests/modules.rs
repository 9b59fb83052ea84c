//! Bad modules at the front door: each is refused with what and where, and the host keeps serving. The full list runs
//! against the policy crate itself.

use crate::support::{Host, STANDARD};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn bad_modules_are_refused() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let good = STANDARD.as_slice();
    let mut flipped = good.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    let empty_component = b"\0asm\x0d\0\x01\0".to_vec();
    for (name, module) in [
        ("nothing", Vec::new()),
        ("text", b"not a module".to_vec()),
        ("a core module", core_module),
        ("an empty component", empty_component),
        ("half of a module", good[..good.len() / 2].to_vec()),
        ("a module with a flipped byte", flipped),
    ] {
        let refused = host.client().await.upload("bad", &module).await;
        assert_eq!((refused.status, refused.code()), (422, "policy_rejected"), "{name}: {}", refused.body);
        assert!(!refused.body["errors"].as_array().unwrap().is_empty(), "{name}: {}", refused.body);
        client.charge("acme", name, 1).await.expect(201);
    }
    // The host may close the connection on a body that it will not read.
    let headers = [("content-type", "application/wasm")];
    let mut other = host.client().await;
    let too_large =
        other.send(hyper::Method::POST, "/v1/policies/bad/versions", &headers, vec![0_u8; 20 << 20]).await;
    if let Ok(answer) = too_large {
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    assert_eq!(client.get("/v1/policies/bad").await.status, 404, "a refused module leaves no policy behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_known_again() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let first = client.upload("standard", &STANDARD).await.expect(201);
    assert_eq!((&first["version"], &first["size_bytes"]), (&json!(1), &json!(STANDARD.len())));
    let again = client.upload("standard", &STANDARD).await.expect(200);
    assert_eq!(again["digest"], first["digest"]);
    // The same module works after a restart, from the cache of compiled code.
    client.set_up_plan().await;
    client.customer("acme").await;
    client.charge("acme", "before", 1).await.expect(201);
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let host = Host::start_in(data).await;
    host.client().await.charge("acme", "after", 1).await.expect(201);
}
