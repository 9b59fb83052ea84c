//! What only a SQLite file promises: one writing process, readers beside it, schemas that are told apart, and a full
//! disk that leaves no part of a commit.

use crate::{
    Factory, SqliteFile,
    model::{FORMAT, Model, customer, entry, key, row, unknown},
};
use proviso_ledger::model::time::Timestamp;
use proviso_store::{
    Batch, CheckpointRow, Commit, JournalEnd, NewEntry, SqliteOptions, SqliteStore, Store, StoreError,
};
use rusqlite::Connection;

/// A connection that the store knows nothing of.
fn connect(file: &SqliteFile) -> Connection {
    Connection::open(&file.options.path).unwrap()
}

fn one(of: &str, seq: u64) -> Batch {
    let entries = vec![entry(&customer(of), seq, Some(key(&format!("{of}-{seq}"))))];
    Batch { entries, ..Batch::default() }
}

#[tokio::test]
async fn a_second_writer_is_kept_out() {
    let file = SqliteFile::with_defaults();
    let store = file.open().await;
    let lock = file.options.path.canonicalize().unwrap().with_extension("db.lock");
    assert_eq!(file.try_open().await.map(drop), Err(StoreError::Locked { path: lock }));
    store.close().await;
    // Dropping closes, too, without waiting for it.
    drop(file.try_open().await.unwrap());
    while file.try_open().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let file = SqliteFile::with_defaults();
    file.open().await.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9000, 'of the future', true, x'00', 0)";
    connect(&file).execute(newer, []).unwrap();
    let refused = StoreError::NewerSchema { found: 9000, known: 1 };
    assert_eq!(file.try_open().await.map(drop), Err(refused.clone()));
    assert_eq!(SqliteStore::open_read_only(file.options.clone()).await.map(drop), Err(refused));
}

#[tokio::test]
async fn what_is_no_database_is_told() {
    let file = SqliteFile::with_defaults();
    std::fs::write(&file.options.path, "neither empty nor a database".repeat(50)).unwrap();
    assert!(matches!(file.try_open().await, Err(StoreError::Corrupt { .. })));
    let missing = SqliteOptions::new(file.folder.path().join("missing.db"));
    assert!(matches!(SqliteStore::open_read_only(missing).await, Err(StoreError::Unavailable { .. })));
    let empty = SqliteOptions::new(file.folder.path().join("empty.db"));
    std::fs::write(&empty.path, "").unwrap();
    assert_eq!(
        SqliteStore::open_read_only(empty).await.map(drop),
        Err(StoreError::OlderSchema { found: 0, known: 1 })
    );
}

#[tokio::test]
async fn a_live_file_can_be_read_beside_its_writer() {
    let file = SqliteFile::with_small_limits();
    let store = file.open().await;
    let mut model = Model::default();
    let everyone: Vec<_> = (0..7).map(|n| customer(&format!("c{n}"))).collect();
    for round in 1..=12 {
        for name in &everyone {
            let batch = one(name.as_str(), round);
            model.commit(&batch);
            assert_eq!(store.commit(batch).await, Ok(Commit::Durable));
        }
        let reader = SqliteStore::open_read_only(file.options.clone()).await.unwrap();
        model.check(&reader, &everyone).await;
        assert_eq!(reader.commit(one("c0", round + 1)).await, Err(StoreError::ReadOnly));
        assert_eq!(reader.change_catalog(None, vec![], None).await, Err(StoreError::ReadOnly));
        reader.close().await;
    }
    // One that stays open sees journals without gaps, whatever is indexed meanwhile.
    let reader = SqliteStore::open_read_only(file.options.clone()).await.unwrap();
    for round in 13..=40 {
        assert_eq!(store.commit(one("c0", round)).await, Ok(Commit::Durable));
        let seen = reader.load(&unknown(&everyone[..1]), FORMAT).await.unwrap();
        assert!((12..=round as usize).contains(&seen[0].tail.len()), "{} at {round}", seen[0].tail.len());
    }
}

#[tokio::test]
async fn the_indexes_end_up_complete() {
    let file = SqliteFile::with_small_limits();
    let store = file.open().await;
    for seq in 1..=60 {
        let batches = (0..10).map(|n| store.commit(one(&format!("c{n}"), seq)));
        for batch in batches {
            assert_eq!(batch.await, Ok(Commit::Durable));
        }
    }
    store.close().await;
    let connection = connect(&file);
    let progress = "SELECT indexed_pos FROM progress";
    let indexed: i64 = connection.query_row(progress, [], |row| row.get(0)).unwrap();
    assert!(indexed > 500, "indexed up to {indexed} of 600");
    let wrong = "SELECT count(*) FROM entries AS e WHERE pos <= ?1 AND NOT ( \
                   EXISTS (SELECT 1 FROM entry_index AS x WHERE x.customer_id = e.customer_id AND x.seq = e.seq \
                           AND x.pos = e.pos) \
                   AND EXISTS (SELECT 1 FROM idempotency AS i WHERE i.customer_id = e.customer_id \
                               AND i.key_hash = e.key_hash AND i.seq = e.seq))";
    let wrong: i64 = connection.query_row(wrong, [indexed], |row| row.get(0)).unwrap();
    assert_eq!(wrong, 0);
}

