//! Moves to another version of a plan by several hosts at once, on both databases: nobody is moved twice, and what is stored says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Against, Change, MigrationPage, PlanChange, PlanMigration, ReplayOptions, catalog::Catalog,
    command::Migrated, replay, verify,
};
use proviso_fixtures::{
    cluster,
    host::{Host, START, key, open},
    policies::runtime,
};
use proviso_ledger::model::{answers::Allowance, entitlement::Entitlement, plan_grant::PlanGrant};
use proviso_store::{PostgresOptions, PostgresStore, Store};
use std::{num::NonZeroUsize, sync::Arc};

const CUSTOMERS: usize = 40;

fn grants(amount: &str) -> Vec<PlanGrant> {
    let grant = serde_json::json!({
        "key": "included", "amount": amount, "credit": "credits", "category": "prepaid",
        "expires": {"with_period": 0},
    });
    vec![serde_json::from_value(grant).unwrap()]
}

async fn sell(host: &Host, amount: &str) -> u32 {
    let change = PlanChange { grants: Change::Set(grants(amount)), ..PlanChange::default() };
    host.engine.put_plan(key("pro"), change).await.unwrap().0.version
}

fn migration() -> PlanMigration {
    PlanMigration {
        plan: key("pro"),
        from: None,
        to: None,
        customers: None,
        attributes: Vec::new(),
        at_period_end: false,
        allowance: Allowance::Carry,
        dry_run: false,
        after: None,
        limit: 7,
    }
}

/// Moves everyone, page by page; says how many this host moved.
async fn migrate_all(host: Arc<Host>) -> u64 {
    let (mut moved, mut migration) = (0, migration());
    loop {
        let count = |page: MigrationPage| {
            let done = page.customers.iter().map(|one| one.outcome.as_ref().unwrap());
            let done = done.filter(|one| matches!(one, Migrated::Done(_))).count() as u64;
            (done, page.next.map(|place| place.to_string()))
        };
        let page = host.engine.migrate_plan(migration.clone(), None, count).await.unwrap();
        let (done, next) = page.value;
        moved += done;
        let Some(next) = next else { return moved };
        migration.after = Some(next.parse().unwrap());
    }
}

async fn everyone_is_moved_once(hosts: [Arc<Host>; 2], store: Arc<dyn Store>) {
    let [one, other] = &hosts;
    for number in 0..CUSTOMERS {
        one.customer(&format!("c{number:02}"), Some("pro")).await;
        one.charge(&format!("c{number:02}"), 500_000, Some("k")).await;
    }
    assert_eq!(sell(one, "100").await, 2);
    assert_eq!(sell(one, "250").await, 3);
    let before = one.engine.plan_customers(&key("pro")).await.unwrap();
    assert_eq!(before, [(1, CUSTOMERS as u64)]);
    let (here, there) =
        tokio::join!(tokio::spawn(migrate_all(one.clone())), tokio::spawn(migrate_all(other.clone())));
    assert_eq!(here.unwrap() + there.unwrap(), CUSTOMERS as u64);
    assert_eq!(other.engine.plan_customers(&key("pro")).await.unwrap(), [(3, CUSTOMERS as u64)]);
    for number in 0..CUSTOMERS {
        let state = other.state(&format!("c{number:02}")).await;
        assert_eq!((state.plan_version(), state.periods), (Some(3), 2), "c{number:02}");
    }
    // Entitlements alone leave the period as it is.
    let on = [(key("chat"), Entitlement::Boolean { value: true })].into();
    let change = PlanChange { entitlements: Change::Set(on), ..PlanChange::default() };
    assert_eq!(one.engine.put_plan(key("pro"), change).await.unwrap().0.version, 4);
    assert_eq!(migrate_all(other.clone()).await, CUSTOMERS as u64);
    assert_eq!(one.state("c00").await.periods, 2);
    // A host that starts now reads the same versions, and every decision is made again by the version that was in force.
    let stored = Catalog::default().updated(store.catalog(0).await.unwrap()).unwrap();
    assert_eq!(stored.plan_versions, one.engine.catalog().plan_versions);
    let options = ReplayOptions { customer: None, jobs: NonZeroUsize::MIN };
    let replayed = replay(store.clone(), runtime(), options, |_| ()).await.unwrap();
    assert!(replayed.differences.is_empty(), "{replayed:?}");
    let verified = verify(&*store, Against::default(), |_| ()).await.unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
    for host in hosts {
        host.engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_moved_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let host = Arc::new(Host::on(store.clone(), START).await.with_plan().await);
    everyone_is_moved_once([host.clone(), host], store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_moved_once_on_postgres() {
    let url = cluster::shared().url(&cluster::shared().create_database());
    let connect = || async {
        let store: Arc<dyn Store> =
            Arc::new(PostgresStore::open(PostgresOptions::new(&url).unwrap()).await.unwrap());
        store
    };
    let one = Arc::new(Host::on(connect().await, START).await.with_plan().await);
    let other = Arc::new(Host::on(connect().await, START).await);
    everyone_is_moved_once([one, other], connect().await).await;
}
