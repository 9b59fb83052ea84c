//! State that all handlers share: the engine, the options, the metrics and the rendered API document.

use crate::{
    ConnectionLimits, Rates,
    extract::{BodyMemory, Parameters},
    metrics::Metrics,
    problem::Problem,
    rates::{Limiter, Limiters, TooMany},
};
use axum::body::Bytes;
use proviso_engine::{
    Engine,
    catalog::ApiKey,
    command::{Outcome, Reply, Request},
};
use proviso_ledger::model::{ids::CustomerId, time::Timestamp};
use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Settings of the server, and what it needs from the binary.
#[derive(Clone)]
pub struct ServerOptions {
    /// Whether health, readiness and metrics have an address of their own.
    pub separate_operations: bool,
    /// Whether `/v1/test_clock` is served.
    pub test_clock: bool,
    /// The largest JSON body that is read, in bytes. A module may be as large as the policies' own limit.
    pub max_body_bytes: usize,
    /// How many connections may be open.
    pub connections: ConnectionLimits,
    /// How many requests are taken.
    pub rates: Rates,
    /// Gives a new secret for an API key. Randomness comes from the binary.
    pub new_secret: Arc<dyn Fn() -> String + Send + Sync>,
    /// A monotonic clock in microseconds, to measure with.
    pub stopwatch: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Tells the request ids of this process from those of others; visible ASCII.
    pub instance: String,
}

impl ServerOptions {
    /// The largest JSON body that is read by default: 1 MiB.
    pub const MAX_BODY_BYTES: usize = 1 << 20;
}

/// The state of all handlers.
pub struct App {
    pub engine: Arc<Engine>,
    pub options: ServerOptions,
    pub metrics: Metrics,
    pub openapi: Bytes,
    /// Whether the host is about to end: requests are still answered, but should go to another host.
    pub draining: AtomicBool,
    pub limiters: Limiters,
    pub bodies: BodyMemory,
    /// What each operation may be asked with.
    pub parameters: Parameters,
    requests: AtomicU64,
}

impl App {
    pub fn new(engine: Arc<Engine>, options: ServerOptions, document: &utoipa::openapi::OpenApi) -> Self {
        let metrics = Metrics::new(engine.clone(), document.paths.paths.keys().cloned());
        let openapi = serde_json::to_vec(document).unwrap_or_default().into();
        let limiters = Limiters::new(options.rates, &options.stopwatch);
        let (draining, requests) = (AtomicBool::new(false), AtomicU64::new(0));
        Self {
            engine,
            options,
            metrics,
            openapi,
            draining,
            limiters,
            bodies: BodyMemory::default(),
            parameters: Parameters::of(document),
            requests,
        }
    }

    /// Carries a command out that ends in an entry.
    pub async fn record(&self, request: Request) -> Result<Outcome, Problem> {
        match self.engine.execute(request).await? {
            Reply::Entry(outcome) => Ok(outcome),
            other => Err(Problem::internal(format!("a command was answered with {other:?}"))),
        }
    }

    /// The host's time; for what is shown of a customer, no earlier than its last entry.
    pub fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// Counts a request of an API key.
    pub fn limit_key(&self, key: &ApiKey) -> Result<(), Problem> {
        self.limit(self.limiters.of_key.as_ref(), "an API key", &key.id)
    }

    /// Counts a request for a customer.
    pub fn limit_customer(&self, customer: &CustomerId) -> Result<(), Problem> {
        self.limit(self.limiters.of_customer.as_ref(), "a customer", customer)
    }

    fn limit(&self, limiter: Option<&Limiter>, of: &str, id: impl Hash) -> Result<(), Problem> {
        let Some(limiter) = limiter else { return Ok(()) };
        limiter.count(id).map_err(|TooMany { rate, wait_seconds }| {
            self.metrics.limited();
            Problem::too_many_requests(of, rate, wait_seconds)
        })
    }

    /// A name for a request that came without one.
    pub fn new_request_id(&self) -> String {
        format!("{}-{}", self.options.instance, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}
