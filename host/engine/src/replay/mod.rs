//! Deciding again, over whole databases: journals are read in pages and worked on by several workers, modules are loaded by their
//! digest. What is decided is `proviso_decide::replay`.

mod again;
mod backtest;
mod jobs;
mod journals;
mod modules;

pub use again::{Changed as ReplayDifference, Replay, ReplayOptions, replay};
pub use backtest::{BacktestOf, BacktestOptions, CandidateModule, backtest};
pub(crate) use jobs::Backtests;
pub use jobs::{BacktestJob, BacktestStatus};
