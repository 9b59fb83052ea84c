//! What changes when customers and journals grow: a charge's latency, the host's memory, and its start.

use crate::{
    Options,
    fill::{self, Size},
    host::Host,
    load::{Command, Draw, Latency, Load, Pace},
    place::{Database, Place},
    population::Population,
    table::{Table, median, ms, number},
};
use std::{fs, sync::Arc, time::Instant};

/// Charges a second while latency is measured: few enough to queue nowhere.
const CHARGES: f64 = 1_000.0;
/// Customers whose states the host may keep, so that the larger databases don't fit.
const CACHED: &str = "10000";
/// Customers of the rows in which every state is in memory.
const WARM: usize = 1_000;

/// Entries of the larger databases, unless said otherwise.
const FEW: usize = 1_000_000;
const MANY: usize = 10_000_000;
/// Entries of a customer in the largest one.
const ENTRIES_EACH: usize = 10;

pub async fn run(options: &Options) {
    let entries = options.count.unwrap_or(if options.long { MANY } else { FEW });
    let customers = entries / ENTRIES_EACH;
    let sizes = [
        Size { customers: WARM, entries: 10_000 },
        Size { customers: WARM, entries },
        Size { customers, entries },
    ];
    let mut grown = Vec::new();
    for database in Database::chosen(options) {
        for size in sizes {
            grown.push(Grown::open(options, &database, size).await);
        }
    }
    for _ in 0..options.rounds {
        for grown in &mut grown {
            grown.round(options).await;
        }
    }
    for grown in &mut grown {
        grown.touch_all(options).await;
        grown.start_after_a_kill().await;
    }
    print(&grown);
}

/// A database of a size, and what was seen with it.
struct Grown {
    database: Database,
    size: Size,
    place: Place,
    fill_seconds: f64,
    start_ms: Vec<f64>,
    idle_mb: Vec<f64>,
    warm: Vec<Latency>,
    any: Vec<Latency>,
    touched_mb: f64,
    crashed_start_ms: f64,
}

impl Grown {
    async fn open(options: &Options, database: &Database, size: Size) -> Self {
        let place = Place::named(
            database,
            options.keep.as_deref(),
            &format!("growth-{}-{}", size.customers, size.entries),
        );
        let (filled, began) = (place.path().join("filled"), Instant::now());
        if !filled.exists() {
            assert!(
                !place.path().join("proviso.db").exists(),
                "{} was left half filled",
                place.path().display()
            );
            let url = place.database_url().to_owned();
            tokio::task::spawn_blocking(move || fill::fill(&url, size))
                .await
                .expect("the database is filled");
            fs::write(filled, "").unwrap();
        }
        let seconds = began.elapsed().as_secs_f64();
        let grown = Self {
            database: database.clone(),
            size,
            place,
            fill_seconds: seconds,
            start_ms: Vec::new(),
            idle_mb: Vec::new(),
            warm: Vec::new(),
            any: Vec::new(),
            touched_mb: 0.0,
            crashed_start_ms: 0.0,
        };
        // The first start of all compiles the policy; those after it, which are measured, find it compiled.
        let (host, _) = grown.start().await;
        host.stop().await;
        grown
    }

    /// Starts a host; returns it with the milliseconds until it has answered its first charge.
    async fn start(&self) -> (Host, f64) {
        let began = Instant::now();
        let host = self.place.serve(&["--cached-customers", CACHED]).await;
        let body = serde_json::json!({"feature": "chat", "quantities": {"input_tokens": 1}});
        let key = format!("{:016x}", Draw::seeded().next());
        let mut wire = host.wire().await;
        wire.post(&format!("/v1/customers/c{}/charges", self.size.customers - 1), &key, &body).await.yes();
        (host, began.elapsed().as_secs_f64() * 1e3)
    }

    async fn round(&mut self, options: &Options) {
        let (host, start_ms) = self.start().await;
        self.start_ms.push(start_ms);
        self.idle_mb.push(host.process().footprint().resident_mb);
        for (count, latencies) in [(WARM, &mut self.warm), (self.size.customers, &mut self.any)] {
            let population = Arc::new(Population::known(&mut host.wire().await, "c", count).await);
            let paced =
                Load { pace: Pace::Open(CHARGES), ..Load::charges(&host, &population, options.connections) };
            // Each of the warm ones is loaded before it is measured.
            if count == WARM {
                paced.run(2.0).await;
            }
            latencies.push(paced.run(options.seconds).await.latency());
            population.verify(&mut host.wire().await).await;
        }
        host.stop().await;
    }

    /// Memory after every customer was asked about at random, twice on average.
    async fn touch_all(&mut self, options: &Options) {
        let (host, _) = self.start().await;
        let population = Arc::new(Population::known(&mut host.wire().await, "c", self.size.customers).await);
        let checks =
            Load { command: Command::Check, ..Load::charges(&host, &population, options.connections) };
        let mut touched = 0;
        while touched < self.size.customers * 2 {
            touched += checks.run(1.0).await.count();
        }
        self.touched_mb = host.process().footprint().resident_mb;
        let charges = Load::charges(&host, &population, options.connections);
        charges.run(1.0).await;
        host.kill().await;
    }

    async fn start_after_a_kill(&mut self) {
        let (host, start_ms) = self.start().await;
        self.crashed_start_ms = start_ms;
        host.stop().await;
    }
}

fn print(grown: &[Grown]) {
    let mut table = Table::new(&[
        "customers / entries",
        "filled in s",
        "1,000 customers: p50 ms",
        "p99 ms",
        "all customers: p50 ms",
        "p99 ms",
        "start ms",
        "start after a kill ms",
        "idle MB",
        "all touched MB",
    ]);
    for grown in grown {
        let (warm, any) = (Latency::median(&grown.warm), Latency::median(&grown.any));
        table.row([
            format!("{}, {} / {}", grown.database.name(), grown.size.customers, grown.size.entries),
            number(grown.fill_seconds, 0),
            ms(warm.p50),
            ms(warm.p99),
            ms(any.p50),
            ms(any.p99),
            number(median(grown.start_ms.iter().copied()), 0),
            number(grown.crashed_start_ms, 0),
            number(median(grown.idle_mb.iter().copied()), 0),
            number(grown.touched_mb, 0),
        ]);
    }
    table.print();
}
