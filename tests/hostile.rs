//! Bad input: whatever comes in, a clear problem goes out, never a 500, and nothing is lost.

use crate::support::{Client, Host};
use hyper::Method;
use serde_json::json;

struct Case {
    name: &'static str,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    pointer: &'static str,
}

fn case(
    name: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
    pointer: &'static str,
) -> Case {
    Case { name, body: body.into(), status, code, pointer }
}

fn bad_charges() -> Vec<Case> {
    let quantity =
        |value: &str| format!(r#"{{"feature": "chat", "quantities": {{"input_tokens": {value}}}}}"#);
    let many = (0..65).map(|number| format!(r#""q{number}": 1"#)).collect::<Vec<_>>().join(",");
    let deep = format!(r#"{{"feature": "chat", "quantities": {}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let mut not_utf8 = br#"{"feature": "chat"#.to_vec();
    not_utf8.extend([0xff, 0xfe]);
    not_utf8.extend(br#"", "quantities": {}}"#);
    vec![
        case("nothing", "", 400, "malformed_json", ""),
        case("half of it", r#"{"feature": "chat", "#, 400, "malformed_json", ""),
        case("a list", "[]", 400, "invalid_request", ""),
        case("no feature", r#"{"quantities": {}}"#, 400, "invalid_request", ""),
        case(
            "a number for a feature",
            r#"{"feature": 1, "quantities": {}}"#,
            400,
            "invalid_request",
            "/feature",
        ),
        case(
            "a feature that is no key",
            r#"{"feature": " chat", "quantities": {}}"#,
            400,
            "invalid_request",
            "/feature",
        ),
        case(
            "unknown field",
            r#"{"feature": "chat", "quantities": {}, "price": 1}"#,
            400,
            "invalid_request",
            "/price",
        ),
        case("a float", quantity("1.5"), 400, "invalid_request", "/quantities/input_tokens"),
        case("negative", quantity("-1"), 400, "invalid_request", "/quantities/input_tokens"),
        case("negative text", quantity("\"-0.5\""), 400, "invalid_request", "/quantities/input_tokens"),
        case("huge", quantity("99999999999999999999"), 400, "invalid_request", "/quantities/input_tokens"),
        case("huge text", quantity("\"1e30\""), 400, "invalid_request", "/quantities/input_tokens"),
        case(
            "too precise",
            quantity("\"0.0000000000001\""),
            400,
            "invalid_request",
            "/quantities/input_tokens",
        ),
        case("null", quantity("null"), 400, "invalid_request", "/quantities/input_tokens"),
        case(
            "too many",
            format!(r#"{{"feature": "chat", "quantities": {{{many}}}}}"#),
            400,
            "invalid_request",
            "/quantities",
        ),
        case(
            "twice",
            r#"{"feature": "chat", "quantities": {"a": 1, "a": 2}}"#,
            400,
            "invalid_request",
            "/quantities",
        ),
        case("nested deep", deep, 400, "", ""),
        case("not UTF-8", not_utf8, 400, "", ""),
        case(
            "a float attribute",
            r#"{"feature": "chat", "quantities": {}, "attributes": {"t": 0.5}}"#,
            400,
            "invalid_request",
            "/attributes/t",
        ),
        case(
            "no time",
            r#"{"feature": "chat", "quantities": {}, "occurred_at": "yesterday"}"#,
            400,
            "invalid_request",
            "/occurred_at",
        ),
        case(
            "a time ahead",
            r#"{"feature": "chat", "quantities": {}, "occurred_at": "2999-01-01T00:00:00Z"}"#,
            400,
            "occurred_at_in_future",
            "",
        ),
        case(
            "a time long ago",
            r#"{"feature": "chat", "quantities": {}, "occurred_at": "2001-01-01T00:00:00Z"}"#,
            400,
            "occurred_at_too_old",
            "",
        ),
        case("10 MB", vec![b' '; 10_000_000], 413, "body_too_large", ""),
    ]
}

async fn check(client: &mut Client, path: &str, case: &Case) {
    let headers = [("content-type", "application/json"), ("idempotency-key", case.name)];
    let Ok(answer) = client.send(Method::POST, path, &headers, case.body.clone()).await else {
        // A host may close the connection on a body that it will not read.
        assert_eq!(case.status, 413, "{}", case.name);
        return;
    };
    assert_eq!(answer.status, case.status, "{}: {}", case.name, answer.body);
    assert_eq!(answer.content_type, "application/problem+json", "{}", case.name);
    assert!(answer.code().starts_with(case.code), "{}: {}", case.name, answer.body);
    if !case.pointer.is_empty() {
        let errors =
            answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}: {}", case.name, answer.body));
        assert!(
            errors.iter().any(|error| error["pointer"] == case.pointer),
            "{}: {}",
            case.name,
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_charges_are_problems() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    for case in bad_charges() {
        check(&mut host.client().await, "/v1/customers/acme/charges", &case).await;
        check(&mut host.client().await, "/v1/customers/acme/reservations", &case).await;
    }
    // A quantity of nothing is fine and costs nothing; the largest one is rated and refused, not wrapped around.
    client.charge("acme", "zero", 0).await.expect(201);
    let huge = client.charge("acme", "huge", 9_000_000_000_000).await;
    assert_eq!(huge.status, 402, "{}", huge.body);
    let balance = client.get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(balance["balances"][0]["available"], "1000", "nothing of it was charged");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_doors_are_problems() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("closed").await;
    client.delete("/v1/customers/closed").await.expect(200);
    let usage = json!({"feature": "chat", "quantities": {"input_tokens": 1}});
    let switched_off = json!({"feature": "sso", "quantities": {}});
    client.customer("acme").await;
    for (path, body, status, code) in [
        ("/v1/customers/nobody/charges", &usage, 404, "customer_not_found"),
        ("/v1/customers/closed/charges", &usage, 409, "customer_closed"),
        ("/v1/customers/acme/charges", &switched_off, 402, "not_entitled"),
        (
            "/v1/customers/acme/reservations/res_99/commit",
            &json!({"quantities": {}}),
            404,
            "reservation_not_found",
        ),
        ("/v1/customers/acme/grants", &json!({"amount": 5, "category": "prepaid"}), 400, "invalid_request"),
        ("/v1/customers/acme/grants", &json!({"amount": "0", "category": "prepaid"}), 400, ""),
        ("/v1/customers/acme/grants", &json!({"amount": "-5", "category": "prepaid"}), 400, ""),
        ("/v1/customers/acme/grants", &json!({"amount": "5", "category": "gift"}), 400, "invalid_request"),
        (
            "/v1/customers/acme/terms",
            &json!({"policy": "none", "version": 1, "settings": {}}),
            422,
            "policy_not_found",
        ),
        (
            "/v1/customers/acme/terms",
            &json!({"policy": "standard", "version": 9, "settings": {}}),
            422,
            "version_not_found",
        ),
        (
            "/v1/customers/acme/terms",
            &json!({"policy": "standard", "version": 1, "settings": {"rates": 1}}),
            422,
            "settings_invalid",
        ),
        ("/v1/nothing/here", &usage, 404, "route_not_found"),
    ] {
        let answer = client
            .post_once(
                path,
                &format!("{path}{body}").replace(['"', ' '], "")[..60.min(path.len())],
                body.clone(),
            )
            .await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.code().starts_with(code), "{path} {body}: {}", answer.body);
        assert_eq!(answer.content_type, "application/problem+json", "{path}");
    }
    let without_key = client.post("/v1/customers/acme/charges", usage.clone()).await;
    assert_eq!((without_key.status, without_key.code()), (400, "idempotency_key_required"));
    let method = client.delete("/v1/customers/acme/charges").await;
    assert_eq!(method.status, 405, "{}", method.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_they_are_for() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    client.customer("other").await;
    let now = client.get("/v1/customers/acme").await.expect(200)["created_at"].as_str().unwrap().to_owned();
    let year: i32 = now[..4].parse().unwrap();
    let key = json!({"name": "backend", "scopes": ["usage"], "customer": "acme",
        "expires_at": format!("{}-01-01T00:00:00Z", year + 1)});
    let made = client.post("/v1/api_keys", key).await.expect(201);
    let mut narrow = Client::connect(&host.address, made["secret"].as_str().unwrap()).await.unwrap();
    narrow.charge("acme", "k", 1).await.expect(201);
    assert_eq!(narrow.charge("other", "k", 1).await.status, 404);
    assert_eq!(narrow.put("/v1/plans/pro", json!({"name": "x"})).await.status, 403);
    let mut nobody = Client::connect(&host.address, "").await.unwrap();
    assert_eq!(nobody.charge("acme", "k", 1).await.status, 401);
    let mut wrong = Client::connect(&host.address, "wrong").await.unwrap();
    assert_eq!(wrong.charge("acme", "k", 1).await.status, 401);
    client.post("/v1/test_clock", json!({"now": format!("{}-01-01T00:00:00Z", year + 1)})).await.expect(200);
    assert_eq!(narrow.charge("acme", "late", 1).await.status, 401, "the key has expired");
}
