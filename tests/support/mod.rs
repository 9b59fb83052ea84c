//! The harness: starts the real binary on a free port with a folder of its own, and talks to it as a client would.
//! Nothing here knows the host's insides.

pub mod disk;
pub mod fleet;
pub mod process;
pub mod proxy;
pub mod random;
pub mod recount;
pub mod traffic;

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
pub use proviso_fixtures::{
    cluster,
    policies::{STANDARD, policy, repository},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Child,
};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_proviso");

/// The admin key of every host under test, unless it is given another one.
pub const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// How a host is started: with which data, on which database.
#[derive(Clone)]
pub struct Setup {
    /// Its folder.
    pub data: Arc<tempfile::TempDir>,
    database: Option<String>,
    admin_key: String,
    variables: Vec<(&'static str, String)>,
    program: Vec<String>,
}

impl Setup {
    /// In a fresh folder, with a database in it.
    pub fn new() -> Self {
        Self::within(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// In a folder, with the database that may be in it.
    pub fn within(data: Arc<tempfile::TempDir>) -> Self {
        Self {
            data,
            database: None,
            admin_key: ADMIN_KEY.to_owned(),
            variables: Vec::new(),
            program: vec![BINARY.to_owned()],
        }
    }

    /// In a fresh folder, on a database that other hosts may be using.
    pub fn on(database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::new() }
    }

    /// With another admin key; an empty one is none.
    pub fn admin_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.admin_key);
        self
    }

    /// With another variable of its environment.
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Started by another program, which is given the binary and its arguments.
    pub fn through(mut self, program: &[&str]) -> Self {
        self.program.splice(0..0, program.iter().map(|part| (*part).to_owned()));
        self
    }

    /// Starts a host and waits until it is ready.
    pub async fn start(&self) -> Host {
        // Built before any connection waits for it: a host closes one that says nothing for long.
        LazyLock::force(&STANDARD);
        let log_file = self.data.path().join("stderr.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_file).unwrap();
        let (program, arguments) = self.program.split_first().expect("a program");
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .arg("serve")
            .env("PROVISO_LISTEN", "127.0.0.1:0")
            .env("PROVISO_DATA_DIR", self.data.path())
            .env("PROVISO_ADMIN_KEY", &self.admin_key)
            .env("PROVISO_TEST_CLOCK", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            // An empty one sets nothing.
            .env("PROVISO_DATABASE_URL", self.database.as_deref().unwrap_or_default())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .expect("the host starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = || std::fs::read_to_string(&log_file).unwrap_or_default();
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the host ended: {}", log()));
        let address = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("the first line is {line:?}"))
            .to_owned();
        // Whatever else it prints must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Host { child, address, data: self.data.clone() }
    }
}

/// The time in so many minutes, by this machine's clock, as hosts read it.
pub fn minutes_ahead(minutes: u64) -> String {
    let when = format!("{minutes} minutes");
    let printed = Command::new("date").args(["-u", "+%FT%TZ", "-d", &when]).output().expect("date runs");
    String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()
}

/// A running host.
pub struct Host {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Its data.
    pub data: Arc<tempfile::TempDir>,
}

impl Host {
    /// A fresh host.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// A host on the data of an earlier one.
    pub async fn start_in(data: Arc<tempfile::TempDir>) -> Self {
        Setup::within(data).start().await
    }

    /// A client with the admin key.
    pub async fn client(&self) -> Client {
        Client::connect(&self.address, ADMIN_KEY).await.expect("the host accepts connections")
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id().expect("the host runs")
    }

    /// `kill -9`; returns its data.
    pub async fn kill(mut self) -> Arc<tempfile::TempDir> {
        self.child.kill().await.expect("the host can be killed");
        self.data.clone()
    }

    /// SIGTERM; returns how the host ended.
    pub async fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.process().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().await.unwrap()
    }
}

/// `proviso verify` on a folder of data: whether all agrees, and what it printed.
#[must_use]
pub fn verify(data: &Path) -> (bool, String) {
    verified(&[OsStr::new("--data-dir"), data.as_os_str()])
}

/// `proviso verify` on a database.
#[must_use]
pub fn verify_database(url: &str) -> (bool, String) {
    verified(&[OsStr::new("--database-url"), OsStr::new(url)])
}

fn verified(place: &[&OsStr]) -> (bool, String) {
    let (code, said) = run("verify", place);
    (code == Some(0), said)
}

/// A verb of the binary: its exit code, and what it said.
pub fn run(verb: &str, arguments: &[&OsStr]) -> (Option<i32>, String) {
    let output = Command::new(BINARY)
        .arg(verb)
        .args(arguments)
        .env_remove("PROVISO_DATABASE_URL")
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null when it was empty, a string when it was no JSON.
    pub body: Value,
    /// Its media type.
    pub content_type: String,
    /// Whether it was answered before.
    pub replayed: bool,
    /// When asking again makes sense, as the host says it.
    pub retry_after: Option<String>,
}

impl Answer {
    /// The body of an answer with this status; anything else ends the test.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "often only the status matters")]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The stable code of a problem.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    key: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(address: &str, key: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address: address.to_owned(), key: key.to_owned() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper::Error> {
        self.sender.ready().await?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        if !self.key.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a well-formed request");
        read(self.sender.send_request(request).await?).await
    }

