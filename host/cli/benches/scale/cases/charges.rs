//! Durable charges a second, and what they are worth beside peers on the same machine, in the same minutes.

use crate::{
    Options,
    contest::{self, Contender},
    host::Host,
    load::{Command, Load},
    pgbench::Pgbench,
    place::{self, Database, Place},
    population::Population,
};
use std::{rc::Rc, sync::Arc};

/// Charges in one request of the batch rows.
const BATCH: usize = 100;
/// Connections of the batch rows: a client that collects charges needs few.
const BATCH_CONNECTIONS: usize = 8;

pub async fn run(options: &Options) {
    let (mut contenders, mut places) = (Vec::new(), Vec::new());
    for database in Database::chosen(options) {
        let place = [Place::fresh(&database), Place::fresh(&database)];
        enter(&database, &place, options, &mut contenders).await;
        places.push(place);
    }
    contest::run(contenders, options).await;
}

/// A host that is measured, and its customers.
struct Entrant {
    host: Rc<Host>,
    spread: Arc<Population>,
    hot: Arc<Population>,
}

impl Entrant {
    async fn start(place: &Place, flags: &[&str], options: &Options) -> Self {
        let host = Rc::new(place.serve_pro(flags).await);
        let spread = place::customers(&host, "c", options.customers).await;
        let hot = place::customers(&host, "hot", 1).await;
        Self { host, spread, hot }
    }
}

/// Adds the rows of one database.
async fn enter(database: &Database, places: &[Place; 2], options: &Options, rows: &mut Vec<Contender>) {
    let ours = Entrant::start(&places[0], &[], options).await;
    // A transaction for each charge is how most services write. SQLite has one writer; PostgreSQL gets a lane and a
    // connection for each client, so that as many transactions run at once as a pool of that size would have.
    let each = options.connections.to_string();
    let flags: &[&str] = match database {
        Database::Sqlite => &["--largest-batch", "1", "--lanes", "1"],
        Database::Postgres(_) => &["--largest-batch", "1", "--lanes", &each, "--database-connections", &each],
    };
    let one_each = Entrant::start(&places[1], flags, options).await;
    let adjusted = place::customers(&ours.host, "a", options.customers).await;
    let pgbench = match database {
        Database::Sqlite => None,
        Database::Postgres(cluster) => Some(Rc::new(Pgbench::new(cluster, options.customers))),
    };

    let row = |name: String, host: &Rc<Host>, load: Load| Contender::new(name, database, &[host], load);
    let charges =
        |entrant: &Entrant, population| Load::charges(&entrant.host, population, options.connections);
    let (name, many) = (database.name(), format!("{} customers", options.customers));
    let single = || "one transaction for each charge".to_owned();

    let spread = rows.len();
    rows.push(row(format!("{name}, {many}"), &ours.host, charges(&ours, &ours.spread)));
    rows.push(row(single(), &one_each.host, charges(&one_each, &one_each.spread)).peer_of(spread));
    let undecided = Load { command: Command::Adjust, ..charges(&ours, &adjusted) };
    rows.push(row("journaled, but decided by no policy".to_owned(), &ours.host, undecided).peer_of(spread));
    if let Some(pgbench) = &pgbench {
        rows.push(Contender::alone(database, pgbench, options.customers).peer_of(spread));
    }
    let hot = rows.len();
    rows.push(row(format!("{name}, one hot customer"), &ours.host, charges(&ours, &ours.hot)));
    rows.push(row(single(), &one_each.host, charges(&one_each, &one_each.hot)).peer_of(hot));
    if let Some(pgbench) = &pgbench {
        rows.push(Contender::alone(database, pgbench, 1).peer_of(hot));
    }
    for (whom, population) in [(many.as_str(), &ours.spread), ("one hot customer", &ours.hot)] {
        let load = Load {
            command: Command::Batch(BATCH),
            connections: BATCH_CONNECTIONS,
            ..charges(&ours, population)
        };
        rows.push(row(format!("{name}, batches of {BATCH}, {whom}"), &ours.host, load));
    }
}
