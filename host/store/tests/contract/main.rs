//! What every store promises, and what each kind of database promises besides.
//!
//! [`suite`] and [`random`] know only the trait and a [`Factory`], of which each kind of database has its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod crash;
mod differential;
mod lost;
mod postgres;
mod random;
mod redemptions;
mod sqlite;
mod suite;

use postgres::PostgresDatabase;
use proviso_fixtures::{cluster, store::model};
use proviso_store::{SqliteOptions, SqliteStore, Store, StoreError};
use std::sync::Arc;
use tempfile::TempDir;

/// One database, opened as often as a test likes.
#[async_trait::async_trait]
pub trait Factory: Sync {
    async fn open(&self) -> Arc<dyn Store>;
}

/// A SQLite file in a folder of its own.
pub struct SqliteFile {
    pub folder: TempDir,
    pub options: SqliteOptions,
}

impl SqliteFile {
    /// As a server would open it.
    pub fn with_defaults() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("store.db"));
        Self { folder, options }
    }

    /// With memtables, slices and checkpoints so small that every test uses all of them.
    pub fn with_small_limits() -> Self {
        let mut file = Self::with_defaults();
        file.options.memtable_entries = 3;
        file.options.checkpoint_pages = 8;
        file
    }

    pub async fn try_open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.options.clone()).await
    }
}

#[async_trait::async_trait]
impl Factory for SqliteFile {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.try_open().await.unwrap())
    }
}

/// Makes a test of each function of the suite, for one kind of database.
macro_rules! contract {
    ($kind:ident, $factory:expr) => {
        mod $kind {
            use super::*;
            contract!(@tests $factory;
                entries_are_read_back_in_pages,
                a_number_must_be_the_next,
                a_key_is_taken_once,
                a_batch_is_written_whole_or_not_at_all,
                of_those_who_race_for_a_number_one_wins,
                a_load_starts_at_the_newest_snapshot,
                snapshots_of_other_formats_are_ignored,
                announced_formats_bound_what_is_written,
                times_find_their_entry,
                customers_are_listed_and_come_due,
                customers_are_found_by_their_plan,
                customers_that_await_a_payment_are_found,
                an_empty_store_knows_nothing,
                catalog_changes_are_made_together,
                a_batch_is_of_the_newest_revision,
                the_catalog_is_read_since_a_revision,
                an_answer_is_stored_with_its_changes,
                checkpoints_are_stored_with_the_ends_that_they_name,
                the_catalog_is_stamped_row_by_row,
                each_opening_counts_of_a_rollout_by_itself,
                usage_totals_move_with_their_cursor,
                redemptions_stay_within_their_limit,
                what_was_committed_survives_a_reopening,
                a_closed_store_refuses,
                large_batches_go_through,
            );

            #[test]
            fn random_commits_match_the_model() {
                random::matches_the_model(|| $factory);
            }
        }
    };
    (@tests $factory:expr; $($name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                suite::$name(&$factory).await;
            }
        )*
    };
}

contract!(on_sqlite, SqliteFile::with_defaults());
contract!(on_sqlite_with_small_limits, SqliteFile::with_small_limits());
contract!(on_postgres, PostgresDatabase::fresh());
