//! `proviso replay`: makes every recorded decision again, by the very module that made it, and says what does not come out the
//! same in every bit. A host may use the database meanwhile. Nothing is written.

use crate::{
    clock::Stopwatch,
    config::Place,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::{Replay, ReplayDifference, ReplayOptions};
use proviso_ledger::model::ids::CustomerId;
use proviso_policy::{Compiler, Limits, Runtime};
use proviso_store::Access;
use std::{fmt::Write as _, num::NonZeroUsize, sync::Arc, thread};

/// What `replay` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Replay only this customer
    #[arg(long, value_name = "KEY")]
    customer: Option<CustomerId>,
    /// Customers that are replayed at the same time [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    place: Place,
}

/// Replays.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let jobs = flags.jobs.unwrap_or_else(cores);
    let options = ReplayOptions { customer: flags.customer, jobs };
    let stopwatch = Stopwatch::start();
    let replay = workers(jobs)?.block_on(async {
        let store = settings.database.open(Access::ReadOnly, None).await?;
        let bar = terminal::spinner("replaying");
        let replay = proviso_engine::replay(store.clone(), sandbox()?, options, |so_far| {
            bar.set_message(counts(so_far));
        })
        .await;
        bar.finish_and_clear();
        store.close().await;
        Ok::<_, Error>(replay?)
    })?;
    terminal::print(&report(&replay, stopwatch.micros(), Paint::for_stdout()))?;
    Ok(Verdict::of(replay.is_clean()))
}

/// As many as there are cores.
pub fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Threads for so many workers that decide, and one that reads and reports.
pub fn workers(jobs: NonZeroUsize) -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(jobs.get().saturating_add(1))
        .enable_all()
        .build()
        .map_err(Error::system("starting threads"))
}

/// The sandbox that a host runs, with the same limits: what they allow is a part of a decision.
pub fn sandbox() -> Result<Arc<Runtime>, Error> {
    let limits = Limits { loaded_modules: 64, ..Limits::default() };
    Ok(Arc::new(Runtime::new(limits, None, Compiler::InProcess)?))
}

fn counts(replay: &Replay) -> String {
    let Replay { customers, entries, decisions, .. } = replay;
    format!("{} decisions in {}", terminal::count(*decisions), terminal::journals(*entries, *customers))
}

/// What a replay came to, for people.
fn report(replay: &Replay, micros: u64, paint: Paint) -> String {
    let counts = counts(replay);
    let (differ, skipped) = (replay.differ, replay.skipped());
    let rate = replay.decisions.saturating_mul(1_000_000).checked_div(micros).filter(|rate| *rate > 0);
    let rate = rate.map_or_else(String::new, |rate| format!(", {} a second", terminal::count(rate)));
    let mut text = if differ > 0 {
        format!("{} {counts}: {}\n", paint.bad("differs"), terminal::plural(differ, "difference"))
    } else if !replay.is_clean() {
        format!("{} {counts}: not all of it can be replayed\n", paint.bad("incomplete"))
    } else {
        format!("{} {counts}: outcome, credits and fuel are the same{rate}\n", paint.good("replayed"))
    };
    // Writing to a String does not fail.
    for ReplayDifference { customer, seq, detail } in &replay.differences {
        let _ = writeln!(text, "  {}, entry {seq}: {detail}", paint.strong(customer.as_str()));
    }
    let untold = differ.saturating_sub(replay.differences.len() as u64);
    if untold > 0 {
        let _ = writeln!(text, "  and {} more", terminal::count(untold));
    }
    if skipped > 0 {
        let entries = if skipped == 1 {
            "1 entry was".to_owned()
        } else {
            format!("{} entries were", terminal::count(skipped))
        };
        let _ = writeln!(text, "{entries} not decided again:");
    }
    for (why, count) in &replay.unrepeatable {
        let _ = writeln!(text, "  {} {why}", terminal::count(*count));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_say_what_differs_and_what_was_left_out() {
        let mut replay = Replay { customers: 2, entries: 1_500, decisions: 1_200, ..Replay::default() };
        assert_eq!(
            report(&replay, 2_000_000, Paint::plain()),
            "replayed 1,200 decisions in 1,500 entries of 2 customers: outcome, credits and fuel are the same, 600 a second\n"
        );
        replay.unrepeatable.insert("a fault had decided".to_owned(), 1);
        replay.by_chance = 1;
        assert!(replay.is_clean());
        replay.unrepeatable.insert("module gone".to_owned(), 20);
        assert!(!replay.is_clean());
        assert_eq!(
            report(&replay, 0, Paint::plain()),
            "incomplete 1,200 decisions in 1,500 entries of 2 customers: not all of it can be replayed\n21 entries were not decided \
             again:\n  1 a fault had decided\n  20 module gone\n"
        );
        replay.differ = 3;
        let (customer, detail) = ("acme".parse().unwrap(), "fuel was 1, is now 2".to_owned());
        replay.differences.push(ReplayDifference { customer, seq: 7, detail });
        let text = report(&replay, 0, Paint::plain());
        assert!(text.starts_with("differs "), "{text}");
        assert!(
            text.contains("3 differences\n  acme, entry 7: fuel was 1, is now 2\n  and 2 more\n"),
            "{text}"
        );
    }
}
