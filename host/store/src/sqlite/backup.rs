//! Copies a file to another, also while a host writes to it: what was committed when the copy began, and nothing else.

use super::{connect, migrate, readers::in_background};
use crate::error::StoreError;
use std::path::{Path, PathBuf};

/// Writes the database at `from` into the file at `to`, which must be empty or missing. It reads one state of the
/// database, however long that takes; commits go on meanwhile, but the write-ahead log can't be overwritten from its start.
///
/// # Errors
/// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] for what this binary can't verify, and errors of the file
/// system, which leave a part of the copy at `to`.
pub async fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let from = from.to_owned();
    let to = path_text(to)?;
    in_background(move || {
        let connection = connect::reader(&from)?;
        migrate::check(&connection)?;
        connection.execute("VACUUM INTO ?1", [to])?;
        connect::close(connection);
        Ok(())
    })
    .await
}

fn path_text(path: &Path) -> Result<String, StoreError> {
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map_err(|_| StoreError::Address { detail: "the path of the copy is not UTF-8".to_owned() })
}
