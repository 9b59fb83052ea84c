//! A server in this process: the real router, engine, database file and standard policy, under a virtual clock.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod documented;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request},
};
use http_body_util::BodyExt as _;
use proviso_engine::{Clock, Engine, NewApiKey, Options, PolicyKey, catalog::Scope};
pub use proviso_fixtures::policies::STANDARD;
use proviso_fixtures::{cluster, policies::runtime};
use proviso_ledger::model::time::Timestamp;
use proviso_server::{ConnectionLimits, Rates, Routes, ServerOptions, router};
use proviso_store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store};
use serde_json::{Value, json};
use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tower::ServiceExt as _;

pub const START: &str = "2026-01-15T10:00:00Z";
pub const ADMIN: &str = "admin-secret";

/// A server under test.
pub struct Server {
    pub routes: Routes,
    pub engine: Arc<Engine>,
    pub clock: Clock,
    posts: AtomicU64,
    _dir: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The problem's code, after checking that it is a problem through and through.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for field in ["type", "title", "detail", "instance", "code"] {
            assert!(problem[field].is_string(), "{field} in {problem}");
        }
        problem["code"].as_str().unwrap().to_owned()
    }

    /// The pointers of the problem's errors.
    pub fn pointers(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self.json()
    }
}

/// A request in the making.
pub struct Ask<'a> {
    server: &'a Server,
    request: axum::http::request::Builder,
    body: Body,
    secret: Option<String>,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn by(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    pub fn anonymous(mut self) -> Self {
        self.secret = None;
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").raw(body.to_string())
    }

    pub fn raw(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and holds every problem in the answer against what the API document lists for the operation.
    pub async fn send(mut self) -> Answer {
        if let Some(secret) = &self.secret {
            self.request = self.request.header("authorization", format!("Bearer {secret}"));
        }
        let request = self.request.body(self.body).unwrap();
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let answer = self.server.answer(request).await;
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{method} {path}");
        if answer.header("content-type").is_some_and(|found| found.contains("json"))
            && path != "/openapi.json"
        {
            documented::Operations::of(self.server).await.check(&method, &path, &answer);
        }
        answer
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::limited(ConnectionLimits::default(), Rates::default()).await
    }

    /// With other limits than the default ones.
    pub async fn limited(connections: ConnectionLimits, rates: Rates) -> Self {
        Self::with(connections, rates, None).await
    }

    /// One that takes modules with a signature by one of these keys only.
    pub async fn taking_signed(keys: Vec<PolicyKey>) -> Self {
        Self::with(ConnectionLimits::default(), Rates::default(), Some(keys)).await
    }

    async fn with(connections: ConnectionLimits, rates: Rates, policy_keys: Option<Vec<PolicyKey>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = START.parse().unwrap();
        let clock = Clock::new(move || start);
        let store = store(dir.path()).await;
        let options = Options {
            lanes: NonZeroUsize::new(2).unwrap(),
            sweep_every: Duration::from_secs(3_600),
            policy_keys,
            ..Options::default()
        };
        let engine = Engine::start(store, runtime(), clock.clone(), options).await.expect("it starts");
        let scopes = [Scope::Admin].into();
        engine
            .add_api_key(ADMIN, NewApiKey { name: "first".to_owned(), scopes, ..NewApiKey::default() }, None)
            .await
            .unwrap();
        let routes = router(engine.clone(), options_of(connections, rates));
        Self { routes, engine, clock, posts: AtomicU64::new(0), _dir: dir }
    }

    /// Other routes over the same engine.
    pub fn more_routes(&self) -> Routes {
        router(self.engine.clone(), options_of(ConnectionLimits::default(), Rates::default()))
    }

    /// With a policy, a monthly plan `pro` (0.001 for an input token, 1,000 credits a month), and a customer `acme` on it.
    pub async fn with_acme() -> Self {
        Self::start().await.and_acme().await
    }

    /// See [`Self::with_acme`].
    pub async fn and_acme(self) -> Self {
        let server = self;
        server.upload("standard").await.expect(201);
        server.put("/v1/plans/pro", &plan("0.001", "1000")).await.expect(201);
        server.put("/v1/customers/acme", &json!({"name": "Acme", "plan": "pro"})).await.expect(201);
        server
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.routes.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let request = Request::builder().method(method).uri(path);
        Ask { server: self, request, body: Body::empty(), secret: Some(ADMIN.to_owned()) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path).send().await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path).json(body).send().await
    }

    /// With an idempotency key of its own.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let key = self.posts.fetch_add(1, Ordering::Relaxed);
        self.ask("POST", path).key(&format!("post-{key}")).json(body).send().await
    }

    pub async fn upload(&self, policy: &str) -> Answer {
        let ask = self.ask("POST", &format!("/v1/policies/{policy}/versions"));
        ask.header("content-type", "application/wasm").raw(STANDARD.clone()).send().await
    }

    /// Charges input tokens to `acme`.
    pub async fn charge(&self, key: &str, tokens: u64) -> Answer {
        self.ask("POST", "/v1/customers/acme/charges").key(key).json(&usage(tokens)).send().await
    }

    pub async fn now(&self, now: &str) {
        self.post("/v1/test_clock", &json!({ "now": now })).await.expect(200);
    }

    /// A new API key's secret.
    pub async fn secret(&self, body: &Value) -> String {
        let made = self.post("/v1/api_keys", body).await.expect(201);
        made["secret"].as_str().unwrap().to_owned()
    }
}

/// A file; or, in the test crate that runs the tests of others once more, a PostgreSQL database.
async fn store(dir: &Path) -> Arc<dyn Store> {
    if env!("CARGO_CRATE_NAME") == "postgres" {
        let cluster = cluster::shared();
        let options = PostgresOptions::new(&cluster.url(&cluster.create_database())).unwrap();
        return Arc::new(PostgresStore::open(options).await.unwrap());
    }
    Arc::new(SqliteStore::open(SqliteOptions::new(dir.join("proviso.db"))).await.unwrap())
}

fn options_of(connections: ConnectionLimits, rates: Rates) -> ServerOptions {
    let secrets = AtomicU64::new(0);
    let stopwatch = AtomicU64::new(0);
    ServerOptions {
        separate_operations: false,
        test_clock: true,
        max_body_bytes: ServerOptions::MAX_BODY_BYTES,
        connections,
        rates,
        new_secret: Arc::new(move || format!("secret-{}", secrets.fetch_add(1, Ordering::Relaxed))),
        stopwatch: Arc::new(move || stopwatch.fetch_add(1_000, Ordering::Relaxed)),
        instance: "test".to_owned(),
    }
}

pub fn usage(tokens: u64) -> Value {
    json!({ "feature": "chat", "quantities": { "input_tokens": tokens } })
}

/// Settings of the standard policy: a price for input tokens and a monthly allowance.
pub fn settings(price: &str, allowance: &str) -> Value {
    json!({
        "rates": [{ "feature": "chat", "quantity": "input_tokens", "price": { "per_unit": price } }],
        "reset": { "allowance": [{ "amount": allowance }] }
    })
}

pub fn plan(price: &str, allowance: &str) -> Value {
    json!({
        "name": "Pro",
        "interval": "month",
        "entitlements": {
            "chat": { "type": "metered" },
            "seats": { "type": "static", "value": 25 },
            "export": { "type": "boolean", "value": false }
        },
        "terms": { "policy": "standard", "settings": settings(price, allowance) }
    })
}
