//! The reference model of the money, and what compares hosts with it: random commands over virtual years, the same for each host,
//! compared after every command. The model shares no code with the host. Nothing here is part of the product.
//!
//! `host/decide/tests/reference` runs it on the pure core, `host/engine/tests/ledger_model` on engines over both databases, whose
//! policy is the module in `policy/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err,
    missing_docs,
    reason = "a test fails by panicking"
)]

pub mod answer;
pub mod calendar;
pub mod commands;
pub mod compare;
pub mod history;
pub mod json;
pub mod model;
pub mod packs;
pub mod policy;
pub mod pure;
pub mod run;
pub mod settings;
pub mod translate;
