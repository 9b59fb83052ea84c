//! Policies that take long, by the fuel that they burn, which is the same on every machine. A batch burns so much for them and no
//! more; what is left waits in the queue for the next one, so that a neighbour on the same lane waits for a bounded part of
//! their work.

use crate::{catalog::Catalog, queue::Job};
use lru::LruCache;
use proviso_decide::catalog::Plans as _;
use proviso_ledger::{
    model::{
        ids::{CustomerId, Digest},
        terms,
        time::Timestamp,
    },
    state::CustomerState,
};
use std::{collections::HashSet, num::NonZeroUsize};

/// A policy that burns more than this for a request on average is slow: ten times what the standard policy takes.
const SLOW: u64 = 400_000;
/// What a batch burns for slow policies before their further jobs wait for the next one: a few milliseconds.
const PER_BATCH: u64 = 10_000_000;
/// How many slow policies a lane knows of.
const MOST: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The policies that were slow of late, with the fuel that a request of theirs burns on average.
pub(super) struct SlowPolicies(LruCache<Digest, u64>);

/// What one batch has done for slow policies.
#[derive(Default)]
pub(super) struct SlowWork {
    burnt: u64,
    /// Whose jobs were given back: those behind them must not overtake.
    held_back: HashSet<CustomerId>,
}

impl SlowWork {
    /// Whether a job may have to wait for the next batch.
    pub fn is_spent(&self) -> bool {
        self.burnt >= PER_BATCH || self.holds_back()
    }

    /// Whether jobs were given back.
    pub fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }
}

impl SlowPolicies {
    pub fn new() -> Self {
        Self(LruCache::new(MOST))
    }

    /// Takes note of what deciding a job of a customer burnt.
    pub fn decided(
        &mut self,
        catalog: &Catalog,
        state: &CustomerState,
        now: Timestamp,
        burnt: u64,
        work: &mut SlowWork,
    ) {
        if burnt < SLOW && self.0.is_empty() {
            return;
        }
        let Some(policy) = policy_in_force(catalog, state, now) else { return };
        let Some(average) = self.0.get_mut(&policy) else {
            if burnt >= SLOW {
                self.0.put(policy, burnt);
                work.burnt = work.burnt.saturating_add(burnt);
            }
            return;
        };
        work.burnt = work.burnt.saturating_add(burnt);
        *average = average.saturating_mul(3).saturating_add(burnt) / 4;
        if *average < SLOW {
            self.0.pop(&policy);
        }
    }

    /// Whether a job waits for the next batch.
    pub fn hold_back(
        &self,
        catalog: &Catalog,
        state: &CustomerState,
        now: Timestamp,
        job: &Job,
        work: &mut SlowWork,
    ) -> bool {
        let customer = &job.request.customer;
        if work.held_back.contains(customer) {
            return true;
        }
        if work.burnt < PER_BATCH || self.0.is_empty() {
            return false;
        }
        let is_slow = policy_in_force(catalog, state, now).is_some_and(|policy| self.0.contains(&policy));
        if is_slow {
            work.held_back.insert(customer.clone());
        }
        is_slow
    }
}

/// The policy that decides for a customer.
fn policy_in_force(catalog: &Catalog, state: &CustomerState, now: Timestamp) -> Option<Digest> {
    let of_plan = || terms::in_force_for(catalog.terms_of(state.plan()?), &state.customer, now, now);
    terms::in_force(&state.terms, now).or_else(of_plan).map(|terms| terms.policy.digest)
}
