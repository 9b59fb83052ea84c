//! Where a customer's imported usage is, in its journal and in time. It may be of years ago, which no other usage is when it is
//! written, so whoever looks for usage by its time must look here, too.

use crate::model::{ids::Seq, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Entries among which are all that have imported usage, and the times of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedSpan {
    /// The first such entry.
    pub first: Seq,
    /// The last one.
    pub last: Seq,
    /// The earliest time of use.
    pub earliest: Timestamp,
    /// The latest.
    pub latest: Timestamp,
}

impl ImportedSpan {
    /// With one more entry, which comes after all that are in it.
    #[must_use]
    pub fn with(before: Option<Self>, seq: Seq, at: Timestamp) -> Self {
        let one = Self { first: seq, last: seq, earliest: at, latest: at };
        before.map_or(one, |before| Self {
            first: before.first,
            last: seq,
            earliest: before.earliest.min(at),
            latest: before.latest.max(at),
        })
    }

    /// Whether any of it may have occurred in `from..to`.
    #[must_use]
    pub fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.earliest < to && from <= self.latest
    }
}
