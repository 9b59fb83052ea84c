//! The machine's clocks. Everything below the binary is handed the time; it is read here and nowhere else.
#![allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]

use proviso_ledger::model::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now.
pub fn now() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        // A clock before 1970 is wrong; the earliest time that it can stand for is good enough to go on.
        Err(_) => 0,
    };
    Timestamp(0).plus_micros(micros)
}

/// Measures time that never goes backwards.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since its start.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since its start.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
