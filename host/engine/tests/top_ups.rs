//! Many charges at once, on one host and on two over PostgreSQL: a gap raises one top-up, and a payment is taken once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Against, AutoTopUpChange, Change, Expected, ReplayOptions, command::Command, replay, verify,
};
use proviso_fixtures::{
    cluster,
    host::{Host, START, key, open},
    policies::runtime,
};
use proviso_ledger::{
    journal::Event,
    model::{counter::Window, ids::TopUpId, top_up::Fill},
    rules::top_up::TopUpPayment,
    state::TopUpStatus,
};
use proviso_store::{PostgresOptions, PostgresStore, Store};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::task::JoinSet;

fn rule() -> Command {
    Command::SetAutoTopUp(Box::new(AutoTopUpChange {
        credit: key("credits"),
        threshold: Some("900".parse().unwrap()),
        fill: Some(Fill::Target("1000".parse().unwrap())),
        most: Change::Set(100),
        window: Change::Set(Window::Lifetime),
        cool_down_seconds: Change::Keep,
        answer_seconds: Change::Keep,
        most_failures: Change::Keep,
        unit_price: Change::Keep,
        priority: Change::Keep,
        expires: Change::Keep,
        enabled: Change::Keep,
        expected: Expected::Anything,
    }))
}

fn pay(id: TopUpId) -> Command {
    Command::PayTopUp(id, Box::new(TopUpPayment { payment: Some("pi_1".to_owned()), cost_basis: None }))
}

/// Hosts that charge one customer at once, while others pay what is asked for, each of them as often as it likes.
async fn race(hosts: Vec<Arc<Host>>) {
    let first = hosts[0].clone();
    first.customer("acme", Some("pro")).await;
    first.execute("acme", rule(), None).await.unwrap();
    let mut clients = JoinSet::new();
    for client in 0..20_usize {
        let host = hosts[client % hosts.len()].clone();
        clients.spawn(async move {
            for turn in 0..5 {
                // 10 credits each: 1000 in all.
                host.charge("acme", 10_000, Some(&format!("{client}-{turn}"))).await;
                if client % 4 == 0 {
                    let state = host.state("acme").await;
                    let pending = state.pending_top_up(&key("credits"));
                    let Some(pending) = pending else { continue };
                    // Whoever comes second finds it paid.
                    let paid =
                        host.execute("acme", pay(pending.id), Some(&format!("{client}-{turn}-pay"))).await;
                    assert!(paid.is_ok() || paid.unwrap_err().to_string().contains("already"));
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let (mut awaited, mut asked, mut paid) = (None, 0, 0);
    for (entry, _) in first.journal("acme").await {
        match &entry.event {
            Event::TopUpRequested(_) => {
                assert_eq!(awaited, None, "entry {}: one is pending", entry.seq);
                awaited = Some(TopUpId { entry: entry.seq, index: 0 });
                asked += 1;
            }
            Event::TopUpPaid(one) => {
                assert_eq!(awaited.take(), Some(one.top_up), "entry {}: paid once", entry.seq);
                paid += 1;
            }
            _ => {}
        }
    }
    let state = first.state("acme").await;
    let balance = state.balance(&key("credits"), state.at);
    let granted: usize = state.grants.iter().filter(|one| one.grant.category.as_str() == "top_up").count();
    assert!(asked > 1 && (asked == paid || asked == paid + 1), "{asked} asked, {paid} paid");
    assert!(granted <= paid);
    assert!(balance.available <= "1000".parse().unwrap());
    let last = state.auto_top_ups[&key("credits")].recent.last().unwrap();
    assert!(matches!(last.status, TopUpStatus::Pending | TopUpStatus::Paid));
}

/// What is stored verifies, and decides the same again.
async fn check(store: Arc<dyn Store>) {
    let verified = verify(&*store, Against::default(), |_| ()).await.unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
    let options = ReplayOptions { customer: None, jobs: NonZeroUsize::MIN };
    let again = replay(store, runtime(), options, |_| ()).await.unwrap();
    assert!(again.differences.is_empty(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_charges_raise_one_top_up_for_a_gap_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let host = Arc::new(Host::on(store.clone(), START).await.with_plan().await);
    race(vec![host.clone()]).await;
    check(store).await;
    // A repeat is answered as before.
    let state = host.state("acme").await;
    if let Some(pending) = state.pending_top_up(&key("credits")) {
        let first = host.entry("acme", pay(pending.id), Some("again")).await.unwrap();
        let second = host.entry("acme", pay(pending.id), Some("again")).await.unwrap();
        assert_eq!((first.entry.seq, second.replayed), (second.entry.seq, true));
    }
    Arc::into_inner(host).unwrap().engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_charges_raise_one_top_up_for_a_gap_on_two_hosts_over_postgres() {
    let name = cluster::shared().create_database();
    let open = || async {
        let options = PostgresOptions::new(&cluster::shared().url(&name)).unwrap();
        Arc::new(PostgresStore::open(options).await.unwrap()) as Arc<dyn Store>
    };
    let one = Arc::new(Host::on(open().await, START).await.with_plan().await);
    let two = Arc::new(Host::on(open().await, START).await);
    race(vec![one.clone(), two.clone()]).await;
    check(open().await).await;
    one.engine.close().await;
    two.engine.close().await;
    cluster::shared().sql("postgres", &format!("drop database {name} with (force)"));
}
