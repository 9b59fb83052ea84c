//! Latency at half of the load that saturates, on a schedule that does not wait for answers.

use crate::{
    Options,
    host::Host,
    load::{Latency, Load, Pace},
    place::{self, Database, Place},
    table::{Table, median, ms, number},
};

/// A host on one of the databases, and what was seen of it.
struct Row {
    database: Database,
    closed: Load,
    saturated: Vec<f64>,
    latencies: Vec<Latency>,
    host: Host,
    _place: Place,
}

impl Row {
    async fn start(database: Database, options: &Options) -> Self {
        let place = Place::fresh(&database);
        let host = place.serve_pro(&[]).await;
        let spread = place::customers(&host, "c", options.customers).await;
        let closed = Load::charges(&host, &spread, options.connections);
        closed.run(1.0).await;
        Self { database, closed, saturated: Vec::new(), latencies: Vec::new(), host, _place: place }
    }

    async fn round(&mut self, options: &Options) {
        let per_second = self.closed.run(options.seconds).await.per_second();
        let open = Load { pace: Pace::Open(per_second / 2.0), ..self.closed.clone() };
        self.latencies.push(open.run(options.seconds).await.latency());
        self.saturated.push(per_second);
    }
}

pub async fn run(options: &Options) {
    let mut rows = Vec::new();
    for database in Database::chosen(options) {
        rows.push(Row::start(database, options).await);
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
        row.closed.population.verify(&mut row.host.wire().await).await;
        let (saturated, latency) = (median(row.saturated), Latency::median(&row.latencies));
        table.row([
            format!("{}, {} customers", row.database.name(), options.customers),
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
