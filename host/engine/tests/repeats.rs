//! A client that asks again and again for what is refused: the journal says once what was refused, and once how often.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{Against, EngineError, verify};
use proviso_fixtures::{
    cluster::shared,
    host::{Host, START, charge, open, reserve, summary},
};
use proviso_ledger::journal::{Event, RefusalsRepeated};
use proviso_store::{PostgresOptions, PostgresStore, Store};
use std::sync::Arc;
use tokio::task::JoinSet;

const TOO_MUCH: i64 = 2_000_000;

/// What was refused, and how often it came again.
async fn counted(host: &Host) -> Vec<String> {
    let journal = host.journal("acme").await;
    let told = journal.iter().filter_map(|(entry, _)| match &entry.event {
        Event::Refused(_) => Some(format!("{} {}", entry.seq, summary(entry))),
        Event::RefusalsRepeated(RefusalsRepeated { of, times, first_at, last_at }) => {
            Some(format!("{of} again {times} times from {first_at} until {last_at}"))
        }
        _ => None,
    });
    told.collect()
}

async fn start(dir: &Arc<tempfile::TempDir>) -> Host {
    let host = Host::start_with(dir.clone(), START, |store| store).await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_of_a_refusal_are_counted() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let host = start(&dir).await;
    let first = host.charge("acme", TOO_MUCH, Some("0")).await;
    assert_eq!(summary(&first.entry), "refused insufficient_credits");
    for number in 1..100 {
        if number == 50 {
            host.at("2026-01-15T10:00:30Z");
        }
        let again = host.charge("acme", TOO_MUCH, Some(&number.to_string())).await;
        assert_eq!((again.entry.seq, again.replayed), (first.entry.seq, false));
    }
    // Their keys are used, as if each had an entry of its own.
    let known = host.charge("acme", TOO_MUCH, Some("70")).await;
    assert_eq!((known.entry.seq, known.replayed), (first.entry.seq, true));
    let other = host.entry("acme", charge(TOO_MUCH + 1), Some("71")).await;
    assert!(matches!(other, Err(EngineError::IdempotencyKeyReused)), "{other:?}");
    // Another request is another refusal, and so is the same one a minute later.
    host.entry("acme", reserve(TOO_MUCH, 60), Some("r")).await.unwrap();
    host.at("2026-01-15T10:01:00Z");
    host.charge("acme", TOO_MUCH, Some("later")).await;
    host.charge("acme", TOO_MUCH, Some("later still")).await;
    let host = host.restart().await;
    let at = first.entry.seq;
    assert_eq!(
        counted(&host).await,
        [
            format!("{at} refused insufficient_credits"),
            format!("{} refused insufficient_credits", at + 1),
            format!("{} refused insufficient_credits", at + 2),
            format!("{at} again 99 times from 2026-01-15T10:00:00Z until 2026-01-15T10:00:30Z"),
            format!("{} again 1 times from 2026-01-15T10:01:00Z until 2026-01-15T10:01:00Z", at + 2),
        ]
    );
    // With credits it is allowed, under a new key; the old ones stay refused.
    host.grant("acme", "5000").await;
    let refused = host.charge("acme", TOO_MUCH, Some("99")).await;
    assert_eq!((refused.entry.seq, refused.replayed), (at, true));
    assert_eq!(summary(&host.charge("acme", TOO_MUCH, Some("paid")).await.entry), "charged 2000");
    host.engine.close().await;
    drop(host);
    is_verified(&*open(dir.path()).await).await;
}

async fn is_verified(store: &dyn Store) {
    let verification = verify(store, Against::default(), |_| {}).await.unwrap();
    assert!(verification.differences.is_empty(), "{:?}", verification.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_at_once_with_some_of_one_key_are_answered_once_for_each_key() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let host = Arc::new(start(&dir).await);
    let mut clients = JoinSet::new();
    for number in 0..400 {
        let host = host.clone();
        // Four requests under each key.
        clients.spawn(async move { host.charge("acme", TOO_MUCH, Some(&(number % 100).to_string())).await });
    }
    let outcomes = clients.join_all().await;
    assert!(outcomes.iter().all(|outcome| outcome.entry == outcomes[0].entry));
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 100);
    let host = Arc::into_inner(host).unwrap().restart().await;
    assert!(counted(&host).await[1].contains("again 99 times"), "{:?}", counted(&host).await);
}

/// Two hosts on one database: neither answers with a refusal that is none any more.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_know_of_each_others_credits() {
    let url = shared().url(&shared().create_database());
    let connect = || async {
        let store: Arc<dyn Store> =
            Arc::new(PostgresStore::open(PostgresOptions::new(&url).unwrap()).await.unwrap());
        store
    };
    let one = Host::on(connect().await, START).await.with_plan().await;
    let other = Host::on(connect().await, START).await;
    one.customer("acme", Some("pro")).await;
    for round in 0..20 {
        for number in 0..3 {
            let refused = one.charge("acme", TOO_MUCH, Some(&format!("{round} {number}"))).await;
            assert_eq!(summary(&refused.entry), "refused insufficient_credits", "{round} {number}");
        }
        other.grant("acme", "2000").await;
        let paid = one.charge("acme", TOO_MUCH, Some(&format!("{round} paid"))).await;
        assert_eq!(summary(&paid.entry), "charged 2000", "{round}");
        // The other one may have used a key.
        let refused = other.charge("acme", TOO_MUCH, Some(&format!("{round} {}", round + 3))).await;
        let same = one.charge("acme", TOO_MUCH, Some(&format!("{round} {}", round + 3))).await;
        assert_eq!((same.entry.seq, same.replayed), (refused.entry.seq, true));
    }
    one.engine.close().await;
    other.engine.close().await;
    let host = Host::on(connect().await, START).await;
    let again: u64 = host
        .journal("acme")
        .await
        .iter()
        .map(|(entry, _)| match &entry.event {
            Event::Refused(_) => 1,
            Event::RefusalsRepeated(repeated) => repeated.times,
            _ => 0,
        })
        .sum();
    assert_eq!(again, 20 * 4);
    is_verified(&*connect().await).await;
}

/// What 10,000 identical refusals take: `cargo test --workspace --test repeats -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_refusals_take_little() {
    const CLIENTS: usize = 50;
    const EACH: usize = 200;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let host = Arc::new(start(&dir).await);
    host.charge("acme", TOO_MUCH, Some("first")).await;
    let before = host.state("acme").await.seq;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let host = host.clone();
        clients.spawn(async move {
            for number in 0..EACH {
                host.charge("acme", TOO_MUCH, Some(&format!("{client} {number}"))).await;
            }
        });
    }
    clients.join_all().await;
    let host = Arc::into_inner(host).unwrap().restart().await;
    let journal = host.journal("acme").await;
    let entries = journal.len() as u64 - before;
    let bytes: usize = journal
        .iter()
        .skip(usize::try_from(before).unwrap())
        .map(|(entry, _)| serde_json::to_string(entry).unwrap().len())
        .sum();
    let one = journal.iter().find(|(entry, _)| matches!(entry.event, Event::Refused(_))).unwrap();
    println!(
        "{} refusals: {entries} more entries of {bytes} bytes; one that is recorded takes {} bytes",
        CLIENTS * EACH,
        serde_json::to_string(&one.0).unwrap().len()
    );
    assert_eq!(entries, 1);
}
