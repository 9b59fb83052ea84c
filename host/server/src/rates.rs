//! How many requests each API key and each customer may make. Each host counts by itself and forgets with a restart.

use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many requests a second are taken by one host; `None` means any number. As many may come at once after a second
/// without one. Each item of a batch counts as a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of one API key.
    pub of_key: Option<NonZeroU32>,
    /// Of one customer, whoever asks.
    pub of_customer: Option<NonZeroU32>,
}

/// What is remembered before what is full again is forgotten, in keys and in customers.
const REMEMBERED: usize = 16_384;

/// The rates' limiters.
pub struct Limiters {
    pub of_key: Option<Limiter>,
    pub of_customer: Option<Limiter>,
}

impl Limiters {
    pub fn new(rates: Rates, stopwatch: &Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        let limiter = |rate: Option<NonZeroU32>| rate.map(|rate| Limiter::new(rate, stopwatch.clone()));
        Self { of_key: limiter(rates.of_key), of_customer: limiter(rates.of_customer) }
    }
}

/// One rate for each of many.
pub struct Limiter {
    rate: NonZeroU32,
    clock: Stopwatch,
    /// By a hash, so that what is remembered of each takes little: two of one hash would share a rate.
    limiter: RateLimiter<u64, HashMapStateStore<u64>, Stopwatch, NoOpMiddleware<Nanos>>,
    hasher: RandomState,
    /// How many may be remembered before the next look at which are full again.
    look_at: AtomicUsize,
}

/// Too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// How many a second there may be.
    pub rate: u32,
    /// Until there may be one more, rounded up.
    pub wait_seconds: u64,
}

impl Limiter {
    fn new(rate: NonZeroU32, stopwatch: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        let clock = Stopwatch(stopwatch);
        Self {
            rate,
            limiter: RateLimiter::new(Quota::per_second(rate), HashMapStateStore::default(), clock.clone()),
            clock,
            hasher: RandomState::new(),
            look_at: AtomicUsize::new(REMEMBERED),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// When it is one too many; then it does not count.
    pub fn count(&self, of: impl Hash) -> Result<(), TooMany> {
        let checked = self.limiter.check_key(&self.hasher.hash_one(of));
        self.forget();
        checked.map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let wait_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            TooMany { rate: self.rate.get(), wait_seconds: wait_seconds.max(1) }
        })
    }

    /// Forgets those that may make as many requests as if they were new, once there are many. What is left doubles before
    /// the next look, so that a look costs little for each request.
    fn forget(&self) {
        let look_at = self.look_at.load(Ordering::Relaxed);
        if self.limiter.len() < look_at {
            return;
        }
        self.limiter.retain_recent();
        let next = REMEMBERED.max(self.limiter.len().saturating_mul(2));
        if next == REMEMBERED {
            self.limiter.shrink_to_fit();
        }
        self.look_at.store(next, Ordering::Relaxed);
    }
}

/// The binary's stopwatch, as a clock of governor.
#[derive(Clone)]
struct Stopwatch(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock for Stopwatch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        (self.0)().saturating_mul(1_000).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn limiter(rate: u32) -> (Limiter, Arc<AtomicU64>) {
        let micros = Arc::new(AtomicU64::new(5));
        let read = micros.clone();
        let stopwatch = Arc::new(move || read.load(Ordering::Relaxed));
        (Limiter::new(NonZeroU32::new(rate).unwrap(), stopwatch), micros)
    }

    #[test]
    fn each_has_a_rate_of_its_own() {
        let (limiter, micros) = limiter(4);
        for _ in 0..4 {
            assert_eq!(limiter.count("a"), Ok(()));
        }
        assert_eq!(limiter.count("a"), Err(TooMany { rate: 4, wait_seconds: 1 }));
        assert_eq!(limiter.count("b"), Ok(()));
        micros.fetch_add(249_999, Ordering::Relaxed);
        assert!(limiter.count("a").is_err());
        micros.fetch_add(1, Ordering::Relaxed);
        assert_eq!(limiter.count("a"), Ok(()));
        assert!(limiter.count("a").is_err(), "a refused request counts for nothing, and one is over");
    }

    #[test]
    fn those_that_made_no_requests_for_a_second_are_forgotten() {
        let (limiter, micros) = limiter(10);
        for number in 0..200_000_u64 {
            assert_eq!(limiter.count(number), Ok(()));
            micros.fetch_add(100, Ordering::Relaxed);
        }
        assert!(limiter.limiter.len() <= REMEMBERED, "{}", limiter.limiter.len());
    }
}