#[tokio::test]
async fn the_log_stays_short_under_load() {
    let mut file = SqliteFile::with_defaults();
    file.options.checkpoint_pages = 64;
    file.options.memtable_entries = 100;
    let store = file.open().await;
    let log = file.options.path.with_extension("db-wal");
    let body = format!("\"{}\"", "x".repeat(20_000));
    for seq in 1..=1500 {
        let new = NewEntry { body: body.clone(), ..entry(&customer("acme"), seq, None) };
        store.commit(Batch { entries: vec![new], ..Batch::default() }).await.unwrap();
    }
    let written = 1500 * 20_000;
    let length = std::fs::metadata(log).unwrap().len();
    assert!(length < written / 4, "the log has {length} bytes after {written} were written");
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_leaves_memory_and_file_agreeing() {
    let mut file = SqliteFile::with_small_limits();
    file.options.max_pages = Some(200);
    let store = file.open().await;
    let mut model = Model::default();
    let everyone: Vec<_> = (0..3).map(|n| customer(&format!("c{n}"))).collect();
    let mut full = 0;
    for seq in 1..=400 {
        for name in &everyone {
            let mut batch = one(name.as_str(), model.head(name) + 1);
            batch.entries[0].body = format!("\"{}\"", "x".repeat(if seq % 3 == 0 { 9000 } else { 700 }));
            match store.commit(batch.clone()).await {
                Ok(outcome) => assert_eq!(outcome, model.commit(&batch), "{name} {seq}"),
                Err(error) => {
                    assert_eq!(error, StoreError::DiskFull);
                    full += 1;
                }
            }
        }
        if full > 0 {
            model.check(&*store, &everyone).await;
        }
        if full > 40 {
            break;
        }
    }
    assert!(full > 40, "the limit was never met");
    store.close().await;
    // With more space it continues where it stopped.
    file.options.max_pages = None;
    let store = file.open().await;
    model.check(&*store, &everyone).await;
    for name in &everyone {
        let batch = one(name.as_str(), model.head(name) + 1);
        model.commit(&batch);
        assert_eq!(store.commit(batch).await, Ok(Commit::Durable));
    }
    model.check(&*store, &everyone).await;
}

/// Ends are written in pieces, so a crash leaves some without their checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_a_checkpoint_that_was_not_finished_are_not_read_and_are_replaced() {
    let file = SqliteFile::with_defaults();
    let opened = file.open().await;
    let name = customer("a");
    let batch =
        Batch { entries: vec![entry(&name, 1, None)], customers: vec![row(&name, None)], ..Batch::default() };
    assert_eq!(opened.commit(batch).await, Ok(Commit::Durable));
    opened.close().await;
    let connection = connect(&file);
    let left = "INSERT INTO anchors (customer_id, checkpoint, seq, hash) VALUES ('a', 1, 7, zeroblob(32))";
    connection.execute_batch(left).unwrap();
    drop(connection);

    let opened = file.open().await;
    let store = opened.checkpoint_store().unwrap();
    assert_eq!(store.anchors(None, 10).await, Ok(Vec::new()));
    let found = store.journal_ends(None, 10).await.unwrap().remove(0);
    assert_eq!((found.end.seq, found.anchored), (1, None));
    let checkpoint = CheckpointRow {
        number: 1,
        at: Timestamp(0),
        statement: "{}".to_owned(),
        catalog: "[]".to_owned(),
        signature: Vec::new(),
        public_key: [0; 32],
    };
    // More than one piece.
    let others =
        (0..2_500).map(|n| (customer(&format!("c{n:04}")), JournalEnd { seq: n + 1, hash: [1; 32] }));
    let ends: Vec<_> = std::iter::once((name.clone(), found.end)).chain(others).collect();
    assert_eq!(store.add_checkpoint(checkpoint, ends.clone()).await, Ok(Commit::Durable));
    let anchors = store.anchors(None, 10_000).await.unwrap();
    let read: Vec<_> = anchors.into_iter().map(|anchor| (anchor.customer, anchor.end)).collect();
    assert_eq!(read, ends);
}
