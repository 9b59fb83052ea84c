//! Many customers that redeem one promotion at once, on one host and on two over PostgreSQL: as many as it says, each once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Against, Change, CreditedChange, DecideError, EngineError, Expected, PromotionChange, ReplayOptions,
    replay, verify,
};
use proviso_fixtures::{
    cluster,
    host::{Host, START, key, open},
    policies::runtime,
};
use proviso_ledger::{journal::Event, model::ids::Digest, rules::rejection::Rejection, state::Origin};
use proviso_store::{
    Claimed, PostgresOptions, PostgresStore, RedemptionClaim, SqliteOptions, SqliteStore, Store, copy,
};
use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};
use tokio::task::JoinSet;

const CUSTOMERS: usize = 24;
const MOST: u64 = 9;

fn origin(idempotency: &str) -> Origin {
    let idempotency = Some((idempotency.parse().unwrap(), Digest::of(idempotency.as_bytes())));
    Origin { idempotency, by: None }
}

async fn put(host: &Host, most: u64) {
    let credits = CreditedChange { amount: Some("50".parse().unwrap()), ..CreditedChange::default() };
    let change =
        PromotionChange { credits, max_redemptions: Change::Set(most), ..PromotionChange::default() };
    host.engine.put_promotion(key("SPRING"), change, Expected::Anything).await.unwrap();
}

