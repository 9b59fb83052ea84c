//! Real connections: keep-alive, shutdown that answers what was accepted, and panics that stay inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};
use support::{ADMIN, Server, usage};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// Far below any time that the server waits for.
const SOON: Duration = Duration::from_secs(5);

fn charge(key: &str) -> String {
    let body = usage(1).to_string();
    format!(
        "POST /v1/customers/acme/charges HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {ADMIN}\r\n\
         idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one answer's head and body.
async fn answer(stream: &mut TcpStream) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                return text;
            }
        }
        match stream.read(&mut buffer).await.unwrap() {
            0 => return text,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

#[tokio::test]
async fn connections_are_kept_and_answers_come_in_order() {
    let server = Server::with_acme().await;
    let address = listening(&server).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for n in 3..6 {
        stream.write_all(charge(&format!("k{n}")).as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 201 ") && text.contains(&format!("\"entry\":{n}")), "{text}");
    }
    // What is no HTTP at all ends its own connection and nothing else.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\0\xff nonsense\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 400 "));
    // A body that is too large is read past, so that the client gets to see the answer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = charge("large").replace("content-length: ", "content-length: 10485760\r\nx-was: ");
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 10 << 20]).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413 "));
}

/// A server on a free port, and its address.
async fn listening(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(proviso_server::serve(listener, server.routes.clone(), pending()));
    address
}

/// Sends bytes on a new connection; what is answered, which must come soon.
async fn asked(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    tokio::time::timeout(SOON, answer(&mut stream)).await.expect("it is answered")
}

/// Whatever follows a request, its answer is not held back.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_request() {
    let server = Server::with_acme().await;
    let address = listening(&server).await;
    for (n, more) in
        ["\r\n", "\r\n\r\n", "P", "POST /v1/customers/acme/charges HTTP/1.1\r\nho", "\0", "nonsense\r\n"]
            .into_iter()
            .enumerate()
    {
        let text = asked(address, format!("{}{more}", charge(&format!("m{n}"))).as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 201 "), "{more:?}: {text}");
    }
    // Those that came together are answered in order, all of them.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let together: String = (0..20).map(|n| charge(&format!("p{n}"))).collect();
    stream.write_all(together.as_bytes()).await.unwrap();
    let mut all = String::new();
    while all.matches("HTTP/1.1 201 ").count() < 20 || all.matches("\"entry\"").count() < 20 {
        let more = tokio::time::timeout(SOON, answer(&mut stream)).await.expect("all are answered");
        assert!(!more.is_empty(), "{all}");
        all.push_str(&more);
    }
}

#[tokio::test]
async fn a_malformed_head_is_answered() {
    let server = Server::with_acme().await;
    let address = listening(&server).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: test\r\n";
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for (bytes, status) in [
        (format!("{get}{}\r\n", headers(99)), 200),
        (format!("{get}{}\r\n", headers(100)), 431),
        (format!("{get}{}\r\n", headers(1_000)), 431),
        (format!("{get}x: {}\r\n\r\n", "y".repeat(30 << 10)), 200),
        (format!("{get}x: {}\r\n\r\n", "y".repeat(40 << 10)), 431),
        // It is still being sent when it is refused.
        (format!("{get}x: {}\r\n\r\n", "y".repeat(4 << 20)), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "u".repeat(20 << 10)), 404),
        (format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "u".repeat(100 << 10)), 431),
        ("G<T / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3.7\r\nhost: test\r\n\r\n".to_owned(), 400),
        ("GET /\u{7} HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 400),
        (format!("{get}no colon\r\n\r\n"), 400),
        (format!("{get}: no name\r\n\r\n"), 400),
        (format!("{get}content-length: -1\r\n\r\n"), 400),
        (format!("{get}content-length: 1\r\ncontent-length: 2\r\n\r\n"), 400),
        (format!("{get}transfer-encoding: gzip\r\n\r\n"), 400),
        ("\0\u{ff} nonsense\r\n\r\n".to_owned(), 400),
        ("BREW /healthz HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 405),
    ] {
        let text = asked(address, bytes.as_bytes()).await;
        let shown = &bytes[..bytes.len().min(80)];
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {text:?}");
    }
}

/// As a balancer does it: many kept connections, which are used until an answer says that it was the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_on_a_kept_connection_fails_while_draining() {
    let server = Arc::new(Server::with_acme().await);
    for round in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Draining is for good, so each round has routes of its own.
        let routes = server.more_routes();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(proviso_server::serve(listener, routes, async {
            let _ = stopped.await;
        }));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..50 {
            clients.spawn(async move {
                let (mut answered, mut said_close) = (0_u32, 0_u32);
                // A port that is closed is tried elsewhere.
                while let Ok(mut stream) = TcpStream::connect(address).await {
                    loop {
                        let key = format!("r{round}-{client}-{answered}");
                        stream.write_all(charge(&key).as_bytes()).await.unwrap();
                        let text = answer(&mut stream).await;
                        assert!(text.starts_with("HTTP/1.1 201 "), "request {answered}: {text:?}");
                        answered += 1;
                        if text.to_lowercase().contains("\r\nconnection: close\r\n") {
                            said_close += 1;
                            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "and it closes");
                            break;
                        }
                    }
                }
                (answered, said_close)
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.send(()).unwrap();
        let results = clients.join_all().await;
        assert!(results.iter().all(|(answered, said_close)| *answered > 1 && *said_close > 0), "{results:?}");
        tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn shutdown_answers_what_was_accepted_and_ends() {
    let server = Server::with_acme().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(proviso_server::serve(listener, server.routes.clone(), async {
        let _ = stopped.await;
    }));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(charge("idle").as_bytes()).await.unwrap();
    answer(&mut idle).await;
    // A request is half sent when the shutdown begins.
    let mut busy = TcpStream::connect(address).await.unwrap();
    let request = charge("busy");
    let (first, second) = request.split_at(request.len() / 2);
    busy.write_all(first.as_bytes()).await.unwrap();
    let mut fresh = TcpStream::connect(address).await.unwrap();
    fresh.write_all(charge("fresh").as_bytes()).await.unwrap();
    server.get("/readyz").await.expect(200);
    stop.send(()).unwrap();
    // A balancer is told while the port still answers.
    let told = async {
        loop {
            let told = server.get("/readyz").await;
            if told.status != 200 {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("it says so");
    assert_eq!(told.header("retry-after"), Some("1"));
    told.refuses(503, "draining");
    server.get("/healthz").await.expect(200);
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(charge("late").as_bytes()).await.unwrap();
    assert!(answer(&mut late).await.starts_with("HTTP/1.1 201 "));
    assert!(answer(&mut fresh).await.starts_with("HTTP/1.1 201 "));
    busy.write_all(second.as_bytes()).await.unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 201 "));
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "idle connections are closed");
    assert!(TcpStream::connect(address).await.is_err());
}
