//! Whose decisions take long, by the fuel that they burn, which is the same on every machine: those are made off the lane.
//!
//! A customer is slow by what its own decisions burnt, whatever of its terms, shadows or grants did it: quickly found so, slowly
//! forgiven. A policy is slow by what it burns for customers of whom nothing is known, so that each new one does not begin by
//! holding the lane up, and a customer whose settings are heavy does not make the policy slow for the others.

use crate::catalog::Catalog;
use lru::LruCache;
use proviso_decide::catalog::Plans as _;
use proviso_ledger::{
    model::{
        ids::{CustomerId, Digest},
        resources::ResourceClass,
        terms,
        time::Timestamp,
    },
    rules::due::Due,
    state::CustomerState,
};
use std::num::NonZeroUsize;

/// What the end and the beginning of a period may burn, for each unit that a usage may, before it is slow.
const PERIOD: u64 = 10;
/// How many slow customers a lane knows of.
const CUSTOMERS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// How many policies a lane knows of.
const POLICIES: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// A usage, or whatever else a request asks for.
    Request,
    /// Also the end or the beginning of a period.
    Period,
}

/// What decisions burnt of late.
pub(super) struct Slowness {
    /// The fuel from which a decision is slow.
    slow: u64,
    /// Slow customers, with what a request burnt at most, less an eighth for every eight since.
    customers: LruCache<CustomerId, u64>,
    /// What a request of a customer of whom nothing is known burns on average.
    policies: LruCache<(Digest, Work), u64>,
}

impl Slowness {
    pub fn new(slow: u64) -> Self {
        Self { slow, customers: LruCache::new(CUSTOMERS), policies: LruCache::new(POLICIES) }
    }

    /// Takes note of what deciding a request of a customer burnt.
    pub fn decided(&mut self, customer: &CustomerId, policy: Option<Digest>, work: Work, burnt: u64) {
        if burnt == 0 {
            return;
        }
        let slow = self.slow_for(work);
        if let Some(known) = self.customers.get_mut(customer) {
            *known = (*known - *known / 64).max(burnt);
            if *known < self.slow {
                self.customers.pop(customer);
            }
            return;
        }
        if let Some(policy) = policy {
            match self.policies.get_mut(&(policy, work)) {
                Some(average) => *average = average.saturating_mul(15).saturating_add(burnt) / 16,
                None => drop(self.policies.put((policy, work), burnt)),
            }
        }
        if burnt >= slow {
            self.customers.put(customer.clone(), burnt);
        }
    }

    /// Whether a customer's next decision, by this policy, is likely to be slow.
    pub fn is_likely(
        &self,
        catalog: &Catalog,
        policy: Option<Digest>,
        state: &CustomerState,
        now: Timestamp,
    ) -> bool {
        if self.customers.contains(&state.customer) {
            return true;
        }
        let Some(policy) = policy else { return false };
        let is_slow = |work| match self.policies.peek(&(policy, work)) {
            Some(average) => *average >= self.slow_for(work),
            // What an operator lets burn more is not tried out on the lane.
            None => catalog.class_of(&policy) == ResourceClass::Large,
        };
        is_slow(Work::Request) || is_slow(Work::Period) && begins_a_period(state, now)
    }

    const fn slow_for(&self, work: Work) -> u64 {
        match work {
            Work::Request => self.slow,
            Work::Period => self.slow.saturating_mul(PERIOD),
        }
    }
}

fn begins_a_period(state: &CustomerState, now: Timestamp) -> bool {
    state.next_due().is_some_and(|(at, due)| {
        at <= now && matches!(due, Due::PeriodEnd | Due::PeriodStart(..) | Due::PlanChange)
    })
}

/// The policy that decides for a customer.
pub(super) fn policy_in_force(catalog: &Catalog, state: &CustomerState, now: Timestamp) -> Option<Digest> {
    let of_plan = || terms::in_force_for(catalog.terms_of(state.plan()?), &state.customer, now, now);
    terms::in_force(&state.terms, now).or_else(of_plan).map(|terms| terms.policy.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: u64 = 1_000;

    fn customer(name: &str) -> CustomerId {
        name.parse().unwrap()
    }

    fn is_slow(known: &Slowness, policy: Digest, work: Work) -> bool {
        known.policies.peek(&(policy, work)).is_some_and(|average| *average >= known.slow_for(work))
    }

    #[test]
    fn a_customer_is_slow_at_once_and_for_a_while() {
        let (mut known, policy) = (Slowness::new(SLOW), Some(Digest::of(b"policy")));
        known.decided(&customer("a"), policy, Work::Request, 100);
        assert!(!known.customers.contains(&customer("a")));
        known.decided(&customer("a"), policy, Work::Request, 8_000);
        let cheap = (0..).take_while(|_| {
            known.decided(&customer("a"), policy, Work::Request, 100);
            known.customers.contains(&customer("a"))
        });
        assert!((100..200).contains(&cheap.count()), "an eighth of the work is not enough to be quick");
    }

    #[test]
    fn a_heavy_customer_does_not_make_a_policy_slow_for_all() {
        let (mut known, policy) = (Slowness::new(SLOW), Digest::of(b"policy"));
        for _ in 0..100 {
            known.decided(&customer("light"), Some(policy), Work::Request, 100);
            known.decided(&customer("heavy"), Some(policy), Work::Request, 8_000);
        }
        assert!(known.customers.contains(&customer("heavy")) && !is_slow(&known, policy, Work::Request));
        // Ever new ones do, until others are served again.
        for number in 0..20 {
            known.decided(&customer(&format!("heavy{number}")), Some(policy), Work::Request, 8_000);
        }
        assert!(is_slow(&known, policy, Work::Request));
        for _ in 0..40 {
            known.decided(&customer("light"), Some(policy), Work::Request, 100);
        }
        assert!(!is_slow(&known, policy, Work::Request));
    }

    #[test]
    fn a_policy_that_is_slow_from_the_first_is_tried_once() {
        let (mut known, policy) = (Slowness::new(SLOW), Digest::of(b"policy"));
        known.decided(&customer("a"), Some(policy), Work::Request, 8_000);
        assert!(is_slow(&known, policy, Work::Request) && !is_slow(&known, policy, Work::Period));
        // The end of a period may take more.
        known.decided(&customer("b"), Some(policy), Work::Period, 8_000);
        assert!(!is_slow(&known, policy, Work::Period) && !known.customers.contains(&customer("b")));
    }
}
