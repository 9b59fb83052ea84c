//! Counts of requests, in Prometheus' text format. Counting takes a few atomic additions; nothing is kept for a request.

use axum::http::{Method, StatusCode};
use proviso_engine::EngineStats;
use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

/// The upper bounds of the histogram's buckets, in microseconds.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];
const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS];
/// Requests that met no route.
const ELSEWHERE: &str = "none";

/// All counters.
pub struct Metrics {
    routes: HashMap<String, Route>,
    elsewhere: Route,
    in_flight: AtomicU64,
}

/// One route's counters.
#[derive(Default)]
struct Route {
    methods: [Counters; METHODS.len()],
    other_methods: Counters,
}

#[derive(Default)]
struct Counters {
    /// By the hundreds of the status, 1xx to 5xx.
    statuses: [AtomicU64; 5],
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
}

impl Metrics {
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        let routes = routes.map(|route| (route, Route::default())).collect();
        Self { routes, elsewhere: Route::default(), in_flight: AtomicU64::new(0) }
    }

    /// Counts a request in.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, micros: u64) {
        let route = route.and_then(|route| self.routes.get(route)).unwrap_or(&self.elsewhere);
        let place = METHODS.iter().position(|known| known == method);
        let counters = place.and_then(|place| route.methods.get(place)).unwrap_or(&route.other_methods);
        let hundreds = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = counters.statuses.get(hundreds) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = counters.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        counters.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All counters as text, with the engine's.
    pub fn render(&self, stats: &EngineStats) -> String {
        let mut text = String::with_capacity(16 << 10);
        let mut single = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        single(
            "proviso_journal_entries_total",
            "counter",
            "Entries made durable since the start.",
            stats.entries(),
        );
        single("proviso_commits_total", "counter", "Transactions that made them durable.", stats.batches());
        let help =
            "Batches that were decided again, since another host or a change of the catalog came first.";
        single("proviso_commit_conflicts_total", "counter", help, stats.conflicts());
        let help =
            "Batches and changes that were given up: the database failed, or others were always first.";
        single("proviso_write_failures_total", "counter", help, stats.write_failures());
        let help = "Customers for whom what is due could not be written; each is tried again later.";
        single("proviso_sweep_failures_total", "counter", help, stats.sweep_failures());
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        single("proviso_http_requests_in_flight", "gauge", "Requests that are being answered.", in_flight);
        let mut requests = String::from(
            "# HELP proviso_http_requests_total Requests that were answered.\n# TYPE proviso_http_requests_total counter\n",
        );
        let mut seconds = String::from(
            "# HELP proviso_http_request_seconds Time to the answer's head.\n# TYPE proviso_http_request_seconds histogram\n",
        );
        let mut routes: Vec<_> = self.routes.iter().map(|(name, route)| (name.as_str(), route)).collect();
        routes.push((ELSEWHERE, &self.elsewhere));
        routes.sort_by_key(|(name, _)| *name);
        for (name, route) in routes {
            let methods = METHODS.iter().map(Method::as_str).zip(&route.methods);
            for (method, counters) in methods.chain([("other", &route.other_methods)]) {
                counters.render(
                    &format!("route=\"{name}\",method=\"{method}\""),
                    &mut requests,
                    &mut seconds,
                );
            }
        }
        text + &requests + &seconds
    }
}

impl Counters {
    fn render(&self, labels: &str, requests: &mut String, seconds: &mut String) {
        let statuses: Vec<u64> = self.statuses.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = statuses.iter().sum();
        if total == 0 {
            return;
        }
        for (hundreds, count) in (1..).zip(statuses).filter(|(_, count)| *count > 0) {
            let _ =
                writeln!(requests, "proviso_http_requests_total{{{labels},status=\"{hundreds}xx\"}} {count}");
        }
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let bound = in_seconds(*bound);
            let _ =
                writeln!(seconds, "proviso_http_request_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let sum = in_seconds(self.micros.load(Ordering::Relaxed));
        let _ = writeln!(seconds, "proviso_http_request_seconds_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(seconds, "proviso_http_request_seconds_sum{{{labels}}} {sum}");
        let _ = writeln!(seconds, "proviso_http_request_seconds_count{{{labels}}} {total}");
    }
}

fn in_seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// A request that is being answered; one that is given up counts as ended, but as nothing else.
pub struct InFlight<'a>(&'a Metrics);

impl InFlight<'_> {
    /// Counts the answer.
    pub fn end(self, route: Option<&str>, method: &Method, status: StatusCode, micros: u64) {
        self.0.count(route, method, status, micros);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let metrics = Metrics::new(["/a".to_owned()].into_iter());
        for (route, status, micros) in [(Some("/a"), 201, 90), (Some("/a"), 402, 260), (None, 404, 9_000_000)]
        {
            metrics.begin().end(route, &Method::POST, StatusCode::from_u16(status).unwrap(), micros);
        }
        let text = metrics.render(&EngineStats::default());
        for line in [
            "proviso_journal_entries_total 0",
            "proviso_commits_total 0",
            "proviso_http_requests_in_flight 0",
            "proviso_http_requests_total{route=\"/a\",method=\"POST\",status=\"2xx\"} 1",
            "proviso_http_requests_total{route=\"/a\",method=\"POST\",status=\"4xx\"} 1",
            "proviso_http_request_seconds_bucket{route=\"/a\",method=\"POST\",le=\"0.000250\"} 1",
            "proviso_http_request_seconds_bucket{route=\"/a\",method=\"POST\",le=\"0.000500\"} 2",
            "proviso_http_request_seconds_sum{route=\"/a\",method=\"POST\"} 0.000350",
            "proviso_http_request_seconds_bucket{route=\"none\",method=\"POST\",le=\"5.000000\"} 0",
            "proviso_http_request_seconds_count{route=\"none\",method=\"POST\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
