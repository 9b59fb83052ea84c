//! Policies: the only room that knows wasmtime and the interface's types.
//!
//! In come a module's bytes, and for each decision plain data from [`proviso_ledger::decision`]; out come plain data or
//! a typed fault, with the fuel it took. A module is inspected before anything is compiled, compiled in a process that
//! may be killed, tried before it is used, and run in a fresh instance for each call. No clock, randomness, network or
//! file ever reaches a policy, so the same arguments give the same result and burn the same fuel, for ever.

pub mod build;
mod cache;
mod compile;
mod conformance;
mod fault;
mod heartbeat;
mod inspect;
mod limits;
mod module;
mod runtime;
mod sandbox;
mod trusted;
mod v1;
mod world;

pub use cache::CacheDir;
pub use compile::{Compiler, compile_worker};
pub use fault::{Cause, Fault, Finding, PolicyError, Rejection};
pub use inspect::{Shape, inspect};
pub use limits::Limits;
pub use module::{Decided, Module};
pub use runtime::{Admitted, Runtime};
