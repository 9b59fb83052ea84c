//! Commits whose answer is lost or late, over a proxy that this test controls.

use crate::{
    Factory,
    cluster::Cluster,
    model::{FORMAT, customer, entry, key},
    postgres::PostgresDatabase,
};
use proviso_store::{Batch, Commit, NewKey, PostgresOptions, PostgresStore, Store, StoreError};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

/// What the proxy does with the next bytes that a client sends.
const FORWARD: u8 = 0;
/// Forwards them, and drops the answer and the connection.
const LOSE_ANSWER: u8 = 1;
/// Drops them and the connection.
const LOSE_QUESTION: u8 = 2;
/// Forwards them, and holds the answer until it is released. From then on the client hears nothing more.
const HOLD_ANSWER: u8 = 3;

/// Between a client and the server.
struct Proxy {
    orders: Arc<Orders>,
    port: u16,
}

#[derive(Default)]
struct Orders {
    next: AtomicU8,
    held: Notify,
    release: Notify,
}

impl Proxy {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let orders = Arc::<Orders>::default();
        let for_all = Arc::clone(&orders);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&for_all)));
            }
        });
        Self { orders, port }
    }

    fn order(&self, order: u8) {
        self.orders.next.store(order, Ordering::SeqCst);
    }

    fn was_obeyed(&self) -> bool {
        self.orders.next.load(Ordering::SeqCst) == FORWARD
    }
}

/// Carries bytes both ways until one side ends, or an order ends it.
async fn carry(client: TcpStream, server: TcpStream, orders: Arc<Orders>) {
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
        let order = orders.next.swap(FORWARD, Ordering::SeqCst);
        if order == LOSE_QUESTION {
            return;
        }
        to_server.write_all(&buffer[..length]).await.unwrap();
        match order {
            LOSE_ANSWER => {
                // Its answer means that it is done.
                let _ = from_server.read(&mut buffer).await;
                return;
            }
            HOLD_ANSWER => {
                let length = from_server.read(&mut buffer).await.unwrap();
                orders.held.notify_one();
                orders.release.notified().await;
                to_client.write_all(&buffer[..length]).await.unwrap();
                return std::future::pending().await;
            }
            _ => {}
        }
    }
}

struct Setup {
    database: PostgresDatabase<'static>,
    proxy: Proxy,
    store: PostgresStore,
}

async fn setup() -> Setup {
    let database = PostgresDatabase::fresh();
    let (proxy, store) = open_behind_proxy(&database).await;
    Setup { database, proxy, store }
}

/// A store with entry 1 of acme, so that every statement is prepared.
async fn open_behind_proxy(database: &PostgresDatabase<'_>) -> (Proxy, PostgresStore) {
    let proxy = Proxy::to(database.cluster.port()).await;
    let options = PostgresOptions::new(&crate::cluster::url(proxy.port, &database.name)).unwrap();
    let store = PostgresStore::open(options).await.unwrap();
    assert_eq!(store.commit(of_acme(1, "mine")).await, Ok(Commit::Durable));
    (proxy, store)
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
    let Setup { database, proxy, store } = setup().await;
    for (seq, loses) in [(2, LOSE_ANSWER), (3, LOSE_QUESTION), (4, LOSE_ANSWER), (5, FORWARD)] {
        proxy.order(loses);
        assert_eq!(store.commit(of_acme(seq, "mine")).await, Ok(Commit::Durable), "{seq}");
        assert!(proxy.was_obeyed());
        assert_eq!(database.sql("select count(*), max(seq) from entries"), format!("{seq}|{seq}"));
        // Sent again by the caller it conflicts, as ever.
        assert_eq!(store.commit(of_acme(seq, "mine")).await, Ok(Commit::Conflict), "{seq}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_that_another_host_forestalled_is_not_taken_for_written() {
    let Setup { database, proxy, store } = setup().await;
    let other = database.open().await;
    // Another host writes the entry before ours reaches the server.
    assert_eq!(other.commit(of_acme(2, "theirs")).await, Ok(Commit::Durable));
    proxy.order(LOSE_QUESTION);
    let answer = store.commit(of_acme(2, "mine")).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    assert_eq!(store.load(&[(customer("acme"), 1)], FORMAT).await.unwrap()[0].tail.len(), 1);
    let keys = ["mine 2", "mine further 2", "theirs 2"].map(|name| (customer("acme"), key(name)));
    assert_eq!(store.find_keys(&keys).await, Ok(vec![None, None, Some(2)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_catalog_is_made_once_or_its_outcome_is_unknown() {
    let Setup { proxy, store, .. } = setup().await;
    // A lost BEGIN has done nothing yet.
    proxy.order(LOSE_QUESTION);
    assert_eq!(store.change_catalog(None, vec![], None).await, Ok(Commit::Durable));
    assert_eq!(store.catalog_revision().await, Ok(1));
    // Questions are asked again.
    for loses in [LOSE_QUESTION, LOSE_ANSWER] {
        proxy.order(loses);
        assert_eq!(store.catalog_revision().await, Ok(1));
        proxy.order(loses);
        assert_eq!(store.catalog(0).await.map(|catalog| catalog.revision), Ok(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_a_failover_undid_is_not_built_on() {
    let cluster = Cluster::start_new();
    let database = PostgresDatabase::on(&cluster);
    let (proxy, store) = open_behind_proxy(&database).await;
    let store = Arc::new(store);
    proxy.order(HOLD_ANSWER);
    let late = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(of_acme(2, "mine")).await }
    });
    proxy.orders.held.notified().await;
    // A standby takes over that lagged behind by this entry, and another connection finds it.
    cluster.stop_immediate();
    cluster.start();
    database.sql("delete from entries where seq = 2; delete from idempotency where seq = 2");
    assert_eq!(store.ping().await, Ok(()));
    // Only now the answer of the old server arrives.
    proxy.orders.release.notify_one();
    assert_eq!(late.await.unwrap(), Ok(Commit::Durable));
    // Another question takes the connection that was used last; the next commit has to take another one.
    let mut question = pin!(store.ping());
    let _ = timeout(Duration::ZERO, question.as_mut()).await;
    assert_eq!(store.commit(of_acme(3, "mine")).await, Ok(Commit::Conflict));
    assert_eq!(database.sql("select max(seq) from entries"), "1");
}
