//! A checkpoint outside the database: JSON Lines, first the signed statement, then the end of every journal, then the rows of
//! the catalog. It holds all that the statement's roots are made of.

use super::{
    sign::PublicKey,
    statement::{Signed, Stamp},
};
use proviso_ledger::model::ids::{CustomerId, Seq, hex};
use proviso_store::JournalEnd;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// A checkpoint with all that it is about. Nothing of it is checked before it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    pub(super) signed: Signed,
    /// By customer.
    pub(super) journals: Vec<(CustomerId, JournalEnd)>,
    pub(super) stamps: Vec<Stamp>,
}

/// Why a file is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line} is not one of a checkpoint: {detail}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no statement.
    #[error("the file is empty")]
    Empty,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Statement { statement: String, signature: String, public_key: String },
    Journal { customer: CustomerId, seq: Seq, hash: String },
    Catalog(Stamp),
}

impl CheckpointFile {
    /// How many journals it names.
    #[must_use]
    pub fn journals(&self) -> u64 {
        u64::try_from(self.journals.len()).unwrap_or(u64::MAX)
    }

    /// The key that it says has signed it.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.signed.public_key
    }

    /// Writes it.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Signed { statement, signature, public_key } = &self.signed;
        let mut put = |line: &Line| {
            serde_json::to_writer(&mut *to, line)?;
            to.write_all(b"\n")
        };
        put(&Line::Statement {
            statement: statement.clone(),
            signature: hex(signature),
            public_key: public_key.to_string(),
        })?;
        for (customer, end) in &self.journals {
            put(&Line::Journal { customer: customer.clone(), seq: end.seq, hash: hex(end.hash) })?;
        }
        self.stamps.iter().try_for_each(|stamp| put(&Line::Catalog(stamp.clone())))
    }

    /// Reads one.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read(from: impl BufRead) -> Result<Self, FileError> {
        let mut signed = None;
        let (mut journals, mut stamps) = (Vec::new(), Vec::new());
        for (index, text) in from.lines().enumerate() {
            let wrong = |detail: String| FileError::Line { line: index + 1, detail };
            let line = serde_json::from_str(&text?).map_err(|error| wrong(error.to_string()))?;
            match (line, &signed) {
                (Line::Statement { statement, signature, public_key }, None) => {
                    let signature = hex::decode(signature).map_err(|error| wrong(error.to_string()))?;
                    let public_key = public_key.parse().map_err(wrong)?;
                    signed = Some(Signed { statement, signature, public_key });
                }
                (Line::Journal { customer, seq, hash: digits }, Some(_)) => {
                    let mut hash = [0; 32];
                    hex::decode_to_slice(digits, &mut hash).map_err(|error| wrong(error.to_string()))?;
                    journals.push((customer, JournalEnd { seq, hash }));
                }
                (Line::Catalog(stamp), Some(_)) => stamps.push(stamp),
                _ => return Err(wrong("the statement is the first line, and only that".to_owned())),
            }
        }
        Ok(Self { signed: signed.ok_or(FileError::Empty)?, journals, stamps })
    }
}
