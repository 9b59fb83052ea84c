//! Records of changes: written with the change, carried along by a copy, and missed when one is taken out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{Against, AuditFilter, acting_as, verify};
use proviso_fixtures::host::{Host, key, settings};
use proviso_store::{SqliteOptions, SqliteStore};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_numbered_and_a_missing_one_is_found() {
    let host = Host::start().await.with_plan().await;
    acting_as(key("key_7"), host.put_plan(settings("0.002", "1000"))).await;
    let page = host.engine.audit(&AuditFilter::default(), None, 10).await.unwrap();
    let told: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.number, entry.kind.as_str(), entry.actor.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (5, "terms_bound", Some("key_7")),
            (4, "terms_bound", None),
            (3, "plan_created", None),
            (2, "version_uploaded", None),
            (1, "policy_created", None),
        ]
    );
    let dir = host.dir.clone();
    host.engine.close().await;
    let file = dir.path().join("proviso.db");
    let read = async || {
        let store = SqliteStore::open_read_only(SqliteOptions::new(file.clone())).await.unwrap();
        verify(&store, Against::default(), |_| {}).await.unwrap()
    };
    assert!(read().await.is_clean());
    rusqlite::Connection::open(&file).unwrap().execute("DELETE FROM audit WHERE number = 4", []).unwrap();
    let found = read().await.differences;
    assert_eq!((found[0].subject.as_str(), found[0].detail.as_str()), ("audit", "record 4 is missing"));
}
