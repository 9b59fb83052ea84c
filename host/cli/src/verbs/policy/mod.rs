//! `proviso policy …`: what authors do with a policy before it is uploaded, in the sandbox and with the limits of the server.

mod bench;
mod build;
mod cases;
mod coverage;
mod diff;
mod inspect;
mod profile;
mod run;
mod source;
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
    /// Say what of the compiled policy runs while its case files do: functions, branches and source lines
    Coverage(coverage::Flags),
    /// Say where the fuel of one decision, or of all of the case files', goes, by function
    Profile(profile::Flags),
    /// Say what fuel the decisions of the case files take, and compare it with what they took before
    Bench(bench::Flags),
    /// Search for the smallest case that two policies, or two settings of one, decide differently
    Diff(diff::Flags),
}

/// Runs one.
pub fn run(verb: Verb) -> Result<Verdict, Error> {
    match verb {
        Verb::Build(flags) => build::run(flags),
        Verb::Inspect(flags) => inspect::run(&flags),
        Verb::Run(flags) => run::run(flags),
        Verb::Test(flags) => test::run(flags),
        Verb::Coverage(flags) => coverage::run(&flags),
        Verb::Profile(flags) => profile::run(flags),
        Verb::Bench(flags) => bench::run(&flags),
        Verb::Diff(flags) => diff::run(&flags),
    }
}

/// A runtime with the server's limits for what a policy may do, for few at once. Modules are compiled in this
/// process: they are the author's own.
fn runtime() -> Result<Runtime, Error> {
    let limits = Limits { instances: 16, loaded_modules: 64, ..Limits::default() };
    Ok(Runtime::new(limits, None, Compiler::InProcess)?)
}
