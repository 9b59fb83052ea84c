//! Counts what canaries decide, and ends one whose limit is passed: within about a second of the decision that passes it, on
//! whichever host that was made.

use super::counts::{Counts, Decision, Tally, decided_by};
use crate::{catalog::Catalog, changes::json, error::EngineError, shared::Shared};
use proviso_decide::catalog::Plans as _;
use proviso_ledger::{
    journal::Entry,
    model::{
        canary::{Canary, RollbackLimits, RolledBack},
        terms::{Mode, Owner, Terms, TermsKey},
        time::Timestamp,
    },
};
use proviso_store::{CatalogChange, PlanTermsRow};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::warn;

/// How often counts are stored, and limits judged.
const EVERY: Duration = Duration::from_millis(500);

/// What this host counted since it started.
#[derive(Default)]
pub(crate) struct Rollouts {
    own: Mutex<HashMap<TermsKey, Own>>,
}

#[derive(Default)]
struct Own {
    tally: Tally,
    /// Whether it holds what is not stored.
    has_news: bool,
}

impl Rollouts {
    /// Counts entries that became durable, of which canaries decided some.
    pub fn take(&self, catalog: &Catalog, entries: &[Arc<Entry>]) {
        let mut own = self.lock();
        for entry in entries {
            let Some(record) = entry.decision() else { continue };
            let Some(terms) = catalog.canary(decided_by(record)) else { continue };
            let within = limits(terms).and_then(|limits| limits.within_seconds);
            let decision = Decision::of(entry, record, |key| is_active(catalog, key));
            let counted = own.entry(terms.key.clone()).or_default();
            counted.tally.take(&decision, entry.at, within);
            counted.has_news = true;
        }
    }

    /// What is to be stored of a canary; none when nothing is new.
    fn news(&self, terms: &TermsKey) -> Result<Option<String>, EngineError> {
        let mut own = self.lock();
        let Some(counted) = own.get_mut(terms).filter(|counted| counted.has_news) else { return Ok(None) };
        counted.has_news = false;
        json(&counted.tally).map(Some)
    }

    fn not_stored(&self, terms: &TermsKey) {
        if let Some(counted) = self.lock().get_mut(terms) {
            counted.has_news = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TermsKey, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether terms decide, and are no shadow.
pub(super) fn is_active(catalog: &Catalog, key: &TermsKey) -> bool {
    let Owner::Plan(plan) = &key.owner else { return false };
    let found = catalog.terms_of(plan).iter().find(|terms| terms.key == *key);
    found.is_some_and(|terms| terms.mode == Mode::Active)
}

fn limits(terms: &Terms) -> Option<&RollbackLimits> {
    terms.canary.as_ref().and_then(|canary| canary.rollback.as_ref())
}

/// Runs until it is aborted.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let catalog = shared.catalog.load_full();
        for terms in catalog.canaries() {
            if let Err(error) = shared.watch(terms).await {
                warn!(terms = %terms.key, %error, "a canary can't be watched; it is tried again");
            }
        }
    }
}

impl Shared {
    /// Stores what this host counted, and ends the canary if what all hosts counted passes a limit.
    async fn watch(&self, terms: &Terms) -> Result<(), EngineError> {
        self.store_rollout_counts(&terms.key).await?;
        let now = self.clock.now();
        let Some(limits) = limits(terms).filter(|_| is_running(terms, now)) else { return Ok(()) };
        let counts = self.rollout_counts(&terms.key, now, limits.within_seconds).await?;
        match counts.passed(limits, now) {
            Some(passed) => self.roll_back(&terms.key, &passed).await,
            None => Ok(()),
        }
    }

    pub(super) async fn store_rollout_counts(&self, terms: &TermsKey) -> Result<(), EngineError> {
        let Some(body) = self.rollouts.news(terms)? else { return Ok(()) };
        let stored = self.store.put_rollout_counts(terms, &body).await;
        stored.map_err(|error| {
            self.rollouts.not_stored(terms);
            error.into()
        })
    }

    /// What all hosts stored of a canary.
    pub(super) async fn rollout_counts(
        &self,
        terms: &TermsKey,
        now: Timestamp,
        within_seconds: Option<u32>,
    ) -> Result<Counts, EngineError> {
        let mut counts = Counts::default();
        for body in self.store.rollout_counts(terms).await? {
            let tally: Tally = serde_json::from_str(&body).map_err(|error| {
                EngineError::Internal(format!("counts of {terms} can't be read: {error}"))
            })?;
            tally.add_to(&mut counts, now, within_seconds);
        }
        Ok(counts)
    }

    /// Ends a canary, unless another host or a caller did.
    async fn roll_back(&self, key: &TermsKey, passed: &RolledBack) -> Result<(), EngineError> {
        let Owner::Plan(plan) = &key.owner else { return Ok(()) };
        let ended = self
            .change(|catalog, now| {
                let mut found = catalog.terms_of(plan).iter().filter(|terms| terms.key == *key);
                let Some(terms) = found.find(|terms| is_running(terms, now)) else {
                    return Ok((Vec::new(), false));
                };
                let rolled_back = Some(RolledBack { at: now, ..passed.clone() });
                let canary = terms.canary.clone().map(|canary| Canary { rolled_back, ..canary });
                let body = json(&Terms { ends_at: Some(now), canary, ..(**terms).clone() })?;
                let row = PlanTermsRow { plan: plan.clone(), number: key.id.entry, body };
                Ok((vec![CatalogChange::SetPlanTerms(row)], true))
            })
            .await?;
        if ended {
            self.stats.rolled_back();
            warn!(terms = %key, reason = %passed.reason, "a canary passed a limit: it was rolled back");
        }
        Ok(())
    }
}

/// Whether a canary decides for some at `now`, and not for all.
pub(super) fn is_running(terms: &Terms, now: Timestamp) -> bool {
    terms.covers(now)
        && terms.canary.as_ref().is_some_and(|canary| canary.rolled_back.is_none())
        && !terms.is_for_all(now)
}
