//! Secrets that are not known: however many come with them, the store is asked rarely.

use crate::{error::EngineError, shared::Shared};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::Mutex;

/// The time before the store is asked for a secret that is not known, in which others with unknown secrets join.
const GUESS_PAUSE: Duration = Duration::from_millis(20);

/// Looks at the catalog again for all who came with an unknown secret, together.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    came: AtomicU64,
    /// How many of those who came a look has served.
    served: Mutex<u64>,
}

impl Guesses {
    /// Done once a look has succeeded that began after this was called, whoever made it.
    pub async fn look_again(&self, shared: &Shared) -> Result<(), EngineError> {
        let number = self.came.fetch_add(1, Ordering::AcqRel) + 1;
        let mut served = self.served.lock().await;
        if *served >= number {
            return Ok(());
        }
        tokio::time::sleep(GUESS_PAUSE).await;
        let came = self.came.load(Ordering::Acquire);
        shared.refresh_catalog().await?;
        *served = came;
        Ok(())
    }
}
