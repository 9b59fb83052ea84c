//! Durable charges in process: one transaction for each charge against lanes with group commit, spread over many
//! customers and on one hot customer, each with a decision in a fresh instance of the standard policy.
//!
//! `cargo bench -p proviso-engine` prints the table. Compare the rows with each other, not with another machine's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "a benchmark measures time and may stop where it stands"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use proviso_engine::command::Command;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::Host;
use tokio::task::JoinSet;

const SPREAD: u64 = 10_000;
const ROUNDS: usize = 3;
const RUN: Duration = Duration::from_secs(3);

/// 50 rates, of which the charges use one.
fn settings() -> serde_json::Value {
    let mut rates = vec![serde_json::json!({
        "feature": "chat", "quantity": "input_tokens", "price": {"per_unit": "0.001"}
    })];
    for number in 1..50 {
        rates.push(serde_json::json!({
            "feature": format!("feature-{number}"), "quantity": "input_tokens", "price": {"per_unit": "0.002"}
        }));
    }
    serde_json::json!({"rates": rates, "reset": {"allowance": [{"amount": "1000000"}]}})
}

struct Row {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

async fn run(host: &Arc<Host>, clients: u64, customers: u64, keys: &Arc<AtomicU64>) -> Row {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (host, keys) = (host.clone(), keys.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut number = client.wrapping_mul(7_919);
            while began.elapsed() < RUN {
                number =
                    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let customer = format!("c{}", (number >> 33) % customers);
                let key = format!("key-{}", keys.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                let charge: Command = support::charge(3);
                host.entry(&customer, charge, Some(&key)).await.unwrap();
                latencies.push(sent.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Row {
        rate: latencies.len() as f64 / elapsed,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

#[tokio::main]
async fn main() {
    let host = Host::start().await.with_plan().await;
    host.put_plan(settings()).await;
    let host = Arc::new(host);
    let mut makers = JoinSet::new();
    for maker in 0..64 {
        let host = host.clone();
        makers.spawn(async move {
            for number in (maker..SPREAD).step_by(64) {
                host.customer(&format!("c{number}"), Some("pro")).await;
            }
        });
    }
    makers.join_all().await;
    let keys = Arc::new(AtomicU64::new(0));
    let cases: [(&str, u64, u64); 5] = [
        ("one transaction for each charge, 10,000 customers", 1, SPREAD),
        ("one transaction for each charge, one customer", 1, 1),
        ("64 at once, 10,000 customers", 64, SPREAD),
        ("64 at once, one hot customer", 64, 1),
        ("512 at once, 10,000 customers", 512, SPREAD),
    ];
    let mut rows: Vec<Vec<Row>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (case, rows) in cases.iter().zip(&mut rows) {
            rows.push(run(&host, case.1, case.2, &keys).await);
        }
    }
    println!(
        "{:<52} {:>10} {:>8} {:>10} {:>10}",
        "median of 3 runs of 3 s", "charges/s", "ratio", "p50 ms", "p99 ms"
    );
    let mut base = None;
    for (case, mut rows) in cases.iter().zip(rows) {
        rows.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let median = &rows[ROUNDS / 2];
        let base = *base.get_or_insert(median.rate);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{:<52} {:>10.0} {:>8.2} {:>10.2} {:>10.2}",
            case.0,
            median.rate,
            median.rate / base,
            ms(median.p50),
            ms(median.p99)
        );
    }
}
