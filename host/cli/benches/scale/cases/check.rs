//! What a check costs: alone, and beside charges at half of the load that saturates. Checks are not durable, so they show
//! what a charge waits for.

use crate::{
    Options,
    load::{Command, Latency, Load, Pace},
    place::{Database, Stage},
    table::{Table, median, ms, number},
};

/// Checks a second beside the charges.
const CHECKS: f64 = 500.0;

#[derive(Default)]
struct Row {
    per_second: Vec<f64>,
    latencies: Vec<Latency>,
}

impl Row {
    async fn measure(&mut self, load: &Load, seconds: f64) {
        let answers = load.run(seconds).await;
        self.per_second.push(answers.per_second());
        self.latencies.push(answers.latency());
    }
}

pub async fn run(options: &Options) {
    let mut table = Table::new(&[
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "p50, check / charge",
        "p99, check / charge",
    ]);
    let mut contests = Vec::new();
    for database in Database::chosen(options) {
        contests.push(Contest { stage: Stage::start(database, options).await, rows: Default::default() });
    }
    for _ in 0..options.rounds {
        for contest in &mut contests {
            contest.round(options).await;
        }
    }
    for contest in contests {
        contest.stage.verify().await;
        add(&mut table, contest.stage.database.name(), &contest.rows);
    }
    table.print();
}

/// Charges and checks on one of the databases.
struct Contest {
    stage: Stage,
    rows: [Row; 4],
}

impl Contest {
    async fn round(&mut self, options: &Options) {
        let closed = &self.stage.saturating;
        let half = closed.run(options.seconds).await.per_second() / 2.0;
        let idle_charges = Load { connections: 1, ..closed.clone() };
        let idle_checks = Load { command: Command::Check, ..idle_charges.clone() };
        let charges = Load { pace: Pace::Open(half), ..closed.clone() };
        let checks = Load {
            command: Command::Check,
            connections: options.connections.div_ceil(4),
            pace: Pace::Open(CHECKS),
            ..closed.clone()
        };
        let [idle_charge, idle_check, busy_charge, busy_check] = &mut self.rows;
        idle_charge.measure(&idle_charges, options.seconds).await;
        idle_check.measure(&idle_checks, options.seconds).await;
        tokio::join!(
            busy_charge.measure(&charges, options.seconds),
            busy_check.measure(&checks, options.seconds),
        );
    }
}

fn add(table: &mut Table, database: &str, rows: &[Row; 4]) {
    let names = [
        "a charge alone, one connection",
        "a check alone, one connection",
        "charges at half of what saturates",
        "checks beside them",
    ];
    let mut charge = None;
    for (place, (row, name)) in rows.iter().zip(names).enumerate() {
        let latency = Latency::median(&row.latencies);
        let ratio = |of: fn(&Latency) -> f64| match charge.as_ref() {
            Some(charge) if place % 2 == 1 => number(of(&latency) / of(charge), 2),
            _ => String::new(),
        };
        table.row([
            format!("{database}, {name}"),
            number(median(row.per_second.iter().copied()), 0),
            ms(latency.p50),
            ms(latency.p99),
            ms(latency.p999),
            ratio(|latency| latency.p50),
            ratio(|latency| latency.p99),
        ]);
        charge = Some(latency);
    }
}
