//! Looks for changes that other hosts made to plans, policies and API keys, so that what never reaches the store (a check,
//! a key's scopes) is out of date for a bounded time only.

use crate::Engine;
use std::{sync::Weak, time::Duration};
use tracing::warn;

/// Runs until the engine is gone.
pub(crate) async fn run(engine: Weak<Engine>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = engine.shared.refresh_catalog().await {
            warn!(%error, "the catalog can't be read; it is tried again");
        }
    }
}
