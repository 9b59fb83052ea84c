//! How many charges a second are answered over HTTP, each durable and decided by the standard policy, with the load
//! generator on the same machine.
//!
//! `cargo bench -p proviso-server` prints one line for each case; arguments (`-- connections customers batch charges`, in
//! this order, all of them) run a single one. A batch of 1 is `POST …/charges`, a larger one `POST /v1/charges/batch`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::cast_precision_loss
)]

#[path = "../tests/support/mod.rs"]
mod support;

use serde_json::json;
use std::{
    fmt::Write as _,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{ADMIN, Server, settings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy)]
struct Case {
    connections: usize,
    customers: usize,
    batch: usize,
    charges: usize,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [connections, customers, batch, charges] = *numbers {
        return runtime.block_on(run(Case { connections, customers, batch, charges }));
    }
    for (connections, customers, batch, charges) in [
        (1, 1_000, 1, 5_000),
        (64, 1_000, 1, 200_000),
        (256, 1_000, 1, 300_000),
        (256, 10_000, 1, 300_000),
        (256, 1, 1, 300_000),
        (8, 1_000, 100, 300_000),
    ] {
        runtime.block_on(run(Case { connections, customers, batch, charges }));
    }
}

async fn run(case: Case) {
    let server = Server::start().await;
    server.upload("standard").await.expect(201);
    let settings = settings("0.001", "1000000");
    let plan = json!({"interval": "month", "terms": {"policy": "standard", "settings": settings}});
    server.put("/v1/plans/pro", &plan).await.expect(201);
    for n in 0..case.customers {
        server.put(&format!("/v1/customers/c{n}"), &json!({"plan": "pro"})).await.expect(201);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(proviso_server::serve(listener, server.routes.clone(), pending()));
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..case.connections {
        clients.spawn(client(case, address, next.clone()));
    }
    let mut latencies: Vec<Duration> = clients.join_all().await.concat();
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1_000].as_secs_f64() * 1_000.0;
    let (entries, commits) = (server.engine.totals().entries(), server.engine.totals().batches());
    println!(
        "connections {:>4}  customers {:>6}  batch {:>4}: {:>8.0} charges/s  p50 {:>6.2} ms  p99 {:>6.2} ms  \
         p99.9 {:>6.2} ms  {:>5.1} entries a commit",
        case.connections,
        case.customers,
        case.batch,
        case.charges as f64 / seconds,
        at(500),
        at(990),
        at(999),
        entries as f64 / commits as f64,
    );
    server.engine.close().await;
}

/// Sends one request after another on its own connection until all charges are made.
async fn client(case: Case, address: SocketAddr, next: Arc<AtomicUsize>) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut latencies, mut request, mut buffer) = (Vec::new(), String::new(), Vec::with_capacity(64 << 10));
    loop {
        let first = next.fetch_add(case.batch, Ordering::Relaxed);
        if first >= case.charges {
            return latencies;
        }
        request.clear();
        write_request(&mut request, case, first);
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let expected = if case.batch == 1 { "HTTP/1.1 201" } else { "HTTP/1.1 200" };
        buffer.clear();
        let length = loop {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "the connection was closed");
            if let Some(length) = answer_length(&buffer) {
                break length;
            }
        };
        while buffer.len() < length {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "the connection was closed");
        }
        assert!(buffer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&buffer));
        latencies.push(sent.elapsed());
    }
}

fn write_request(request: &mut String, case: Case, first: usize) {
    let usage = r#""feature":"chat","quantities":{"input_tokens":1200,"output_tokens":300},"attributes":{"model":"large"},"entity":"user-7""#;
    let customer = |n: usize| n % case.customers;
    let (path, body) = if case.batch == 1 {
        (format!("/v1/customers/c{}/charges", customer(first)), format!("{{{usage}}}"))
    } else {
        let mut body = String::from("[");
        for n in first..first + case.batch {
            let comma = if n == first { "" } else { "," };
            write!(body, "{comma}{{\"customer\":\"c{}\",\"idempotency_key\":\"k{n}\",{usage}}}", customer(n))
                .unwrap();
        }
        ("/v1/charges/batch".to_owned(), body + "]")
    };
    write!(
        request,
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {ADMIN}\r\nidempotency-key: k{first}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}

/// The length of the whole answer, once its head is there.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    Some(head + 4 + length.parse::<usize>().unwrap())
}
