//! What only a PostgreSQL database promises: several hosts at once, claims, lost connections that are replaced, and an
//! error for each thing that may be wrong with a server.

use crate::{
    Factory, SqliteFile,
    cluster::{self, Cluster},
    model::{CLAIM, FORMAT, Model, customer, entry, key, row, snapshot, unknown},
};
use proviso_ledger::model::{
    ids::{CustomerId, Digest},
    time::Timestamp,
};
use proviso_store::{
    Access, Batch, CatalogChange, Commit, DatabaseUrl, NewEntry, NewKey, PostgresOptions, PostgresStore,
    Store, StoreError,
};
use sqlx::{Connection, PgConnection};
use std::{sync::Arc, time::Duration};

/// A database of its own on a cluster.
pub struct PostgresDatabase<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl PostgresDatabase<'static> {
    pub fn fresh() -> Self {
        Self::on(cluster::shared())
    }
}

impl<'a> PostgresDatabase<'a> {
    pub fn on(cluster: &'a Cluster) -> Self {
        Self { cluster, name: cluster.create_database() }
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions::new(&self.cluster.url(&self.name)).unwrap()
    }

    pub async fn try_open(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(self.options()).await
    }

    /// A session that the store knows nothing of.
    pub async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url(&self.name)).await.unwrap()
    }

    pub fn sql(&self, statement: &str) -> String {
        self.cluster.sql(&self.name, statement)
    }

    /// Ends every session of every store.
    fn kill_sessions(&self) {
        self.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where application_name = 'proviso' and datname = current_database()",
        );
    }
}

#[async_trait::async_trait]
impl Factory for PostgresDatabase<'_> {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.try_open().await.unwrap())
    }
}

fn one(of: &str, seq: u64) -> Batch {
    let entries = vec![entry(&customer(of), seq, Some(key(&format!("{of}-{seq}"))))];
    Batch { entries, ..Batch::default() }
}

