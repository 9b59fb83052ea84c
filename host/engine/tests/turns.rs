//! Much that is due at once for one customer is written in turns, between which others are served.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use futures_util::future::join_all;
use proviso_engine::{PlanChange, TermsInput, command::Command};
use proviso_fixtures::{
    guest::Draft,
    host::{self, Host, charge, key, reserve, time},
};
use proviso_ledger::journal::Event;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Ten turns' worth.
const RESERVATIONS: usize = 2_560;

#[tokio::test(flavor = "multi_thread")]
async fn reservations_that_end_together_hold_nobody_up() {
    let host = Arc::new(Host::start().await.with_plan().await);
    // Some share the lane.
    let calm: Vec<String> = (0..6).map(|number| format!("calm{number}")).collect();
    for customer in calm.iter().map(String::as_str).chain(["hot"]) {
        host.customer(customer, Some("pro")).await;
    }
    let keys: Vec<String> = (0..RESERVATIONS).map(|number| format!("r{number}")).collect();
    // As many at once as one customer may have waiting.
    for keys in keys.chunks(128) {
        for reserved in join_all(keys.iter().map(|key| host.entry("hot", reserve(1, 60), Some(key)))).await {
            reserved.unwrap();
        }
    }
    assert_eq!(host.state("hot").await.reservations.len(), RESERVATIONS);

    host.at("2026-01-15T11:00:00Z");
    let (written, batches) = (host.engine.stats().entries(), host.engine.stats().batches());
    // Two at once: what is due is written once.
    let reads = [host.clone(), host.clone()].map(|host| tokio::spawn(async move { host.state("hot").await }));
    // The first turn is over.
    while host.engine.stats().entries() == written {
        tokio::task::yield_now().await;
    }
    for charged in join_all(calm.iter().map(|customer| host.entry(customer, charge(1), Some("k")))).await {
        charged.unwrap();
    }
    assert!(reads.iter().all(|read| !read.is_finished()), "the others waited for all that was due");
    for read in reads {
        let state = read.await.unwrap();
        assert!(state.reservations.is_empty());
        assert_eq!(state.next_due().map(|(at, _)| at), Some(time("2026-02-15T10:00:00Z")));
    }
    let journal = host.journal("hot").await;
    let ended: Vec<_> = journal
        .iter()
        .filter_map(|(entry, _)| match &entry.event {
            Event::ReservationExpired { reservation } => Some(*reservation),
            _ => None,
        })
        .collect();
    assert_eq!(ended.len(), RESERVATIONS);
    assert!(ended.is_sorted(), "in the order in which they were made");
    assert_eq!(host.balance("hot").await, "granted 1000 used 0 reserved 0 available 1000 overage 0");
    assert!(host.engine.stats().batches() >= batches + RESERVATIONS as u64 / 256, "in as many commits");
    host.engine.close().await;
    let store = host::open(host.dir.path()).await;
    let verified = proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verified.differences, []);
}

/// A policy whose decisions burn nearly all that one may.
fn slow_policy() -> Vec<u8> {
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[], &[]);
    let burn = "(local $left i32) (local.set $left (i32.const 500000)) \
                (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    draft.body("rate", &format!("{burn} (i32.const {rating})")).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_policy_holds_its_neighbours_up_for_a_part_of_its_work() {
    let host = Arc::new(Host::start().await.with_plan().await);
    host.engine.upload(key("slow"), slow_policy(), || 0).await.unwrap();
    let terms = Some(TermsInput { policy: key("slow"), ..host::input(serde_json::json!({})) });
    let slow = PlanChange::replacing("Slow".to_owned(), None, Default::default(), terms);
    host.engine.put_plan(key("slow"), slow).await.unwrap();
    let (slow, calm) =
        (0..40).map(|n| (format!("slow{n}"), format!("calm{n}"))).unzip::<_, _, Vec<_>, Vec<_>>();
    for (slow, calm) in slow.iter().zip(&calm) {
        host.customer(slow, Some("slow")).await;
        host.customer(calm, Some("pro")).await;
    }
    // So that the lanes know it.
    for slow in &slow {
        host.charge(slow, 1, Some("first")).await;
    }
    let done = Arc::new(AtomicUsize::new(0));
    let keys: Vec<String> = (0..16).map(|number| format!("k{number}")).collect();
    let busy: Vec<_> = slow
        .iter()
        .flat_map(|slow| keys.iter().map(move |key| (slow.clone(), key.clone())))
        .map(|(slow, key)| {
            let (host, done) = (host.clone(), done.clone());
            tokio::spawn(async move {
                host.charge(&slow, 1, Some(&key)).await;
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for charged in join_all(calm.iter().map(|calm| host.entry(calm, charge(1), Some("k")))).await {
        charged.unwrap();
    }
    let before = done.load(Ordering::Relaxed);
    assert!(before < busy.len() / 2, "{before} of {} slow ones went before their neighbours", busy.len());
    for busy in busy {
        busy.await.unwrap();
    }
    // Questions leave no batch, and wait in turns all the same.
    let questions = slow.iter().flat_map(|slow| std::iter::repeat_n(slow, 4));
    for asked in
        join_all(questions.map(|slow| host.execute(slow, Command::Check(host::usage(1)), None))).await
    {
        asked.unwrap();
    }
    // Each once, in spite of having waited several times.
    for slow in &slow {
        assert_eq!(
            host.journal(slow)
                .await
                .iter()
                .filter(|(entry, _)| matches!(entry.event, Event::Charged(_)))
                .count(),
            17
        );
    }
}
