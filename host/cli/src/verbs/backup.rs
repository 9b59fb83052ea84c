//! `proviso backup`: a database file in, also one that a host is using; out comes a copy that is whole, or none.

use crate::{
    config::Place,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

/// What `backup` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Copies a database file.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let Flags { to, place } = flags;
    let database = place.settle()?.database;
    if to.try_exists().map_err(Error::file(&to))? {
        return Err(Error::content(to)("exists already; name a new file"));
    }
    // Under another name until it is whole and durable, so that no half copy is ever taken for a backup.
    let mut partial = to.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    empty(&partial)?;
    let bar = terminal::spinner("copying");
    let copied = super::on_this_thread(database.backup(&partial)).and_then(|()| publish(&partial, &to));
    bar.finish_and_clear();
    if copied.is_err() {
        // What failed is told; that the rest of it stays is seen in the folder.
        let _ = fs::remove_file(&partial);
    }
    let size = terminal::bytes(copied?);
    let done = Paint::for_stdout().good("backed up");
    terminal::print(&format!("{done} {database} to {}, {size}\n", to.display()))?;
    Ok(Verdict::Fine)
}

/// An empty file that only its owner reads: journals tell about customers.
fn empty(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(Error::file(path))
}

/// Makes a copy durable under its name; returns its size in bytes.
fn publish(partial: &Path, to: &Path) -> Result<u64, Error> {
    let file = File::open(partial).map_err(Error::file(partial))?;
    file.sync_all().map_err(Error::file(partial))?;
    let size = file.metadata().map_err(Error::file(partial))?.len();
    fs::rename(partial, to).map_err(Error::file(to))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(Error::file(folder))?;
    Ok(size)
}
