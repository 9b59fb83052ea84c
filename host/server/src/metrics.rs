//! Counts of requests and of what the engine wrote, in the text format of OpenMetrics. Counting a request takes a few
//! atomic additions.

use axum::http::{Method, StatusCode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use proviso_engine::{Engine, EngineStats};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// All metrics.
pub struct Metrics {
    registry: Registry,
    /// The label of each route.
    routes: HashMap<String, Arc<String>>,
    /// The label of requests whose path is no route.
    no_route: Arc<String>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    refused_connections: Counter,
    limited: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<String>,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<String>,
    method: &'static str,
}

impl Metrics {
    pub fn new(engine: Arc<Engine>, routes: impl Iterator<Item = String>) -> Self {
        let mut registry = Registry::with_prefix("proviso");
        registry.register_collector(Box::new(OfEngine(engine)));
        let requests = Family::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(BOUNDS);
        let seconds = Family::new_with_constructor(histogram);
        let help = "Time to the answer's head";
        registry.register_with_unit("http_request", help, Unit::Seconds, seconds.clone());
        let in_flight = Gauge::default();
        registry.register("http_requests_in_flight", "Requests that are being answered", in_flight.clone());
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections", connections.clone());
        let refused_connections = Counter::default();
        let help = "Connections that were closed at once, since too many were open";
        registry.register("http_connections_refused", help, refused_connections.clone());
        let limited = Counter::default();
        let help = "Requests, and items of batches, of API keys or customers that make too many";
        registry.register("http_requests_limited", help, limited.clone());
        let routes = routes.map(|route| (route.clone(), Arc::new(route))).collect();
        Self {
            registry,
            routes,
            no_route: Arc::new("none".to_owned()),
            requests,
            seconds,
            in_flight,
            connections,
            refused_connections,
            limited,
        }
    }

    /// Counts a connection until it ends.
    pub fn connection_opened(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Counts a connection that was not let in.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// Counts what is refused since it is one too many.
    pub fn limited(&self) {
        self.limited.inc();
    }

    /// Counts a request that begins.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(self)
    }

    fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, micros: u64) {
        let route = route.and_then(|route| self.routes.get(route)).unwrap_or(&self.no_route);
        let (method, status) = (method_label(method), status_label(status));
        let labels = RequestLabels { route: route.clone(), method, status };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: route.clone(), method };
        self.seconds.get_or_create(&labels).observe(Duration::from_micros(micros).as_secs_f64());
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// A metric that can't be written, which is a defect.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 << 10);
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Known methods by name: what a client makes up must not become a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn status_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// The engine's own counts, read when they are asked for.
struct OfEngine(Arc<Engine>);

impl fmt::Debug for OfEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfEngine").field(self.0.stats()).finish()
    }
}

impl Collector for OfEngine {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats: &EngineStats = self.0.stats();
        for (name, help, value) in [
            ("journal_entries", "Entries made durable since the start", stats.entries()),
            ("commits", "Transactions that made them durable", stats.batches()),
            (
                "commit_conflicts",
                "Batches that were decided again, since another host or a change of the catalog came first",
                stats.conflicts(),
            ),
            (
                "write_failures",
                "Batches and changes of the catalog that were given up",
                stats.write_failures(),
            ),
            (
                "sweep_failures",
                "Attempts to write what is due for a customer that failed",
                stats.sweep_failures(),
            ),
            (
                "canary_rollbacks",
                "Canaries that this host ended since they passed a limit",
                stats.rollbacks(),
            ),
            (
                "halted_top_ups",
                "Alarms that top-ups are due and none is asked for, since they run away or payments fail",
                stats.halted_top_ups(),
            ),
            ("policy_faults", "Decisions in which a policy failed", stats.policy_faults()),
            (
                "missed_periods",
                "Ends and beginnings of periods that a policy's failure left undone, until they are made good",
                stats.missed_periods(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

/// A connection that is open.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request that is being answered; one that is given up counts as ended and as nothing else.
pub struct InFlight<'a>(&'a Metrics);

impl InFlight<'_> {
    /// Counts the answer.
    pub fn end(self, route: Option<&str>, method: &Method, status: StatusCode, micros: u64) {
        self.0.count(route, method, status, micros);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
