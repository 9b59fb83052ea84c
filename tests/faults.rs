//! Everything that breaks, under load, one fault after another, as a seed has it: hosts and databases are killed and
//! restarted, wires are cut, clocks stand apart, disks run full. Afterwards each request counts once, and all books agree.

use crate::support::{
    Setup,
    cluster::{self, Cluster},
    disk::Disk,
    fleet::Fleet,
    minutes_ahead,
    proxy::{End, Proxy},
    random::{self, Random},
    recount,
    traffic::{self, Tally, Traffic},
    verify, verify_database,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::block_in_place,
    time::{Instant, timeout},
};

const CLIENTS: u64 = 8;
const CUSTOMERS: u64 = 6;
/// Requests that must be answered between two faults.
const PROGRESS: u64 = 20;

/// How long to wait for a commit whose answer can be lost.
const LOSS_WITHIN: Duration = Duration::from_secs(30);

/// How many faults a run has, on each database; `PROVISO_FAULTS` sets another number.
fn faults() -> usize {
    std::env::var("PROVISO_FAULTS").ok().and_then(|faults| faults.parse().ok()).unwrap_or(12)
}

/// What can be done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a host; it is started again on its data, at another address.
    KillHost,
    /// The same with SIGTERM.
    TerminateHost,
    /// One host's clock moves ahead, by an hour at most.
    MoveClock,
    /// `kill -9` of PostgreSQL and all its processes; it is started again.
    KillDatabase,
    /// PostgreSQL ends all sessions and starts again.
    RestartDatabase,
    /// All connections of a host to PostgreSQL end at once.
    DropConnections,
    /// The same, and for a while there are no new ones.
    RefuseConnections,
    /// Each message between a host and PostgreSQL is slow for a while.
    DelayConnections,
    /// Nothing moves between a host and PostgreSQL for a while.
    BlackHole,
    /// PostgreSQL commits a host's batch, and the host is not told.
    LoseCommit,
    /// The disk that the database lies on has no room for a while.
    FillDisk,
}

/// What several hosts on one PostgreSQL go through.
const OF_POSTGRES: [Fault; 10] = [
    Fault::KillHost,
    Fault::TerminateHost,
    Fault::MoveClock,
    Fault::KillDatabase,
    Fault::RestartDatabase,
    Fault::DropConnections,
    Fault::RefuseConnections,
    Fault::DelayConnections,
    Fault::BlackHole,
    Fault::LoseCommit,
];

/// What one host with its own file goes through.
const OF_SQLITE: [Fault; 4] = [Fault::KillHost, Fault::TerminateHost, Fault::MoveClock, Fault::FillDisk];

/// Where the hosts' data lies.
enum Ground {
    /// One host's own SQLite file.
    File(Setup),
    /// The same on a disk that can run full.
    SmallDisk(Disk),
    /// One PostgreSQL for two hosts, with a wire to each.
    Postgres { cluster: Box<Cluster>, database: String, wires: Vec<Proxy> },
}

impl Ground {
    async fn postgres() -> Self {
        let cluster = Box::new(block_in_place(Cluster::start_new));
        let database = cluster.create_database();
        let wires = vec![Proxy::before(cluster.port()).await, Proxy::before(cluster.port()).await];
        Self::Postgres { cluster, database, wires }
    }

    fn setups(&self) -> Vec<Setup> {
        match self {
            Self::File(setup) => vec![setup.clone()],
            Self::SmallDisk(disk) => vec![disk.setup.clone()],
            Self::Postgres { database, wires, .. } => {
                wires.iter().map(|wire| Setup::on(&cluster::url(wire.port(), database))).collect()
            }
        }
    }

    fn verify(&self) -> (bool, String) {
        match self {
            Self::File(setup) => verify(setup.data.path()),
            Self::SmallDisk(disk) => verify(disk.setup.data.path()),
            Self::Postgres { cluster, database, .. } => verify_database(&cluster.url(database)),
        }
    }

    fn disk(&self) -> &Disk {
        let Self::SmallDisk(disk) = self else { panic!("no disk that can run full") };
        disk
    }

    fn cluster(&self) -> &Cluster {
        let Self::Postgres { cluster, .. } = self else { panic!("no PostgreSQL") };
        cluster
    }

    fn wire(&self, host: usize) -> &Proxy {
        let Self::Postgres { wires, .. } = self else { panic!("no wires") };
        &wires[host]
    }
}

/// Hosts, what they stand on, and clients at work.
struct Run {
    ground: Ground,
    fleet: Arc<Fleet>,
    random: Random,
    traffic: Traffic,
}

impl Run {
    async fn on(ground: Ground, seed: u64) -> Self {
        let fleet = Arc::new(Fleet::start(ground.setups()).await);
        traffic::set_up(&mut fleet.client(0).await, CUSTOMERS).await;
        let traffic = Traffic::start(&fleet, seed, CLIENTS, CUSTOMERS);
        Self { ground, fleet, random: Random::new(seed, 0), traffic }
    }

    /// So many faults, each of these kinds once before any comes again; after each, clients must get on.
    async fn suffer(&mut self, kinds: &[Fault], count: usize) {
        let mut deck = Vec::new();
        for number in 1..=count {
            if deck.is_empty() {
                deck = self.random.shuffled(kinds);
            }
            let Some(fault) = deck.pop() else { return };
            let lead = PROGRESS + self.random.below(100);
            self.traffic.progress(lead).await;
            let host = self.random.place(self.fleet.len());
            // Said before, for whoever wants to know which one it was that nothing came after.
            eprintln!("fault {number}/{count}: {fault:?}, host {host}");
            let started = Instant::now();
            let detail = self.inject(fault, host).await;
            let healed = started.elapsed();
            self.traffic.progress(PROGRESS).await;
            let recovered = started.elapsed() - healed;
            eprintln!("  over{detail} after {healed:.0?}; {PROGRESS} more answers {recovered:.0?} later");
        }
    }

