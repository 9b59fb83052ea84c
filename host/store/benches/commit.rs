//! How fast entries become durable: by batch size, number of customers and concurrent batches.
//!
//! Each lane does what an engine does when no other host writes: it commits without loading. The latencies are the commits'.
//! `cargo bench -p proviso-store` prints one line for each case; arguments (`-- batch customers lanes entries`, in this
//! order, all of them) run a single one. With the address of a PostgreSQL server first (`-- postgres://…`), each case
//! runs in a new database of its own there, which is dropped afterwards. A line's first case, one charge a transaction
//! with no other one waiting, is the base to divide by: a disk shared with others changes all of them alike.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::cast_precision_loss
)]

use proviso_ledger::model::{
    ids::{CustomerId, Digest},
    time::Timestamp,
};
use proviso_store::{
    Batch, Commit, DatabaseUrl, NewEntry, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const BODY_BYTES: usize = 800;
const STARTED: i64 = 1_790_000_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    customers: usize,
    /// Concurrent batches.
    lanes: usize,
    entries: usize,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let is_server = |argument: &String| matches!(argument.parse(), Ok(DatabaseUrl::Postgres(_)));
    let server = std::env::args().find(is_server);
    let run = async |case| match &server {
        Some(server) => on_postgres(server, case).await,
        None => on_sqlite(case).await,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [batch, customers, lanes, entries] = *numbers {
        return runtime.block_on(run(Case { batch, customers, lanes, entries }));
    }
    for (batch, customers, lanes, entries) in [
        (1, 10_000, 1, 10_000),
        (1, 1, 1, 10_000),
        (1, 10_000, 256, 300_000),
        (64, 10_000, 1, 300_000),
        (64, 10_000, 4, 600_000),
        (64, 1, 1, 300_000),
        (512, 10_000, 1, 600_000),
        (512, 10_000, 4, 600_000),
        (512, 1, 1, 600_000),
    ] {
        runtime.block_on(run(Case { batch, customers, lanes, entries }));
    }
}

/// One lane's customers, each with its own journal.
struct Lane {
    customers: Vec<CustomerId>,
    heads: Vec<u64>,
    random: u64,
    lane: usize,
    sent: u64,
}

impl Lane {
    fn new(lane: usize, case: Case) -> Self {
        let count = case.customers.div_ceil(case.lanes);
        let customers = (0..count).map(|n| format!("customer-{lane}-{n}").parse().unwrap()).collect();
        Self { customers, heads: vec![0; count], random: 0x9e37_79b9 + lane as u64, lane, sent: 0 }
    }

    fn next_customer(&mut self) -> usize {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let count = self.customers.len() as u64;
        usize::try_from((self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % count).unwrap()
    }

    fn batch(&mut self, size: usize, body: &str) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..size {
            let customer = self.next_customer();
            let seq = self.heads.get_mut(customer).unwrap();
            *seq += 1;
            self.sent += 1;
            let hash = Digest::of(format!("{} {}", self.lane, self.sent).as_bytes()).0;
            batch.entries.push(NewEntry {
                customer: self.customers.get(customer).unwrap().clone(),
                seq: *seq,
                at: Timestamp(STARTED + i64::try_from(self.sent).unwrap()),
                key_hash: hash.first_chunk().copied(),
                hash,
                body: body.to_owned(),
            });
        }
        batch
    }
}

async fn on_sqlite(case: Case) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.db");
    let mut options = SqliteOptions::new(&path);
    if let Ok(entries) = std::env::var("BENCH_MEMTABLE_ENTRIES") {
        options.memtable_entries = entries.parse().unwrap();
    }
    let line = run(Arc::new(SqliteStore::open(options).await.unwrap()), case).await;
    println!("{line}, file {} MiB", std::fs::metadata(&path).map_or(0, |file| file.len()) >> 20);
}

async fn on_postgres(server: &str, case: Case) {
    const DATABASE: &str = "proviso_bench";
    let mut session = PgConnection::connect(server).await.unwrap();
    let make = format!(
        "DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE} ENCODING 'UTF8' TEMPLATE template0"
    );
    for statement in make.split(';') {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut session).await.unwrap();
    }
    let (address, query) =
        server.split_once('?').map_or((server, String::new()), |(a, q)| (a, format!("?{q}")));
    let address = format!("{}/{DATABASE}{query}", address.rsplit_once('/').unwrap().0);
    let wal = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn";
    let store = PostgresStore::open(PostgresOptions::new(&address).unwrap()).await.unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(&mut session).await.unwrap();
    let before: PgRow = sqlx::raw_sql(wal).fetch_one(&mut session).await.unwrap();
    let line = run(Arc::new(store), case).await;
    let after: PgRow = sqlx::raw_sql(wal).fetch_one(&mut session).await.unwrap();
    let bytes = |row: &PgRow| row.try_get_unchecked::<String, _>(0).unwrap().parse::<f64>().unwrap();
    let mut inside = PgConnection::connect(&address).await.unwrap();
    let sizes = "SELECT string_agg(format('%s %s+%s', relname, pg_table_size(oid) / $1, pg_indexes_size(oid) / $1), ', ') \
                 FROM pg_class WHERE relname IN ('entries', 'idempotency')";
    let entries = i64::try_from(case.entries).unwrap();
    let sizes: String = sqlx::query_scalar(sizes).bind(entries).fetch_one(&mut inside).await.unwrap();
    inside.close().await.unwrap();
    let wal = (bytes(&after) - bytes(&before)) / case.entries as f64;
    println!("{line}; bytes an entry: WAL {wal:.0}, table+index {sizes}");
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {DATABASE} WITH (FORCE)")))
        .execute(&mut session)
        .await
        .unwrap();
}

/// Returns what is common to the lines of all databases.
async fn run(store: Arc<dyn Store>, case: Case) -> String {
    let body = Arc::new(format!("{{\"text\":\"{}\"}}", "x".repeat(BODY_BYTES - 11)));
    let started = Instant::now();
    let lanes: Vec<_> = (0..case.lanes)
        .map(|lane| {
            let (store, body) = (Arc::clone(&store), Arc::clone(&body));
            tokio::spawn(async move {
                let mut lane = Lane::new(lane, case);
                let mut latencies = Vec::new();
                while lane.sent < (case.entries / case.lanes) as u64 {
                    let batch = lane.batch(case.batch, &body);
                    let begun = Instant::now();
                    assert_eq!(store.commit(batch).await, Ok(Commit::Durable));
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for lane in lanes {
        latencies.extend(lane.await.unwrap());
    }
    let elapsed = started.elapsed();
    let before_close = Instant::now();
    store.close().await;
    latencies.sort_unstable();
    let commits = latencies.len();
    let at = |per_mille: usize| latencies.get(commits * per_mille / 1000).copied().unwrap_or_default();
    format!(
        "batch {:>3}, {:>5} customers, {:>3} lanes, {:>6} entries: {:>7.0} entries/s, commit p50 {:>7}, p99 {:>7}, \
         p99.9 {:>7}, max {:>7}; close {}",
        case.batch,
        case.customers,
        case.lanes,
        commits * case.batch,
        (commits * case.batch) as f64 / elapsed.as_secs_f64(),
        millis(at(500)),
        millis(at(990)),
        millis(at(999)),
        millis(latencies.last().copied().unwrap_or_default()),
        millis(before_close.elapsed()),
    )
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
