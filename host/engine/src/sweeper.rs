//! The sweeper: finds customers that something is due for and sends them through their lanes, where a request would
//! have found the same.

use crate::{
    Engine, EngineError,
    command::{Command, Request},
};
use futures_util::future::join_all;
use std::{sync::Weak, time::Duration};
use tracing::warn;

/// Customers that are looked up at a time.
const PAGE: u32 = 256;

/// How long a page is this host's alone; a host that dies in between delays its customers by this much.
const CLAIM: Duration = Duration::from_secs(30);

/// Runs until the engine is gone.
pub(crate) async fn run(engine: Weak<Engine>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = engine.sweep().await {
            warn!(%error, "the sweep stopped early; the next one goes on");
        }
    }
}

impl Engine {
    /// Writes all that is due by now, for every customer.
    ///
    /// # Errors
    /// The store's, or a lane's that is too busy. What was not reached is found by the next sweep.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        loop {
            let due = self.shared.store.due(self.clock().now(), PAGE, CLAIM).await?;
            let full = due.len() == PAGE as usize;
            // All at once, so that they share commits. A lane writes the next due time, so none is found twice.
            let swept = due.into_iter().map(|customer| {
                self.execute(Request { customer, command: Command::Sweep, idempotency: None })
            });
            for reply in join_all(swept).await {
                reply?;
            }
            if !full {
                return Ok(());
            }
        }
    }
}
