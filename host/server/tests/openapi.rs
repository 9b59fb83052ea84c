//! The API's document: valid, complete, and what the router does. And the pages that need no key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use support::{Server, usage};

/// Calls `see` with every object in a document and where it stands.
fn walk(value: &Value, place: &str, see: &mut impl FnMut(&str, &Value)) {
    see(place, value);
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| walk(field, &format!("{place}/{name}"), see))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| walk(item, &format!("{place}/{n}"), see))
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_whole() {
    let server = Server::start().await;
    let document = server.ask("GET", "/openapi.json").anonymous().send().await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{name}: its id is taken"
            );
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
            let mut named = BTreeSet::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(named.insert(parameter["name"].as_str().unwrap()), "{name}: {parameter} twice");
                if parameter["in"] == "path" {
                    assert!(
                        path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap())),
                        "{name}: {parameter}"
                    );
                }
            }
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(named.contains(part), "{name}: {part} is not described");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{name} {status}");
                if status.starts_with(['4', '5']) {
                    let content = &response["content"]["application/problem+json"];
                    let examples =
                        content["examples"].as_object().unwrap_or_else(|| panic!("{name} {status}"));
                    assert!(!examples.is_empty(), "{name} {status}");
                    for (code, example) in examples {
                        let place = example["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
                        let value = &document.pointer(place).unwrap()["value"];
                        assert_eq!(value["code"], *code, "{name}");
                        assert_eq!(value["status"].to_string(), *status, "{name} {code}");
                    }
                } else {
                    assert!(status.starts_with('2'), "{name}: {status} says nothing of what is answered");
                }
            }
        }
    }
    walk(&document, "", &mut |place, value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            assert!(target.is_some(), "{place}: {reference} leads nowhere");
        }
    });
    let names: Vec<_> = document["components"]["schemas"].as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| !name.contains("Body") && !name.contains("Answer")), "{names:?}");
}

/// An event may come in three modes, and its data in names that are listed.
#[tokio::test]
async fn the_document_knows_the_modes_of_events() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.expect(200);
    let operation = &document["paths"]["/v1/events"]["post"];
    let body = &operation["requestBody"]["content"];
    let event = "#/components/schemas/CloudEvent";
    for (media_type, place, schema) in [
        ("application/cloudevents+json", "/schema/$ref", event),
        ("application/cloudevents-batch+json", "/schema/items/$ref", event),
        ("application/json", "/schema/$ref", "#/components/schemas/EventOrData"),
    ] {
        assert_eq!(body[media_type].pointer(place).unwrap(), schema, "{media_type}: {body}");
    }
    let schemas = &document["components"]["schemas"];
    // Plain JSON is an event, a batch, or the data of one.
    let plain: Vec<_> = ["/0/$ref", "/1/items/$ref", "/2/$ref"]
        .iter()
        .map(|place| schemas["EventOrData"]["anyOf"].pointer(place).unwrap())
        .collect();
    assert_eq!(plain, [event, event, "#/components/schemas/EventData"]);
    let mut required: Vec<_> =
        schemas["CloudEvent"]["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    required.sort_unstable();
    assert_eq!(required, ["data", "id", "source", "specversion", "subject", "type"]);
    let data = &schemas["EventData"];
    for name in ["quantities", "attributes", "entity", "gen_ai.usage.input_tokens", "enduser.id"] {
        assert!(data["properties"][name]["description"].is_string(), "{name}: {data}");
    }
    // Its example is one.
    for (number, example) in
        [&schemas["CloudEvent"]["example"]["data"], &data["examples"][0]].into_iter().enumerate()
    {
        assert!(example.is_object(), "{schemas}");
        let ask = server.ask("POST", "/v1/events").header("ce-specversion", "1.0").header("ce-source", "/s");
        let ask =
            ask.header("ce-id", &format!("{number}")).header("ce-type", "chat").header("ce-subject", "acme");
        ask.json(example).send().await.refuses(404, "customer_not_found");
    }
    let parameters = operation["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|one| one["name"] == "ce-subject" && one["in"] == "header"), "{operation}");
}

/// All routes of the contract that stand so far.
#[tokio::test]
async fn every_route_is_in_the_document() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.expect(200);
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    routes.sort();
    let mut expected: Vec<&str> = ROUTES.trim().lines().map(str::trim).collect();
    expected.sort_unstable();
    assert_eq!(routes, expected);
    // And each is served at its path: neither the path nor the method is unknown.
    for route in routes {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{file}", "page.js").replace(['{', '}'], "");
        let answer = server.ask(method, &path).send().await;
        let is_unknown = answer.header("content-type") == Some("application/problem+json")
            && ["route_not_found", "method_not_allowed"].contains(&answer.code().as_str());
        assert!(!is_unknown, "{route}: {}", answer.text());
    }
}

