//! Policies in WebAssembly: the only crate that knows wasmtime and the interface's types.
//!
//! A module is inspected before anything is compiled, compiled in a process that may be killed, tried before it is used, and
//! run in a fresh instance for each call. [`Module`] is a [`proviso_decide::policy::Policy`]. No clock, randomness, network
//! or file ever reaches a policy, so the same arguments give the same result and burn the same fuel, for ever.

pub mod build;
mod cache;
mod call;
mod compile;
mod conformance;
mod fault;
mod inspect;
mod limits;
mod module;
pub mod probe;
mod runtime;
mod sandbox;
mod shape;
mod ticker;
mod trusted;
mod v1;
mod world;

pub use cache::CacheDir;
pub use call::fuel_burnt_on_this_thread;
pub use compile::{Compiler, compile_worker};
pub use fault::{Finding, PolicyError, Rejection};
pub use inspect::{class_for, inspect};
pub use limits::{Budget, Limits};
pub use module::Module;
pub use runtime::{Admitted, Runtime};
pub use shape::Shape;