/// Each customer asks three times at once, with keys of its own, while the limit is raised and lowered.
async fn race(hosts: Vec<Arc<Host>>) {
    put(&hosts[0], MOST - 1).await;
    for n in 0..CUSTOMERS {
        hosts[0].customer(&format!("c{n}"), None).await;
    }
    let mut clients = JoinSet::new();
    for n in 0..CUSTOMERS * 3 {
        let host = hosts[n % hosts.len()].clone();
        clients.spawn(async move {
            let customer = key(&format!("c{}", n / 3));
            let outcome = host.engine.redeem(customer, key("SPRING"), origin(&format!("k{n}"))).await;
            match outcome {
                Ok(outcome) => {
                    let Event::PromotionRedeemed(redeemed) = &outcome.entry.event else { panic!() };
                    Some((n / 3, redeemed.number))
                }
                Err(EngineError::Decide(
                    DecideError::PromotionExhausted(..)
                    | DecideError::Rejected(Rejection::AlreadyRedeemed(_)),
                )) => None,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let raising = {
        let host = hosts[hosts.len() - 1].clone();
        tokio::spawn(async move {
            for most in [MOST, MOST - 2, MOST, MOST - 1, MOST] {
                put(&host, most).await;
            }
        })
    };
    let mut redeemed = Vec::new();
    while let Some(done) = clients.join_next().await {
        redeemed.extend(done.unwrap());
    }
    raising.await.unwrap();
    // Whoever is left over takes what the limits of in between left.
    for n in 0..CUSTOMERS {
        let again = hosts[0].engine.redeem(key(&format!("c{n}")), key("SPRING"), origin("late")).await;
        if let Ok(outcome) = again {
            let Event::PromotionRedeemed(late) = &outcome.entry.event else { panic!() };
            redeemed.push((n, late.number));
        }
    }
    let customers: BTreeSet<usize> = redeemed.iter().map(|(customer, _)| *customer).collect();
    let numbers: BTreeSet<u64> = redeemed.iter().map(|(_, number)| *number).collect();
    assert_eq!((customers.len() as u64, redeemed.len() as u64), (MOST, MOST), "{redeemed:?}");
    assert_eq!(numbers, (1..=MOST).collect());
    for n in 0..CUSTOMERS {
        let state = hosts[0].state(&format!("c{n}")).await;
        let expected = if customers.contains(&n) { "50" } else { "0" };
        assert_eq!(state.balance(&key("credits"), state.at).available, expected.parse().unwrap());
    }
}

/// What is stored verifies, and decides the same again; and so does a copy of it.
async fn check(store: Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let to = SqliteStore::open(SqliteOptions::new(folder.path().join("copy.db"))).await.unwrap();
    copy(&*store, &to, proviso_ledger::state::FORMAT, |_| ()).await.unwrap();
    for store in [store, Arc::new(to)] {
        let verified = verify(&*store, Against::default(), |_| ()).await.unwrap();
        assert!(verified.differences.is_empty(), "{:?}", verified.differences);
        let redemptions = store.redemption_store().unwrap();
        assert_eq!(redemptions.redemption_count(&key("SPRING")).await, Ok(MOST));
        let options = ReplayOptions { customer: None, jobs: NonZeroUsize::MIN };
        let again = replay(store, runtime(), options, |_| ()).await.unwrap();
        assert!(again.differences.is_empty(), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_redeemed_as_often_as_it_says_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let host = Arc::new(Host::on(store.clone(), START).await);
    race(vec![host.clone()]).await;
    check(store).await;
    Arc::into_inner(host).unwrap().engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_redeemed_as_often_as_it_says_on_two_hosts_over_postgres() {
    let name = cluster::shared().create_database();
    let open = || async {
        let options = PostgresOptions::new(&cluster::shared().url(&name)).unwrap();
        Arc::new(PostgresStore::open(options).await.unwrap()) as Arc<dyn Store>
    };
    let one = Arc::new(Host::on(open().await, START).await);
    let two = Arc::new(Host::on(open().await, START).await);
    race(vec![one.clone(), two.clone()]).await;
    check(open().await).await;
    one.engine.close().await;
    two.engine.close().await;
    cluster::shared().sql("postgres", &format!("drop database {name} with (force)"));
}

/// A host that ended between the claim and the entry: nobody else gets that redemption, and the customer still does.
#[tokio::test]
async fn a_claim_whose_host_ended_is_the_customers_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let host = Host::on(store.clone(), START).await;
    put(&host, 1).await;
    for customer in ["acme", "other"] {
        host.customer(customer, None).await;
    }
    let (_, revision) = host.engine.catalog().promotions[&key("SPRING")].clone();
    let claim = RedemptionClaim {
        promotion: key("SPRING"),
        customer: key("acme"),
        at: host.clock.now(),
        most: Some(1),
        revision,
    };
    let redemptions = store.redemption_store().unwrap();
    assert_eq!(redemptions.claim_redemption(claim).await, Ok(Claimed::Taken(1)));
    let other = host.engine.redeem(key("other"), key("SPRING"), origin("k")).await;
    assert!(matches!(other, Err(EngineError::Decide(DecideError::PromotionExhausted(..)))), "{other:?}");
    let own = host.engine.redeem(key("acme"), key("SPRING"), origin("k")).await.unwrap();
    assert!(matches!(&own.entry.event, Event::PromotionRedeemed(redeemed) if redeemed.number == 1));
    let verified = verify(&*store, Against::default(), |_| ()).await.unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
    host.engine.close().await;
    drop(store);
    // A redemption that was removed, or is another customer's, is found.
    for (sql, lines) in [
        (
            "update redemptions set customer_id = 'other'",
            vec!["acme: entry 2 redeems SPRING as number 1, and none was claimed for it"],
        ),
        (
            "update redemptions set customer_id = 'acme', number = 2",
            vec![
                "promotion SPRING: redemption 1 is missing",
                "acme: entry 2 redeems SPRING as number 1, and 2 was claimed for it",
            ],
        ),
    ] {
        rusqlite::Connection::open(folder.path().join("proviso.db")).unwrap().execute(sql, []).unwrap();
        let store = open(folder.path()).await;
        let verified = verify(&*store, Against::default(), |_| ()).await.unwrap();
        let found = verified.differences.iter().map(|one| format!("{}: {}", one.subject, one.detail));
        assert_eq!(found.collect::<Vec<_>>(), lines, "{sql}");
        store.close().await;
    }
}
