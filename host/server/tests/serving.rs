//! Real connections: keep-alive, shutdown that answers what was accepted, and panics that stay inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{future::pending, time::Duration};
use support::{ADMIN, Server, usage};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(proviso_server::serve(listener, server.routes.clone(), pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for n in 3..6 {
        stream.write_all(charge(&format!("k{n}")).as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 201 ") && text.contains(&format!("\"entry\":{n}")), "{text}");
    }
    // What is no HTTP at all ends its own connection and nothing else.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\0\xff nonsense\r\n\r\n").await.unwrap();
    assert!(!answer(&mut stream).await.contains(" 20"));
    // A body that is too large is read past, so that the client gets to see the answer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = charge("large").replace("content-length: ", "content-length: 10485760\r\nx-was: ");
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 10 << 20]).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413 "));
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
    while server.get("/readyz").await.status == 200 {
        tokio::task::yield_now().await;
    }
    let told = server.get("/readyz").await;
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
