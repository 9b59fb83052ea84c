//! Faults of the database and other hosts on the same one: clients that retry with their keys end with each charge
//! exactly once, and every journal verifies.
//!
//! Seeds are printed; `PROVISO_SEED=n` replays one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Clock, Engine, EngineError, LedgerFilter, NewApiKey, Options,
    command::{Command, Reply, Request},
};
use proviso_fixtures::{
    dice::Dice,
    host::{self, Host, START, charge, key, reserve, time},
    policies,
    store::flaky::Flaky,
};
use proviso_ledger::{
    journal::Event,
    model::ids::{Digest, Seq},
};
use proviso_ledger::{
    model::amounts::{Credits, Decimal},
    state::Origin,
};
use proviso_store::Store;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::task::JoinSet;

fn seeds() -> Vec<u64> {
    match std::env::var("PROVISO_SEED") {
        Ok(seed) => vec![seed.parse().expect("PROVISO_SEED is a number")],
        Err(_) => (1..=4).collect(),
    }
}

const CUSTOMERS: u64 = 5;

/// Sends one request until it has an outcome; returns the number of the entry.
async fn insist(engine: &Engine, customer: &str, command: &Command, name: &str) -> Seq {
    let idempotency = Some((name.parse().unwrap(), Digest::of(name.as_bytes())));
    loop {
        let request = Request {
            customer: key(customer),
            command: command.clone(),
            origin: Origin { idempotency: idempotency.clone(), by: None },
        };
        match engine.execute(request).await {
            Ok(Reply::Entry(outcome)) => return outcome.entry.seq,
            Err(EngineError::Store(_) | EngineError::Contention | EngineError::Overloaded) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Drives engines from several clients, each with its own keys, some keys used by two clients at once.
async fn drive(engines: &[Arc<Engine>], dice: &Arc<Dice>) -> HashMap<String, Seq> {
    let mut clients = JoinSet::new();
    for client in 0..8_u64 {
        let (engines, dice) = (engines.to_vec(), dice.clone());
        clients.spawn(async move {
            let mut answered = Vec::new();
            for number in 0..40_u64 {
                let customer = format!("c{}", (client / 2 + number) % CUSTOMERS);
                // Clients come in pairs that send the same requests.
                let name = format!("k-{}-{number}", client / 2);
                let tokens = i64::try_from(number % 13 + 1).unwrap();
                let command = if number % 7 == 6 { reserve(tokens, 3_600) } else { charge(tokens) };
                let engine = &engines[usize::try_from(dice.below(engines.len() as u64)).unwrap()];
                answered.push((name.clone(), insist(engine, &customer, &command, &name).await));
            }
            answered
        });
    }
    let mut all: HashMap<String, Seq> = HashMap::new();
    for (name, seq) in clients.join_all().await.into_iter().flatten() {
        assert_eq!(*all.entry(name.clone()).or_insert(seq), seq, "key {name} was answered by two entries");
    }
    all
}

/// Every answered key stands in exactly one entry, with the cost it must have; the database verifies.
async fn check(host: &Host, engine: &Engine, answered: &HashMap<String, Seq>) {
    let mut found: HashMap<String, Seq> = HashMap::new();
    for number in 0..CUSTOMERS {
        let customer = key(&format!("c{number}"));
        let page =
            engine.ledger(&customer, &LedgerFilter::default(), None, 10_000, usize::MAX).await.unwrap();
        for (entry, _) in page.entries {
            let Some(name) = &entry.key else { continue };
            assert_eq!(found.insert(name.to_string(), entry.seq), None, "key {name} was charged twice");
            let tokens = name.as_str().rsplit('-').next().unwrap().parse::<i64>().unwrap() % 13 + 1;
            let cost = match &entry.event {
                Event::Charged(charged) => charged.rated.cost,
                Event::Reserved(reserved) => reserved.rated.cost,
                other => panic!("{other:?}"),
            };
            assert_eq!(cost, Credits::from_units(i128::from(tokens) * Decimal::SCALE / 1_000));
        }
    }
    assert_eq!(&found, answered);
    host.engine.close().await;
    engine.close().await;
}

async fn verified(host: Host) {
    let dir = host.dir.clone();
    drop(host);
    let store = host::open(dir.path()).await;
    let verification =
        proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verification.differences, []);
    assert!(verification.entries > 160);
}

async fn prepared(now: &str) -> Host {
    let host =
        Host::start_with(Arc::new(tempfile::tempdir().unwrap()), now, |store| store).await.with_plan().await;
    for number in 0..CUSTOMERS {
        host.customer(&format!("c{number}"), Some("pro")).await;
    }
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_fail_or_get_lost_charge_once() {
    for seed in seeds() {
        eprintln!("seed {seed}");
        let host = prepared(START).await;
        host.engine.close().await;
        let dice = Arc::new(Dice::new(seed));
        let dir = host.dir.clone();
        drop(host);
        let mut flaky = None;
        let host = Host::start_with(dir, START, |inner| {
            let store = Arc::new(Flaky::new(inner, dice.clone()));
            flaky = Some(store.clone());
            store
        })
        .await;
        let answered = drive(std::slice::from_ref(&host.engine), &dice).await;
        assert!(flaky.unwrap().faults.load(Ordering::Relaxed) > 10, "the store hardly failed");
        check(&host, &host.engine, &answered).await;
        verified(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_database_charge_once() {
    for seed in seeds() {
        eprintln!("seed {seed}");
        // The hosts' clocks are 2 minutes apart; times of a journal still never go backwards, as `verify` checks.
        let mut shared: Option<Arc<dyn Store>> = None;
        let host = Host::start_with(Arc::new(tempfile::tempdir().unwrap()), START, |store| {
            shared = Some(store.clone());
            store
        })
        .await
        .with_plan()
        .await;
        for number in 0..CUSTOMERS {
            host.customer(&format!("c{number}"), Some("pro")).await;
        }
        let ahead = time("2026-01-15T10:02:00Z");
        let options = Options {
            lanes: NonZeroUsize::new(2).unwrap(),
            sweep_every: Duration::from_secs(3_600),
            ..Options::default()
        };
        let clock = Clock::new(move || ahead);
        let other = Engine::start(shared.unwrap(), policies::runtime(), clock, options).await.unwrap();
        let dice = Arc::new(Dice::new(seed));
        let answered = drive(&[host.engine.clone(), other.clone()], &dice).await;
        check(&host, &other, &answered).await;
        verified(host).await;
    }
}

/// Many unknown secrets at once cost a few questions, and one that another host has made just now is found.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_secrets_are_looked_up_together() {
    let dice = Arc::new(Dice::new(1));
    let mut flaky = None;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let host = Host::start_with(dir, START, |inner| {
        let store = Arc::new(Flaky::new(inner, dice));
        flaky = Some(store.clone());
        store
    })
    .await;
    let store = flaky.unwrap();
    // This one never looks by itself.
    let options = Options { refresh_every: Duration::from_secs(3_600), ..Options::default() };
    let clock = Clock::new(|| time(START));
    let other = Engine::start(store.clone(), policies::runtime(), clock, options).await.unwrap();
    let mut guesses = JoinSet::new();
    let before = store.looks.load(Ordering::Relaxed);
    let since = std::time::Instant::now();
    for number in 0..10_000 {
        let other = other.clone();
        guesses.spawn(async move { other.authenticate(&format!("guess {number}")).await.unwrap() });
    }
    assert!(guesses.join_all().await.iter().all(Option::is_none));
    // The first host looks every 100 ms.
    let most = 10 + 2 * since.elapsed().as_millis() / 20;
    let looks = store.looks.load(Ordering::Relaxed) - before;
    assert!(u128::from(looks) <= most.min(1_000), "{looks} looks in {:?}", since.elapsed());
    let new = NewApiKey { name: "new".to_owned(), scopes: [].into(), ..NewApiKey::default() };
    host.engine.add_api_key("secret", new, None).await.unwrap();
    // Also for a caller who came while a look was under way.
    let (_, found, _) = tokio::join!(
        other.authenticate("guess"),
        other.authenticate("secret"),
        other.authenticate("another guess")
    );
    assert_eq!(found.unwrap().unwrap().name, "new");
    host.engine.close().await;
    other.close().await;
}
