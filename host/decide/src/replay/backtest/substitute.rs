//! Which terms the candidate stands in for, and what they are then.

use crate::policy::Policy;
use proviso_ledger::model::{
    answers::{Prepared, SettingsProblem},
    ids::Name,
    json::JsonText,
    terms::{Mode, Owner, PolicyRef, Terms},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Which terms a candidate stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that decide for the customer at hand, its own and its plan's.
    Customer,
    /// Those of a plan.
    Plan(Name),
    /// All that run a policy, whichever version.
    Policy(Name),
}

/// A candidate: a module, and settings for it.
pub struct Substitute {
    policy: Arc<dyn Policy>,
    reference: PolicyRef,
    settings: Option<JsonText>,
    scope: Scope,
    /// What the candidate made of settings, by their text.
    prepared: Mutex<HashMap<String, Result<Prepared, String>>>,
}

impl Substitute {
    /// Of a module; without settings, each of the terms keeps its own.
    pub fn new(
        policy: Arc<dyn Policy>,
        reference: PolicyRef,
        settings: Option<JsonText>,
        scope: Scope,
    ) -> Self {
        Self { policy, reference, settings, scope, prepared: Mutex::default() }
    }

    /// What stands in the place of terms: themselves, where they are not meant.
    ///
    /// # Errors
    /// Settings that the candidate refuses, or fails on, with the terms that have them.
    pub fn stand_in(&self, terms: &Arc<Terms>) -> Result<Arc<Terms>, String> {
        let is_meant = match &self.scope {
            Scope::Customer => true,
            Scope::Plan(plan) => terms.key.owner == Owner::Plan(plan.clone()),
            Scope::Policy(policy) => terms.policy.name == *policy,
        };
        if !is_meant || terms.mode == Mode::Shadow {
            return Ok(terms.clone());
        }
        let settings = self.settings.as_ref().unwrap_or(&terms.settings);
        // The same bytes under another name are no other policy.
        let same = terms.policy.digest == self.reference.digest;
        let reference = if same { &terms.policy } else { &self.reference };
        if same && *settings == terms.settings {
            return Ok(terms.clone());
        }
        let prepared = self.prepare(settings).map_err(|detail| format!("{}: {detail}", terms.key))?;
        let needs = self.policy.manifest().needs;
        Ok(Arc::new(terms.running(reference.clone(), settings.clone(), prepared, needs)))
    }

    fn prepare(&self, settings: &JsonText) -> Result<Prepared, String> {
        let mut known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = known.get(settings.as_str()) {
            return prepared.clone();
        }
        let told = |problem: &SettingsProblem| format!("{}: {}", problem.pointer, problem.detail);
        let prepared = match self.policy.prepare(settings.as_str()) {
            Ok(decided) => decided.value.map_err(|problems| {
                let problems: Vec<String> = problems.iter().map(told).collect();
                format!("the candidate refuses the settings: {}", problems.join("; "))
            }),
            Err(failure) => Err(format!("the candidate failed on the settings: {failure}")),
        };
        known.insert(settings.as_str().to_owned(), prepared.clone());
        prepared
    }
}
