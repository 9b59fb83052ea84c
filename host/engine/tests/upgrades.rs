//! Hosts of several versions on one database: nothing is written that one of them can't read, and one that meets newer
//! entries stands aside for that customer alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{DecideError, EngineError, Newer, command::Command};
use proviso_fixtures::{
    cluster,
    host::{Host, START, charge, key, open},
};
use proviso_ledger::journal::{FORMAT, chain};
use proviso_store::{Batch, Commit, NewEntry, PostgresOptions, PostgresStore, Store};
use std::{sync::Arc, time::Duration};

const AGE: Duration = Duration::from_secs(30);

async fn postgres(url: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(PostgresOptions::new(url).unwrap()).await.unwrap())
}

/// Appends an entry as a host of the next version would.
async fn append_newer(store: &dyn Store, customer: &str) {
    let last = store.entries_before(&key(customer), None, 1).await.unwrap().remove(0);
    let seq = last.seq + 1;
    let body = format!(r#"{{"v":{},"seq":{seq},"at":"{START}","event":{{"teleported":{{}}}}}}"#, FORMAT + 1);
    let hash = chain(&last.hash, &body);
    let entries = vec![NewEntry { customer: key(customer), seq, at: last.at, key_hash: None, hash, body }];
    assert_eq!(store.commit(Batch { entries, ..Batch::default() }).await, Ok(Commit::Durable));
}

/// `other` is another handle of the host's database.
async fn a_host_stands_aside(host: Host, other: &dyn Store) {
    let host = host.with_plan().await;
    for customer in ["acme", "zenith"] {
        host.customer(customer, Some("pro")).await;
    }
    host.charge("acme", 100, Some("k1")).await;
    append_newer(other, "acme").await;
    let customer = key("acme");
    for _ in 0..2 {
        let answers = [
            host.entry("acme", charge(100), Some("k2")).await.map(drop),
            host.execute("acme", Command::Sweep, None).await.map(drop),
            host.engine
                .ledger(&customer, &proviso_engine::LedgerFilter::default(), None, 10, usize::MAX)
                .await
                .map(drop),
        ];
        for answer in answers {
            assert!(
                matches!(&answer, Err(EngineError::NewerFormat(whose)) if *whose == customer),
                "{answer:?}"
            );
        }
        // Nobody else notices.
        host.charge("zenith", 100, None).await;
    }
    host.engine.sweep().await.unwrap();
    host.engine.check_ready().await.unwrap();

    let verification =
        proviso_engine::verify(other, proviso_engine::Against::default(), |_| {}).await.unwrap();
    let last = other.entries_before(&customer, None, 1).await.unwrap()[0].seq;
    assert_eq!(verification.newer, [Newer { customer, seq: last, format: FORMAT + 1 }]);
    assert_eq!(verification.differences, []);
    assert!(!verification.is_clean());
    host.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_host_stands_aside_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    a_host_stands_aside(Host::on(store.clone(), START).await, &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_host_stands_aside_on_postgres() {
    let url = cluster::shared().url(&cluster::shared().create_database());
    let other = postgres(&url).await;
    a_host_stands_aside(Host::on(postgres(&url).await, START).await, &*other).await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_host_does_not_read_is_not_written() {
    let url = cluster::shared().url(&cluster::shared().create_database());
    let older = postgres(&url).await;
    let host = Host::on(postgres(&url).await, START).await.with_plan().await;
    assert_eq!(older.oldest_live_format(AGE).await, Ok(Some(FORMAT)));
    host.customer("acme", Some("pro")).await;
    host.engine.close().await;
    // Whoever ends takes it back.
    assert_eq!(older.oldest_live_format(AGE).await, Ok(None));

    older.announce(FORMAT - 1).await.unwrap();
    let host = Host::on(postgres(&url).await, START).await;
    let refused = host.entry("acme", charge(100), Some("k1")).await;
    let unfinished = DecideError::UpgradeUnfinished { needed: FORMAT, newest: FORMAT - 1 };
    assert!(matches!(&refused, Err(EngineError::Decide(error)) if *error == unfinished), "{refused:?}");
    // Nothing was written, and reading goes on.
    assert_eq!(host.state("acme").await.seq, 2);
    assert_eq!(older.entries(&key("acme"), 2, 1).await, Ok(Vec::new()));
    host.engine.close().await;

    older.close().await;
    let host = Host::on(postgres(&url).await, START).await;
    assert!(!host.charge("acme", 100, Some("k1")).await.replayed);
    // A host that reads more changes nothing for this one.
    let newer = postgres(&url).await;
    newer.announce(FORMAT + 1).await.unwrap();
    assert_eq!(newer.oldest_live_format(AGE).await, Ok(Some(FORMAT)));
    host.charge("acme", 100, Some("k2")).await;
    newer.close().await;
    host.engine.close().await;
}
