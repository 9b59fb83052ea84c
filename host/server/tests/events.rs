//! Usage as CloudEvents: three modes, one charge for an event however it is delivered, and refusals with a pointer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Server};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

fn event(id: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/gateway", "type": "chat", "subject": "acme",
        "time": "2026-01-15T09:59:00Z", "data": data
    })
}

fn tokens(amount: u64) -> Value {
    json!({ "quantities": { "input_tokens": amount } })
}

async fn send(server: &Server, content_type: &str, body: impl Into<axum::body::Body>) -> Answer {
    server.ask("POST", "/v1/events").header("content-type", content_type).raw(body).send().await
}

async fn structured(server: &Server, event: &Value) -> Answer {
    send(server, STRUCTURED, event.to_string()).await
}

async fn batched(server: &Server, events: &Value) -> Answer {
    send(server, BATCHED, events.to_string()).await
}

/// Sends the context attributes as headers and the data as the body.
async fn binary(server: &Server, event: &Value) -> Answer {
    let mut ask = server.ask("POST", "/v1/events").header("content-type", "application/json");
    for (name, value) in event.as_object().unwrap() {
        if let (true, Some(value)) = (name != "data", value.as_str()) {
            ask = ask.header(&format!("ce-{name}"), &encoded(value));
        }
    }
    match event.get("data") {
        Some(data) => ask.raw(data.to_string()).send().await,
        None => ask.send().await,
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%');
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[tokio::test]
async fn an_event_is_charged_like_a_charge() {
    let server = Server::with_acme().await;
    let mut body = tokens(1_200);
    body["attributes"] = json!({ "model": "large", "cached": true });
    body["entity"] = json!("user-7");
    let charge = structured(&server, &event("1", &body)).await.expect(201);
    assert_eq!(
        (&charge["customer"], &charge["feature"], &charge["entity"], &charge["occurred_at"], &charge["cost"]),
        (&json!("acme"), &json!("chat"), &json!("user-7"), &json!("2026-01-15T09:59:00Z"), &json!("1.2"))
    );
    let entry = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200)["data"][0].clone();
    assert_eq!(entry["event"]["usage"]["attributes"], json!({ "cached": "true", "model": "large" }));
    // As the page tells how to compute it.
    assert_eq!(
        entry["key"], "proviso:event:sha256:6d01664d14df1e70c9021ff90328220afd97336c867af2cbb117c222761da56f",
        "the key of an event must never change"
    );
    let refused = structured(&server, &event("2", &tokens(9_000_000))).await;
    assert_eq!(refused.clone().refuses(402, "insufficient_credits")["instance"], "/v1/events");
    let again = structured(&server, &event("2", &tokens(9_000_000))).await;
    assert!(again.is_replay() && again.bytes == refused.bytes);
}

#[tokio::test]
async fn an_event_is_one_charge_in_whichever_mode_it_comes() {
    let server = Server::with_acme().await;
    let mut first = event("é 100%\"1\"", &tokens(1_000));
    first["source"] = json!("//käse/\u{1f600}");
    let charge = structured(&server, &first).await;
    assert!(!charge.is_replay());
    let charge = charge.expect(201);
    for (how, answer) in [
        ("again", structured(&server, &first).await),
        ("binary", binary(&server, &first).await),
        ("other spaces", send(&server, STRUCTURED, format!("{first:#}")).await),
    ] {
        assert!(answer.is_replay(), "{how}: {}", answer.text());
        assert_eq!(answer.expect(201), charge, "{how}");
    }
    let results = batched(&server, &json!([first])).await.expect(200);
    assert_eq!(results, json!([{ "status": 201, "replayed": true, "body": charge }]));
    // The same meaning in other words.
    for (pointer, value) in [
        ("/data/quantities/input_tokens", json!("1000.0")),
        ("/data", json!({ "gen_ai.usage.input_tokens": 1000 })),
        ("/data", json!({ "quantities": {}, "attributes": { "gen_ai.usage.input_tokens": "1000" } })),
        ("/data", json!({ "entity": null, "quantities": { "input_tokens": 1000 }, "attributes": {} })),
        ("/time", json!("2026-01-15T10:59:00+01:00")),
    ] {
        let mut other = first.clone();
        *other.pointer_mut(pointer).unwrap() = value.clone();
        other["traceparent"] = json!("00-1");
        other["dataschema"] = json!("https://example.com/schema");
        other["datacontenttype"] = json!("application/json; charset=utf-8");
        let answer = structured(&server, &other).await;
        assert!(answer.is_replay(), "{value}: {}", answer.text());
    }
    // Another meaning.
    server.put("/v1/customers/beta", &json!({ "plan": "pro" })).await.expect(201);
    for (pointer, value) in [
        ("/data/quantities/input_tokens", json!(1_001)),
        ("/data", json!({ "quantities": { "input_tokens": 1000 }, "entity": "user-7" })),
        ("/data", json!({ "quantities": { "input_tokens": 1000 }, "attributes": { "model": "large" } })),
        ("/time", json!("2026-01-15T09:58:00Z")),
        ("/time", json!(null)),
        ("/type", json!("talk")),
    ] {
        let mut other = first.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        structured(&server, &other).await.refuses(422, "idempotency_key_reused");
        binary(&server, &other).await.refuses(422, "idempotency_key_reused");
    }
    // Other events: the parts of the key do not run into each other.
    for (source, id) in [("/a", "bc"), ("/ab", "c"), ("/abc", "d")] {
        let mut other = first.clone();
        (other["source"], other["id"]) = (json!(source), json!(id));
        let answer = structured(&server, &other).await;
        assert!(!answer.is_replay(), "{source} {id}");
        answer.expect(201);
    }
    assert_eq!(
        server.get("/v1/customers/acme/balance").await.expect(200)["balances"][0]["used"],
        "4",
        "four events were charged"
    );
}

#[tokio::test]
async fn without_a_time_it_is_now_and_still_the_same_event() {
    let server = Server::with_acme().await;
    let mut timeless = event("1", &tokens(1));
    timeless.as_object_mut().unwrap().remove("time");
    let charge = binary(&server, &timeless).await.expect(201);
    assert_eq!(charge["occurred_at"], "2026-01-15T10:00:00Z");
    server.now("2026-01-15T11:00:00Z").await;
    timeless["time"] = Value::Null;
    let again = structured(&server, &timeless).await;
    assert!(again.is_replay());
    assert_eq!(again.expect(201), charge);
}

#[tokio::test]
async fn bad_events_are_refused_with_a_pointer_in_every_mode() {
    let server = Server::with_acme().await;
    let many = Value::Object((0..65).map(|n| (format!("q{n}"), json!(1))).collect());
    let both = json!({ "gen_ai.usage.input_tokens": 1, "attributes": { "gen_ai.usage.prompt_tokens": 2 } });
    for (member, value, pointer) in [
        ("specversion", None, "/specversion"),
        ("specversion", Some(json!("0.3")), "/specversion"),
        ("id", None, "/id"),
        ("id", Some(json!("")), "/id"),
        ("source", None, "/source"),
        ("source", Some(json!("")), "/source"),
        ("subject", None, "/subject"),
        ("subject", Some(json!(" acme")), "/subject"),
        ("type", None, "/type"),
        ("type", Some(json!("chat\u{7f}")), "/type"),
        ("time", Some(json!("yesterday")), "/time"),
        ("time", Some(json!("")), "/time"),
        ("data", None, "/data"),
        ("data", Some(json!([])), "/data"),
        ("data", Some(json!("eA==")), "/data"),
        ("data", Some(json!({})), "/data/quantities"),
        ("data", Some(json!({ "attributes": { "gen_ai.request.model": "m" } })), "/data/quantities"),
        ("data", Some(json!({ "gen_ai.usage.input_tokens": null })), "/data/quantities"),
        ("data", Some(json!({ "quantities": null })), "/data/quantities"),
        ("data", Some(json!({ "quantities": { "n": -1 } })), "/data/quantities/n"),
        ("data", Some(json!({ "quantities": many })), "/data/quantities"),
        ("data", Some(json!({ "quantities": {}, "attributes": many })), "/data/attributes"),
        ("data", Some(json!({ "quantities": {}, "attributes": { "a/b": 1 } })), "/data/attributes/a~1b"),
        ("data", Some(json!({ "quantities": {}, "attributes": { "m": 1.5 } })), "/data/attributes/m"),
        ("data", Some(json!({ "quantities": {}, "feature": "chat" })), "/data/feature"),
        ("data", Some(json!({ "gen_ai.usage.input_tokens": -1 })), "/data/gen_ai.usage.input_tokens"),
        ("data", Some(json!({ "gen_ai.usage.input_tokens": 1.5 })), "/data/gen_ai.usage.input_tokens"),
        ("data", Some(json!({ "quantities": {}, "gen_ai.usage.films": 1 })), "/data/gen_ai.usage.films"),
        (
            "data",
            Some(json!({ "quantities": {}, "attributes": { "gen_ai.usage.films": 1 } })),
            "/data/attributes/gen_ai.usage.films",
        ),
        ("data", Some(both), "/data/attributes/gen_ai.usage.prompt_tokens"),
        (
            "data",
            Some(json!({
                "gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 9,
                "attributes": { "gen_ai.usage.cache_creation.input_tokens": 2 }
            })),
            "/data/attributes/gen_ai.usage.cache_creation.input_tokens",
        ),
        (
            "data",
            Some(json!({
                "gen_ai.usage.output_tokens": 10, "quantities": { "reasoning_output_tokens": 11 }
            })),
            "/data/quantities/reasoning_output_tokens",
        ),
    ] {
        let mut event = event("1", &tokens(1));
        match value {
            Some(value) => event[member] = value,
            None => drop(event.as_object_mut().unwrap().remove(member)),
        }
        for (mode, answer) in
            [("structured", structured(&server, &event).await), ("binary", binary(&server, &event).await)]
        {
            assert_eq!(answer.pointers(), [pointer], "{mode} {event}: {}", answer.text());
            answer.refuses(400, "invalid_request");
        }
        let results = batched(&server, &json!([event])).await.expect(200);
        let body = &results[0]["body"];
        assert_eq!(
            (&results[0]["status"], &body["code"], &body["errors"][0]["pointer"]),
            (&json!(400), &json!("invalid_request"), &json!(format!("/0{pointer}"))),
            "{event}"
        );
    }
    // What only a JSON object can say.
    for (member, value) in [
        ("data_base64", json!("e30=")),
        ("datacontenttype", json!("application/xml")),
        ("datacontenttype", json!(7)),
        ("subject", json!(7)),
        ("time", json!(7)),
    ] {
        let mut event = event("1", &tokens(1));
        event[member] = value;
        let answer = structured(&server, &event).await;
        assert_eq!(answer.pointers(), [format!("/{member}")], "{event}");
        answer.refuses(400, "invalid_request");
    }
    let ledger = server.get("/v1/customers/acme/ledger").await.expect(200);
    assert_eq!(ledger["data"].as_array().unwrap().len(), 2, "nothing was charged: {ledger}");
}

#[tokio::test]
async fn headers_are_read_as_the_binding_says() {
    let server = Server::with_acme().await;
    let ask = |id: &'static str| {
        let ask = server.ask("POST", "/v1/events").header("content-type", "application/vnd.acme+json");
        ask.header("CE-SpecVersion", "1.0")
            .header("ce-type", "ch%61t")
            .header("ce-subject", "\"acme\"")
            .header("ce-id", id)
    };
    let body = tokens(1).to_string();
    let fine = ask("a b").header("ce-source", "/s").header("ce-traceparent", "%zz").raw(body.clone());
    fine.send().await.expect(201);
    assert!(ask("a%20b").header("ce-source", "%2Fs").raw(body.clone()).send().await.is_replay());
    for source in ["%C0%A0", "100%", "\"open"] {
        let answer = ask("1").header("ce-source", source).raw(body.clone()).send().await;
        assert_eq!(answer.pointers(), ["/source"], "{source}");
    }
    let twice = ask("1").header("ce-source", "/s").header("ce-source", "/s").raw(body.clone()).send().await;
    assert_eq!(twice.pointers(), ["/source"]);
    ask("1").header("ce-source", "/s").raw("{").send().await.refuses(400, "malformed_json");
}

