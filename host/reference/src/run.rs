//! Runs histories by seed, and cuts down those in which host and model differ.

use crate::{
    answer::Host,
    compare,
    history::{self, History},
    model::Model,
};
use std::{
    collections::BTreeMap,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// How many commands a history has.
pub const LENGTH: usize = 250;

/// Where host and model differ: the place of the command and what differs.
#[derive(Debug, Clone)]
pub struct Difference {
    pub at: usize,
    pub detail: String,
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
pub fn try_run<H: Host>(history: &History) -> Result<usize, Difference> {
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

/// A history in which host and model differ, for people.
pub fn report(seed: u64, history: &History, difference: &Difference) -> String {
    let mut text = format!("seed {seed} differs within {} commands\n", history.commands.len());
    let used = |key: &str| history.commands.iter().any(|command| format!("{command:?}").contains(key));
    for plan in history.plans.iter().filter(|plan| used(plan.key)) {
        text.push_str(&format!("plan {}: {:?} {:?}\n", plan.key, plan.interval, plan.settings));
    }
    let mut model = Model::begin(history.start, &history.plans);
    for command in &history.commands {
        let order = model.resolve(command);
        let when = jiff::Timestamp::from_microsecond(order.now).unwrap();
        text.push_str(&format!("  {when} {command:?}\n"));
        let answer = catch_unwind(AssertUnwindSafe(|| model.execute(&order)));
        if let Ok(answer) = answer {
            text.push_str(&format!("    -> {} {:?} {:?}\n", answer.what, order.target, answer.draws));
        }
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

/// A number that the environment sets.
pub fn number(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods)] // How long to run is asked of the environment.
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs histories by seed, on all cores, until so many commands are done or so many histories differ.
pub fn search<H: Host>(from: u64, most: usize, failures: usize) -> (usize, BTreeMap<u64, String>) {
    let (next, done) = (AtomicU64::new(from), AtomicUsize::new(0));
    let found = Mutex::new(BTreeMap::new());
    let work = || {
        while done.load(Relaxed) < most && found.lock().unwrap().len() < failures {
            let seed = next.fetch_add(1, Relaxed);
            let history = history::history(seed, LENGTH);
            match try_run::<H>(&history) {
                Ok(commands) => done.fetch_add(commands, Relaxed),
                Err(difference) => {
                    let commands = done.fetch_add(difference.at, Relaxed);
                    let (history, difference) = shrink::<H>(history, difference);
                    found.lock().unwrap().insert(seed, report(seed, &history, &difference));
                    commands
                }
            };
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        for _ in 0..cores.min(most) {
            scope.spawn(work);
        }
    });
    (done.into_inner(), found.into_inner().unwrap())
}
