//! Where a policy comes from: the folder of its crate, which is built, or a file.

use crate::{error::Error, terminal};
use std::{fs, path::Path};

/// The component of a crate's folder or of a file.
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    if path.is_dir() { build(path) } else { fs::read(path).map_err(Error::file(path)) }
}

/// Builds the crate in a folder, and says so, since the first time takes a while.
pub fn build(folder: &Path) -> Result<Vec<u8>, Error> {
    if !folder.join("Cargo.toml").is_file() {
        let detail = "no policy crate: there is no Cargo.toml in it".to_owned();
        return Err(Error::Content { path: folder.to_owned(), detail });
    }
    terminal::note(&format!("building {}", folder.display()));
    Ok(proviso_policy::build::build(folder)?)
}
