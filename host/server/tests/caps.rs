//! What one client may take of the server: connections, and requests a second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proviso_server::{ConnectionLimits, Rates};
use serde_json::json;
use std::{future::pending, net::SocketAddr, num::NonZeroU32, time::Duration};
use support::{Server, usage};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Far below any time that the server waits for.
const SOON: Duration = Duration::from_secs(5);
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n";
/// A request of which the body is missing.
const HALF: &str = "POST /v1/charges/batch HTTP/1.1\r\nhost: test\r\nauthorization: Bearer admin-secret\r\ncontent-length: 9\r\n\r\n[";

async fn listening(connections: ConnectionLimits) -> (Server, SocketAddr) {
    let server = Server::limited(connections, Rates::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(proviso_server::serve(listener, server.routes.clone(), pending()));
    (server, address)
}

/// What is answered next; nothing when the connection ends or breaks.
async fn read(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4_096];
    let read = tokio::time::timeout(SOON, stream.read(&mut buffer)).await.expect("it answers or ends");
    String::from_utf8_lossy(&buffer[..read.unwrap_or(0)]).into_owned()
}

async fn health(stream: &mut TcpStream) -> String {
    let _ = stream.write_all(HEALTH).await;
    read(stream).await
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn idle_connections_make_way_for_new_ones() {
    let (server, address) = listening(ConnectionLimits { total: 100, per_address: 8 }).await;
    // Some that have sent nothing, some that have sent half a head, and one that was used.
    let mut waiting = Vec::new();
    for bytes in [&b""[..], b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nhost: t"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        waiting.push(stream);
    }
    let mut used = TcpStream::connect(address).await.unwrap();
    assert!(health(&mut used).await.starts_with("HTTP/1.1 200 "));
    for _ in 0..20 {
        let mut fresh = TcpStream::connect(address).await.unwrap();
        assert!(health(&mut fresh).await.starts_with("HTTP/1.1 200 "));
        waiting.push(fresh);
        assert!(health(&mut used).await.starts_with("HTTP/1.1 200 "), "the one in use stays");
    }
    for stream in &mut waiting[..10] {
        assert_eq!(read(stream).await, "", "the oldest have ended");
    }
    assert_eq!(metric(&server, "proviso_http_connections_refused_total").await, 0);
    assert!(metric(&server, "proviso_http_connections").await <= 9);
}

#[tokio::test]
async fn no_more_are_let_in_than_can_be_answered() {
    for limits in
        [ConnectionLimits { total: 100, per_address: 4 }, ConnectionLimits { total: 4, per_address: 100 }]
    {
        let (server, address) = listening(limits).await;
        let mut busy = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(HALF.as_bytes()).await.unwrap();
            busy.push(stream);
        }
        while metric(&server, "proviso_http_requests_in_flight").await < 5 {
            tokio::task::yield_now().await;
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let text = read(&mut refused).await;
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"code\":\"overloaded\""), "{text}");
        assert_eq!(read(&mut refused).await, "", "and it is closed");
        assert_eq!(metric(&server, "proviso_http_connections_refused_total").await, 1);
        // Those that were let in are answered, and make way.
        for stream in &mut busy {
            stream.write_all(b"       ]").await.unwrap();
            assert!(read(stream).await.starts_with("HTTP/1.1 415 "));
        }
        let mut fresh = TcpStream::connect(address).await.unwrap();
        assert!(health(&mut fresh).await.starts_with("HTTP/1.1 200 "));
    }
}

/// The stopwatch of the tests goes on by a millisecond each time it is read, which a request does a few times.
fn rates(of_key: u32, of_customer: u32) -> Rates {
    Rates { of_key: NonZeroU32::new(of_key), of_customer: NonZeroU32::new(of_customer) }
}

#[tokio::test]
async fn a_key_makes_so_many_requests_a_second() {
    let server = Server::limited(ConnectionLimits::default(), rates(20, 0)).await.and_acme().await;
    let secret = server.secret(&json!({"name": "other", "scopes": ["usage", "read"]})).await;
    let ask = || server.ask("GET", "/v1/customers/acme/balance").by(&secret).send();
    let mut answered = 0;
    let refused = loop {
        let answer = ask().await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect(200);
        answered += 1;
        assert!(answered < 40);
    };
    assert!(answered >= 20, "{answered}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.refuses(429, "too_many_requests");
    // Other keys, and what needs none, go on; and so does this one, after a while.
    server.get("/v1/customers/acme/balance").await.expect(200);
    server.ask("GET", "/healthz").anonymous().send().await.expect(200);
    assert!(metric(&server, "proviso_http_requests_limited_total").await > 0);
    for _ in 0..300 {
        server.ask("GET", "/healthz").anonymous().send().await.expect(200);
    }
    ask().await.expect(200);
    // Items of a batch count like requests.
    let items: Vec<_> = (0..40)
        .map(|n| json!({"customer": "acme", "idempotency_key": format!("b{n}"), "feature": "chat", "quantities": {"input_tokens": 1}}))
        .collect();
    let batch = server.ask("POST", "/v1/charges/batch").by(&secret).json(&json!(items)).send().await;
    let batch = batch.expect(200);
    let statuses: Vec<_> =
        batch.as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert!(statuses.starts_with(&[201]) && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(batch[39]["body"]["code"], "too_many_requests");
    assert!(batch[39]["body"]["retry_after_seconds"].as_u64().is_some_and(|wait| wait > 0), "{}", batch[39]);
}

#[tokio::test]
async fn a_customer_is_asked_for_so_often_whoever_asks() {
    let server = Server::limited(ConnectionLimits::default(), rates(0, 20)).await.and_acme().await;
    server.put("/v1/customers/other", &json!({"plan": "pro"})).await.expect(201);
    let secret = server.secret(&json!({"name": "own", "scopes": ["read"], "customer": "acme"})).await;
    let ask = || server.ask("GET", "/v1/customers/acme/balance").by(&secret).send();
    while ask().await.status == 200 {}
    ask().await.refuses(429, "too_many_requests");
    server.charge("k", 1).await.refuses(429, "too_many_requests");
    let charge = server.post("/v1/customers/other/charges", &usage(1)).await;
    charge.expect(201);
    // Who may not see the customer does not learn that it is busy.
    let others = server.secret(&json!({"name": "others", "scopes": ["read"], "customer": "other"})).await;
    server
        .ask("GET", "/v1/customers/acme/balance")
        .by(&others)
        .send()
        .await
        .refuses(404, "customer_not_found");
    // Nothing is left of a refused charge: the key is still unused.
    for _ in 0..40 {
        server.ask("GET", "/healthz").anonymous().send().await.expect(200);
    }
    let charge = server.charge("k", 1).await;
    assert!(!charge.is_replay());
    charge.expect(201);
}
