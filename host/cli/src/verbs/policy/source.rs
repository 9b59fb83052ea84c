//! Where a policy comes from: the folder of its crate, which is built, or a file.

use crate::{error::Error, terminal};
use proviso_policy::probe::Source;
use std::{fs, path::Path};

/// The component of a crate's folder or of a file.
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    if path.is_dir() { build(path) } else { fs::read(path).map_err(Error::file(path)) }
}

/// The same, to look into: of a crate's folder with names and lines, of a file with those that it has.
pub fn instrumented(path: &Path) -> Result<Source, Error> {
    if path.is_dir() {
        announce(path)?;
        return Ok(Source::build(path)?);
    }
    let component = fs::read(path).map_err(Error::file(path))?;
    // A server's own words for what is no policy at all come before those for what can't be looked into.
    proviso_policy::inspect(&component, &proviso_policy::Limits::default()).map_err(Error::Refused)?;
    Source::of_component(component).map_err(Error::refused)
}

/// Whether a source file, by the path that the compiler saw, belongs to the policy: it lies in the crate's folder, or, when all
/// that is known is the module, not among the libraries.
pub fn is_own(policy: &Path, file: &str) -> bool {
    if policy.is_dir() {
        let folder = policy.canonicalize().unwrap_or_else(|_| policy.to_owned());
        Path::new(file).starts_with(folder)
    } else {
        !["/rustc/", "/rustlib/", "/.cargo/"].iter().any(|library| file.contains(library))
    }
}

/// Builds the crate in a folder, and says so, since the first time takes a while.
pub fn build(folder: &Path) -> Result<Vec<u8>, Error> {
    announce(folder)?;
    Ok(proviso_policy::build::build(folder)?)
}

fn announce(folder: &Path) -> Result<(), Error> {
    if !folder.join("Cargo.toml").is_file() {
        let detail = "no policy crate: there is no Cargo.toml in it".to_owned();
        return Err(Error::Content { path: folder.to_owned(), detail });
    }
    terminal::note(&format!("building {}", folder.display()));
    Ok(())
}
