//! `proviso policy build`: makes a component from the folder of a policy. What a server would refuse by its size, shape or
//! interface is refused here.

use super::{fitting, source};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_ledger::model::ids::Digest;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What `policy build` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The folder of the policy: a crate, or one in TypeScript
    dir: PathBuf,
    /// Where to put the component [default: the folder's name and .wasm, in the working directory]
    #[arg(short, long, value_name = "FILE.wasm")]
    output: Option<PathBuf>,
}

/// Builds.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let component = source::build(&flags.dir)?;
    fitting(&component)?;
    let output = match flags.output {
        Some(output) => output,
        None => default_output(&flags.dir)?,
    };
    fs::write(&output, &component).map_err(Error::file(&output))?;
    let paint = Paint::for_stdout();
    let size = terminal::bytes(u64::try_from(component.len()).unwrap_or(u64::MAX));
    let digest = Digest::of(&component).to_string();
    terminal::print(&format!(
        "{} {}  {size}  {}\n",
        paint.good("built"),
        output.display(),
        paint.faint(&digest)
    ))?;
    Ok(Verdict::Fine)
}

fn default_output(dir: &Path) -> Result<PathBuf, Error> {
    let dir = dir.canonicalize().map_err(Error::file(dir))?;
    Ok(dir.file_name().map_or_else(|| "policy.wasm".into(), |name| Path::new(name).with_extension("wasm")))
}
