//! A few connections that read, each used by one blocking thread at a time.

use super::connect;
use crate::error::StoreError;
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long to wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to one file. Clones share them.
#[derive(Debug, Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    count: u32,
    permits: Arc<Semaphore>,
    /// The one used last is used first, so that its cache is warm.
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// At most `count` connections, which are opened when they are needed.
    pub fn new(path: PathBuf, count: u32) -> Self {
        let count = count.max(1);
        let permits = Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS));
        Self { path: path.into(), count, permits: permits.into(), idle: Arc::default() }
    }

    /// Runs `question` on a blocking thread with a connection of its own. It runs to its end even if nobody awaits it.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = match timeout(ACQUIRE_TIMEOUT, self.permits.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| StoreError::Closed)?,
            Err(_) => {
                let detail = format!("no connection was free within {ACQUIRE_TIMEOUT:?}");
                return Err(StoreError::Unavailable { detail });
            }
        };
        let readers = self.clone();
        in_background(move || {
            let idle = readers.idle().pop();
            let mut connection = idle.map_or_else(|| connect::reader(&readers.path), Ok)?;
            let answer = question(&mut connection)?;
            // After an error it is dropped: a new one is cheap, and does not depend on what went wrong.
            readers.idle().push(connection);
            drop(permit);
            Ok(answer)
        })
        .await
    }

    /// Waits for the reads in progress, and closes all connections.
    pub async fn close(&self) {
        // An error means that they are closed already.
        let Ok(_permits) = self.permits.acquire_many(self.count).await else { return };
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        idle.into_iter().for_each(connect::close);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs work that reads a file on a thread that may block.
pub async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(StoreError::Unavailable { detail: error.to_string() }))
}
