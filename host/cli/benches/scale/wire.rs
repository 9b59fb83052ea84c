//! One connection to a host, kept open. Written by hand, since a general client would take
//! more of the machine than the host under test.

use serde_json::Value;
use std::io::Write as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The admin key of every host under test.
pub const ADMIN_KEY: &str = "admin-key-of-the-benchmarks";

/// A connection.
pub struct Wire {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// An answer; its body lies in the connection until the next request.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The body of an answer that says yes; any other ends the benchmark.
    pub fn yes(self) -> Self {
        let Self { status, body } = self;
        assert!(
            (200..300).contains(&status),
            "the host answered {status}: {}",
            String::from_utf8_lossy(body)
        );
        self
    }

    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body).expect("the host answers in JSON")
    }
}

impl Wire {
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the host accepts connections");
        stream.set_nodelay(true).unwrap();
        Self { stream, sent: Vec::with_capacity(1 << 10), received: Vec::with_capacity(64 << 10) }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Answer<'_> {
        self.sent.clear();
        write!(
            self.sent,
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {ADMIN_KEY}\r\n\
             content-type: {content_type}\r\ncontent-length: {}\r\n",
            body.len()
        )
        .unwrap();
        if let Some(key) = key {
            write!(self.sent, "idempotency-key: {key}\r\n").unwrap();
        }
        self.sent.extend_from_slice(b"\r\n");
        self.sent.extend_from_slice(body);
        self.stream.write_all(&self.sent).await.expect("the host reads");
        let (head, length) = self.receive().await;
        let status = std::str::from_utf8(&self.received[9..12]).unwrap().parse().unwrap();
        Answer { status, body: &self.received[head..length] }
    }

    pub async fn get(&mut self, path: &str) -> Answer<'_> {
        self.send("GET", path, "application/json", None, b"").await
    }

    pub async fn put(&mut self, path: &str, body: &Value) -> Answer<'_> {
        self.send("PUT", path, "application/json", None, body.to_string().as_bytes()).await
    }

    pub async fn post(&mut self, path: &str, key: &str, body: &Value) -> Answer<'_> {
        self.send("POST", path, "application/json", Some(key), body.to_string().as_bytes()).await
    }

    pub async fn upload(&mut self, policy: &str, module: &[u8]) -> Answer<'_> {
        let path = format!("/v1/policies/{policy}/versions");
        self.send("POST", &path, "application/wasm", None, module).await
    }

    /// Reads one answer; returns where its body begins and ends.
    async fn receive(&mut self) -> (usize, usize) {
        self.received.clear();
        let (head, length) = loop {
            self.more().await;
            if let Some(found) = body_of(&self.received) {
                break found;
            }
        };
        while self.received.len() < length {
            self.more().await;
        }
        (head, length)
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.received).await.expect("the host answers");
        assert!(read > 0, "the host closed a connection");
    }
}

/// Where the body begins and ends, once the answer's head is there.
fn body_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some((head, head + length.map_or(0, |length| length.parse::<usize>().unwrap())))
}
