//! A simulation: several hosts on one database, clients that retry, and faults, all on one thread under virtual time,
//! so that a seed gives the same interleaving each time. What must hold is checked at the end, whatever happened:
//! each charge once, every answer true, journals and balances equal to the clients' own books.
//!
//! `PROVISO_SEED=n` replays one seed, `PROVISO_SEEDS=n` runs so many (40 when nothing is said).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test that can't go on should stop where it stands"
)]

mod clients;
mod database;
#[path = "../../../store/tests/contract/model.rs"]
#[allow(dead_code, reason = "the contract suite uses the rest")]
mod model;
#[path = "../support/mod.rs"]
mod support;

use clients::Books;
use database::{Connection, Database};
use proviso_engine::{Clock, Engine, Options};
use proviso_ledger::time::Timestamp;
use std::{
    cell::{Cell, RefCell},
    num::NonZeroUsize,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use support::{START, dice::Dice, time};
use tokio::{task::LocalSet, time::Instant};

const HOSTS: usize = 3;
const CLIENTS: u64 = 8;

/// A running host: clients reach its engine until it is killed.
pub struct Host {
    pub engine: Arc<Engine>,
    connection: Arc<Connection>,
    /// How far its clock is ahead of the true time, in microseconds.
    skew: i64,
}

/// Everything that a run consists of.
pub struct World {
    pub dice: Dice,
    pub database: Arc<Database>,
    pub hosts: RefCell<Vec<Rc<Host>>>,
    pub books: RefCell<Books>,
    /// Whether the clients are.
    done: Cell<bool>,
    began: Instant,
}

impl World {
    fn now(&self) -> Timestamp {
        time(START).plus_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap())
    }

    async fn start_host(&self, skew: i64) -> Rc<Host> {
        let connection = Arc::new(Connection::new(self.database.clone()));
        let (began, start) = (self.began, time(START).plus_micros(skew));
        let clock =
            Clock::new(move || start.plus_micros(i64::try_from(began.elapsed().as_micros()).unwrap()));
        let options = Options {
            lanes: NonZeroUsize::new(2).unwrap(),
            sweep_every: Duration::from_secs(1),
            ..Options::default()
        };
        // Whoever supervises a host starts it again.
        let engine = loop {
            match Engine::start(connection.clone(), support::runtime(), clock.clone(), options.clone()).await
            {
                Ok(engine) => break engine,
                Err(error) => assert!(clients::may_retry(&error), "{error}"),
            }
        };
        Rc::new(Host { engine, connection, skew })
    }

    /// `kill -9`: whatever the host had under way is never answered, and may or may not have reached the database.
    async fn kill(&self, place: usize) {
        let killed = self.hosts.borrow()[place].clone();
        killed.connection.cut();
        let next = self.start_host(killed.skew).await;
        self.hosts.borrow_mut()[place] = next;
    }

    /// Ends a host as SIGTERM does, and starts it again.
    async fn replace(&self, place: usize) {
        let ended = self.hosts.borrow()[place].clone();
        let next = self.start_host(ended.skew).await;
        self.hosts.borrow_mut()[place] = next;
        ended.engine.close().await;
    }

    /// One fault after another, each to its end, until the clients are done.
    async fn disturb(&self) {
        while !self.done.get() {
            tokio::time::sleep(self.dice.millis(10..400)).await;
            let place = self.dice.index(HOSTS);
            match self.dice.below(8) {
                0 => self.kill(place).await,
                1 => self.replace(place).await,
                2 => {
                    let connection = self.hosts.borrow()[place].connection.clone();
                    connection.pause(self.dice.millis(50..3_000));
                }
                3 => self.database.fail_for(self.dice.millis(10..1_000)),
                4 => self.database.slow_for(self.dice.millis(10..1_000)),
                _ => {}
            }
        }
    }
}

/// Runs one seed; returns a digest of all that was written, which another run of it must give again.
fn run(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), async {
        let dice = Dice::new(seed);
        let database = Arc::new(Database::new(Dice::new(seed ^ 0x5eed)));
        let skews = [0, dice.skew(), dice.skew()];
        let world = Rc::new(World {
            dice,
            database,
            hosts: RefCell::default(),
            books: RefCell::default(),
            done: Cell::default(),
            began: Instant::now(),
        });
        for skew in skews {
            let host = world.start_host(skew).await;
            world.hosts.borrow_mut().push(host);
        }
        clients::prepare(&world).await;
        world.database.allow_faults(true);
        let storm = tokio::task::spawn_local({
            let world = world.clone();
            async move { world.disturb().await }
        });
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|number| tokio::task::spawn_local(clients::charge(world.clone(), number)))
            .collect();
        clients.push(tokio::task::spawn_local(clients::manage(world.clone())));
        for client in clients {
            client.await.unwrap();
        }
        world.done.set(true);
        storm.await.unwrap();
        world.database.allow_faults(false);
        // What lost its connection long ago may still be written.
        tokio::time::sleep(Duration::from_secs(60)).await;
        clients::check(&world).await;
        let hosts = world.hosts.borrow().clone();
        for host in hosts {
            host.engine.close().await;
        }
        let faults = world.database.faults();
        assert!(faults > 10, "only {faults} faults");
        world.database.digest()
    })
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("PROVISO_SEED"), number("PROVISO_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(40)).collect(),
    }
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    LazyLock::force(&clients::POLICY);
    let failed = Mutex::new(Vec::new());
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| run(seed));
        if result.is_err() {
            eprintln!("seed {seed} failed: PROVISO_SEED={seed} replays it");
            failed.lock().unwrap().push(seed);
        }
    }
    assert_eq!(failed.into_inner().unwrap(), Vec::<u64>::new(), "seeds that failed");
}

#[test]
fn a_seed_replays_exactly() {
    LazyLock::force(&clients::POLICY);
    for seed in 1..=3 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
