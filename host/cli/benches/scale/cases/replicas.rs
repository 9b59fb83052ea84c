//! One host against two on one PostgreSQL, with as many connections in all: what a second host brings, and what it costs
//! when both write the same customers.

use crate::{
    Kind, Options,
    contest::{self, Contender},
    load::{Load, Route},
    place::{self, Database, Place},
};
use std::rc::Rc;

pub async fn run(options: &Options) {
    let chosen = Database::chosen(&Options { database: Kind::Postgres, ..options.clone() });
    let database = &chosen[0];
    let place = Place::fresh(database);
    let beside = place.beside();
    let first = Rc::new(place.serve_pro(&[]).await);
    let second = Rc::new(beside.serve(&[]).await);
    // Each row has customers of its own: what one row has left in a host's memory must not slow the next.
    let customers = async |prefix, count| place::customers(&first, prefix, count).await;
    let spread = customers("one", options.customers).await;
    let kept = customers("kept", options.customers).await;
    let any = customers("any", options.customers).await;
    let hot = customers("hot", 1).await;
    let hot_at_both = customers("hot-at-both", 1).await;

    let both = vec![first.address.clone(), second.address.clone()];
    let one = |population| Load::charges(&first, population, options.connections);
    let two = |population, route| Load { hosts: both.clone(), route, persistent: true, ..one(population) };
    let hosts = [&first, &second];
    let many = format!("{} customers", options.customers);
    let contenders = vec![
        Contender::new(format!("one host, {many}"), database, &hosts[..1], one(&spread)),
        Contender::new(
            format!("two hosts, each customer kept to one, {many}"),
            database,
            &hosts,
            two(&kept, Route::Kept),
        ),
        Contender::new(
            format!("two hosts, any customer at any, {many}"),
            database,
            &hosts,
            two(&any, Route::Any),
        ),
        Contender::new("one host, one hot customer", database, &hosts[..1], one(&hot)),
        Contender::new(
            "two hosts, one hot customer at both",
            database,
            &hosts,
            two(&hot_at_both, Route::Any),
        ),
    ];
    contest::run(contenders, options).await;
}
