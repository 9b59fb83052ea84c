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
use proviso_fixtures::host::{self, Host, charge, reserve, time};
use proviso_ledger::journal::Event;
use std::sync::Arc;

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
