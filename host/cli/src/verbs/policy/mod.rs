//! `proviso policy …`: what authors do with a policy before it is uploaded, in the sandbox and with the limits of the server.

mod bench;
mod build;
mod cases;
mod coverage;
mod diff;
mod inspect;
pub(super) mod modules;
mod needs;
mod new;
mod profile;
pub(super) mod remote;
mod run;
mod schema;
pub(super) mod settings;
pub(super) mod sign;
pub mod source;
pub(super) mod test;
pub mod text;

pub use source::build as build_crate;

use crate::{error::Error, exit::Verdict, terminal};
use clap::Subcommand;
use proviso_ledger::model::resources::ResourceClass;
use proviso_policy::{Compiler, Limits, Runtime, class_for};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make the folder of a policy, with settings and cases that pass, from a template
    New(new::Flags),
    /// Make a component from the folder of a policy
    Build(build::Flags),
    /// Say what a module is, and whether a server would take it
    Inspect(inspect::Flags),
    /// Ask a policy once, about a usage or about the end or the beginning of a period
    Run(run::Flags),
    /// Run a policy's case files
    ///
    /// Exit codes: 0 all cases passed, 1 one failed or could not be run, 2 the command line makes no sense.
    Test(test::Flags),
    /// Say what of the compiled policy runs while its case files do: functions, branches and source lines
    Coverage(coverage::Flags),
    /// Say where the fuel of one decision, or of all of the case files', goes, by function
    Profile(profile::Flags),
    /// Say what fuel the decisions of the case files take, and compare it with what they took before
    Bench(bench::Flags),
    /// Search for the smallest case that two policies, or two settings of one, decide differently
    Diff(diff::Flags),
    /// Print the JSON Schema of case files, or of a folder's files of plans or policies, for editors
    Schema(schema::Flags),
    /// Make a key that signs policies, and print the line by which hosts know it
    Key(sign::KeyFlags),
    /// Print the signature of a policy's module
    Sign(sign::Flags),
    /// Upload a policy to a server as a new version
    Push(remote::push::Flags),
    /// Bind a version to a plan or a customer, now or at a time
    Activate(remote::activate::Flags),
    /// Bind again what decided before the terms that decide now
    Rollback(remote::rollback::Flags),
    /// Show how a canary of a plan fares, or raise its share
    ///
    /// Exit codes: 0 fine, 1 it was rolled back, 2 the command line makes no sense.
    Rollout(remote::rollout::Flags),
    /// List the versions of a policy, or the terms of a plan or a customer
    History(remote::history::Flags),
}

/// Runs one.
pub fn run(verb: Verb) -> Result<Verdict, Error> {
    match verb {
        Verb::New(flags) => new::run(&flags),
        Verb::Build(flags) => build::run(flags),
        Verb::Inspect(flags) => inspect::run(&flags),
        Verb::Run(flags) => run::run(flags),
        Verb::Test(flags) => test::run(&flags),
        Verb::Coverage(flags) => coverage::run(&flags),
        Verb::Profile(flags) => profile::run(flags),
        Verb::Bench(flags) => bench::run(&flags),
        Verb::Diff(flags) => diff::run(&flags),
        Verb::Schema(flags) => schema::run(&flags),
        Verb::Key(flags) => sign::key(&flags),
        Verb::Sign(flags) => sign::run(&flags),
        Verb::Push(flags) => remote::push::run(&flags),
        Verb::Activate(flags) => remote::activate::run(&flags),
        Verb::Rollback(flags) => remote::rollback::run(&flags),
        Verb::Rollout(flags) => remote::rollout::run(&flags),
        Verb::History(flags) => remote::history::run(&flags),
    }
}

/// A runtime with the server's limits for what a policy may do, for few at once. Modules are compiled in this
/// process: they are the author's own.
fn runtime() -> Result<Runtime, Error> {
    Ok(Runtime::new(limits(), None, Compiler::InProcess)?)
}

/// Says what of a component a server would refuse by its size, shape or interface, and tells of a class that an operator has to set.
fn fitting(component: &[u8]) -> Result<(), Error> {
    let class = class_for(component, &limits()).map_err(Error::Refused)?;
    if class == ResourceClass::Large {
        terminal::note(
            "too large for a module of the class default: before it is uploaded, an operator gives the policy the class large \
             (PUT /v1/policies/NAME {\"resource_class\": \"large\"})",
        );
    }
    Ok(())
}

fn limits() -> Limits {
    Limits { instances: 16, loaded_modules: 64, ..Limits::default() }
}
