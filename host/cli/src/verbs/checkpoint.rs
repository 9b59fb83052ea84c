//! `proviso checkpoint`: writes what is true of a database now to a file, signed with the key in the data directory. A host may
//! be using the database; nothing is written to it.

use crate::{
    clock,
    config::Place,
    error::Error,
    exit::Verdict,
    secrets,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::{SigningKey, checkpoint_file};
use proviso_store::Access;
use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// What `checkpoint` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The file to write; one that is there is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Makes a checkpoint.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let path = settings.checkpoint_key();
    let seed = secrets::existing_key_file(&path)?;
    let seed = seed.ok_or_else(|| {
        Error::content(&path)("there is no key to sign with; a host makes it at its first start")
    })?;
    let key = signing_key(&path, seed)?;
    let checkpoint = super::on_this_thread(async {
        let store = settings.database.open(Access::ReadOnly, settings.database_connections).await?;
        let checkpoint = checkpoint_file(&*store, clock::now(), &key).await;
        store.close().await;
        Ok::<_, Error>(checkpoint?)
    })?;
    let write = || {
        let mut file = BufWriter::new(fs::File::create_new(&flags.out)?);
        checkpoint.write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()
    };
    write().map_err(Error::file(&flags.out))?;
    let journals = terminal::plural(checkpoint.journals(), "journal");
    let (done, file) = (Paint::for_stdout().good("wrote"), flags.out.display());
    terminal::print(&format!("{done} a checkpoint of {journals} to {file}, signed by {}\n", key.public()))?;
    Ok(Verdict::Fine)
}

/// The key in a file.
pub fn signing_key(path: &Path, seed: [u8; 32]) -> Result<SigningKey, Error> {
    SigningKey::from_seed(seed).ok_or_else(|| Error::content(path)("is no key that can sign"))
}
