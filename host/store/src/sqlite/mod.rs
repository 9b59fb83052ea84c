//! The journal in one SQLite file, as a log-structured merge tree whose lowest level is SQLite's own B-trees.
//!
//! Writing: `commit` hands a batch to the [`writer`], a thread of its own, which finds the conflicts, appends the rest in
//! one transaction ([`group`]), and adds its keys and positions to a [`memtable`] instead of to the index tables. A full
//! memtable is flushed: sorted into a run, which is merged into those tables beside later commits ([`sorted_run`]).
//! Reading ([`reads`]) looks into the memtables and then into the tables. After a crash the memtable is rebuilt from the
//! file ([`recover`]).

mod anchors;
mod backup;
mod catalog;
mod checkpoint;
mod checkpoint_store;
mod connect;
mod group;
mod memtable;
mod migrate;
mod options;
mod readers;
mod reads;
mod recover;
mod redemptions;
mod rollups;
mod sorted_run;
mod store;
mod writer;

pub use backup::backup;
pub use options::SqliteOptions;
pub use store::SqliteStore;