    /// Does it and takes it back, and says more of it.
    async fn inject(&mut self, fault: Fault, host: usize) -> String {
        match fault {
            Fault::KillHost => {
                self.fleet.kill(host).await;
                self.fleet.start_again(host).await;
            }
            Fault::TerminateHost => {
                let status = self.fleet.terminate(host).await;
                assert!(status.success(), "SIGTERM: {status}");
                self.fleet.start_again(host).await;
            }
            Fault::MoveClock => return self.move_clock(host).await,
            Fault::KillDatabase | Fault::RestartDatabase => {
                let cluster = self.ground.cluster();
                block_in_place(|| {
                    if fault == Fault::KillDatabase {
                        cluster.stop_immediate()
                    } else {
                        cluster.stop_fast()
                    }
                    cluster.start();
                });
            }
            Fault::DropConnections => {
                let end = if self.random.below(2) == 0 { End::Reset } else { End::Finish };
                self.ground.wire(host).drop_all(end);
                return format!(" ({end:?})");
            }
            Fault::RefuseConnections => {
                let length = self.random_length();
                self.ground.wire(host).refuse(true);
                self.ground.wire(host).drop_all(End::Reset);
                tokio::time::sleep(length).await;
                self.ground.wire(host).refuse(false);
                return format!(" (for {length:?})");
            }
            Fault::DelayConnections => {
                let delay = Duration::from_millis(1 + self.random.below(50));
                self.ground.wire(host).delay(delay);
                self.traffic.progress(PROGRESS * 2).await;
                self.ground.wire(host).delay(Duration::ZERO);
                return format!(" (by {delay:?})");
            }
            Fault::BlackHole => {
                let length = self.random_length();
                self.ground.wire(host).black_hole(true);
                tokio::time::sleep(length).await;
                self.ground.wire(host).black_hole(false);
                return format!(" (for {length:?})");
            }
            Fault::LoseCommit => {
                // So begins what a charge writes into the journal.
                let lost = self.ground.wire(host).cut_answer_to("{\"charged\":");
                timeout(LOSS_WITHIN, lost).await.expect("a commit to lose").expect("its answer is lost");
            }
            Fault::FillDisk => {
                let disk = self.ground.disk();
                let process = self.fleet.process(host).await;
                block_in_place(|| disk.fill(process));
                // The host has noticed when it turns requests away; the clients keep asking.
                self.traffic.refusals(CLIENTS).await;
                disk.free(process);
                return format!(" ({})", disk.kind());
            }
        }
        String::new()
    }

    /// For what lasts a while.
    fn random_length(&mut self) -> Duration {
        Duration::from_millis(100 + self.random.below(3_000))
    }

    /// Up to an hour ahead of this machine's clock, if the host is not that far already.
    async fn move_clock(&mut self, host: usize) -> String {
        let minutes = self.random.below(60);
        let moved = json!({"now": minutes_ahead(minutes)});
        let answer = self.fleet.client(host).await.post("/v1/test_clock", moved).await;
        match answer.status {
            200 => format!(" (it is {minutes} minutes ahead)"),
            409 => " (it is further ahead)".to_owned(),
            _ => panic!("{answer:?}"),
        }
    }

    /// Lets the clients finish, and counts.
    async fn settle(self) -> (Tally, usize) {
        let Self { ground, fleet, traffic, .. } = self;
        let (book, tally) = traffic.finish().await;
        let entries = recount::check(&fleet, &book, CUSTOMERS).await;
        let (fine, text) = block_in_place(|| ground.verify());
        assert!(fine, "verify beside running hosts: {text}");
        for host in 0..fleet.len() {
            assert!(fleet.terminate(host).await.success());
        }
        let (fine, text) = block_in_place(|| ground.verify());
        assert!(fine, "{text}");
        (tally, entries)
    }
}

/// A whole run: so many faults of these kinds.
async fn run(ground: Ground, kinds: &[Fault], count: usize) {
    let seed = random::seed();
    eprintln!("PROVISO_SEED={seed}: {count} of {kinds:?}");
    let mut run = Run::on(ground, seed).await;
    run.suffer(kinds, count).await;
    let (tally, entries) = run.settle().await;
    assert!(tally.answered >= PROGRESS * 2 * count as u64, "{tally:?}");
    assert_eq!(tally.failed, 0, "whatever breaks, 503 is the worst: {tally:?}");
    eprintln!("PROVISO_SEED={seed}: {count} faults, {entries} entries, nothing lost or doubled; {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_on_postgres_lose_nothing_and_double_nothing() {
    run(Ground::postgres().await, &OF_POSTGRES, faults()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_on_sqlite_loses_nothing_and_doubles_nothing() {
    run(Ground::SmallDisk(Disk::new()), &OF_SQLITE, faults()).await;
}

/// Only `kill -9`, on a real disk: `PROVISO_KILLS` says how often.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_and_doubles_nothing() {
    let kills = std::env::var("PROVISO_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    run(Ground::File(Setup::new()), &[Fault::KillHost], kills).await;
}
