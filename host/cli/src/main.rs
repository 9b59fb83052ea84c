//! The binary `proviso`. It is where everything is put together: configuration,
//! telemetry, clock and randomness come from here, and each verb has a file of its own. Nothing is decided here.

mod clock;
mod config;
mod database;
mod error;
mod exit;
mod json_schema;
mod machine;
mod random;
mod secrets;
mod span;
mod telemetry;
mod terminal;
mod verbs;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::Verdict;
use std::{error::Error as _, process::ExitCode};

/// Runs the terms of every customer's contract as code, over an exact credit ledger.
///
/// Exit codes: 0 all is fine, 1 the thing asked about failed, 2 the command line makes no sense.
#[derive(Parser)]
#[command(name = "proviso", version, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve the API; needs no configuration
    Serve(verbs::serve::Flags),
    /// Build, look at, run and test policies
    #[command(subcommand)]
    Policy(verbs::policy::Verb),
    /// Make settings of the standard policy from a price book, such as the api.json of models.dev
    Prices(verbs::prices::Flags),
    /// Play months of usage of made-up customers, or of a recorded trace, under a policy: credits, refusals and margins by segment
    Simulate(verbs::simulate::Flags),
    /// Propose prices in credits for a margin, and buffers for spikes, from what was used and what that costs the provider
    Estimate(verbs::estimate::Flags),
    /// Compute every balance, transfer and hash of a database anew, compare it with its checkpoints, and say what differs
    Verify(verbs::verify::Flags),
    /// Make every recorded decision again by the very module that made it, and say what does not come out the same in every bit
    Replay(verbs::replay::Flags),
    /// Ask recorded commands of other terms (another policy, version or settings), and say in credits what would change
    Backtest(verbs::backtest::Flags),
    /// Write what is true now to a file, signed, to compare the database with later (`verify --checkpoint`)
    Checkpoint(verbs::checkpoint::Flags),
    /// Move old journal entries of a PostgreSQL database out of the way of new ones; every answer stays the same
    Archive(verbs::archive::Flags),
    /// Copy a database file that a host may be using into a new file; ends with a copy that is whole, or with none
    Backup(verbs::backup::Flags),
    /// Copy a database into an empty one of either kind, as when a file becomes too small; end the hosts before
    Copy(verbs::copy::Flags),
    /// Move customers, what they have left and what they used in from a file, JSON Lines or CSV; the same file again moves nothing twice
    Import(verbs::import::Flags),
    /// Write all customers, what they have left and what they used to a file that `import` reads
    Export(verbs::export::Flags),
    /// Write the plans, terms and policies of a server as files of a folder
    Pull(verbs::as_code::pull::Flags),
    /// Say what a folder of plans, terms and policies would change on a server, and what that would have come to in credits
    ///
    /// Exit codes: 0 nothing would change, 2 something would (as of a command line that makes no sense), 1 it can't be told.
    Diff(verbs::as_code::diff::Flags),
    /// Bring a server to what a folder of plans, terms and policies says, in one step or not at all
    Apply(verbs::as_code::apply::Flags),
    /// Start a host, charge a real LLM trace through it, swap a contract meanwhile, and report
    Demo(verbs::demo::Flags),
    /// Compile one module from stdin, under limits; the server starts this
    #[command(name = verbs::compile_worker::NAME, hide = true)]
    CompileWorker,
}

/// A charge allocates and frees a few hundred small things; the system's allocator took a tenth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Cli::command().mut_subcommand("serve", config::with_variables);
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version come this way, too. Nobody is left to tell when printing fails.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { exit::FINE.into() };
        }
    };
    let verdict = match cli.verb {
        Verb::Serve(flags) => verbs::serve::run(flags),
        Verb::Policy(verb) => verbs::policy::run(verb),
        Verb::Prices(flags) => verbs::prices::run(flags),
        Verb::Simulate(flags) => verbs::simulate::run(&flags),
        Verb::Estimate(flags) => verbs::estimate::run(&flags),
        Verb::Verify(flags) => verbs::verify::run(flags),
        Verb::Replay(flags) => verbs::replay::run(flags),
        Verb::Backtest(flags) => verbs::backtest::run(flags),
        Verb::Checkpoint(flags) => verbs::checkpoint::run(flags),
        Verb::Archive(flags) => verbs::archive::run(flags),
        Verb::Backup(flags) => verbs::backup::run(flags),
        Verb::Copy(flags) => verbs::copy::run(flags),
        Verb::Import(flags) => verbs::import::run(&flags),
        Verb::Export(flags) => verbs::export::run(&flags),
        Verb::Pull(flags) => verbs::as_code::pull::run(&flags),
        Verb::Diff(flags) => verbs::as_code::diff::run(&flags),
        Verb::Apply(flags) => verbs::as_code::apply::run(&flags),
        Verb::Demo(flags) => verbs::demo::run(flags),
        Verb::CompileWorker => verbs::compile_worker::run(),
    };
    match verdict {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                let detail = error.to_string();
                // Many errors say their cause already.
                if !text.contains(&detail) {
                    text.push_str(&format!(": {detail}"));
                }
                cause = error.source();
            }
            terminal::note(&text);
            Verdict::Failed.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
