//! Which faults of policies are logged: one of each kind and policy in a while, with how many were not since the last. All are
//! counted and journaled; a policy that fails in each decision would else fill the log.

use lru::LruCache;
use proviso_ledger::model::ids::Name;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long faults of one kind and policy are kept quiet after one was logged.
const QUIET: Duration = Duration::from_secs(10);
/// How many kinds are remembered.
const KINDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// A policy and the code of its fault.
type Kind = (Name, String);

/// What was logged of late.
pub(crate) struct FaultLog(Mutex<LruCache<Kind, Logged>>);

struct Logged {
    at: Instant,
    since: u64,
}

impl Default for FaultLog {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KINDS)))
    }
}

impl FaultLog {
    /// Whether a fault is to be logged now, with how many of its kind were not since the last.
    pub fn admits(&self, policy: &Name, code: &str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (policy.clone(), code.to_owned());
        if let Some(logged) = kinds.get_mut(&kind) {
            if now.duration_since(logged.at) < QUIET {
                logged.since += 1;
                return None;
            }
            return Some(std::mem::replace(logged, Logged { at: now, since: 0 }).since);
        }
        kinds.put(kind, Logged { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_of_a_kind_in_a_while() {
        let (log, start) = (FaultLog::default(), Instant::now());
        let [one, other]: [Name; 2] = ["one", "other"].map(|name| name.parse().unwrap());
        for (policy, code, seconds, admitted) in [
            (&one, "trap", 0, Some(0)),
            (&one, "trap", 1, None),
            (&one, "trap", 9, None),
            (&one, "out_of_fuel", 9, Some(0)),
            (&other, "trap", 9, Some(0)),
            (&one, "trap", 10, Some(2)),
            (&one, "trap", 11, None),
            (&one, "trap", 30, Some(1)),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(log.admits(policy, code, now), admitted, "{policy} {code} after {seconds} s");
        }
    }
}
