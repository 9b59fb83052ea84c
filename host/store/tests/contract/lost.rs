//! Commits whose answer is lost on the way, over a line that this test can cut.

use crate::{
    Factory,
    model::{customer, entry, key},
    postgres::PostgresDatabase,
};
use proviso_store::{Batch, Commit, NewKey, PostgresOptions, PostgresStore, Store, StoreError};
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
};

/// What becomes of the next bytes that a client sends.
const FORWARD: u8 = 0;
/// They reach the server, its answer is lost.
const LOSE_ANSWER: u8 = 1;
/// They are lost.
const LOSE_QUESTION: u8 = 2;

/// A line to the server that breaks once when it is told to.
struct Line {
    next: Arc<AtomicU8>,
    port: u16,
}

impl Line {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(FORWARD));
        let told = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&told)));
            }
        });
        Self { next, port }
    }
}

/// Carries bytes both ways until one side ends, or what was told has happened.
async fn carry(client: TcpStream, server: TcpStream, told: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let answers = copy(&mut from_server, &mut to_client);
        let length = tokio::select! {
            _ = answers => return,
            length = from_client.read(&mut buffer) => length.unwrap_or(0),
        };
        if length == 0 {
            return;
        }
        match told.swap(FORWARD, Ordering::SeqCst) {
            LOSE_QUESTION => return,
            LOSE_ANSWER => {
                to_server.write_all(&buffer[..length]).await.unwrap();
                // Its answer means that it is done.
                let _ = from_server.read(&mut buffer).await;
                return;
            }
            _ => to_server.write_all(&buffer[..length]).await.unwrap(),
        }
    }
}

struct Setup {
    database: PostgresDatabase<'static>,
    line: Line,
    store: PostgresStore,
}

/// A store on such a line, with entry 1 of acme, so that every statement is prepared.
async fn setup() -> Setup {
    let database = PostgresDatabase::fresh();
    let line = Line::to(database.cluster.port()).await;
    let options = PostgresOptions::new(&crate::cluster::url(line.port, &database.name)).unwrap();
    let store = PostgresStore::open(options).await.unwrap();
    assert_eq!(store.commit(of_acme(1, "mine")).await, Ok(Commit::Durable));
    Setup { database, line, store }
}

fn of_acme(seq: u64, whose: &str) -> Batch {
    let acme = customer("acme");
    let mut new = entry(&acme, seq, Some(key(&format!("{whose} {seq}"))));
    new.hash = proviso_ledger::model::ids::Digest::of(whose.as_bytes()).0;
    let further = NewKey { customer: acme, key_hash: key(&format!("{whose} further {seq}")), seq };
    Batch { entries: vec![new], keys: vec![further], ..Batch::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_written_counts_although_its_answer_was_lost() {
    let Setup { database, line, store } = setup().await;
    for (seq, loses) in [(2, LOSE_ANSWER), (3, LOSE_QUESTION), (4, LOSE_ANSWER), (5, FORWARD)] {
        line.next.store(loses, Ordering::SeqCst);
        assert_eq!(store.commit(of_acme(seq, "mine")).await, Ok(Commit::Durable), "{seq}");
        assert_eq!(line.next.load(Ordering::SeqCst), FORWARD, "the line broke");
        assert_eq!(database.sql("select count(*), max(seq) from entries"), format!("{seq}|{seq}"));
        // Sent again by the caller it conflicts, as ever.
        assert_eq!(store.commit(of_acme(seq, "mine")).await, Ok(Commit::Conflict), "{seq}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_that_another_host_forestalled_is_not_taken_for_written() {
    let Setup { database, line, store } = setup().await;
    let other = database.open().await;
    // Another host writes the entry while ours hangs in the line.
    assert_eq!(other.commit(of_acme(2, "theirs")).await, Ok(Commit::Durable));
    line.next.store(LOSE_QUESTION, Ordering::SeqCst);
    let answer = store.commit(of_acme(2, "mine")).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    assert_eq!(store.load(&[(customer("acme"), 1)]).await.unwrap()[0].tail.len(), 1);
    let keys = ["mine 2", "mine further 2", "theirs 2"].map(|name| (customer("acme"), key(name)));
    assert_eq!(store.find_keys(&keys).await, Ok(vec![None, None, Some(2)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_reference_data_is_made_once_or_its_end_is_unknown() {
    let Setup { line, store, .. } = setup().await;
    // At its beginning nothing has happened yet.
    line.next.store(LOSE_QUESTION, Ordering::SeqCst);
    assert_eq!(store.change_reference(None, vec![], None).await, Ok(Commit::Durable));
    assert_eq!(store.reference_revision().await, Ok(1));
    // Questions are asked again.
    for loses in [LOSE_QUESTION, LOSE_ANSWER] {
        line.next.store(loses, Ordering::SeqCst);
        assert_eq!(store.reference_revision().await, Ok(1));
        line.next.store(loses, Ordering::SeqCst);
        assert_eq!(store.reference(0).await.map(|reference| reference.revision), Ok(1));
    }
}
