//! How the real binary holds up under load: one table for each case, with the peers measured in the same run.
//! The hosts are processes of their own and are spoken to over HTTP, as clients do. Nothing here is measured by asking the
//! host about itself, but for counters that only it has.
//!
//! `cargo bench -p proviso --bench scale -- CASE` runs a case, `docs/benchmarks.md` says what each one does. A request that
//! is not answered 2xx, or a balance that is not the sum of what was charged, ends the run with words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time and may stop where it stands"
)]

mod cases;
mod contest;
mod fill;
mod host;
mod load;
mod machine;
mod modules;
mod pgbench;
mod place;
mod population;
mod table;
mod wire;

use clap::{Parser, ValueEnum};
use proviso_fixtures::{cluster, policies};
use std::path::PathBuf;

/// The binary that is measured.
const BINARY: &str = env!("CARGO_BIN_EXE_proviso");

/// Benchmarks of the real binary, each with its peers beside it.
#[derive(Clone, Parser)]
pub struct Options {
    /// What to measure; without it, the cases are listed
    case: Option<Case>,
    /// The databases to measure on
    #[arg(long, value_enum, default_value_t = Kind::Both)]
    database: Kind,
    /// The full sizes, where a case has two
    #[arg(long)]
    long: bool,
    /// Rounds; every row is measured once in each, one after another, and the median is shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that a row is measured in each round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections that are kept open
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Customers that a spread load is spread over
    #[arg(long, default_value_t = 10_000)]
    customers: usize,
    /// Of a case that compares rows, only those whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where filled SQLite files are kept for the next run, instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Policies, swaps or entries, whatever the case counts; each has its own default
    #[arg(long)]
    count: Option<usize>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Sqlite,
    Postgres,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum Case {
    /// Durable charges a second, spread and hot, one by one and in batches, beside one transaction for each
    Charges,
    /// Latency at half of the load that saturates, on a fixed schedule
    Latency,
    /// Latency of a check, idle and beside charges
    Check,
    /// Latency, memory and start-up with few and with many customers and entries
    Growth,
    /// Memory and decisions with many policies
    Policies,
    /// New versions of a policy under full load
    Swap,
    /// One host against two on one PostgreSQL
    Replicas,
}

fn main() {
    let options = Options::parse();
    let Some(case) = options.case else {
        println!("the cases, each run by `cargo bench -p proviso --bench scale -- CASE`:");
        for case in Case::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
            println!("  {:<10} {}", case.get_name(), case.get_help().unwrap_or_default());
        }
        return;
    };
    // One thread for the load, so that it takes no more of the machine than it must.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{}", machine::describe(&options));
        match case {
            Case::Charges => cases::charges::run(&options).await,
            Case::Latency => cases::latency::run(&options).await,
            Case::Check => cases::check::run(&options).await,
            Case::Growth => cases::growth::run(&options).await,
            Case::Policies => cases::policies::run(&options).await,
            Case::Swap => cases::swap::run(&options).await,
            Case::Replicas => cases::replicas::run(&options).await,
        }
        println!("{}", machine::load_average());
    });
}
