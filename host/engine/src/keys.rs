//! API keys. The secret is made by the binary, which alone may draw randomness, and only its digest is kept.

use crate::{
    catalog::{ApiKey, Scope},
    changes::{Changed, json},
    engine::Engine,
    error::EngineError,
    shared::Shared,
};
use proviso_decide::command::Idempotency;
use proviso_ledger::{
    model::{
        ids::{CustomerId, Digest, Name},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_store::{ApiKeyRow, CatalogChange};
use std::{collections::BTreeSet, sync::Arc};

/// A key to the API as a caller asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only customer it may touch; `None` means any.
    pub customer: Option<CustomerId>,
    /// How the names of the only policies begin that it may touch; `None` means any.
    pub policy_prefix: Option<Name>,
    /// Whether it may decide what its only customer gets: credits, terms, entitlements.
    pub may_grant: bool,
    /// When it stops working; `None` means never.
    pub expires_at: Option<Timestamp>,
}

impl Engine {
    /// Adds a key for a secret, unless the secret has one.
    ///
    /// # Errors
    /// A customer that does not exist; an expiry that is not ahead; the store's.
    pub async fn add_api_key(
        &self,
        secret: &str,
        key: NewApiKey,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<ApiKey>>, EngineError> {
        if let Some(customer) = &key.customer {
            // Customers never vanish, so this holds for a repeat as well.
            self.state(customer).await?;
        }
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
            if new.expires_at.is_some_and(|expiry| expiry <= now) {
                return Err(Rejection::NotLater("expires_at", now).into());
            }
            let id: Name = format!("key_{}", catalog.api_keys.len() + 1)
                .parse()
                .map_err(|_| EngineError::Internal("an API key's id is no name".to_owned()))?;
            let NewApiKey { name, scopes, customer, policy_prefix, may_grant, expires_at } = new.clone();
            let (revoked_at, created_at) = (None, now);
            let key = ApiKey {
                id,
                name,
                scopes,
                customer,
                policy_prefix,
                may_grant,
                expires_at,
                revoked_at,
                created_at,
            };
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