#[tokio::test]
async fn plain_json_is_an_event_or_a_batch_where_no_headers_say_otherwise() {
    let server = Server::with_acme().await;
    let first = event("1", &tokens(1_000));
    let plain = async |body: &Value| send(&server, "application/json; charset=utf-8", body.to_string()).await;
    let charge = plain(&first).await.expect(201);
    assert_eq!((&charge["customer"], &charge["cost"]), (&json!("acme"), &json!("1")));
    // The same event, however it is delivered again.
    for again in [structured(&server, &first).await, binary(&server, &first).await, plain(&first).await] {
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.expect(201), charge);
    }
    let results = plain(&json!([first, event("2", &tokens(2_000)), {}])).await.expect(200);
    let said: Vec<_> =
        results.as_array().unwrap().iter().map(|one| (&one["status"], &one["body"]["cost"])).collect();
    assert_eq!(said, [(&json!(201), &json!("1")), (&json!(201), &json!("2")), (&json!(400), &Value::Null)]);
    assert_eq!(results[2]["body"]["errors"][0]["pointer"], "/2/specversion");
}

#[tokio::test]
async fn what_is_in_none_of_the_modes_is_refused() {
    let server = Server::with_acme().await;
    let whole = event("1", &tokens(1)).to_string();
    for content_type in [
        "application/cloudevents",
        "application/cloudevents+avro",
        "application/cloudevents+json; charset=latin1",
        "application/cloudevents+xml",
        "text/plain",
        "application/octet-stream",
    ] {
        send(&server, content_type, whole.clone()).await.refuses(415, "unsupported_media_type");
    }
    server.ask("POST", "/v1/events").raw(whole.clone()).send().await.refuses(415, "unsupported_media_type");
    // Data alone is no event.
    assert_eq!(send(&server, "application/json", tokens(1).to_string()).await.pointers(), ["/specversion"]);
    send(&server, "application/json", "").await.refuses(400, "malformed_json");
    send(&server, "Application/CloudEvents+JSON; charset=UTF-8", whole.clone()).await.expect(201);
    for (content_type, body, code) in [
        (STRUCTURED, "{", "malformed_json"),
        (STRUCTURED, "", "malformed_json"),
        (STRUCTURED, "[]", "invalid_request"),
        (STRUCTURED, r#"{"id":"1","id":"1"}"#, "invalid_request"),
        (BATCHED, "{}", "invalid_request"),
        (BATCHED, "[", "malformed_json"),
    ] {
        send(&server, content_type, body).await.refuses(400, code);
    }
    // No member may stand there twice: which one would count?
    let model = r#""gen_ai.request.model":"m""#;
    for data in [
        r#""quantities":{},"quantities":{}"#.to_owned(),
        r#""quantities":{},"attributes":{},"attributes":{}"#.to_owned(),
        r#""quantities":{},"attributes":{"a":1,"a":2}"#.to_owned(),
        r#""quantities":{},"entity":"a","entity":"a""#.to_owned(),
        format!(r#""quantities":{{}},{model},{model}"#),
        format!(r#""quantities":{{}},"attributes":{{{model},{model}}}"#),
    ] {
        let whole = whole.replace(r#"{"quantities":{"input_tokens":1}}"#, &format!("{{{data}}}"));
        assert!(whole.contains(&data));
        send(&server, STRUCTURED, whole).await.refuses(400, "invalid_request");
    }
    let large = vec![b' '; 2 << 20];
    send(&server, STRUCTURED, large).await.refuses(413, "body_too_large");
}

#[tokio::test]
async fn a_batch_of_events_is_answered_in_order_and_each_on_its_own() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({ "plan": "pro" })).await.expect(201);
    let of = |customer: &str, id: &str, amount: u64| {
        let mut event = event(id, &tokens(amount));
        event["subject"] = json!(customer);
        event
    };
    let mut early = of("acme", "early", 1);
    early["time"] = json!("2026-01-15T12:00:00Z");
    let batch = json!([
        of("acme", "1", 1_000),
        of("nobody", "1", 1_000),
        of("beta", "1", 2_000),
        of("acme", "2", 999_999_000),
        of("acme", "1", 1_000),
        of("acme", "1", 7),
        early,
        json!(7),
        of("beta", "2", 3_000),
    ]);
    let expected = [
        (201, "1"),
        (404, "customer_not_found"),
        (201, "2"),
        (402, "insufficient_credits"),
        (201, "1"),
        (422, "idempotency_key_reused"),
        (400, "occurred_at_in_future"),
        (400, "invalid_request"),
        (201, "3"),
    ];
    for replayed in [Value::Null, json!(true)] {
        let results = batched(&server, &batch).await.expect(200);
        for (n, (status, what)) in expected.iter().enumerate() {
            let (result, body) = (&results[n], &results[n]["body"]);
            assert_eq!(
                (&result["status"], body.get("code").unwrap_or(&body["cost"])),
                (&json!(status), &json!(what))
            );
        }
        assert_eq!(results[6]["body"]["errors"][0]["pointer"], "/6/time");
        assert_eq!(results[1]["body"]["instance"], "/v1/events");
        assert_eq!(results[0].get("replayed").cloned().unwrap_or_default(), replayed);
    }
    assert_eq!(batched(&server, &json!([])).await.expect(200), json!([]));
    let many: Vec<_> = (0..1_001).map(|n| of("beta", &format!("m{n}"), 1)).collect();
    batched(&server, &json!(many)).await.refuses(400, "invalid_request");
    let results = batched(&server, &json!(many[1..])).await.expect(200);
    assert!(results.as_array().unwrap().iter().all(|one| one["status"] == 201));
    let used = server.get("/v1/customers/beta/balance").await.expect(200)["balances"][0]["used"].clone();
    assert_eq!(used, "6");
}

#[tokio::test]
async fn keys_see_what_they_may() {
    let server = Server::with_acme().await;
    server.put("/v1/customers/beta", &json!({ "plan": "pro" })).await.expect(201);
    let narrowed = json!({ "name": "n", "scopes": ["usage"], "customer": "beta" });
    let (reader, narrowed) =
        (server.secret(&json!({ "name": "r", "scopes": ["read"] })).await, server.secret(&narrowed).await);
    let ask = |content_type: &'static str, body: &Value| {
        server.ask("POST", "/v1/events").header("content-type", content_type).raw(body.to_string())
    };
    let acme = event("1", &tokens(1_000));
    let mut beta = acme.clone();
    beta["subject"] = json!("beta");
    ask(STRUCTURED, &acme).anonymous().send().await.refuses(401, "api_key_required");
    ask(STRUCTURED, &acme).by(&reader).send().await.refuses(403, "scope_missing");
    ask(STRUCTURED, &acme).by(&narrowed).send().await.refuses(404, "customer_not_found");
    ask(STRUCTURED, &beta).by(&narrowed).send().await.expect(201);
    let results = ask(BATCHED, &json!([acme, beta])).by(&narrowed).send().await.expect(200);
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(404), &json!(201)));
    assert_eq!(results[0]["body"]["code"], "customer_not_found");
}

