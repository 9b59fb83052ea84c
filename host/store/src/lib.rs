//! Journals, saved states and the catalog in SQLite or PostgreSQL: the only crate that knows SQL.
//!
//! The JSON texts in the rows are opaque here, and conflicts are the only thing that is decided here.

mod anchors;
mod batch;
mod catalog;
mod columns;
mod copy;
mod error;
mod postgres;
mod redemptions;
mod rollout;
mod rollups;
mod rows;
mod sql_error;
mod sqlite;
mod store;
mod url;

pub use anchors::{Anchor, CatalogStamp, CheckpointRow, CheckpointStore, JournalEnd, JournalRow};
pub use copy::{Copied, copy};
pub use error::StoreError;
pub use postgres::{PostgresOptions, PostgresStore};
pub use redemptions::{Claimed, RedemptionClaim, RedemptionRow, RedemptionStore};
pub use rollups::{RollupCursor, RollupId, RollupRow, RollupSpan, RollupStore, RollupUpdate};
pub use rows::{
    ApiKeyRow, AuditQuery, AuditRow, Batch, CatalogChange, CatalogRows, Commit, CustomerRow, KeyHash,
    LoadedCustomer, NewEntry, NewKey, NewSnapshot, PlanRow, PlanTermsRow, PlanVersionRow, PolicyRow,
    PolicyVersionRow, ProductKind, ProductRow, StoredAnswer, StoredEntry, StoredSnapshot,
};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::Store;
pub use url::{Access, DatabaseUrl};
