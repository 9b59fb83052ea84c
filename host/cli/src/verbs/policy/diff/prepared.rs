//! A search plays the same settings thousands of times; they are prepared once.

use proviso_decide::policy::{Answer, Policy};
use proviso_ledger::model::{
    amounts::Credits,
    answers::{CloseOutcome, Manifest, OpenOutcome, Overage, Prepared, Rating, Refusal, SettingsProblem},
    view::{Closing, Context, Opening, UsageView},
};
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

impl Policy for Remembering {
    fn manifest(&self) -> &Manifest {
        self.policy.manifest()
    }

    fn prepare(&self, settings: &str) -> Outcome {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = prepared.get(settings) {
            return known.clone();
        }
        let outcome = self.policy.prepare(settings);
        prepared.insert(settings.to_owned(), outcome.clone());
        outcome
    }

    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        self.policy.rate(usage, context, form)
    }

    fn overage(
        &self,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        self.policy.overage(usage, rating, shortfall, context, form)
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        self.policy.close(closing, context, form)
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        self.policy.open(opening, context, form)
    }
}
