//! `proviso policy schema`: the JSON Schemas of case files, and of the files that `proviso apply` reads.

use super::test::format;
use crate::{error::Error, exit::Verdict, terminal, verbs::as_code};
use clap::{Args, ValueEnum};
use serde_json::Value;

/// What `policy schema` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Of which files
    #[arg(default_value = "cases")]
    of: Kind,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Case files of `policy test`
    Cases,
    /// Plans of `apply`
    Plan,
    /// Policies of `apply`
    Policy,
}

/// Prints it.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let value = match flags.of {
        Kind::Cases => value()?,
        Kind::Plan | Kind::Policy => {
            let [(_, plan), (_, policy)] = as_code::schemas().map_err(failed)?;
            if matches!(flags.of, Kind::Plan) { plan } else { policy }
        }
    };
    terminal::print(&format!("{value:#}\n"))?;
    Ok(Verdict::Fine)
}

/// The schema of case files.
pub fn value() -> Result<Value, Error> {
    format::schema::of_case_files().map_err(failed)
}

fn failed(error: serde_json::Error) -> Error {
    Error::Setting { origin: "the schema".to_owned(), detail: error.to_string() }
}
