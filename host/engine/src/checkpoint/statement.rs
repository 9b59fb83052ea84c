//! What a checkpoint says, as JSON text: the text is what is signed, so no canonical form is needed.

use super::{
    merkle::Merkle,
    sign::{PublicKey, SigningKey},
};
use crate::error::EngineError;
use proviso_ledger::model::{
    ids::{CustomerId, Digest},
    time::Timestamp,
};
use proviso_store::{CatalogStamp, CheckpointRow, JournalEnd};
use serde::{Deserialize, Serialize};

/// The format of statements and files that this code writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What was true when a checkpoint was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    /// [`FORMAT`].
    pub proviso_checkpoint: u32,
    /// Among those of its database; none for one that was made for a file alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// The newest one that the database had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// How many journals there were.
    pub journals: u64,
    /// The Merkle root over the ends of all journals, by customer.
    pub journals_root: Digest,
    /// The Merkle root over those ends that differ from the previous checkpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors_root: Option<Digest>,
    /// The catalog's revision.
    pub catalog_revision: u64,
    /// The Merkle root over all rows of the catalog.
    pub catalog_root: Digest,
    /// The digest of the stored list of rows that are new since the previous checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_news: Option<Digest>,
}

/// Another checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Previous {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its statement.
    pub digest: Digest,
}

/// A row of the catalog, as checkpoints name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub table: String,
    pub key: String,
    /// The number of a plan's terms, or a policy's version.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u64,
    pub revision: u64,
    pub digest: Digest,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub statement: String,
    pub signature: Vec<u8>,
    pub public_key: PublicKey,
}

/// Why a checkpoint can't be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreliable {
    #[error("was signed by another key, {0}")]
    OtherKey(PublicKey),
    #[error("is not what its key signed")]
    Forged,
    #[error("was made by a newer version, in format {0}")]
    Newer(u32),
    #[error("can't be read")]
    Unreadable,
}

impl Statement {
    pub fn sign(&self, key: &SigningKey) -> Result<Signed, EngineError> {
        let internal =
            |detail: &str| EngineError::Internal(format!("a checkpoint can't be signed: {detail}"));
        let statement = serde_json::to_string(self).map_err(|error| internal(&error.to_string()))?;
        let signature =
            key.sign(statement.as_bytes()).ok_or_else(|| internal("the key gives no signature"))?;
        Ok(Signed { statement, signature, public_key: key.public() })
    }
}

impl Signed {
    /// What it says, when one of the trusted keys signed it; with none, whichever key it names.
    pub fn open(&self, trusted: &[PublicKey]) -> Result<Statement, Unreliable> {
        #[derive(Deserialize)]
        struct Format {
            proviso_checkpoint: u32,
        }
        if !self.public_key.signed(self.statement.as_bytes(), &self.signature) {
            return Err(Unreliable::Forged);
        }
        if !(trusted.is_empty() || trusted.contains(&self.public_key)) {
            return Err(Unreliable::OtherKey(self.public_key));
        }
        match serde_json::from_str(&self.statement) {
            Ok(Format { proviso_checkpoint }) if proviso_checkpoint > FORMAT => {
                Err(Unreliable::Newer(proviso_checkpoint))
            }
            Ok(_) => serde_json::from_str(&self.statement).map_err(|_| Unreliable::Unreadable),
            Err(_) => Err(Unreliable::Unreadable),
        }
    }
}

impl From<&CheckpointRow> for Signed {
    fn from(row: &CheckpointRow) -> Self {
        Self {
            statement: row.statement.clone(),
            signature: row.signature.clone(),
            public_key: PublicKey(row.public_key),
        }
    }
}

impl From<&CheckpointRow> for Previous {
    fn from(row: &CheckpointRow) -> Self {
        Self { number: row.number, digest: Digest::of(row.statement.as_bytes()) }
    }
}

impl From<CatalogStamp> for Stamp {
    fn from(stamp: CatalogStamp) -> Self {
        let CatalogStamp { table, key, number, revision, digest } = stamp;
        Self { table: table.to_owned(), key, number, revision, digest }
    }
}

impl Stamp {
    /// What it is a row of, for people.
    pub fn name(&self) -> String {
        let Self { table, key, number, .. } = self;
        match table.as_str() {
            "plans" => format!("plan {key}"),
            "plan_terms" => format!("terms {number} of plan {key}"),
            "plan_versions" => format!("version {number} of plan {key}"),
            "policies" => format!("policy {key}"),
            "policy_versions" => format!("version {number} of policy {key}"),
            "api_keys" => format!("API key {key}"),
            "products" => key.replacen('/', " ", 1),
            _ => format!("{table} {key} {number}"),
        }
    }
}

/// The Merkle root over rows of the catalog.
pub(super) fn catalog_root(stamps: &[Stamp]) -> Digest {
    let mut merkle = Merkle::default();
    for Stamp { table, key, number, revision, digest } in stamps {
        let mut leaf = Vec::new();
        text(&mut leaf, table);
        text(&mut leaf, key);
        leaf.extend_from_slice(&number.to_le_bytes());
        leaf.extend_from_slice(&revision.to_le_bytes());
        leaf.extend_from_slice(&digest.0);
        merkle.add(&leaf);
    }
    merkle.root()
}

/// The leaf of a journal's end.
pub(super) fn journal_leaf(customer: &CustomerId, end: &JournalEnd) -> Vec<u8> {
    let mut leaf = Vec::new();
    text(&mut leaf, customer.as_str());
    leaf.extend_from_slice(&end.seq.to_le_bytes());
    leaf.extend_from_slice(&end.hash);
    leaf
}

/// A text after its length in bytes.
fn text(leaf: &mut Vec<u8>, text: &str) {
    leaf.extend_from_slice(&(text.len() as u64).to_le_bytes());
    leaf.extend_from_slice(text.as_bytes());
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
