//! The reference model of the money against whole engines on SQLite and PostgreSQL: several customers whose histories run at once on
//! one clock, periods that are found by requests or by the sweeper, and engines that are started anew in between, so that states are
//! folded again from what is stored.
//!
//! `REFERENCE_COMMANDS=n` runs so many commands, from `REFERENCE_FROM=n` on; `REFERENCE_SEED=n` runs the histories of one seed. What
//! differs is told with its seed, and with whether the pure core differs, too: then
//! `host/decide/tests/reference` finds a shorter history.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands; how long it takes is printed"
)]

mod database;
mod host;

use database::Database;
use futures_util::future::join_all;
use host::EngineHost;
use proviso_engine::{Against, verify};
use proviso_reference::{
    answer::{Answer, Host, Order, Snapshot},
    commands::Command,
    compare,
    history::{History, Random, history},
    model::Model,
    pure::DecideHost,
    run::number,
};
use std::time::Instant;

/// Customers that share an engine and a clock.
const CUSTOMERS: u64 = 12;
/// Commands of each of them.
const LENGTH: usize = 250;
/// What the suite runs of each database.
const SHORT: u64 = 3_000;

/// One customer: what it is asked, what should come of it, and all that it was asked so far.
struct Customer {
    history: History,
    model: Model,
    orders: Vec<Order>,
}

/// Runs the histories of a seed. Returns how many commands that were, and how often the engine was started anew.
async fn run(database: &Database, seed: u64, most: u64) -> (u64, u64) {
    let first = (seed - 1) * CUSTOMERS + 1;
    let mut customers: Vec<Customer> = (first..first + CUSTOMERS)
        .map(|seed| {
            let history = history(seed, LENGTH);
            Customer { model: Model::begin(history.start, &history.plans), history, orders: Vec::new() }
        })
        .collect();
    let mut now = customers[0].history.start;
    for customer in &mut customers {
        customer.history.start = now;
        customer.model = Model::begin(now, &customer.history.plans);
    }
    let mut host = EngineHost::start(database, now).await;
    for (n, customer) in customers.iter().enumerate() {
        host.put_plans(n, &customer.history.plans).await;
    }
    let mut random = Random(seed);
    let (mut done, mut restarts) = (0, 0);
    for round in 0..LENGTH {
        if done >= most {
            break;
        }
        // Time is one for all: whose turn it is lets it pass, as far as all of them may go at once.
        let leader = round % customers.len();
        let most_at_once = customers.iter().map(|one| one.model.furthest()).min().unwrap();
        let resolved = customers[leader].model.resolve(&customers[leader].history.commands[round]);
        now = resolved.now.min(most_at_once).max(now);
        host.at(now);
        if random.percent(3) {
            host = host.restart(database).await;
            restarts += 1;
        }
        if random.percent(10) {
            host.sweep().await;
        }
        for (n, customer) in customers.iter_mut().enumerate() {
            // What is due by now, the model does at once; the engine finds it when it is asked.
            customer.model.execute(&Order { now, command: Command::Read, target: None, units: 0 });
            customer.model.now = now;
            let command = match &customer.history.commands[round] {
                Command::Pass(_) if n != leader => Command::Read,
                // What is sold already is no other version.
                Command::Sell { plan, own } if **own == *customer.model.gives_newest(plan) => Command::Read,
                command => command.clone(),
            };
            let order = customer.model.resolve(&command);
            customer.orders.push(Order { now, ..order });
        }
        let asked = customers.iter().enumerate().map(|(n, customer)| {
            let (host, order) = (&host, &customer.orders[round]);
            async move {
                let answer = host.execute(n, order).await;
                (answer, host.state(n, now).await)
            }
        });
        let answers: Vec<(Answer, Snapshot)> = join_all(asked).await;
        for (n, (answer, state)) in answers.into_iter().enumerate() {
            let Customer { history, model, orders } = &mut customers[n];
            let expected = model.execute(&orders[round]);
            let mut found = compare::answers(&answer, &expected);
            found.extend(compare::differences(now, &state, &model.snapshot()));
            assert!(
                found.is_empty(),
                "seed {seed}, history {}, command {round}, after {restarts} restarts; {}\n{:?}\n  {}",
                first + n as u64,
                of_pure_core(history, orders),
                orders[round],
                found.join("\n  ")
            );
            done += 1;
        }
    }
    host.close().await;
    let store = database.open().await;
    let verification = verify(&*store, Against::default(), |_| {}).await.unwrap();
    assert!(verification.is_clean(), "seed {seed}: {verification:?}");
    store.close().await;
    (done, restarts)
}

/// Whether the pure core does with these orders what the model says.
fn of_pure_core(history: &History, orders: &[Order]) -> String {
    let mut host = DecideHost::begin(history.start, &history.plans);
    let mut model = Model::begin(history.start, &history.plans);
    for (at, order) in orders.iter().enumerate() {
        let mut found = compare::answers(&host.execute(order), &model.execute(order));
        found.extend(compare::differences(order.now, &host.state(), &model.snapshot()));
        if !found.is_empty() {
            return format!(
                "the pure core differs, too, at command {at}: {order:?}\n  {}",
                found.join("\n  ")
            );
        }
    }
    "the pure core agrees with the model".to_owned()
}

fn search(make: impl Fn() -> Database) {
    let begun = Instant::now();
    // The model is of one thread; lanes and stores have theirs.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut seed, most) = match number("REFERENCE_SEED") {
        Some(seed) => (seed, 1),
        None => (number("REFERENCE_FROM").unwrap_or(1), number("REFERENCE_COMMANDS").unwrap_or(SHORT)),
    };
    let (from, mut done, mut restarts) = (seed, 0, 0);
    while done < most {
        // A seed that is asked for is run to its end.
        let left = if most == 1 { u64::MAX } else { most - done };
        let (commands, again) = runtime.block_on(run(&make(), seed, left));
        (done, restarts, seed) = (done + commands, restarts + again, seed + 1);
        println!("{done} commands from seed {from} on, {restarts} restarts, {:?}", begun.elapsed());
    }
}

#[test]
fn an_engine_on_sqlite_does_what_the_model_says() {
    search(Database::sqlite);
}

#[test]
fn an_engine_on_postgres_does_what_the_model_says() {
    search(Database::postgres);
}
