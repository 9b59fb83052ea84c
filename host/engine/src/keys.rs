//! API keys. The secret is made by the binary, which alone may draw randomness, and only its digest is kept.

use crate::{
    catalog::{ApiKey, Catalog, Scope},
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

    /// Puts the admin key in force that the configuration of a host brings. The one that came this way before is revoked, on
    /// all hosts. A secret that has a key already keeps it as it is, so a replaced one does not come back.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_admin_key(&self, secret: &str, name: &str) -> Result<Arc<ApiKey>, EngineError> {
        let (shared, secret_hash) = (self.shared.clone(), Digest::of(secret.as_bytes()).0);
        let name = name.to_owned();
        self.changes.run(async move { shared.set_admin_key(secret_hash, &name).await }).await
    }

    /// The key of a secret, if it works now.
    ///
    /// # Errors
    /// The store's, which is asked when the secret is not known yet: another host may have made the key just now. However
    /// many ask with unknown secrets, the store is asked rarely.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Arc<ApiKey>>, EngineError> {
        let hash = Digest::of(secret.as_bytes()).0;
        let mut key = self.shared.catalog.load().api_keys.get(&hash).cloned();
        if key.is_none() && self.shared.store.is_shared() {
            self.guesses.look_again(&self.shared).await?;
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
            let key = api_key(catalog, new.clone(), now)?;
            Ok((vec![CatalogChange::AddApiKey(row(secret_hash, &key)?)], Arc::new(key)))
        })
        .await
    }

    async fn revoke_api_key(&self, id: Name) -> Result<Arc<ApiKey>, EngineError> {
        self.change(|catalog, now| {
            let (secret_hash, key) =
                catalog.api_keys.iter().find(|(_, key)| key.id == id).ok_or(EngineError::ApiKeyNotFound)?;
            let mut key = (**key).clone();
            key.revoked_at.get_or_insert(now);
            Ok((vec![CatalogChange::SetApiKey(row(*secret_hash, &key)?)], Arc::new(key)))
        })
        .await
    }

    async fn set_admin_key(&self, secret_hash: [u8; 32], name: &str) -> Result<Arc<ApiKey>, EngineError> {
        self.change(|catalog, now| {
            let known = catalog.api_keys.get(&secret_hash);
            let mut changes = Vec::new();
            let key = match known {
                // One that can't manage the host must not take the place of one that can. It was revoked, perhaps as it
                // was replaced: a host that starts with an old configuration does not bring it back.
                Some(key) if !key.is_live(now) || !key.is_admin() => return Ok((Vec::new(), key.clone())),
                Some(key) if key.is_configured => key.clone(),
                Some(key) => {
                    let key = ApiKey { is_configured: true, ..(**key).clone() };
                    changes.push(CatalogChange::SetApiKey(row(secret_hash, &key)?));
                    Arc::new(key)
                }
                None => {
                    let scopes = BTreeSet::from([Scope::Admin]);
                    let new = NewApiKey { name: name.to_owned(), scopes, ..NewApiKey::default() };
                    let key = ApiKey { is_configured: true, ..api_key(catalog, new, now)? };
                    changes.push(CatalogChange::AddApiKey(row(secret_hash, &key)?));
                    Arc::new(key)
                }
            };
            for (hash, other) in &catalog.api_keys {
                if other.is_configured && other.revoked_at.is_none() && *hash != secret_hash {
                    let replaced = ApiKey { revoked_at: Some(now), ..(**other).clone() };
                    changes.push(CatalogChange::SetApiKey(row(*hash, &replaced)?));
                }
            }
            Ok((changes, key))
        })
        .await
    }
}

/// A new key, which no configuration brought.
fn api_key(catalog: &Catalog, new: NewApiKey, now: Timestamp) -> Result<ApiKey, EngineError> {
    let id: Name = format!("key_{}", catalog.api_keys.len() + 1)
        .parse()
        .map_err(|_| EngineError::Internal("an API key's id is no name".to_owned()))?;
    let NewApiKey { name, scopes, customer, policy_prefix, may_grant, expires_at } = new;
    Ok(ApiKey {
        id,
        name,
        scopes,
        customer,
        policy_prefix,
        may_grant,
        expires_at,
        revoked_at: None,
        created_at: now,
        is_configured: false,
    })
}

fn row(secret_hash: [u8; 32], key: &ApiKey) -> Result<ApiKeyRow, EngineError> {
    Ok(ApiKeyRow { id: key.id.clone(), secret_hash, body: json(key)? })
}
