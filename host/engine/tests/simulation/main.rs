//! A simulation: several hosts on one database, or one host on a database of its own, clients that hang up and retry, and
//! faults, all on one thread under virtual time, so that a seed gives the same interleaving each time. What must hold is
//! checked at the end, whatever happened: each charge once, every answer true, journals and balances equal to the clients'
//! own books.
//!
//! `PROVISO_SEED=n` replays one seed, `PROVISO_SEEDS=n` runs so many (default 40).

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
mod troubles;

use clients::Books;
use proviso_engine::{Clock, Engine, Options};
use proviso_fixtures::{
    dice::Dice,
    host::{self, START, time},
    policies,
    store::simulated::{Connection, Database},
};
use proviso_ledger::model::time::Timestamp;
use std::{
    cell::{Cell, RefCell},
    num::NonZeroUsize,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::{task::LocalSet, time::Instant};

/// Hosts that share a database.
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
    /// How often a client hung up.
    pub hang_ups: Cell<u64>,
    /// Whether the clients are.
    done: Cell<bool>,
    began: Instant,
    /// From which fuel on decisions are made off the lanes.
    slow_fuel: u64,
}

impl World {
    fn new(seed: u64, is_shared: bool) -> Self {
        Self {
            dice: Dice::new(seed),
            database: Arc::new(Database::new(Dice::new(seed ^ 0x5eed), is_shared)),
            hosts: RefCell::default(),
            books: RefCell::default(),
            hang_ups: Cell::default(),
            done: Cell::default(),
            began: Instant::now(),
            // All but the first of each customer and policy in every third run, else none.
            slow_fuel: if seed.is_multiple_of(3) { 1 } else { Options::default().slow_fuel },
        }
    }

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
            slow_fuel: self.slow_fuel,
            slow_workers: 0,
            ..Options::default()
        };
        // Whoever supervises a host starts it again.
        let engine = loop {
            match Engine::start(connection.clone(), policies::runtime(), clock.clone(), options.clone()).await
            {
                Ok(engine) => break engine,
                Err(error) => assert!(clients::may_retry(&error), "{error}"),
            }
        };
        Rc::new(Host { engine, connection, skew })
    }

    /// The first host, as other tests drive theirs.
    fn first_host(&self) -> host::Host {
        let engine = self.hosts.borrow()[0].engine.clone();
        let (clock, dir) = (engine.clock().clone(), Arc::new(tempfile::tempdir().unwrap()));
        host::Host { engine, clock, dir }
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
        if !self.database.is_shared() {
            ended.engine.close().await;
        }
        let next = self.start_host(ended.skew).await;
        self.hosts.borrow_mut()[place] = next;
        ended.engine.close().await;
    }

    /// One fault after another, each to its end, until the clients are done.
    async fn disturb(&self) {
        while !self.done.get() {
            tokio::time::sleep(self.dice.millis(10..400)).await;
            let place = self.dice.index(self.hosts.borrow().len());
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

/// Runs something under virtual time.
fn simulate<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), run)
}

/// Runs one seed; returns a digest of all that was written, which another run of it must give again.
fn run(seed: u64) -> String {
    simulate(async {
        // Every fourth run is one host on a database of its own.
        let is_shared = !seed.is_multiple_of(4);
        let world = Rc::new(World::new(seed, is_shared));
        clients::install(&world).await;
        for place in 0..if is_shared { HOSTS } else { 1 } {
            let skew = if place == 0 { 0 } else { world.dice.skew() };
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
        clients.push(tokio::task::spawn_local(clients::administer(world.clone())));
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
        let hang_ups = world.hang_ups.get();
        assert!(hang_ups > 10, "only {hang_ups} clients hung up");
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
