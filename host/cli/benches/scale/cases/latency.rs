//! Latency at half of the load that saturates, on a schedule that does not wait for answers.

use crate::{
    Options,
    load::{Latency, Load, Pace},
    place::{self, Database, Place},
    table::{Table, median, ms, number},
};

pub async fn run(options: &Options) {
    let mut table = Table::new(&[
        "",
        "saturated charges/s",
        "offered charges/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "most ms",
    ]);
    for database in Database::chosen(options) {
        let place = Place::fresh(&database);
        let host = place.serve_pro(&[]).await;
        let spread = place::customers(&host, "c", options.customers).await;
        let closed = Load::charges(&host, &spread, options.connections);
        closed.run(1.0).await;
        let (mut saturated, mut latencies) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let per_second = closed.run(options.seconds).await.per_second();
            let open = Load { pace: Pace::Open(per_second / 2.0), ..closed.clone() };
            latencies.push(open.run(options.seconds).await.latency());
            saturated.push(per_second);
        }
        spread.verify(&mut host.wire().await).await;
        let (saturated, latency) = (median(saturated), Latency::median(&latencies));
        table.row([
            format!("{}, {} customers", database.name(), options.customers),
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
