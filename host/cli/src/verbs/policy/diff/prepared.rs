//! A search plays the same settings thousands of times; they are prepared once.

use proviso_decide::policy::{Answer, Around, Policy};
use proviso_ledger::model::answers::{Prepared, SettingsProblem};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// What a policy made of settings.
type Outcome = Answer<Result<Prepared, Vec<SettingsProblem>>>;

/// A policy that remembers what it made of settings, which is always the same.
pub struct Remembering {
    policy: Arc<dyn Policy>,
    prepared: Mutex<HashMap<String, Outcome>>,
}

impl Remembering {
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy, prepared: Mutex::default() }
    }
}

impl Around for Remembering {
    fn inner(&self) -> &dyn Policy {
        &*self.policy
    }

    fn around_prepare(&self, settings: &str) -> Outcome {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = prepared.get(settings) {
            return known.clone();
        }
        let outcome = self.policy.prepare(settings);
        prepared.insert(settings.to_owned(), outcome.clone());
        outcome
    }
}
