//! How a database file is used.

use std::path::PathBuf;

/// How a database file is used. The defaults suit a server.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file. Its write-ahead log and its lock are files beside it.
    pub path: PathBuf,
    /// Connections that read.
    pub readers: u32,
    /// Entries in the memtable when it is flushed to the index tables: with more, a run has more neighbouring rows; with
    /// fewer, the start after a crash is quicker.
    pub memtable_entries: usize,
    /// Pages in the write-ahead log between two checkpoints. The log grows to about five times as many.
    pub checkpoint_pages: usize,
    /// Pages of 4 KiB that the file may have at most; None: no bound but the disk.
    pub max_pages: Option<u32>,
}

impl SqliteOptions {
    /// The defaults for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: 4,
            memtable_entries: 65_536,
            checkpoint_pages: 4096,
            max_pages: None,
        }
    }
}