#[tokio::test]
async fn a_host_that_ends_says_of_each_event_that_it_may_be_sent_again() {
    let server = Server::with_acme().await;
    server.engine.close().await;
    let event = event("1", &tokens(1));
    let answer = structured(&server, &event).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.refuses(503, "shutting_down");
    let results = batched(&server, &json!([event, event])).await.expect(200);
    for result in results.as_array().unwrap() {
        assert_eq!((&result["status"], &result["body"]["code"]), (&json!(503), &json!("shutting_down")));
    }
}

/// Each row: data, and the quantities, attributes and entity that it becomes.
#[tokio::test]
async fn opentelemetry_names_become_a_usage() {
    let server = Server::with_acme().await;
    let agent = json!({
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme.ai",
        "gen_ai.system": "acme",
        "gen_ai.request.model": "large",
        "gen_ai.response.model": "large-2026-01-01",
        "gen_ai.agent.name": "Math Tutor",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": "200",
        "gen_ai.usage.cache_read.input_tokens": 800,
        "gen_ai.usage.cache_creation.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 90,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.input.messages": [{ "role": "user", "parts": [{ "type": "text" }] }],
        "openai.response.service_tier": "auto",
        "server.address": "api.example.com",
        "server.port": 443,
        "error.type": null,
        "user.id": "user-7",
        "enduser.id": "other",
        "user.email": "a@b",
    });
    let whole = (
        json!({
            "cache_creation_input_tokens": "50", "cache_read_input_tokens": "800", "input_tokens": "150",
            "output_tokens": "110", "reasoning_output_tokens": "90"
        }),
        json!({
            "agent": "Math Tutor", "model": "large", "operation": "chat", "provider": "acme.ai",
            "response_model": "large-2026-01-01"
        }),
        json!("user-7"),
    );
    let input = |amount: &str| json!({ "input_tokens": amount });
    for (n, (data, (quantities, attributes, entity))) in [
        (agent.clone(), whole.clone()),
        (json!({ "attributes": agent }), whole),
        // Older names.
        (
            json!({
                "gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 6, "gen_ai.system": "acme",
                "enduser.id": "user-8"
            }),
            (json!({ "input_tokens": "5", "output_tokens": "6" }), json!({ "provider": "acme" }), json!("user-8")),
        ),
        // The newer name of what is written to a cache.
        (
            json!({ "gen_ai.usage.cache_write.input_tokens": 7 }),
            (json!({ "cache_creation_input_tokens": "7" }), json!({}), Value::Null),
        ),
        // The event's own words win.
        (
            json!({
                "quantities": { "input_tokens": 1 }, "entity": "team-1",
                "attributes": {
                    "model": "mine", "region": "eu", "gen_ai.request.model": "large", "user.id": "user-7",
                    "gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 2
                }
            }),
            (
                json!({ "input_tokens": "1", "output_tokens": "2" }),
                json!({ "model": "mine", "region": "eu" }),
                json!("team-1"),
            ),
        ),
        // The same said twice, and what is not known.
        (
            json!({
                "gen_ai.usage.input_tokens": 3, "gen_ai.usage.prompt_tokens": "3.0", "gen_ai.request.model": null,
                "gen_ai.usage.output_tokens": null, "attributes": { "gen_ai.usage.input_tokens": 3 }
            }),
            (input("3"), json!({}), Value::Null),
        ),
        // What stands in data itself goes before the attributes.
        (
            json!({
                "attributes": { "gen_ai.request.model": "inner" }, "gen_ai.request.model": "outer",
                "gen_ai.usage.input_tokens": 3
            }),
            (input("3"), json!({ "model": "outer" }), Value::Null),
        ),
        // All of it was cached; what was measured as cached is taken off, whatever the sender charges for it.
        (
            json!({
                "quantities": { "cache_read_input_tokens": 0 },
                "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cache_read.input_tokens": 3
            }),
            (json!({ "cache_read_input_tokens": "0", "input_tokens": "0" }), json!({}), Value::Null),
        ),
        // The part in the event's own words, the whole in OpenTelemetry's.
        (
            json!({
                "quantities": { "cache_read_input_tokens": 2, "reasoning_output_tokens": "0.5" },
                "gen_ai.usage.prompt_tokens": 3, "gen_ai.usage.completion_tokens": 1
            }),
            (
                json!({
                    "cache_read_input_tokens": "2", "input_tokens": "1", "output_tokens": "0.5",
                    "reasoning_output_tokens": "0.5"
                }),
                json!({}),
                Value::Null,
            ),
        ),
        // The whole in the event's own words is taken as it is, and so is a part without a whole.
        (
            json!({
                "quantities": { "input_tokens": 3 },
                "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cache_read.input_tokens": 2,
                "gen_ai.usage.reasoning.output_tokens": 5
            }),
            (
                json!({ "cache_read_input_tokens": "2", "input_tokens": "3", "reasoning_output_tokens": "5" }),
                json!({}),
                Value::Null,
            ),
        ),
        // Nothing was used, explicitly.
        (json!({ "quantities": {} }), (json!({}), json!({}), Value::Null)),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = structured(&server, &event(&format!("{n}"), &data)).await;
        assert!([201, 422].contains(&answer.status), "{data}: {}", answer.text());
        let entry = server.get("/v1/customers/acme/ledger?limit=1").await.expect(200)["data"][0].clone();
        let usage = &entry["event"]["usage"];
        let or_empty = |name: &str| usage.get(name).cloned().unwrap_or_else(|| json!({}));
        assert_eq!(or_empty("quantities"), quantities, "{data}\n{entry}");
        assert_eq!(or_empty("attributes"), attributes, "{data}\n{entry}");
        assert_eq!(usage["entity"], entity, "{data}\n{entry}");
    }
}