const ROUTES: &str = "
    DELETE /v1/api_keys/{api_key}
    GET /v1/api_keys/{api_key}
    DELETE /v1/customers/{customer}
    DELETE /v1/customers/{customer}/auto-top-ups/{credit}
    GET /v1/customers/{customer}/auto-top-ups
    GET /v1/customers/{customer}/auto-top-ups/{credit}
    PUT /v1/customers/{customer}/auto-top-ups/{credit}
    GET /v1/top-ups
    GET /v1/customers/{customer}/top-ups
    GET /v1/customers/{customer}/top-ups/{top_up}
    POST /v1/customers/{customer}/top-ups/{top_up}/pay
    POST /v1/customers/{customer}/top-ups/{top_up}/decline
    DELETE /v1/customers/{customer}/budgets/{budget}
    DELETE /v1/customers/{customer}/entities/{entity}
    DELETE /v1/customers/{customer}/entitlements/{feature}
    DELETE /v1/customers/{customer}/plan-changes/{change}
    DELETE /v1/policies/{policy}/versions/{version}
    GET /docs
    GET /docs/{file}
    GET /healthz
    GET /metrics
    GET /openapi.json
    GET /readyz
    GET /v1/api_keys
    GET /v1/audit
    POST /v1/policies/{policy}/versions/{version}/backtests
    GET /v1/policies/{policy}/versions/{version}/backtests/{backtest}
    GET /v1/plans/{plan}/terms/{terms}/shadow-report
    GET /v1/plans/{plan}/terms/{terms}/rollout
    POST /v1/plans/{plan}/terms/{terms}/canary
    GET /v1/customers/{customer}/terms/{terms}/shadow-report
    GET /v1/customers
    GET /v1/customers/{customer}
    GET /v1/customers/{customer}/balance
    GET /v1/customers/{customer}/burndown
    GET /v1/customers/{customer}/budgets
    GET /v1/customers/{customer}/budgets/{budget}
    GET /v1/customers/{customer}/charges/{charge}
    GET /v1/customers/{customer}/entities
    GET /v1/customers/{customer}/entities/{entity}
    GET /v1/customers/{customer}/entitlements
    GET /v1/customers/{customer}/entitlements/{feature}
    GET /v1/customers/{customer}/focus
    GET /v1/customers/{customer}/forecast
    GET /v1/customers/{customer}/grants
    GET /v1/customers/{customer}/grants/{grant}
    GET /v1/customers/{customer}/leases
    GET /v1/customers/{customer}/leases/{lease}
    GET /v1/customers/{customer}/ledger
    GET /v1/customers/{customer}/periods/missed
    GET /v1/customers/{customer}/plan-changes
    GET /v1/customers/{customer}/plan-changes/{change}
    GET /v1/customers/{customer}/reservations
    GET /v1/customers/{customer}/revenue
    GET /v1/customers/{customer}/reservations/{reservation}
    GET /v1/customers/{customer}/terms
    GET /v1/customers/{customer}/terms/{terms}
    GET /v1/customers/{customer}/usage
    GET /v1/exports
    POST /v1/imports
    POST /v1/charges/reversals
    GET /v1/focus
    GET /v1/plans
    GET /v1/plans/{plan}
    GET /v1/plans/{plan}/terms
    GET /v1/plans/{plan}/versions
    GET /v1/plans/{plan}/versions/{version}
    GET /v1/plans/{plan}/terms/{terms}
    GET /v1/policies
    GET /v1/policies/{policy}
    GET /v1/policies/{policy}/versions
    GET /v1/policies/{policy}/versions/{version}
    GET /v1/policies/{policy}/versions/{version}/module
    GET /v1/revenue
    GET /v1/test_clock
    GET /v1/usage
    POST /v1/api_keys
    POST /v1/apply
    POST /v1/charges/batch
    POST /v1/customers/{customer}/adjustments
    POST /v1/customers/{customer}/charges
    POST /v1/customers/{customer}/charges/{charge}/refunds
    POST /v1/customers/{customer}/check
    POST /v1/customers/{customer}/grants
    POST /v1/customers/{customer}/grants/{grant}/void
    POST /v1/customers/{customer}/leases
    POST /v1/customers/{customer}/leases/{lease}/close
    POST /v1/customers/{customer}/leases/{lease}/extend
    POST /v1/customers/{customer}/leases/{lease}/settlements
    POST /v1/customers/{customer}/periods/{number}/retry
    POST /v1/customers/{customer}/plan-changes
    POST /v1/customers/{customer}/reservations
    POST /v1/customers/{customer}/reservations/{reservation}/commit
    POST /v1/customers/{customer}/reservations/{reservation}/extend
    POST /v1/customers/{customer}/reservations/{reservation}/release
    POST /v1/customers/{customer}/resets
    POST /v1/customers/{customer}/terms
    POST /v1/customers/{customer}/terms/{terms}/end
    POST /v1/entitlements/query
    POST /v1/events
    POST /v1/plans/{plan}/migrations
    POST /v1/plans/{plan}/terms
    POST /v1/plans/{plan}/terms/{terms}/end
    POST /v1/policies/{policy}/versions
    POST /v1/test_clock
    PUT /v1/customers/{customer}
    PUT /v1/customers/{customer}/budgets/{budget}
    PUT /v1/customers/{customer}/entities/{entity}
    PUT /v1/customers/{customer}/entitlements/{feature}
    PUT /v1/plans/{plan}
    PUT /v1/policies/{policy}
    DELETE /v1/customers/{customer}/add-ons/{add_on}
    GET /v1/add-ons
    GET /v1/add-ons/{add_on}
    GET /v1/bundles
    GET /v1/bundles/{bundle}
    GET /v1/customers/{customer}/add-ons
    GET /v1/customers/{customer}/add-ons/{add_on}
    GET /v1/promotions
    GET /v1/promotions/{promotion}
    GET /v1/promotions/{promotion}/redemptions
    POST /v1/customers/{customer}/purchases
    POST /v1/customers/{customer}/redemptions
    PUT /v1/add-ons/{add_on}
    PUT /v1/bundles/{bundle}
    PUT /v1/customers/{customer}/add-ons/{add_on}
    PUT /v1/promotions/{promotion}
