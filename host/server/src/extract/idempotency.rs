//! The `Idempotency-Key` header.

use crate::{app::App, problem::Problem};
use axum::{extract::FromRequestParts, http::request::Parts};
use proviso_engine::{Engine, command::Idempotency};
use proviso_ledger::model::ids::IdempotencyKey;
use std::sync::Arc;

const HEADER: &str = "idempotency-key";

/// The key, where it is optional.
pub struct Key(pub Option<IdempotencyKey>);

impl Key {
    /// The key with the digest of the request: the route's own name, the parts of its path, the body.
    pub fn with(self, request: &[&[u8]]) -> Option<Idempotency> {
        self.0.map(|key| (key, Engine::request_digest(request)))
    }
}

impl FromRequestParts<Arc<App>> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let key = text.and_then(|text| text.parse().ok()).ok_or_else(Problem::bad_idempotency_key)?;
        Ok(Self(Some(key)))
    }
}

/// The key, where it is required.
pub struct RequiredKey(pub IdempotencyKey);

impl RequiredKey {
    /// See [`Key::with`].
    pub fn with(self, request: &[&[u8]]) -> Idempotency {
        (self.0, Engine::request_digest(request))
    }
}

impl FromRequestParts<Arc<App>> for RequiredKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let key = Key::from_request_parts(parts, app).await?;
        key.0.map(Self).ok_or_else(Problem::no_idempotency_key)
    }
}
