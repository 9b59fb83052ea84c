//! The `Idempotency-Key` header, with the digest of what the request asks for: its method, route, path and body.

use super::json::{Body, Json};
use crate::{app::App, headers::IDEMPOTENCY_KEY, problem::Problem};
use axum::{
    extract::{FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request},
    http::{HeaderMap, request::Parts},
};
use proviso_engine::{Engine, command::Idempotency};
use proviso_ledger::model::ids::{Digest, IdempotencyKey};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A request that needs an idempotency key, since it moves credits.
pub struct Keyed<B> {
    pub idempotency: Idempotency,
    pub body: B,
}

/// A request that may have an idempotency key.
pub struct MaybeKeyed<B> {
    pub idempotency: Option<Idempotency>,
    pub body: B,
}

/// A request that needs an idempotency key, unless it only asks what it would do.
pub struct KeyedUnlessDry<T> {
    /// None for a dry run, which stores no answer.
    pub idempotency: Option<Idempotency>,
    pub body: T,
}

/// A body that may ask for a dry run.
pub trait DryRun: DeserializeOwned + Send {
    fn is_dry_run(&self) -> bool;
}

impl<T: DryRun> FromRequest<Arc<App>> for KeyedUnlessDry<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let key = key(request.headers())?;
        let read = read::<Json<T>>(request, app).await;
        match (key, read) {
            (_, Ok((Json(body), _))) if body.is_dry_run() => Ok(Self { idempotency: None, body }),
            (None, _) => Err(Problem::no_idempotency_key()),
            (Some(key), read) => {
                let (Json(body), digest) = read?;
                Ok(Self { idempotency: Some((key, digest)), body })
            }
        }
    }
}

impl<B: Body> FromRequest<Arc<App>> for Keyed<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let key = key(request.headers())?.ok_or_else(Problem::no_idempotency_key)?;
        let (body, digest) = read(request, app).await?;
        Ok(Self { idempotency: (key, digest), body })
    }
}

impl<B: Body> FromRequest<Arc<App>> for MaybeKeyed<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let key = key(request.headers())?;
        let (body, digest) = read(request, app).await?;
        Ok(Self { idempotency: key.map(|key| (key, digest)), body })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.and_then(|text| text.parse().ok()).ok_or_else(Problem::bad_idempotency_key)?;
    callers(key).map(Some)
}

/// Refuses a key that hosts alone may use: nobody must be able to take it before them.
pub fn callers(key: IdempotencyKey) -> Result<IdempotencyKey, Problem> {
    if key.is_of_host() { Err(Problem::bad_idempotency_key()) } else { Ok(key) }
}

async fn read<B: Body>(request: Request, app: &Arc<App>) -> Result<(B, Digest), Problem> {
    let (mut parts, body) = request.into_parts();
    let path = Path::of(&mut parts, app).await?;
    let method = parts.method.clone();
    let (body, bytes) = B::read(Request::from_parts(parts, body), app).await?;
    let mut words = vec![method.as_str().as_bytes(), path.route.as_bytes()];
    words.extend(path.values.iter().map(|value| value.as_bytes()));
    words.push(&bytes);
    Ok((body, Engine::request_digest(&words)))
}

/// A path as it is meant: however its parts are percent-encoded, it is the same.
struct Path {
    route: String,
    values: Vec<String>,
}

impl Path {
    async fn of(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let route = parts.extensions.get::<MatchedPath>().map(|route| route.as_str().to_owned());
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Problem::bad_path("a part", "must be percent-encoded UTF-8"))?;
        let values = params.iter().map(|(_, value)| value.to_owned()).collect();
        Ok(Self { route: route.unwrap_or_default(), values })
    }
}
