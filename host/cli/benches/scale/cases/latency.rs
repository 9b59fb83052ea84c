//! Latency at half of the load that saturates, on a schedule that does not wait for answers.

use crate::{
    Options,
    load::{Latency, Load, Pace},
    place::{Database, Stage},
    table::{Table, median, ms, number},
};

/// What was seen of a host on one of the databases.
struct Row {
    stage: Stage,
    saturated: Vec<f64>,
    latencies: Vec<Latency>,
}

impl Row {
    async fn round(&mut self, options: &Options) {
        let per_second = self.stage.saturating.run(options.seconds).await.per_second();
        let open = Load { pace: Pace::Open(per_second / 2.0), ..self.stage.saturating.clone() };
        self.latencies.push(open.run(options.seconds).await.latency());
        self.saturated.push(per_second);
    }
}

pub async fn run(options: &Options) {
    let mut rows = Vec::new();
    for database in Database::chosen(options) {
        let stage = Stage::start(database, options).await;
        rows.push(Row { stage, saturated: Vec::new(), latencies: Vec::new() });
    }
    for _ in 0..options.rounds {
        for row in &mut rows {
            row.round(options).await;
        }
    }
    let mut table = Table::new(&[
        "",
        "saturated charges/s",
        "offered charges/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "most ms",
    ]);
    for row in rows {
        row.stage.verify().await;
        let (saturated, latency) = (median(row.saturated), Latency::median(&row.latencies));
        table.row([
            format!("{}, {} customers", row.stage.database.name(), options.customers),
            number(saturated, 0),
            number(saturated / 2.0, 0),
            ms(latency.p50),
            ms(latency.p99),
            ms(latency.p999),
            ms(latency.most),
        ]);
    }
    table.print();
}