/// The provider's own bill: cached tokens are priced once, to the last place.
#[tokio::test]
async fn cached_tokens_are_billed_once() {
    let server = Server::with_acme().await;
    let rate = |quantity: &str, price: &str| json!({ "quantity": quantity, "price": { "per_unit": price } });
    let terms = json!({ "policy": "standard", "settings": {
        "rates": [
            rate("input_tokens", "0.00000125"),
            // A tenth of 6.25e-7.
            rate("cache_read_input_tokens", "0.0000000625"),
            rate("output_tokens", "0.00001"),
        ],
        "reset": { "allowance": [{ "amount": "1000" }] }
    }});
    server.post("/v1/customers/acme/terms", &terms).await.expect(201);
    let data = json!({
        "gen_ai.usage.input_tokens": 520_915,
        "gen_ai.usage.cache_read.input_tokens": 257_955,
        "gen_ai.usage.output_tokens": 1_744
    });
    let charge = structured(&server, &event("1", &data)).await.expect(201);
    assert_eq!(charge["cost"], "0.3622621875", "{charge}");
    assert_eq!(charge["balance"]["used"], "0.3622621875", "{charge}");
    let lines: Vec<&Value> = charge["lines"].as_array().unwrap().iter().map(|line| &line["cost"]).collect();
    assert_eq!(lines, ["0.0161221875", "0.3287", "0.01744"], "{charge}");
}
