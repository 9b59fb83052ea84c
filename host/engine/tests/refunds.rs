//! Refunds are decided on what the journal says, and a refund of the same number is written once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{DecideError, EngineError, RefundedCharge, command::Command};
use proviso_fixtures::host::{self, Host, key};
use proviso_ledger::{
    model::ids::ChargeId,
    rules::{
        refund::{Portion, RefundRequest, Refundable},
        rejection::Rejection,
    },
    state::{CustomerState, Origin},
};
use proviso_store::{Batch, Commit, NewEntry};

fn request(amount: &str) -> RefundRequest {
    let portion = Portion::Amount(amount.parse().unwrap());
    RefundRequest { portion, reason: "a complaint".to_owned(), reissue_expired: false }
}

async fn refund(host: &Host, id: ChargeId, amount: &str) -> Result<String, EngineError> {
    let outcome = host.engine.refund(&key("acme"), id, request(amount), Origin::default()).await?;
    Ok(outcome.entry.refunded().unwrap().total.to_string())
}

async fn read(host: &Host, id: ChargeId) -> Refundable {
    let RefundedCharge { charge, last } = host.engine.charge(&key("acme"), id).await.unwrap();
    Refundable { charge, reserved: None, last, grants: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_was_decided_on_an_old_reading_is_not_written() {
    // Alone it would give back more than was ever spent; beside others only its number gives it away.
    for others in [0, 3_000] {
        old_reading(others).await;
    }
}

async fn old_reading(others: i64) {
    let mut host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    if others > 0 {
        host.charge("acme", others, None).await;
    }
    let charge = host.charge("acme", 1_000, None).await.entry.charge_id();
    let old = read(&host, charge).await;
    assert_eq!(refund(&host, charge, "0.6").await.unwrap(), "0.6");
    // A lane that knows of the refund, and one that has to be told by the store.
    for restarted in [false, true] {
        if restarted {
            host = host.restart().await;
        }
        let command = Command::Refund(Box::new(old.clone()), Box::new(request("0.6")));
        let refused = host.execute("acme", command, None).await;
        let meanwhile = EngineError::Decide(DecideError::Rejected(Rejection::RefundedMeanwhile));
        assert_eq!(refused.unwrap_err().to_string(), meanwhile.to_string());
    }
    let exceeds = refund(&host, charge, "0.6").await;
    assert!(matches!(
        exceeds,
        Err(EngineError::Decide(DecideError::Rejected(Rejection::RefundExceedsCharge(left)))) if left.to_string() == "0.4"
    ));
    assert_eq!(refund(&host, charge, "0.4").await.unwrap(), "1");
    let balance = format!(
        "granted 1000 used {} reserved 0 available {} overage 0",
        others / 1_000,
        1_000 - others / 1_000
    );
    assert_eq!(host.balance("acme").await, balance);
}

/// However many entries came after it, and though the state was saved since.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_long_ago_is_found_and_refunded() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let charge = host.charge("acme", 1_000, None).await.entry.charge_id();
    for _ in 0..700 {
        host.charge("acme", 1, None).await;
    }
    let host = host.restart().await;
    assert_eq!(refund(&host, charge, "0.3").await.unwrap(), "0.3");
    assert_eq!(refund(&host, charge, "0.3").await.unwrap(), "0.6");
    let host = host.restart().await;
    assert_eq!(refund(&host, charge, "0.3").await.unwrap(), "0.9");
    let store = host::open(host.dir.path());
    host.engine.close().await;
    let verification =
        proviso_engine::verify(&*store.await, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verification.differences, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_came_twice_is_found() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    host.charge("acme", 1_000, None).await;
    let charge = host.charge("acme", 1_000, None).await.entry.charge_id();
    let old = read(&host, charge).await;
    refund(&host, charge, "0.6").await.unwrap();
    let store = host::open(host.dir.path());
    host.engine.close().await;
    let store = store.await;
    // What a host must never do: the entry is sound by itself.
    let mut state = CustomerState::new(key("acme"));
    for stored in store.entries(&key("acme"), 0, 100).await.unwrap() {
        state.fold(stored.seq, &stored.body, &stored.hash).unwrap();
    }
    let at = state.at;
    let draft = state.refund(at, &old, request("0.6")).unwrap();
    let sealed = state.seal(at, draft).unwrap();
    let entry = NewEntry {
        customer: key("acme"),
        seq: sealed.entry.seq,
        at,
        key_hash: None,
        hash: sealed.hash,
        body: sealed.body,
    };
    let batch = Batch { entries: vec![entry], ..Batch::default() };
    assert_eq!(store.commit(batch).await, Ok(Commit::Durable));
    let verification =
        proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    let details: Vec<String> = verification.differences.into_iter().map(|found| found.detail).collect();
    let (seq, before) = (sealed.entry.seq, sealed.entry.seq - 1);
    assert_eq!(details.len(), 2, "{details:?}");
    assert_eq!(details[0], format!("entry {seq} does not follow the refunds of {charge} before it"));
    assert!(details[1].ends_with(&format!("leads to entry Some({before}) instead of {seq}")), "{details:?}");
}