    async fn json(&mut self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut headers = vec![(CONTENT_TYPE.as_str(), "application/json")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        self.send(method, path, &headers, body.to_string()).await.expect("the host answers")
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await.expect("the host answers")
    }

    /// PUT of JSON.
    pub async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.json(Method::PUT, path, None, &body).await
    }

    /// POST of JSON without a key.
    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, None, &body).await
    }

    /// POST of JSON with an idempotency key.
    pub async fn post_once(&mut self, path: &str, key: &str, body: Value) -> Answer {
        self.json(Method::POST, path, Some(key), &body).await
    }

    /// DELETE.
    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await.expect("the host answers")
    }

    /// Uploads a module as a version of a policy.
    pub async fn upload(&mut self, policy: &str, module: &[u8]) -> Answer {
        let path = format!("/v1/policies/{policy}/versions");
        let headers = [(CONTENT_TYPE.as_str(), "application/wasm")];
        self.send(Method::POST, &path, &headers, Bytes::copy_from_slice(module))
            .await
            .expect("the host answers")
    }

    /// The standard policy, uploaded, and a monthly plan `pro` on it.
    pub async fn set_up(&mut self) {
        self.upload("standard", &STANDARD).await.expect(201);
        self.set_up_plan().await;
    }

    /// A monthly plan `pro` on the standard policy's first version.
    pub async fn set_up_plan(&mut self) {
        let plan = serde_json::json!({
            "name": "Pro",
            "interval": "month",
            "entitlements": {"chat": {"type": "metered"}, "sso": {"type": "boolean", "value": false}},
            "terms": {"policy": "standard", "version": 1, "settings": settings("0.001")},
        });
        self.put("/v1/plans/pro", plan).await.expect(201);
    }

    /// A customer on plan `pro`.
    pub async fn customer(&mut self, customer: &str) {
        let body = serde_json::json!({"name": customer, "plan": "pro"});
        self.put(&format!("/v1/customers/{customer}"), body).await.expect(201);
    }

    /// Everything that a reader may ask about a customer's past.
    pub async fn seen(&mut self, customer: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in ["ledger?limit=1000", "balance", "usage?group_by=feature"] {
            let mut answer = self.get(&format!("/v1/customers/{customer}/{path}")).await.expect(200);
            // A balance is as of now.
            answer.as_object_mut().unwrap().remove("at");
            seen.push(answer);
        }
        seen
    }

    /// A charge of chat input tokens.
    pub async fn charge(&mut self, customer: &str, key: &str, tokens: u64) -> Answer {
        let body = serde_json::json!({"feature": "chat", "quantities": {"input_tokens": tokens}});
        self.post_once(&format!("/v1/customers/{customer}/charges"), key, body).await
    }
}

/// Settings of the standard policy: a price for chat tokens, an allowance of 1,000 each month.
#[must_use]
pub fn settings(per_token: &str) -> Value {
    serde_json::json!({
        "rates": [
            {"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": per_token}},
            {"feature": "chat", "quantity": "output_tokens", "price": {"per_unit": "0.002"}},
        ],
        "reset": {"allowance": [{"amount": "1000"}]},
    })
}

async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (content_type, replayed) = (header("content-type"), header("idempotency-replayed") == "true");
    let retry_after = Some(header("retry-after")).filter(|value| !value.is_empty());
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    };
    Ok(Answer { status, body, content_type, replayed, retry_after })
}