";

/// What client generators make wrong code of when it is missing.
#[tokio::test]
async fn types_are_told_to_generators() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.expect(200);
    let versions = "/paths/~1v1~1policies~1{policy}~1versions";
    let wasm = "content/application~1wasm/schema";
    for (place, expected) in [
        (format!("{versions}/post/requestBody/{wasm}/type"), "string"),
        (format!("{versions}/post/requestBody/{wasm}/format"), "binary"),
        (format!("{versions}~1{{version}}~1module/get/responses/200/{wasm}/format"), "binary"),
        ("/components/schemas/Charge/properties/entry/format".to_owned(), "int64"),
        ("/components/schemas/PolicyVersion/properties/size_bytes/format".to_owned(), "int64"),
        ("/components/schemas/AnyObject/type".to_owned(), "object"),
        (
            "/components/schemas/TermsInput/properties/settings/oneOf/0/$ref".to_owned(),
            "#/components/schemas/AnyObject",
        ),
    ] {
        assert_eq!(document.pointer(&place).and_then(Value::as_str), Some(expected), "{place}");
    }
    assert_eq!(document["components"]["schemas"]["AnyObject"]["additionalProperties"], true);
    let is_type = |value: &Value, name: &str| {
        value["type"] == name || value["type"].as_array().is_some_and(|all| all.contains(&name.into()))
    };
    let (mut objects, mut integers) = (0, 0);
    walk(&document, "", &mut |place, value| {
        // Examples are data.
        if place.contains("/example") || !(value["type"].is_string() || value["type"].is_array()) {
            return;
        }
        if is_type(value, "integer") {
            integers += 1;
            let format = value["format"].as_str();
            assert!(matches!(format, Some("int32" | "int64")), "{place}: {value}");
        }
        if is_type(value, "object") && value.get("properties").is_none() {
            objects += 1;
            assert!(value.get("additionalProperties").is_some(), "{place} admits nothing: {value}");
        }
        assert!(!is_type(value, "array") || value["items"]["format"] != "int32", "{place}: bytes as numbers");
    });
    assert!(objects > 5 && integers > 40, "{objects} objects, {integers} integers");
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let server = Server::start().await;
    for (path, content_type) in
        [("/docs", "text/html"), ("/docs/page.js", "text/javascript"), ("/docs/page.css", "text/css")]
    {
        let answer = server.ask("GET", path).anonymous().send().await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").unwrap().starts_with(content_type));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        let text = answer.text();
        let elsewhere = ["http://", "https://", "src=\"//", "href=\"//", "url(", "@import", "import("];
        let found: Vec<_> = elsewhere.into_iter().filter(|one| text.contains(one)).collect();
        assert!(found.is_empty(), "{path} loads from elsewhere: {found:?}");
    }
    server.get("/docs/other").await.refuses(404, "route_not_found");
}

#[tokio::test]
async fn health_and_metrics_need_no_key() {
    let server = Server::with_acme().await;
    server.charge("k", 1).await.expect(201);
    server.charge("k2", 9_000_000).await.refuses(402, "insufficient_credits");
    server.post("/v1/customers/acme/check", &usage(1)).await.expect(200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.ask("GET", path).anonymous().send().await.expect(200)["status"], "ok");
    }
    let metrics = server.ask("GET", "/metrics").anonymous().send().await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let route = "route=\"/v1/customers/{customer}/charges\",method=\"POST\"";
    for line in [
        format!("proviso_http_requests_total{{{route},status=\"2xx\"}} 1"),
        format!("proviso_http_requests_total{{{route},status=\"4xx\"}} 1"),
        format!("proviso_http_request_seconds_count{{{route}}} 2"),
        "proviso_http_requests_in_flight 1".to_owned(),
        "proviso_journal_entries_total 4".to_owned(),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}\n{}", metrics.text());
    }
    server.engine.close().await;
    server.get("/readyz").await.refuses(503, "storage_unavailable");
    server.get("/v1/customers/acme").await.refuses(503, "shutting_down");
    server.get("/healthz").await.expect(200);
}
