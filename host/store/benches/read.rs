//! How fast a SQLite file answers the questions of an engine: one caller, and eight at once.
//!
//! `cargo bench -p proviso-store --bench read` prints the microseconds of each question, the median of five rounds. The file
//! is written anew: its journals are indexed but for a memtable of the newest entries.

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
use proviso_store::{Batch, Commit, KeyHash, NewEntry, NewSnapshot, SqliteOptions, SqliteStore, Store};
use std::{sync::Arc, time::Instant};
use tokio::task::JoinSet;

const CUSTOMERS: usize = 2_000;
/// Of each customer; a snapshot is of the first four fifths.
const ENTRIES: u64 = 50;
const FORMAT: u32 = 1;
const CALLERS: [usize; 2] = [1, 8];
const ROUNDS: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Question {
    LoadOne,
    Load64,
    Page,
    Find64,
    Revision,
}

impl Question {
    async fn ask(self, store: &dyn Store, n: usize) {
        let all = || (0..64).map(move |step| n * 64 + step);
        match self {
            Self::LoadOne => assert_eq!(store.load(&[(name(n), 0)], FORMAT).await.unwrap().len(), 1),
            Self::Load64 => {
                let known: Vec<_> = all().map(|n| (name(n), 0)).collect();
                assert_eq!(store.load(&known, FORMAT).await.unwrap().len(), 64);
            }
            Self::Page => assert_eq!(store.entries(&name(n), 0, 50).await.unwrap().len(), 50),
            Self::Find64 => {
                let keys: Vec<_> = all().map(|n| (name(n), key(n, 7))).collect();
                assert!(store.find_keys(&keys).await.unwrap().iter().all(|found| *found == Some(7)));
            }
            Self::Revision => assert_eq!(store.catalog_revision().await, Ok(0)),
        }
    }
}

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteOptions { memtable_entries: 20_000, ..SqliteOptions::new(folder.path().join("bench.db")) };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.unwrap());
        fill(&*store).await;
        for (question, times) in [
            (Question::LoadOne, 2_000),
            (Question::Load64, 100),
            (Question::Page, 1_000),
            (Question::Find64, 500),
            (Question::Revision, 2_000),
        ] {
            for callers in CALLERS {
                let micros = time(question, times, callers, &store).await;
                println!("{:<8} {callers} at once: {micros:>8.1} us", format!("{question:?}"));
            }
        }
        store.close().await;
    });
}

fn name(number: usize) -> CustomerId {
    format!("customer-{}", number % CUSTOMERS).parse().unwrap()
}

fn key(customer: usize, seq: u64) -> KeyHash {
    let hash = Digest::of(format!("{} {seq}", customer % CUSTOMERS).as_bytes());
    *hash.0.first_chunk().unwrap()
}

async fn fill(store: &dyn Store) {
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(789));
    for seq in 1..=ENTRIES {
        for customers in (0..CUSTOMERS).collect::<Vec<_>>().chunks(500) {
            let entry = |customer: &usize| NewEntry {
                customer: name(*customer),
                seq,
                at: Timestamp(i64::try_from(seq).unwrap()),
                key_hash: Some(key(*customer, seq)),
                hash: [0; 32],
                body: body.clone(),
            };
            let snapshot = |customer: &usize| NewSnapshot {
                customer: name(*customer),
                format: FORMAT,
                seq,
                at: Timestamp(i64::try_from(seq).unwrap()),
                state: body.repeat(5),
            };
            let entries = customers.iter().map(entry).collect();
            let snapshots = match seq == ENTRIES * 4 / 5 {
                true => customers.iter().map(snapshot).collect(),
                false => Vec::new(),
            };
            let batch = Batch { entries, snapshots, ..Batch::default() };
            assert_eq!(store.commit(batch).await, Ok(Commit::Durable));
        }
    }
}

/// What one question takes, in microseconds: the median of the rounds.
async fn time(question: Question, times: usize, callers: usize, store: &Arc<dyn Store>) -> f64 {
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                for n in 0..times {
                    question.ask(&*store, (round * 31 + caller * 7919) * times + n).await;
                }
            });
        }
        tasks.join_all().await;
        rounds.push(began.elapsed());
    }
    rounds.sort_unstable();
    rounds.get(ROUNDS / 2).copied().unwrap_or_default().as_secs_f64() * 1e6 / (times * callers) as f64
}
