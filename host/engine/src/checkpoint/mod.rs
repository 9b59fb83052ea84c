//! Checkpoints: what was true at some time, signed with a key that is not in the database. Who edits rows can't sign anew, so
//! what was cut off, removed or edited since is found (`docs/decisions/0006-checkpoints.md`).

mod anchored;
mod catalog;
mod compare;
mod file;
mod merkle;
mod sign;
mod statement;
mod write;

pub use compare::Older;
pub use file::{CheckpointFile, FileError};
pub use sign::{PublicKey, SigningKey};
pub use write::checkpoint_file;

pub(crate) use anchored::{Anchored, Point};
pub(crate) use catalog::by_row;
pub(crate) use compare::{FileCheck, cut_off, gone_since};
pub(crate) use statement::Stamp;
pub(crate) use write::{run, write_due};

use std::time::Duration;

/// When checkpoints are written, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// The time between two checkpoints.
    pub every: Duration,
    /// Signs them.
    pub key: SigningKey,
}
