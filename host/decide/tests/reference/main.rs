//! The reference model of the money against the host: random commands over virtual years, compared after every command.
//!
//! `REFERENCE_SEED=n` runs one history, `REFERENCE_COMMANDS=n` so many commands from `REFERENCE_FROM=n` on. Each history has a
//! seed, which is printed when host and model differ, with the shortest list of its commands in which they still do.

mod answer;
mod calendar;
mod commands;
mod compare;
mod driver;
mod model;
mod policy;
mod settings;

use answer::Host;
use commands::{Command, History};
use driver::DecideHost;
use model::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many commands a history has.
const LENGTH: usize = 250;

/// Where host and model differ: the place of the command and what differs.
#[derive(Debug, Clone)]
struct Difference {
    at: usize,
    detail: String,
}

fn run<H: Host>(history: &History) -> Result<usize, Difference> {
    let mut host = H::begin(history.start, &history.plans);
    let mut model = Model::begin(history.start, &history.plans);
    for (at, command) in history.commands.iter().enumerate() {
        let order = model.resolve(command);
        let expected = model.execute(&order);
        let answer = host.execute(&order);
        let mut found = compare::answers(&answer, &expected);
        found.extend(compare::differences(order.now, &host.state(), &model.snapshot()));
        if !found.is_empty() {
            let when = jiff::Timestamp::from_microsecond(order.now).unwrap();
            return Err(Difference { at, detail: format!("at {when}: {order:?}\n  {}", found.join("\n  ")) });
        }
    }
    Ok(history.commands.len())
}

/// Runs a history; a panic of either side is a difference, too.
fn try_run<H: Host>(history: &History) -> Result<usize, Difference> {
    match catch_unwind(AssertUnwindSafe(|| run::<H>(history))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Difference { at: history.commands.len() - 1, detail: format!("panic: {text:?}") })
        }
    }
}

/// Drops commands as long as host and model still differ.
fn shrink<H: Host>(mut history: History, mut difference: Difference) -> (History, Difference) {
    history.commands.truncate(difference.at + 1);
    let mut size = history.commands.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut dropped = false;
        while from < history.commands.len() {
            let mut less = history.clone();
            let to = (from + size).min(less.commands.len());
            less.commands.drain(from..to);
            match if less.commands.is_empty() { Ok(0) } else { try_run::<H>(&less) } {
                Err(found) => {
                    less.commands.truncate(found.at + 1);
                    (history, difference, dropped) = (less, found, true);
                }
                Ok(_) => from += size,
            }
        }
        if !dropped || size > 1 {
            size /= 2;
        }
    }
    (history, difference)
}

fn report(seed: u64, history: &History, difference: &Difference) -> String {
    let mut text = format!("seed {seed} differs after {} commands\n", history.commands.len());
    let used = |key: &str| history.commands.iter().any(|command| format!("{command:?}").contains(key));
    for plan in history.plans.iter().filter(|plan| used(plan.key)) {
        text.push_str(&format!("plan {}: {:?} {:?}\n", plan.key, plan.interval, plan.settings));
    }
    for command in &history.commands {
        text.push_str(&format!("  {command:?}\n"));
    }
    text.push_str(&difference.detail);
    // What is not set says nothing.
    for nothing in ["None", "[]", "false", "Keep", "Asked", "Purchases", "Block"] {
        for name in [
            "tier",
            "cap",
            "rollover",
            "fee",
            "allowances",
            "counters",
            "period_categories",
            "newest_first",
            "mode",
            "settle_open",
            "settle_close",
            "settle_from",
            "overage",
            "features",
            "starts_in",
            "lasts",
            "paid",
            "with_period",
            "entity",
            "model",
            "ago",
            "commits",
        ] {
            text = text.replace(&format!("{name}: {nothing}, "), "");
        }
    }
    text.replace("000000000000", "e12")
}

fn number(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods)] // How long to run is asked of the environment.
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn the_host_does_what_the_model_says() {
    std::panic::set_hook(Box::new(|_| {}));
    let seeds: Box<dyn Iterator<Item = u64>> = match number("REFERENCE_SEED") {
        Some(seed) => Box::new(seed..=seed),
        None => Box::new(number("REFERENCE_FROM").unwrap_or(1)..),
    };
    let most = number("REFERENCE_COMMANDS").unwrap_or(10_000) as usize;
    let mut failures = Vec::new();
    let mut done = 0;
    for seed in seeds {
        let history = commands::history(seed, LENGTH);
        match try_run::<DecideHost>(&history) {
            Ok(commands) => done += commands,
            Err(difference) => {
                done += difference.at + 1;
                let (history, difference) = shrink::<DecideHost>(history, difference);
                failures.push(report(seed, &history, &difference));
            }
        }
        if done >= most || failures.len() >= number("REFERENCE_FAILURES").unwrap_or(3) as usize {
            break;
        }
    }
    let _ = std::panic::take_hook();
    println!("{done} commands");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[allow(unused)]
fn used(_: &Command) {}
