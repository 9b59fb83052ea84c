//! Keys to the API. A secret is shown once, to whoever creates the key; only its digest is kept.

use crate::{
    access::{self, Admin, Operator},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, Json, KeyId, MaybeKeyed, Paging, Query, short},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{
    Page,
    access::{ApiKey as ApiKeyView, ApiKeyInput, Scope},
};
use proviso_engine::{
    Changed, DecideError, EngineError, NewApiKey, acting_as,
    catalog::{self, ApiKey},
};
use proviso_ledger::model::ids::Name;
use std::{borrow::Cow, sync::Arc};

problems!(CreateProblems: CALLER UNCONDITIONAL OPERATOR BODY KEY CATALOG LANE; named CustomerNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, ApiKeyNotFound);
problems!(RevokeProblems: CALLER UNCONDITIONAL OPERATOR CATALOG, InvalidPath, ApiKeyNotFound);

/// Create an API key
///
/// A key may be narrowed to one customer, and to the policies whose names begin with a prefix. A key of one customer can't give
/// that customer credits, terms, entitlements or another plan, unless it is created with `may_grant`.
///
/// The secret is in this answer only; a repeat with the same `Idempotency-Key` is answered without it.
#[utoipa::path(
    post,
    path = "/v1/api_keys",
    operation_id = "create_api_key",
    tag = "Operating",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same for repeats")),
    request_body = ApiKeyInput,
    responses((status = 201, description = "Created", body = ApiKeyView), CreateProblems),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Operator<Admin>,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<ApiKeyInput>>,
) -> Result<Answer, Problem> {
    let ApiKeyInput { name, scopes, customer, policy_prefix, may_grant, expires_at } = body;
    short("/name", &name)?;
    if name.trim().is_empty() {
        return Err(Problem::invalid_field("/name", "must not be empty"));
    }
    if scopes.is_empty() {
        return Err(Problem::invalid_field("/scopes", "must name at least one scope"));
    }
    // Such a key could make itself one that is not narrowed.
    let narrows = scopes.contains(&Scope::Policies) && !scopes.contains(&Scope::Admin);
    if policy_prefix.is_some() && !narrows {
        let detail = "needs the scope \"policies\", and no scope \"admin\"";
        return Err(Problem::invalid_field("/policy_prefix", detail));
    }
    let scopes = scopes.into_iter().map(scope).collect();
    let new = NewApiKey { name, scopes, customer, policy_prefix, may_grant, expires_at };
    let secret = (app.options.new_secret)();
    let added = acting_as(caller.by(), app.engine.add_api_key(&secret, new, idempotency)).await;
    let Changed { value, replayed } = added.map_err(|error| match error {
        EngineError::Decide(DecideError::CustomerNotFound(_)) => Problem::from(error).named_by("/customer"),
        _ => error.into(),
    })?;
    // Only whoever made the key learns its secret: it is not kept for a repeat.
    let secret = (!replayed).then_some(secret.as_str());
    Ok(Answer::put(true, &view(&value, secret))?.replayed(replayed))
}

/// List API keys
#[utoipa::path(
    get,
    path = "/v1/api_keys",
    operation_id = "list_api_keys",
    tag = "Operating",
    params(Paging),
    responses(
        (status = 200, description = "All keys, oldest first, revoked ones too", body = Page<ApiKeyView>),
        ListProblems,
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
    let keys = keys.into_iter().map(|key| view(key, None));
    Answer::ok(&paging.page(keys, |key| number(&key.id))?)
}

/// Read an API key
#[utoipa::path(
    get,
    path = "/v1/api_keys/{api_key}",
    operation_id = "read_api_key",
    tag = "Operating",
    params(("api_key" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key, without its secret", body = ApiKeyView), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    At(id): At<KeyId>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let key = catalog.api_keys.values().find(|key| key.id == id.0).ok_or(EngineError::ApiKeyNotFound)?;
    Answer::ok(&view(key, None))
}

/// Revoke an API key
#[utoipa::path(
    delete,
    path = "/v1/api_keys/{api_key}",
    operation_id = "revoke_api_key",
    tag = "Operating",
    params(("api_key" = String, Path, description = "The key's id")),
    responses((status = 200, description = "It does not work any more", body = ApiKeyView), RevokeProblems),
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    caller: Operator<Admin>,
    At(id): At<KeyId>,
) -> Result<Answer, Problem> {
    let key = acting_as(caller.by(), app.engine.revoke_api_key(id.0)).await?;
    Answer::ok(&view(&key, None))
}

/// The number in `key_12`: by the texts themselves `key_10` would come before `key_9`.
fn number(id: &Name) -> u64 {
    id.as_str().rsplit('_').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn scope(scope: Scope) -> catalog::Scope {
    match scope {
        Scope::Usage => catalog::Scope::Usage,
        Scope::Read => catalog::Scope::Read,
        Scope::Manage => catalog::Scope::Manage,
        Scope::Policies => catalog::Scope::Policies,
        Scope::Admin => catalog::Scope::Admin,
    }
}

fn view<'a>(key: &'a ApiKey, secret: Option<&'a str>) -> ApiKeyView<'a> {
    ApiKeyView {
        id: key.id.clone(),
        name: Cow::Borrowed(&key.name),
        scopes: key.scopes.iter().copied().map(access::scope).collect(),
        customer: key.customer.clone(),
        policy_prefix: key.policy_prefix.clone(),
        may_grant: key.may_grant(),
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        created_at: key.created_at,
        secret: secret.map(Cow::Borrowed),
    }
}
