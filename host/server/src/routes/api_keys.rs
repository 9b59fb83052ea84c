//! Keys to the API. A secret is shown once, to whoever makes the key; only its digest is kept.

use super::customers::short;
use crate::{
    access::{Admin, Operator},
    answers::Answer,
    app::App,
    extract::{ApiKeyId, At, IdempotencyHeader, Json, Page, Paging, Query},
    problem::{FieldError, Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    NewApiKey,
    catalog::{ApiKey, Scope},
};
use proviso_ledger::model::{
    ids::{CustomerId, Key},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
use utoipa::ToSchema;

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiKeyInput, example = json!({ "name": "backend", "scopes": ["usage", "read"] }))]
pub struct ApiKeyBody {
    /// For people.
    name: String,
    /// What it may do: some of `usage`, `read`, `manage`, `policies`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<Scope>,
    /// The only customer it may touch; any, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    customer: Option<CustomerId>,
    /// When it stops working; never, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    expires_at: Option<Timestamp>,
}

/// A key to the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyAnswer<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "key_2")]
    id: &'a Key,
    /// For people.
    name: &'a str,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    scopes: &'a BTreeSet<Scope>,
    /// The only customer it may touch.
    #[schema(value_type = Option<schema::Key>)]
    customer: Option<&'a CustomerId>,
    /// When it stops working.
    #[schema(value_type = Option<schema::Time>)]
    expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<schema::Time>)]
    revoked_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
    /// What is sent as the bearer token. Only when the key is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Make an API key
///
/// The secret is in this answer only; a repeat with the same `Idempotency-Key` is answered without it.
#[utoipa::path(
    post,
    path = "/v1/api_keys",
    operation_id = "create_api_key",
    tag = "Operating",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same for repeats")),
    request_body = ApiKeyBody,
    responses(
        (status = 201, description = "Made", body = ApiKeyAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    key: IdempotencyHeader,
    body: Json<ApiKeyBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"api key", &body.bytes]);
    let ApiKeyBody { name, scopes, customer, expires_at } = body.value;
    short("/name", &name)?;
    if scopes.is_empty() {
        return Err(Problem::invalid(vec![FieldError::new("/scopes", "must name at least one scope")]));
    }
    let secret = (app.options.new_secret)();
    let key = NewApiKey { name, scopes, customer, expires_at };
    let added = app.engine.add_api_key(&secret, key, idempotency).await?;
    // Of a repeat the secret was drawn anew, and is nobody's.
    let shown = (!added.replayed).then_some(secret.as_str());
    Ok(Answer::put(true, &ApiKeyAnswer::new(&added.value, shown))?.replayed(added.replayed))
}

/// List API keys
#[utoipa::path(
    get,
    path = "/v1/api_keys",
    operation_id = "list_api_keys",
    tag = "Operating",
    params(Paging),
    responses(
        (status = 200, description = "All keys, oldest first, revoked ones too", body = Page<ApiKeyAnswer>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let mut keys: Vec<&ApiKey> = catalog.api_keys.values().map(Arc::as_ref).collect();
    keys.sort_by_key(|key| number(&key.id));
    let keys = keys.into_iter().map(|key| ApiKeyAnswer::new(key, None));
    Answer::ok(&paging.page(keys, |key| number(key.id))?)
}

/// Revoke an API key
#[utoipa::path(
    delete,
    path = "/v1/api_keys/{api_key}",
    operation_id = "revoke_api_key",
    tag = "Operating",
    params(("api_key" = String, Path, description = "The key's id")),
    responses(
        (status = 200, description = "It does not work any more", body = ApiKeyAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    At(id): At<ApiKeyId>,
) -> Result<Answer, Problem> {
    let key = app.engine.revoke_api_key(id.0).await?;
    Answer::ok(&ApiKeyAnswer::new(&key, None))
}

/// The number in `key_12`: by the texts themselves `key_10` would come before `key_9`.
fn number(id: &Key) -> u64 {
    id.as_str().rsplit('_').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl<'a> ApiKeyAnswer<'a> {
    fn new(key: &'a ApiKey, secret: Option<&'a str>) -> Self {
        Self {
            id: &key.id,
            name: &key.name,
            scopes: &key.scopes,
            customer: key.customer.as_ref(),
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            created_at: key.created_at,
            secret,
        }
    }
}
