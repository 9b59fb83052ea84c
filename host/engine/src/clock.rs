//! The host's clock, as the engine is handed it; and a test clock that can be moved forward.

use proviso_ledger::model::time::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Gives the current time.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ahead_micros: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that reads `read`.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), ahead_micros: Arc::new(AtomicI64::new(0)) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.read)().plus_micros(self.ahead_micros.load(Ordering::Relaxed))
    }

    /// Moves the clock forward to `to`; it runs on from there. Says whether `to` was ahead.
    #[must_use]
    pub fn advance_to(&self, to: Timestamp) -> bool {
        let ahead = to.0.saturating_sub((self.read)().0);
        self.ahead_micros.fetch_max(ahead, Ordering::Relaxed) < ahead
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
