//! Reads the catalog again when other hosts have changed plans, policies or API keys, so that what never reaches the store
//! (a check, a key's scopes) is out of date for a bounded time only.

use crate::shared::Shared;
use std::{sync::Arc, time::Duration};
use tracing::warn;

/// Runs until it is aborted.
pub(crate) async fn run(shared: Arc<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = shared.refresh_catalog().await {
            warn!(%error, "the catalog can't be read; it is tried again");
        }
    }
}
