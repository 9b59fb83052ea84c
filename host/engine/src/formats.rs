//! Upgrades one host at a time: this host says which format of entries it reads, and keeps to what all live hosts read.

use proviso_ledger::journal::{FIRST_FORMAT, FORMAT, writable_format};
use proviso_store::{Store, StoreError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tracing::warn;

/// How long a host counts as alive after it has said so.
const MAX_AGE: Duration = Duration::from_secs(30);
/// How often a host says that it is alive: one that misses a few times still counts.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// The newest format that may be written now.
#[derive(Debug)]
pub(crate) struct Formats {
    writable: AtomicU32,
}

impl Default for Formats {
    fn default() -> Self {
        Self { writable: AtomicU32::new(FIRST_FORMAT) }
    }
}

impl Formats {
    pub fn writable(&self) -> u32 {
        self.writable.load(Ordering::Relaxed)
    }

    /// Says that this host is alive, and learns what the others read. When that fails nothing newer than what every host
    /// reads is written: an older host may have started meanwhile.
    pub async fn renew(&self, store: &dyn Store) -> Result<(), StoreError> {
        let oldest = async {
            store.announce(FORMAT).await?;
            store.oldest_live_format(MAX_AGE).await
        };
        let oldest = oldest.await;
        let writable = oldest.as_ref().map_or(FIRST_FORMAT, |oldest| writable_format(*oldest));
        self.writable.store(writable, Ordering::Relaxed);
        oldest.map(drop)
    }
}

/// Runs until it is aborted.
pub(crate) async fn run(formats: Arc<Formats>, store: Arc<dyn Store>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if let Err(error) = formats.renew(&*store).await {
            warn!(%error, "this host can't say that it is alive; it tries again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_store::{SqliteOptions, SqliteStore};

    #[tokio::test(start_paused = true)]
    async fn a_host_says_again_and_again_that_it_is_alive() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(folder.path().join("proviso.db"))).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let formats = Arc::new(Formats::default());
        let renewing = tokio::spawn(run(formats.clone(), store.clone()));
        for _ in 0..3 {
            // As if it had read another format until now.
            store.announce(99).await.unwrap();
            assert!(RENEW_EVERY * 3 < MAX_AGE);
            tokio::time::sleep(RENEW_EVERY + Duration::from_millis(1)).await;
            assert_eq!(store.oldest_live_format(MAX_AGE).await, Ok(Some(FORMAT)));
            assert_eq!(formats.writable(), FORMAT);
        }
        renewing.abort();
        store.close().await;
        assert_eq!(formats.renew(&*store).await, Err(StoreError::Closed));
        assert_eq!(formats.writable(), FIRST_FORMAT);
    }
}
