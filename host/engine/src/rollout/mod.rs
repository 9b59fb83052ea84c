//! Canaries: what is counted of their decisions, the limits that end them, and the report on them.
//!
//! Each host counts what it made durable and stores that; every host adds up what all stored, and ends a canary whose limit is
//! passed by a change of the catalog, which only one of them makes.

mod counts;
mod report;
mod share;
mod watch;

pub(crate) use counts::decided_by;
pub use counts::{Counts, Drift};
pub use report::{Affected, Rollout, RolloutState};
pub(crate) use share::raised;
pub(crate) use watch::{Rollouts, run};
