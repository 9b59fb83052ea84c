//! The harness itself: what the other tests build on does what it says.

use crate::support::cluster::{self, Cluster};

#[test]
fn a_cluster_keeps_what_was_committed_over_a_crash_and_leaves_nothing() {
    let cluster = Cluster::start_new();
    let database = cluster.create_database();
    cluster.sql(&database, "create table kept as select 42 as answer");
    cluster.stop_immediate();
    assert!(cluster.processes().is_empty());
    cluster.start();
    assert_eq!(cluster.sql(&database, "select answer from kept"), "42");
    cluster.stop_fast();
    cluster.start();
    assert_eq!(cluster.sql(&database, "select answer, current_setting('fsync') from kept"), "42|on");
    let (folder, processes) = (cluster.folder().to_owned(), cluster.processes());
    assert!(processes.len() > 2, "{processes:?}");
    drop(cluster);
    assert!(!folder.exists());
    assert!(!processes.into_iter().any(cluster::is_alive));
}

#[test]
fn databases_of_the_shared_cluster_are_apart() {
    let shared = cluster::shared();
    let [one, other] = [shared.create_database(), shared.create_database()];
    shared.sql(&one, "create table here (x int)");
    assert_eq!(shared.sql(&other, "select count(*) from pg_tables where tablename = 'here'"), "0");
}
