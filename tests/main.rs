//! Black-box tests: the real binary, started as a user starts it, asked as a client asks it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands, and may be told by the environment how long to run"
)]

mod abuse;
mod archive;
mod as_code;
mod attack;
mod authoring;
mod backup;
mod checkpoints;
mod copy;
mod events;
mod faults;
mod guide;
mod harness;
mod hostile;
mod instruments;
mod main_job;
mod modules;
mod moving;
mod neighbours;
mod network;
mod nginx;
mod policies;
mod prices;
mod replay;
mod replicas;
mod reversals;
mod rollout;
mod simulate;
mod support;
mod typescript;
mod uploads;