fn names(count: usize) -> Vec<CustomerId> {
    (0..count).map(|n| customer(&format!("c{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_start_at_once_find_one_schema() {
    for _ in 0..3 {
        let database = PostgresDatabase::fresh();
        let opened = tokio::join!(
            database.try_open(),
            database.try_open(),
            database.try_open(),
            database.try_open(),
            database.try_open()
        );
        for store in <[_; 5]>::from(opened) {
            assert_eq!(store.unwrap().ping().await, Ok(()));
        }
        assert_eq!(
            database
                .sql("select count(*) = count(distinct version), bool_and(success) from _sqlx_migrations"),
            "t|t"
        );
    }
}

#[tokio::test]
async fn a_customer_that_is_due_is_handed_to_one_host() {
    let database = PostgresDatabase::fresh();
    let (one, other) = (database.open().await, database.open().await);
    let everyone = names(8);
    let customers = everyone.iter().zip(1..).map(|(name, at)| row(name, Some(at))).collect();
    one.commit(Batch { customers, ..Batch::default() }).await.unwrap();
    let due = async |store: &Arc<dyn Store>, limit| store.due(Timestamp(7), limit, CLAIM).await.unwrap();

    assert_eq!(due(&one, 3).await, everyone[..3]);
    assert_eq!(due(&other, 100).await, everyone[3..7], "the rest of those that are due");
    assert_eq!(due(&one, 100).await, everyone[..3], "its own once more");
    assert_eq!(due(&other, 2).await, everyone[3..5]);

    // Whatever is written of a customer ends its claim.
    let written = Batch {
        due: vec![(everyone[0].clone(), Some(Timestamp(5)))],
        customers: vec![row(&everyone[1], Some(6))],
        ..Batch::default()
    };
    assert_eq!(one.commit(written).await, Ok(Commit::Durable));
    let seen = [3, 0, 4, 1, 5, 6].map(|n| everyone[n].clone());
    assert_eq!(due(&other, 100).await, seen);
    assert_eq!(due(&one, 100).await, everyone[2..3]);

    // A claim that has ended by the database's clock keeps no host out.
    database.sql("update customers set claimed_until = 0 where customer_id = 'c2'");
    assert!(due(&other, 100).await.contains(&everyone[2]));
    assert_eq!(due(&one, 100).await, []);
    let short = one.due(Timestamp(8), 100, Duration::ZERO).await.unwrap();
    assert_eq!((short, due(&one, 100).await), (everyone[7..].to_vec(), vec![]));

    // A host that ends in order leaves its claims to the others.
    other.close().await;
    assert_eq!(due(&one, 100).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_sweep_at_once_share_the_work() {
    let database = PostgresDatabase::fresh();
    let stores = [database.open().await, database.open().await, database.open().await];
    let everyone = names(300);
    let customers = everyone.iter().map(|name| row(name, Some(1))).collect();
    stores[0].commit(Batch { customers, ..Batch::default() }).await.unwrap();
    let sweeps = stores.map(|store| {
        tokio::spawn(async move {
            let mut swept = Vec::new();
            loop {
                let page = store.due(Timestamp(1), 10, CLAIM).await.unwrap();
                if page.is_empty() {
                    return swept;
                }
                let due = page.iter().map(|customer| (customer.clone(), None)).collect();
                swept.extend(page);
                store.commit(Batch { due, ..Batch::default() }).await.unwrap();
            }
        })
    });
    let mut swept = Vec::new();
    for sweep in sweeps {
        swept.extend(sweep.await.unwrap());
    }
    let mut expected = everyone;
    swept.sort();
    expected.sort();
    assert_eq!(swept, expected, "each once");
}

#[tokio::test]
async fn the_oldest_of_the_live_hosts_bounds_the_format() {
    let database = PostgresDatabase::fresh();
    let (one, other) = (database.open().await, database.open().await);
    let age = Duration::from_secs(60);
    let oldest = async || one.oldest_live_format(age).await.unwrap();
    one.announce(3).await.unwrap();
    assert_eq!(oldest().await, Some(3));
    other.announce(2).await.unwrap();
    assert_eq!(oldest().await, Some(2), "while the other is upgraded");
    assert_eq!(other.oldest_live_format(age).await, Ok(Some(2)));

    // One that has said nothing for too long by the database's clock is not waited for.
    database.sql("update hosts set seen_at = seen_at - 61 * 1000000 where reads_format = 2");
    assert_eq!(oldest().await, Some(3));
    assert_eq!(one.oldest_live_format(Duration::from_secs(3600)).await, Ok(Some(2)));
    other.announce(2).await.unwrap();
    assert_eq!(oldest().await, Some(2), "it was alive after all");

    // One that ends in order is gone at once; one that was killed leaves a row that is removed in the end.
    other.close().await;
    assert_eq!(oldest().await, Some(3));
    database.sql("insert into hosts select 'killed', 1, seen_at - 86401 * 1000000::bigint from hosts");
    one.announce(4).await.unwrap();
    assert_eq!(database.sql("select reads_format from hosts"), "4");

    let reader = PostgresStore::open_read_only(database.options()).await.unwrap();
    assert_eq!(reader.announce(1).await, Err(StoreError::ReadOnly));
    assert_eq!(reader.oldest_live_format(age).await, Ok(Some(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_race_leave_journals_without_gaps() {
    const ENTRIES: usize = 60;
    let database = PostgresDatabase::fresh();
    let everyone = names(3);
    let hosts: Vec<_> = (0..4)
        .map(|host| (host, everyone.clone(), database.options()))
        .map(|(host, mut customers, options)| {
            // Half of them name the customers the other way round.
            if host % 2 == 0 {
                customers.reverse();
            }
            tokio::spawn(async move {
                let store = PostgresStore::open(options).await.unwrap();
                let mut known: Vec<_> = unknown(&customers);
                let (mut won, mut lost) = (0, 0);
                while won < ENTRIES {
                    let loaded = store.load(&known, FORMAT).await.unwrap();
                    for ((_, seq), loaded) in known.iter_mut().zip(loaded) {
                        *seq += loaded.tail.len() as u64;
                    }
                    let next = |(customer, seq): &(CustomerId, u64)| {
                        entry(customer, seq + 1, Some(key(&format!("{host}-{won}"))))
                    };
                    let batch = Batch { entries: known.iter().map(next).collect(), ..Batch::default() };
                    match store.commit(batch).await.unwrap() {
                        Commit::Durable => won += 1,
                        Commit::Conflict => lost += 1,
                    }
                }
                lost
            })
        })
        .collect();
    let mut lost = 0;
    for host in hosts {
        lost += host.await.unwrap();
    }
    assert!(lost > 0, "they never met");
    let store = database.open().await;
    for loaded in store.load(&unknown(&everyone), FORMAT).await.unwrap() {
        // That none is missing in between is checked by the load.
        assert_eq!(loaded.tail.len(), 4 * ENTRIES);
    }
}

/// Does a bit of everything, and all of it at the first attempt.
async fn use_it(store: &dyn Store, round: u64) {
    let acme = customer("acme");
    assert_eq!(store.commit(one("acme", round)).await, Ok(Commit::Durable));
    assert_eq!(store.load(&[(acme.clone(), round - 1)], FORMAT).await.unwrap()[0].tail.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_end_while_idle_are_replaced() {
    let database = PostgresDatabase::fresh();
    let store = database.open().await;
    let (acme, plan) = (customer("acme"), vec![]);
    assert_eq!(store.commit(one("acme", 1)).await, Ok(Commit::Durable));
    database.kill_sessions();
    assert_eq!(store.commit(one("acme", 2)).await, Ok(Commit::Durable));
    database.kill_sessions();
    assert_eq!(store.entries(&acme, 0, 9).await.unwrap().len(), 2);
    database.kill_sessions();
    assert_eq!(store.change_catalog(None, plan, None).await, Ok(Commit::Durable));
    database.kill_sessions();
    assert_eq!(store.catalog(0).await.unwrap().revision, 1);
    database.kill_sessions();
    assert_eq!(store.due(Timestamp(1), 9, CLAIM).await, Ok(vec![]));
    database.kill_sessions();
    assert_eq!(store.ping().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_forgotten_entries_is_not_written_on() {
    let database = PostgresDatabase::fresh();
    let store = database.open().await;
    for seq in 1..=3 {
        assert_eq!(store.commit(one("acme", seq)).await, Ok(Commit::Durable));
    }
    // Like a standby that was promoted before it had received everything.
    database.kill_sessions();
    database.sql("delete from entries where seq = 3");
    assert_eq!(store.ping().await, Ok(()));
    assert_eq!(store.commit(one("acme", 4)).await, Ok(Commit::Conflict));
    assert_eq!(store.load(&[(customer("acme"), 1)], FORMAT).await.unwrap()[0].tail.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_waited_for() {
    let cluster = Cluster::start_new();
    let database = PostgresDatabase::on(&cluster);
    let store = database.open().await;
    use_it(&*store, 1).await;
    cluster.stop_fast();
    cluster.start();
    use_it(&*store, 2).await;
    cluster.stop_immediate();
    cluster.start();
    use_it(&*store, 3).await;
    // One that comes back only after it was asked.
    cluster.stop_fast();
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { use_it(&*store, 4).await }
    });
    cluster.start();
    waiting.await.unwrap();
    // One that does not come back.
    let mut options = database.options();
    options.acquire_timeout = Duration::from_secs(1);
    options.start_timeout = Duration::from_secs(1);
    let impatient = PostgresStore::open(options.clone()).await.unwrap();
    cluster.stop_fast();
    for answer in [
        impatient.commit(one("acme", 5)).await.map(drop),
        impatient.ping().await,
        PostgresStore::open(options).await.map(drop),
    ] {
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_too_long_is_not_waited_for() {
    let database = PostgresDatabase::fresh();
    let mut options = database.options();
    options.statement_timeout = Duration::from_millis(200);
    let store = PostgresStore::open(options).await.unwrap();
    store.commit(one("acme", 1)).await.unwrap();
    let mut other = database.session().await;
    sqlx::raw_sql(
        "begin; insert into entries (customer_id, seq, at, hash, body) \
         select customer_id, 2, at, hash, body from entries",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let refused = store.commit(one("acme", 2)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert_eq!(store.commit(one("acme", 2)).await, Ok(Commit::Durable));
}

#[tokio::test]
async fn schemas_are_told_apart() {
    let database = PostgresDatabase::fresh();
    let read_only = || PostgresStore::open_read_only(database.options());
    assert_eq!(read_only().await.map(drop), Err(StoreError::OlderSchema { found: 0, known: 1 }));
    database.open().await.close().await;
    assert_eq!(read_only().await.map(drop), Ok(()));
    database.sql(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9000, 'of the future', true, '', 0)",
    );
    let refused = StoreError::NewerSchema { found: 9000, known: 1 };
    assert_eq!(read_only().await.map(drop), Err(refused.clone()));
    assert_eq!(database.try_open().await.map(drop), Err(refused));
}

#[tokio::test]
async fn a_reader_reads_and_writes_nothing() {
    let database = PostgresDatabase::fresh();
    let store = database.open().await;
    let mut model = Model::default();
    let acme = customer("acme");
    for seq in 1..=9 {
        let snapshots = if seq == 5 { vec![snapshot(&acme, seq)] } else { vec![] };
        let batch = Batch { snapshots, customers: vec![row(&acme, Some(3))], ..one("acme", seq) };
        assert_eq!(store.commit(batch.clone()).await, Ok(model.commit(&batch)));
    }
    // Like a standby.
    database.sql(&format!("alter database {} set default_transaction_read_only = on", database.name));
    let url: DatabaseUrl = database.cluster.url(&database.name).parse().unwrap();
    let reader = url.open(Access::ReadOnly, None).await.unwrap();
    model.check(&*reader, std::slice::from_ref(&acme)).await;
    assert_eq!(reader.commit(one("acme", 10)).await, Err(StoreError::ReadOnly));
    assert_eq!(reader.change_catalog(None, vec![], None).await, Err(StoreError::ReadOnly));
    reader.close().await;
    assert_eq!(database.try_open().await.map(drop), Err(StoreError::Standby));
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told() {
    let cluster = Cluster::start_new();
    let database = PostgresDatabase::on(&cluster);
    cluster.sql("postgres", "create role guarded login password 'right'");
    cluster.sql(
        "postgres",
        "create database ascii encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'",
    );
    let rules = cluster.sql("postgres", "show hba_file");
    cluster.sql(
        "postgres",
        &format!(
            "copy (select unnest(array['host all guarded 127.0.0.1/32 scram-sha-256', \
             'host all all 127.0.0.1/32 trust'])) to '{rules}'"
        ),
    );
    cluster.sql("postgres", "select pg_reload_conf()");
    let port = cluster.port();
    let open = async |url: String| {
        let mut options = PostgresOptions::new(&url).unwrap();
        options.start_timeout = Duration::from_millis(300);
        let error = PostgresStore::open(options).await.map(drop).unwrap_err();
        assert!(!error.to_string().contains("wrong-secret"), "{error}");
        error
    };
    let wrong_password =
        open(format!("postgres://guarded:wrong-secret@127.0.0.1:{port}/{}", database.name)).await;
    assert!(
        matches!(&wrong_password, StoreError::Refused { detail } if detail.contains("guarded")),
        "{wrong_password}"
    );
    let unknown_database = open(cluster.url("nowhere")).await;
    assert!(
        matches!(&unknown_database, StoreError::Refused { detail } if detail.contains("nowhere")),
        "{unknown_database}"
    );
    let no_utf8 = open(cluster.url("ascii")).await;
    assert!(
        matches!(&no_utf8, StoreError::Unsupported { detail } if detail.contains("SQL_ASCII")),
        "{no_utf8}"
    );
    // PostgreSQL 15 lets only its owner make tables in a database.
    let no_privilege = open(format!("postgres://guarded:right@127.0.0.1:{port}/{}", database.name)).await;
    assert!(matches!(no_privilege, StoreError::Refused { .. }), "{no_privilege}");
    let no_tls = open(format!("{}?sslmode=require", cluster.url(&database.name))).await;
    assert!(matches!(no_tls, StoreError::Refused { .. }), "{no_tls}");
    drop(cluster);
    let nobody = open(format!("postgres://postgres:wrong-secret@127.0.0.1:{port}/postgres")).await;
    assert!(matches!(nobody, StoreError::Unavailable { .. }), "{nobody}");
}

#[tokio::test]
async fn nothing_is_ever_scanned() {
    let database = PostgresDatabase::fresh();
    database.open().await.close().await;
    let scans = || {
        database.sql(
            "select sum(seq_scan), sum(idx_scan) > 0 from pg_stat_user_tables \
             where relname in ('entries', 'idempotency', 'snapshots', 'customers')",
        )
    };
    let before = scans();
    let store = database.open().await;
    let mut model = Model::default();
    let everyone = names(5);
    for seq in 1..=20 {
        for name in &everyone {
            let snapshots = if seq % 4 == 0 { vec![snapshot(name, seq)] } else { vec![] };
            let due = vec![(name.clone(), Some(Timestamp(9)))];
            let batch = Batch { snapshots, due, customers: vec![row(name, None)], ..one(name.as_str(), seq) };
            assert_eq!(store.commit(batch.clone()).await, Ok(model.commit(&batch)));
        }
        // Small tables whose size is known are what a planner likes best to scan.
        if seq == 5 {
            database.sql("vacuum analyze");
        }
    }
    model.check(&*store, &everyone).await;
    // Sessions report what they did when they end.
    store.close().await;
    let count = |scans: &str| scans.split('|').next().unwrap().parse::<i64>().unwrap();
    while database.sql("select count(*) from pg_stat_activity where application_name = 'proviso' and datname = current_database()") != "0" {}
    let after = scans();
    assert_eq!(count(&after), count(&before), "{before} {after}");
    assert!(after.ends_with("|t"), "{after}");
}

#[tokio::test]
async fn a_module_of_any_bytes_and_a_body_of_any_characters_come_back() {
    let database = PostgresDatabase::fresh();
    let store = database.open().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let digest = Digest::of(&bytes);
    let change = CatalogChange::PutModule { digest, bytes: bytes.clone() };
    assert_eq!(store.change_catalog(None, vec![change], None).await, Ok(Commit::Durable));
    assert_eq!(store.module(&digest).await, Ok(Some(bytes)));
    let acme = customer("acme");
    let body = "\"\\u0000 \u{1f980} \u{7f} \\\\ ' \"".repeat(100_000);
    let new = NewEntry { body: body.clone(), ..entry(&acme, 1, None) };
    assert_eq!(store.commit(Batch { entries: vec![new], ..Batch::default() }).await, Ok(Commit::Durable));
    assert_eq!(store.entries(&acme, 0, 1).await.unwrap()[0].body, body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archiving_changes_no_answer() {
    let database = PostgresDatabase::fresh();
    let store = database.open().await;
    let mut model = Model::default();
    let both = [customer("acme"), customer("b")];
    let mut moved = 0;
    for (last, through) in
        [(1, 9), (2, 1), (9, 5), (10, 5), (300, 299), (900, 700), (901, u64::MAX), (905, 0)]
    {
        for name in &both {
            let seqs = model.head(name) + 1..=last;
            let entries = seqs.map(|seq| entry(name, seq, Some(key(&format!("{name} {seq}"))))).collect();
            let snapshots = if last == 10 { vec![snapshot(name, 3)] } else { vec![] };
            let batch = Batch { entries, snapshots, ..Batch::default() };
            assert_eq!(store.commit(batch.clone()).await, Ok(model.commit(&batch)));
        }
        let expected = through.min(last - 1).max(moved) - moved;
        assert_eq!(store.archive(&both[0], through).await, Ok(expected), "{last} {through}");
        moved += expected;
        assert_eq!(store.archive(&both[0], through).await, Ok(0), "{last} {through}");
        model.check(&*store, &both).await;
        // Keys and numbers of what is archived stay taken, and further keys find it.
        let again = Batch { entries: vec![entry(&both[0], 1, None)], ..Batch::default() };
        assert_eq!(store.commit(again).await, Ok(Commit::Conflict));
        let further = NewKey { customer: both[0].clone(), key_hash: key(&format!("further {last}")), seq: 1 };
        let batch = Batch { keys: vec![further], ..Batch::default() };
        assert_eq!(store.commit(batch.clone()).await, Ok(model.commit(&batch)));
    }
    assert_eq!(database.sql("select count(*), min(seq) from entries where customer_id = 'acme'"), "5|901");
    let file = SqliteFile::with_defaults();
    assert_eq!(file.open().await.archive(&both[0], 1).await, Err(StoreError::NoArchive));
}
