//! A contest: each contender is measured once in every round, one after another. The table shows medians, and how far peers
//! are from ours.

use crate::{
    Options,
    host::Host,
    load::{Latency, Load},
    pgbench::Pgbench,
    place::Database,
    table::{Table, median, ms, number},
};
use std::rc::Rc;

/// Seconds before the first round, in which caches fill.
const WARM_UP: f64 = 1.0;
const CONFLICTS: &str = "proviso_commit_conflicts_total";
const COMMITS: &str = "proviso_commits_total";

/// Who is measured.
pub struct Contender {
    name: String,
    database: Database,
    work: Work,
    /// The row that this one is a peer of.
    ours: Option<usize>,
    rounds: Vec<Round>,
}

/// What it does.
enum Work {
    /// Hosts under a load.
    Hosts(Vec<Rc<Host>>, Load),
    /// PostgreSQL alone, on so many accounts.
    Alone(Rc<Pgbench>, usize),
}

/// What one round came to; CPU times in microseconds for each charge.
struct Round {
    per_second: f64,
    latency: Latency,
    host_cpu: Option<f64>,
    database_cpu: Option<f64>,
    /// Charges that one commit made durable.
    batch: Option<f64>,
    /// For each 1,000 charges.
    conflicts: Option<f64>,
    /// Requests that were sent in vain, for each 1,000 charges.
    in_vain: Option<f64>,
}

impl Contender {
    /// A load on hosts.
    pub fn new(name: impl Into<String>, database: &Database, hosts: &[&Rc<Host>], load: Load) -> Self {
        let hosts = hosts.iter().map(|host| Rc::clone(host)).collect();
        Self {
            name: name.into(),
            database: database.clone(),
            work: Work::Hosts(hosts, load),
            ours: None,
            rounds: Vec::new(),
        }
    }

    /// PostgreSQL alone.
    pub fn alone(database: &Database, pgbench: &Rc<Pgbench>, accounts: usize) -> Self {
        Self {
            name: "pgbench, a careful user's transaction".to_owned(),
            database: database.clone(),
            work: Work::Alone(pgbench.clone(), accounts),
            ours: None,
            rounds: Vec::new(),
        }
    }

    /// Says which row it is a peer of, counted from the first.
    pub fn peer_of(self, ours: usize) -> Self {
        Self { ours: Some(ours), name: format!("  peer: {}", self.name), ..self }
    }

    async fn measure(&self, options: &Options, seconds: f64) -> Round {
        let database_before = self.database.cpu_micros();
        let host_before = self.host_cpu_micros();
        let (commits_before, conflicts_before) = (self.counted(COMMITS).await, self.counted(CONFLICTS).await);
        let (per_second, charges, latency, in_vain) = match &self.work {
            Work::Alone(pgbench, accounts) => {
                let (per_second, charges, latency) =
                    pgbench.run(*accounts, options.connections, seconds).await;
                (per_second, charges, latency, None)
            }
            Work::Hosts(_, load) => {
                let answers = load.run(seconds).await;
                (answers.per_second(), answers.count(), answers.latency(), Some(answers.attempts() as u64))
            }
        };
        let each = |before: Option<u64>, after: Option<u64>| Some((after? - before?) as f64 / charges as f64);
        Round {
            per_second,
            latency,
            host_cpu: each(host_before, self.host_cpu_micros()),
            database_cpu: each(database_before, self.database.cpu_micros()),
            batch: each(commits_before, self.counted(COMMITS).await).map(f64::recip),
            conflicts: each(conflicts_before, self.counted(CONFLICTS).await).map(|each| each * 1e3),
            in_vain: each(Some(0), in_vain).map(|each| each * 1e3),
        }
    }

    fn host_cpu_micros(&self) -> Option<u64> {
        match &self.work {
            Work::Hosts(hosts, _) => Some(hosts.iter().map(|host| host.process().cpu_micros()).sum()),
            Work::Alone(..) => None,
        }
    }

    async fn counted(&self, counter: &str) -> Option<u64> {
        let Work::Hosts(hosts, _) = &self.work else { return None };
        let mut count = 0;
        for host in hosts {
            count += host.counter(counter).await;
        }
        Some(count)
    }

    async fn verify(&self) {
        match &self.work {
            Work::Hosts(hosts, load) => load.population.verify(&mut hosts[0].wire().await).await,
            Work::Alone(pgbench, _) => pgbench.verify(),
        }
    }

    /// The median of a figure over the rounds, when all have it.
    fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        Some(median(self.rounds.iter().map(figure).collect::<Option<Vec<f64>>>()?))
    }

    fn per_second(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.per_second))
    }
}

/// Measures those that were asked for, verifies what they charged, and prints the table.
pub async fn run(mut contenders: Vec<Contender>, options: &Options) {
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for contender in contenders.iter().filter(|one| is_wanted(&one.name)) {
        contender.measure(options, WARM_UP).await;
    }
    for _ in 0..options.rounds {
        for contender in contenders.iter_mut().filter(|one| is_wanted(&one.name)) {
            let round = contender.measure(options, options.seconds).await;
            contender.rounds.push(round);
        }
    }
    for contender in contenders.iter().filter(|one| is_wanted(&one.name)) {
        contender.verify().await;
    }
    print(&contenders);
}

fn print(contenders: &[Contender]) {
    let mut table = Table::new(&[
        "",
        "charges/s",
        "ours / peer",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "host CPU µs/charge",
        "database CPU µs/charge",
        "charges/commit",
        "conflicts/1000 charges",
        "503s/1000 charges",
    ]);
    for contender in contenders.iter().filter(|one| !one.rounds.is_empty()) {
        let measured = |one: &&Contender| !one.rounds.is_empty();
        let ours = contender.ours.and_then(|place| contenders.get(place)).filter(measured);
        let ours = ours.map(Contender::per_second);
        let latency = |figure: fn(&Latency) -> f64| {
            ms(median(contender.rounds.iter().map(|round| figure(&round.latency))))
        };
        let or_none =
            |value: Option<f64>, digits| value.map_or("-".to_owned(), |value| number(value, digits));
        table.row([
            contender.name.clone(),
            number(contender.per_second(), 0),
            ours.map_or(String::new(), |ours| number(ours / contender.per_second(), 2)),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.p999),
            or_none(contender.median(|round| round.host_cpu), 1),
            or_none(contender.median(|round| round.database_cpu), 1),
            or_none(contender.median(|round| round.batch), 1),
            or_none(contender.median(|round| round.conflicts), 2),
            or_none(contender.median(|round| round.in_vain), 2),
        ]);
    }
    table.print();
}
