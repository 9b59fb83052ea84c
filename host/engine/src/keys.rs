//! API keys. The secret is made by the binary, which alone may draw randomness, and only its digest is kept.

use crate::{
    Changed, Engine, Once,
    catalog::{ApiKey, Scope},
    error::EngineError,
    plans::json,
};
use proviso_ledger::{
    ids::{CustomerId, Digest, Name},
    time::Timestamp,
};
use proviso_store::{ApiKeyRow, ReferenceChange};
use std::{collections::BTreeSet, sync::Arc};

impl Engine {
    /// Adds a key for a secret, unless the secret has one.
    ///
    /// # Errors
    /// The store's.
    pub async fn add_api_key(
        &self,
        secret: &str,
        name: String,
        scopes: BTreeSet<Scope>,
        customer: Option<CustomerId>,
        expires_at: Option<Timestamp>,
        once: Option<Once<'_, Arc<ApiKey>>>,
    ) -> Result<Changed<Arc<ApiKey>>, EngineError> {
        let secret_hash = Digest::of(secret.as_bytes()).0;
        self.change_once(once, |catalog, now| {
            if let Some(key) = catalog.api_keys.get(&secret_hash) {
                return Ok((Vec::new(), key.clone()));
            }
            let id: Name = format!("key_{}", catalog.api_keys.len() + 1)
                .parse()
                .map_err(|_| EngineError::Internal("an API key's id is no name".to_owned()))?;
            let (name, scopes, customer) = (name.clone(), scopes.clone(), customer.clone());
            let key = ApiKey { id, name, scopes, customer, expires_at, revoked_at: None, created_at: now };
            let row = ApiKeyRow { id: key.id.clone(), secret_hash, body: json(&key)? };
            Ok((vec![ReferenceChange::AddApiKey(row)], Arc::new(key)))
        })
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
        self.change(|catalog, now| {
            let (secret_hash, key) =
                catalog.api_keys.iter().find(|(_, key)| key.id == id).ok_or(EngineError::ApiKeyNotFound)?;
            let mut key = (**key).clone();
            key.revoked_at.get_or_insert(now);
            let row = ApiKeyRow { id: key.id.clone(), secret_hash: *secret_hash, body: json(&key)? };
            Ok((vec![ReferenceChange::SetApiKey(row)], Arc::new(key)))
        })
        .await
    }
}
