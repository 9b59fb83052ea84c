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

/// A host with customers of a plan whose policy is slow, which is known already, and customers of another plan.
async fn with_slow_and_calm(count: usize) -> (Arc<Host>, Vec<String>, Vec<String>) {
    let host = Arc::new(Host::start().await.with_plan().await);
    host.engine.upload(key("slow"), slow_policy(), || 0).await.unwrap();
    let terms = Some(TermsInput { policy: key("slow"), ..host::input(serde_json::json!({})) });
    let slow = PlanChange::replacing("Slow".to_owned(), None, Default::default(), terms);
    host.engine.put_plan(key("slow"), slow).await.unwrap();
    let (slow, calm) =
        (0..count).map(|n| (format!("slow{n}"), format!("calm{n}"))).unzip::<_, _, Vec<_>, Vec<_>>();
    for (slow, calm) in slow.iter().zip(&calm) {
        host.customer(slow, Some("slow")).await;
        host.customer(calm, Some("pro")).await;
    }
    for slow in &slow {
        host.charge(slow, 1, Some("first")).await;
    }
    (host, slow, calm)
}

/// The keys of a customer's charges, in the journal's order.
async fn charged(host: &Host, customer: &str) -> Vec<String> {
    let journal = host.journal(customer).await;
    let charges = journal.iter().filter(|(entry, _)| matches!(entry.event, Event::Charged(_)));
    charges.map(|(entry, _)| entry.key.as_ref().unwrap().as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_decisions_are_made_off_the_lane() {
    let (host, slow, calm) = with_slow_and_calm(40).await;
    let done = Arc::new(AtomicUsize::new(0));
    let keys: Vec<String> = (0..20).map(|number| format!("k{number:02}")).collect();
    let busy: Vec<_> = slow
        .iter()
        .map(|slow| {
            let (host, done, slow, keys) = (host.clone(), done.clone(), slow.clone(), keys.clone());
            tokio::spawn(async move {
                // In this order, and one of them twice.
                join_all(keys.iter().chain([&keys[3]]).map(|key| async {
                    host.charge(&slow, 1, Some(key)).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }))
                .await;
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for round in 0..5 {
        let key = format!("k{round}");
        for charged in join_all(calm.iter().map(|calm| host.entry(calm, charge(1), Some(&key)))).await {
            charged.unwrap();
        }
    }
    let (before, all) = (done.load(Ordering::Relaxed), 40 * 21);
    assert!(before < all / 4, "{before} of {all} slow ones went before five rounds of their neighbours");
    for busy in busy {
        busy.await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), all);
    for slow in &slow {
        // Each once and in order, in spite of having waited in several places.
        let expected: Vec<String> = ["first".to_owned()].into_iter().chain(keys.clone()).collect();
        assert_eq!(charged(&host, slow).await, expected);
    }
    // Questions leave no batch, and are answered off the lane, too.
    let questions = slow.iter().flat_map(|slow| std::iter::repeat_n(slow, 4));
    for asked in
        join_all(questions.map(|slow| host.execute(slow, Command::Check(host::usage(1)), None))).await
    {
        asked.unwrap();
    }
    host.engine.close().await;
    let store = host::open(host.dir.path()).await;
    let verified = proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verified.differences, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_change_meanwhile_decide_what_comes_after() {
    let (host, slow, _) = with_slow_and_calm(8).await;
    let busy: Vec<_> = slow
        .iter()
        .map(|slow| {
            let (host, slow) = (host.clone(), slow.clone());
            tokio::spawn(async move {
                for number in 0..30 {
                    host.charge(&slow, 1, Some(&format!("k{number}"))).await;
                }
            })
        })
        .collect();
    // Each change makes whatever is being decided off the lane be decided again.
    for round in 0..20 {
        let terms = Some(TermsInput { policy: key("slow"), ..host::input(serde_json::json!({})) });
        let name = format!("Slow {round}");
        let slow = PlanChange::replacing(name, None, Default::default(), terms);
        host.engine.put_plan(key("slow"), slow).await.unwrap();
        tokio::task::yield_now().await;
    }
    for busy in busy {
        busy.await.unwrap();
    }
    for slow in &slow {
        assert_eq!(charged(&host, slow).await.len(), 31);
    }
    host.engine.close().await;
    let store = host::open(host.dir.path()).await;
    let verified = proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verified.differences, []);
}
