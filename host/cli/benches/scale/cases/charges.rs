//! Durable charges a second, and what they are worth beside peers on the same machine, in the same minutes.

use crate::{
    Options,
    contest::{self, Contender},
    load::{Command, Load},
    place::{self, Place},
};
use std::rc::Rc;

/// Charges in one request of the batch rows.
const BATCH: usize = 100;
/// Connections of the batch rows: a client that collects charges needs few.
const BATCH_CONNECTIONS: usize = 8;

pub async fn run(options: &Options) {
    let (ours, single) = (Place::fresh(), Place::fresh());
    let host = Rc::new(ours.serve_pro(&[]).await);
    // A lane that sends one request at a time, alone in its transaction, is how most services write.
    let one_each = Rc::new(single.serve_pro(&["--lanes", "1", "--largest-batch", "1"]).await);
    let spread = place::customers(&host, "c", options.customers).await;
    let hot = place::customers(&host, "hot", 1).await;
    let adjusted = place::customers(&host, "a", options.customers).await;
    let (spread_each, hot_each) = (
        place::customers(&one_each, "c", options.customers).await,
        place::customers(&one_each, "hot", 1).await,
    );

    let batch = |population| Load {
        command: Command::Batch(BATCH),
        connections: BATCH_CONNECTIONS,
        ..Load::charges(&host, population, options.connections)
    };
    let undecided = Load { command: Command::Adjust, ..Load::charges(&host, &adjusted, options.connections) };
    let charges = |host, population| Load::charges(host, population, options.connections);
    let many = format!("{} customers", options.customers);
    let contenders = vec![
        Contender::new(format!("SQLite, {many}"), &host, charges(&host, &spread)),
        Contender::new("one transaction for each charge", &one_each, charges(&one_each, &spread_each))
            .peer_of(0),
        Contender::new("journaled, but decided by no policy", &host, undecided).peer_of(0),
        Contender::new("SQLite, one hot customer", &host, charges(&host, &hot)),
        Contender::new("one transaction for each charge", &one_each, charges(&one_each, &hot_each))
            .peer_of(3),
        Contender::new(format!("SQLite, batches of {BATCH}, {many}"), &host, batch(&spread)),
        Contender::new(format!("SQLite, batches of {BATCH}, one hot customer"), &host, batch(&hot)),
    ];
    contest::run(contenders, options).await;
}
