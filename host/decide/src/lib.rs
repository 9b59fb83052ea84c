//! How a command becomes entries by asking policies: pure, so that the server, `policy test`, simulation, replay and backtest
//! share it. It knows the catalog's plans and a trait for policies; it waits for nothing and reads no clock. A policy that is not
//! loaded yet is asked for, and the request is decided again once it is there.

pub mod access;
pub mod add_ons;
pub mod budgets;
pub mod catalog;
pub mod change;
pub mod command;
mod decider;
mod error;
pub mod importing;
mod journal;
mod migration;
mod periods;
mod plan_change;
mod plan_grants;
pub mod policy;
pub mod precondition;
mod profile;
mod rating;
pub mod replay;
mod request;
pub mod selling;
pub mod top_ups;

pub use decider::{AHEAD, Decider, Stop, is_current};
pub use error::DecideError;
pub use journal::{Journal, Written};
