//! `proviso policy key` and `proviso policy sign`: keys with which policies are signed, and signatures of modules.

use super::source;
use crate::{
    error::Error,
    exit::Verdict,
    secrets,
    terminal::{self, Paint},
    verbs::checkpoint::signing_key,
};
use clap::Args;
use proviso_engine::{ModuleSignature, SigningKey};
use proviso_ledger::model::ids::{Digest, Name};
use std::path::{Path, PathBuf};

/// What `policy key` takes.
#[derive(Debug, Args)]
pub struct KeyFlags {
    /// The secret key: made, for its owner only, when there is no such file
    file: PathBuf,
    /// Whose key it is, for the line that hosts are given
    #[arg(long, value_name = "NAME", default_value = "signer")]
    name: Name,
}

/// What `policy sign` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    file: PathBuf,
    /// The secret key, as `policy key` makes one
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Prints the line of a key for `--policy-signing-keys`; makes the key where there is none.
pub fn key(flags: &KeyFlags) -> Result<Verdict, Error> {
    let KeyFlags { file, name } = flags;
    let is_new = secrets::existing_key_file(file)?.is_none();
    let key = signing_key(file, secrets::key_file(file)?)?;
    if is_new {
        terminal::note(&format!("{} {}; keep it secret", Paint::none().good("made"), file.display()));
    }
    terminal::print(&format!("{name} {}\n", key.public()))?;
    Ok(Verdict::Fine)
}

/// Prints a module's signature, as the header `Proviso-Signature` carries it.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let component = source::load(&flags.file)?;
    terminal::print(&format!("{}\n", signature(&flags.key, &component)?))?;
    Ok(Verdict::Fine)
}

/// The signature of a module by the key in a file.
pub fn signature(file: &Path, module: &[u8]) -> Result<ModuleSignature, Error> {
    let seed = secrets::existing_key_file(file)?;
    let seed = seed
        .ok_or_else(|| Error::content(file)("there is no such key; `proviso policy key FILE` makes one"))?;
    let key: SigningKey = signing_key(file, seed)?;
    ModuleSignature::by(&key, &Digest::of(module))
        .ok_or_else(|| Error::content(file)("is no key that can sign"))
}
