//! Why a journal does not fold: it was tampered with, damaged, written by a defect, or by a newer host.

use crate::journal::ReadError;

/// A journal that does not fold: it was tampered with, damaged, written by a defect, or by a newer host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Entry numbers have a gap or repeat.
    #[error("entry {found} stands where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that stood there.
        found: u64,
    },
    /// The time goes backwards.
    #[error("entry {0} is earlier than the one before it")]
    TimeGoesBack(u64),
    /// A movement that its book can't give or that names no book.
    #[error("entry {seq}: {detail}")]
    Transfer {
        /// The entry.
        seq: u64,
        /// What is wrong.
        detail: String,
    },
    /// The stored hash is not that of the chain.
    #[error("entry {0} does not carry the hash that its content and its predecessor give")]
    Hash(u64),
    /// The recorded balance is not what the movements give.
    #[error("entry {0} records another balance than its movements give")]
    Balance(u64),
    /// Not an entry that this host reads.
    #[error("entry {seq} {error}")]
    Read {
        /// The entry.
        seq: u64,
        /// Why.
        error: ReadError,
    },
    /// The books of a credit type don't add up.
    #[error("after entry {seq} the books of {credit} don't balance: {detail}")]
    Books {
        /// The entry.
        seq: u64,
        /// The credit type.
        credit: String,
        /// Both sides.
        detail: String,
    },
}

impl FoldError {
    /// Whether a newer host wrote an entry that this one does not read; nothing is damaged then.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        self.newer().is_some()
    }

    /// The newer format, when a newer host wrote the entry.
    #[must_use]
    pub const fn newer(&self) -> Option<u32> {
        match self {
            Self::Read { error: ReadError::Newer(format), .. } => Some(*format),
            _ => None,
        }
    }
}
