//! Whether writes become durable. A host that can read but not write looks healthy to a ping, so failures are kept count
//! of here.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Since when writes fail. A conflict that a further attempt resolves is no failure.
#[derive(Debug, Default)]
pub(crate) struct WriteHealth {
    failing: Mutex<Option<FailingSince>>,
}

#[derive(Debug, Clone, Copy)]
struct FailingSince {
    first: Instant,
    failures: u64,
}

/// Writes that failed since the last one that became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailingWrites {
    pub failures: u64,
    /// Since the first of them.
    pub lasting: Duration,
}

impl WriteHealth {
    /// Takes note of a write that became durable.
    pub fn succeeded(&self) {
        *self.lock() = None;
    }

    /// Takes note of a write that failed, or that other writers prevented at each attempt.
    pub fn failed(&self) {
        let mut failing = self.lock();
        let since = failing.get_or_insert_with(|| FailingSince { first: Instant::now(), failures: 0 });
        since.failures = since.failures.saturating_add(1);
    }

    /// None when the last write became durable, or nothing was written yet.
    pub fn failing(&self) -> Option<FailingWrites> {
        let since = (*self.lock())?;
        Some(FailingWrites { failures: since.failures, lasting: since.first.elapsed() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<FailingSince>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_count_from_the_first_one_after_a_success() {
        let health = WriteHealth::default();
        assert_eq!(health.failing(), None);
        health.failed();
        tokio::time::advance(Duration::from_secs(7)).await;
        health.failed();
        tokio::time::advance(Duration::from_secs(4)).await;
        let failing = FailingWrites { failures: 2, lasting: Duration::from_secs(11) };
        assert_eq!(health.failing(), Some(failing));
        health.succeeded();
        assert_eq!(health.failing(), None);
    }
}
