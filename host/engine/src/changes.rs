//! Changes of the catalog. Each is made between two decisions, durable before it is in force, and made once for an
//! idempotency key.
//!
//! A host whose catalog is older than the stored one can write nothing, since every commit names the revision that it was
//! decided on. So a change that may have become durable without this host knowing is marked, and the catalog is read again
//! before the next one and by the refresher.

use crate::{audit, catalog::Catalog, error::EngineError, idempotency::key_hash, shared::Shared};
use proviso_decide::command::Idempotency;
use proviso_ledger::model::time::Timestamp;
use proviso_store::{CatalogChange, CatalogRows, Commit, StoredAnswer};
use serde::{Serialize, de::DeserializeOwned};

/// How often a change is made again on top of those of other hosts.
const MAX_ATTEMPTS: u32 = 8;

/// What a change that is made once for an idempotency key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    /// What it came to when it was made.
    pub value: T,
    /// Whether that was for an earlier request with the same key.
    pub replayed: bool,
}

/// The rows that a change writes, and what it comes to.
pub(crate) type Change<T> = Result<(Vec<CatalogChange>, T), EngineError>;

impl Shared {
    /// Changes the catalog. `make` is handed the catalog and the time at which the change takes effect.
    pub async fn change<T>(&self, make: impl Fn(&Catalog, Timestamp) -> Change<T>) -> Result<T, EngineError> {
        self.refresh_catalog().await?;
        let _gate = self.gate.write().await;
        for _ in 0..MAX_ATTEMPTS {
            let (catalog, at) = (self.catalog.load_full(), self.clock.now());
            let (changes, value) = make(&catalog, at)?;
            if changes.is_empty() || self.commit_change(&catalog, changes, at, None).await? {
                return Ok(value);
            }
        }
        self.write_failed();
        Err(EngineError::Contention)
    }

    /// As [`change`](Self::change), but once for an idempotency key: what it came to is stored in the same transaction, and
    /// a repeat returns that.
    pub async fn change_once<T: Serialize + DeserializeOwned>(
        &self,
        idempotency: Option<&Idempotency>,
        make: impl Fn(&Catalog, Timestamp) -> Change<T>,
    ) -> Result<Changed<T>, EngineError> {
        let Some(idempotency) = idempotency else {
            return Ok(Changed { value: self.change(make).await?, replayed: false });
        };
        self.refresh_catalog().await?;
        let _gate = self.gate.write().await;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(value) = self.answered_change(idempotency).await? {
                return Ok(Changed { value, replayed: true });
            }
            let (catalog, at) = (self.catalog.load_full(), self.clock.now());
            let (changes, value) = make(&catalog, at)?;
            let (key, request) = idempotency;
            let answer =
                StoredAnswer { key_hash: key_hash(key), request_hash: request.0, at, answer: json(&value)? };
            if self.commit_change(&catalog, changes, at, Some(answer)).await? {
                return Ok(Changed { value, replayed: false });
            }
        }
        self.write_failed();
        Err(EngineError::Contention)
    }

    /// What an earlier change with this key came to.
    pub async fn answered_change<T: DeserializeOwned>(
        &self,
        (key, request): &Idempotency,
    ) -> Result<Option<T>, EngineError> {
        let Some(stored) = self.store.answer(key_hash(key)).await? else { return Ok(None) };
        if stored.request_hash != request.0 {
            return Err(EngineError::IdempotencyKeyReused);
        }
        let value = serde_json::from_str(&stored.answer);
        value
            .map(Some)
            .map_err(|error| EngineError::Internal(format!("a stored answer can't be read: {error}")))
    }

    /// Makes changes on top of `catalog` durable, with a record of each, and puts them in force. False when the stored catalog is another one: it
    /// has been read. The gate must be held for writing.
    async fn commit_change(
        &self,
        catalog: &Catalog,
        mut changes: Vec<CatalogChange>,
        at: Timestamp,
        answer: Option<StoredAnswer>,
    ) -> Result<bool, EngineError> {
        changes.append(&mut audit::records(catalog, &changes, at)?);
        let written = rows(catalog.revision.saturating_add(1), &changes);
        self.mark_catalog_uncertain();
        match self.store.change_catalog(Some(catalog.revision), changes, answer).await {
            Ok(Commit::Durable) => {
                self.write_succeeded();
                self.put_catalog(catalog.updated(written)?);
                Ok(true)
            }
            Ok(Commit::Conflict) => {
                self.read_catalog().await?;
                Ok(false)
            }
            Err(error) => {
                self.write_failed();
                Err(error.into())
            }
        }
    }
}

/// What the store will say of these changes: they are all of the next revision.
pub(crate) fn rows(revision: u64, changes: &[CatalogChange]) -> CatalogRows {
    let mut rows = CatalogRows { revision, ..CatalogRows::default() };
    for change in changes {
        match change {
            CatalogChange::PutPlan(row) => rows.plans.push(row.clone()),
            CatalogChange::AddPlanVersion(row) => rows.plan_versions.push(row.clone()),
            CatalogChange::AddPlanTerms(row) | CatalogChange::SetPlanTerms(row) => {
                rows.plan_terms.push(row.clone());
            }
            CatalogChange::PutPolicy(row) => rows.policies.push(row.clone()),
            CatalogChange::AddPolicyVersion(row) | CatalogChange::SetPolicyVersion(row) => {
                rows.policy_versions.push(row.clone());
            }
            CatalogChange::AddApiKey(row) | CatalogChange::SetApiKey(row) => {
                rows.api_keys.push(row.clone());
            }
            CatalogChange::PutProduct(row) => rows.products.push((row.clone(), revision)),
            // The catalog holds no bytes, and no records.
            CatalogChange::PutModule { .. } | CatalogChange::AddAudit(_) => {}
        }
    }
    rows
}

/// A row's body.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|error| EngineError::Internal(error.to_string()))
}
