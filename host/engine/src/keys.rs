//! API keys. The secret is made by the binary, which alone may draw randomness, and only its digest is kept.

use crate::{
    catalog::{ApiKey, Scope},
    changes::{Changed, json},
    engine::Engine,
    error::EngineError,
    shared::Shared,
};
use proviso_decide::command::Idempotency;
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Name},
    time::Timestamp,
};
use proviso_store::{ApiKeyRow, CatalogChange};
use std::{collections::BTreeSet, sync::Arc};

/// A key to the API as a caller asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only customer it may touch; `None` means any.
    pub customer: Option<CustomerId>,
    /// When it stops working; `None` means never.
    pub expires_at: Option<Timestamp>,
}

impl Engine {
    /// Adds a key for a secret, unless the secret has one.
    ///
    /// # Errors
    /// The store's.
    pub async fn add_api_key(
        &self,
        secret: &str,
        key: NewApiKey,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<ApiKey>>, EngineError> {
        let (shared, secret_hash) = (self.shared.clone(), Digest::of(secret.as_bytes()).0);
        self.changes
            .run(async move { shared.add_api_key(secret_hash, key, idempotency.as_ref()).await })
            .await
    }

    /// The key of a secret, if it works now.
    ///
    /// # Errors
    /// The store's, which is asked when the secret is not known yet: another host may have made the key just now.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Arc<ApiKey>>, EngineError> {
        let hash = Digest::of(secret.as_bytes()).0;
        let mut key = self.shared.catalog.load().api_keys.get(&hash).cloned();
        if key.is_none() && self.shared.store.is_shared() {
            // One at a time, so that those who guess secrets keep the store busy with one question at most.
            let _one = self.guesses.lock().await;
            self.shared.refresh_catalog().await?;
            key = self.shared.catalog.load().api_keys.get(&hash).cloned();
        }
        Ok(key.filter(|key| key.is_live(self.clock().now())))
    }

    /// Stops a key from working.
    ///
    /// # Errors
    /// An unknown key.
    pub async fn revoke_api_key(&self, id: Name) -> Result<Arc<ApiKey>, EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.revoke_api_key(id).await }).await
    }
}

impl Shared {
    async fn add_api_key(
        &self,
        secret_hash: [u8; 32],
        new: NewApiKey,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Arc<ApiKey>>, EngineError> {
        self.change_once(idempotency, |catalog, now| {
            if let Some(key) = catalog.api_keys.get(&secret_hash) {
                return Ok((Vec::new(), key.clone()));
            }
            let id: Name = format!("key_{}", catalog.api_keys.len() + 1)
                .parse()
                .map_err(|_| EngineError::Internal("an API key's id is no name".to_owned()))?;
            let NewApiKey { name, scopes, customer, expires_at } = new.clone();
            let key = ApiKey { id, name, scopes, customer, expires_at, revoked_at: None, created_at: now };
            let row = ApiKeyRow { id: key.id.clone(), secret_hash, body: json(&key)? };
            Ok((vec![CatalogChange::AddApiKey(row)], Arc::new(key)))
        })
        .await
    }

    async fn revoke_api_key(&self, id: Name) -> Result<Arc<ApiKey>, EngineError> {
        self.change(|catalog, now| {
            let (secret_hash, key) =
                catalog.api_keys.iter().find(|(_, key)| key.id == id).ok_or(EngineError::ApiKeyNotFound)?;
            let mut key = (**key).clone();
            key.revoked_at.get_or_insert(now);
            let row = ApiKeyRow { id: key.id.clone(), secret_hash: *secret_hash, body: json(&key)? };
            Ok((vec![CatalogChange::SetApiKey(row)], Arc::new(key)))
        })
        .await
    }
}
