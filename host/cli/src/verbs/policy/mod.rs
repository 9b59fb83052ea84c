//! `proviso policy …`: what authors do with a policy before it is uploaded, in the sandbox and with the limits of the server.

mod build;
mod inspect;
mod run;
pub mod source;
mod test;
pub mod text;

pub use source::build as build_crate;

use crate::{error::Error, exit::Verdict};
use clap::Subcommand;
use proviso_policy::{Compiler, Limits, Runtime};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a component from a policy crate
    Build(build::Flags),
    /// Say what a module is, and whether a server would take it
    Inspect(inspect::Flags),
    /// Ask a policy once, about a usage or about the end or the beginning of a period
    Run(run::Flags),
    /// Run a policy's case files
    Test(test::Flags),
}

/// Runs one.
pub fn run(verb: Verb) -> Result<Verdict, Error> {
    match verb {
        Verb::Build(flags) => build::run(flags),
        Verb::Inspect(flags) => inspect::run(&flags),
        Verb::Run(flags) => run::run(flags),
        Verb::Test(flags) => test::run(flags),
    }
}

/// A runtime with the server's limits for what a policy may do, for few at once. Modules are compiled in this
/// process: they are the author's own.
fn runtime() -> Result<Runtime, Error> {
    let limits = Limits { instances: 16, loaded_modules: 64, ..Limits::default() };
    Ok(Runtime::new(limits, None, Compiler::InProcess)?)
}
