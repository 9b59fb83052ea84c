//! Leases under load: many clients take tranches of the last credits, settle under keys that they repeat, and extend and close while
//! leases expire. Nothing is handed out twice, and each usage bills once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    EngineError,
    command::{Command, Ttl, UsageRequest},
};
use proviso_fixtures::{
    dice::Dice,
    host::{self, Host, time, usage},
};
use proviso_ledger::{
    journal::Event,
    model::{amounts::Credits, grant::default_credit, ids::LeaseId, lease::Lease},
    rules::lease::LeaseRequest,
    state::CustomerState,
};
use std::sync::Arc;
use tokio::task::JoinSet;

fn lease(credits: i64, ttl_seconds: u32) -> Command {
    let lease = Lease { amount: Credits::from_whole(credits), features: Vec::new(), entity: None };
    let request = LeaseRequest { credit: default_credit(), lease };
    Command::OpenLease(Box::new(request), Ttl::new(ttl_seconds).unwrap())
}

fn settle(lease: LeaseId, credits: i64) -> Command {
    // A thousandth of a credit for a token; used before the host's clock is moved.
    let used = UsageRequest { occurred_at: Some(time(host::START)), ..*usage(credits * 1_000) };
    Command::Settle(lease, Box::new(used))
}

async fn open(host: &Host, credits: i64, ttl_seconds: u32, key: &str) -> Option<LeaseId> {
    match host.entry("acme", lease(credits, ttl_seconds), Some(key)).await {
        Ok(made) => Some(LeaseId { entry: made.entry.seq, index: 0 }),
        Err(EngineError::Decide(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn with_credits() -> Arc<Host> {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    Arc::new(host)
}

/// Of 1,000 credits: spent, held, available, overage.
fn books(state: &CustomerState) -> (Credits, Credits, Credits, Credits) {
    let balance = state.balance(&default_credit(), state.at);
    (balance.used, balance.reserved, balance.available, balance.overage)
}

async fn verified(host: &Host) {
    let store = host::open(host.dir.path()).await;
    let report = proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_leases_never_hold_more_than_there_is() {
    let host = with_credits().await;
    let mut clients = JoinSet::new();
    for client in 0..60 {
        let host = host.clone();
        clients.spawn(async move {
            let opened = open(&host, 15, 900, &format!("open-{client}")).await;
            // The answer was lost: the same lease, not another.
            assert_eq!(open(&host, 15, 900, &format!("open-{client}")).await.is_some(), opened.is_some());
            let Some(id) = opened else { return 0 };
            // Two extensions to the same total, at once.
            let more = || Command::ExtendLease(id, Some(Credits::from_whole(25)), None);
            let (one, other) = (format!("one-{client}"), format!("other-{client}"));
            let both = tokio::join!(
                host.entry("acme", more(), Some(&one)),
                host.entry("acme", more(), Some(&other)),
            );
            // As long as credits are left both have it, and it was added once.
            if both.0.is_ok() || both.1.is_ok() { 25 } else { 15 }
        });
    }
    let handed: i64 = clients.join_all().await.into_iter().sum();
    let state = host.state("acme").await;
    let (used, held, available, overage) = books(&state);
    assert_eq!((used, held, overage), (Credits::ZERO, Credits::from_whole(handed), Credits::ZERO));
    assert_eq!(held.saturating_add(available), Credits::from_whole(1_000));
    assert!(available < Credits::from_whole(15), "the race was one: {available} are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_bills_once_whatever_is_repeated_while_leases_end() {
    let host = with_credits().await;
    let mut leases = Vec::new();
    for client in 0..10 {
        leases.push(open(&host, 50, 60, &format!("open-{client}")).await.unwrap());
    }
    let mut work = JoinSet::new();
    for (client, id) in leases.iter().copied().enumerate() {
        for turn in 0..3 {
            // Each usage is sent three times, from clients that know nothing of each other.
            let (host, dice) = (host.clone(), Dice::new((client * 3 + turn) as u64));
            work.spawn(async move {
                let mut order: Vec<i64> = (0..12).collect();
                for place in (1..order.len()).rev() {
                    order.swap(place, dice.index(place + 1));
                }
                for n in order {
                    let made = host.entry("acme", settle(id, 5), Some(&format!("use-{client}-{n}"))).await;
                    assert!(matches!(made.unwrap().entry.event, Event::Charged(_)));
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    for id in leases.iter().copied().step_by(3) {
        let host = host.clone();
        work.spawn(async move {
            tokio::task::yield_now().await;
            // It may have expired before.
            let _ = host.entry("acme", Command::CloseLease(id), Some(&format!("close-{id}"))).await;
        });
    }
    let sweeper = host.clone();
    work.spawn(async move {
        for second in 1..=12 {
            tokio::task::yield_now().await;
            sweeper.at(&format!("2026-01-15T10:01:{second:02}Z"));
            sweeper.engine.sweep().await.unwrap();
        }
    });
    work.join_all().await;
    host.engine.sweep().await.unwrap();
    let state = host.state("acme").await;
    // Ten leases, twelve usages of 5 each: 600 in all, though each lease had but 50 of 60.
    let whole = Credits::from_whole;
    assert_eq!(books(&state), (whole(600), Credits::ZERO, whole(400), Credits::ZERO));
    assert!(state.reservations.is_empty());
    let journal = host.journal("acme").await;
    let charges: Vec<_> = journal
        .iter()
        .filter_map(|(entry, _)| match &entry.event {
            Event::Charged(charged) => Some(charged.settled.as_ref().unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(charges.len(), 120);
    let ends = journal.iter().filter(|(entry, _)| matches!(entry.event, Event::LeaseEnded(_)));
    assert_eq!(ends.count(), 10, "each ends once");
    let by_leases = charges.iter().fold(Credits::ZERO, |sum, one| sum.saturating_add(one.drawn()));
    assert!(by_leases <= whole(500), "{by_leases} were drawn from leases of 500");
    host.engine.close().await;
    verified(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_beyond_all_credits_is_overage_and_never_lost() {
    let host = with_credits().await;
    let id = open(&host, 1_000, 60, "open").await.unwrap();
    let mut work = JoinSet::new();
    for n in 0..110 {
        let host = host.clone();
        work.spawn(async move {
            host.entry("acme", settle(id, 10), Some(&format!("use-{n}"))).await.unwrap();
        });
    }
    work.join_all().await;
    let whole = Credits::from_whole;
    assert_eq!(books(&*host.state("acme").await), (whole(1_000), Credits::ZERO, Credits::ZERO, whole(100)));
    assert_eq!(host.entry("acme", Command::CloseLease(id), None).await.unwrap().entry.transfers, []);
}
