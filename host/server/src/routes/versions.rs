//! Versions of policies: modules that are uploaded, tried, and kept for ever by the digest of their bytes.

use crate::{
    access::{Operator, Policies, Read},
    answers::Answer,
    app::App,
    extract::{At, Page, Paging, PolicyKey, Query, VersionNumber, is_of_type, read_body},
    problem::{Problem, ProblemBody},
    schema,
};
use axum::{
    extract::{Request, State},
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG},
    response::{IntoResponse, Response},
};
use proviso_engine::{EngineError, catalog::Version};
use proviso_ledger::model::{
    answers::{Manifest, Needs},
    ids::{Digest, Key},
    json::JsonText,
    time::Timestamp,
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

const WASM: &str = "application/wasm";

/// A version of a policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyVersion)]
pub struct VersionAnswer<'a> {
    /// The policy.
    #[schema(value_type = schema::Key)]
    policy: &'a Key,
    /// Counted from 1.
    version: u32,
    /// SHA-256 of the module.
    #[schema(value_type = schema::Digest)]
    digest: Digest,
    /// The module's size.
    size_bytes: u64,
    /// What the policy says of itself.
    manifest: ManifestAnswer<'a>,
    /// How long it took to inspect, compile and try, in milliseconds.
    compile_ms: u64,
    /// Whether it may no longer be bound. What it decided can still be replayed.
    deleted: bool,
    /// When it was uploaded.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
}

/// What a policy says of itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Manifest)]
pub struct ManifestAnswer<'a> {
    /// Its name.
    name: &'a str,
    /// Its author's version.
    version: &'a str,
    /// One sentence.
    summary: &'a str,
    /// JSON Schema of its settings.
    #[schema(value_type = Object)]
    settings_schema: &'a JsonText,
    /// What of the context it reads: `balances`, `grants`, `customer_attributes`.
    #[schema(value_type = Object)]
    needs: Needs,
}

/// Upload a version
///
/// The module is inspected, compiled and tried before it is kept. The same bytes again are the version that they were.
#[utoipa::path(
    post,
    path = "/v1/policies/{policy}/versions",
    operation_id = "upload_version",
    tag = "Policies",
    params(("policy" = String, Path, description = "The policy; it is created when it does not exist")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The component"),
    responses(
        (status = 200, description = "These bytes were uploaded before", body = VersionAnswer),
        (status = 201, description = "A new version", body = VersionAnswer),
        (status = 422, description = "The module is refused: policy_rejected, with what is wrong and where", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn upload(
    State(app): State<Arc<App>>,
    _: Operator<Policies>,
    At(policy): At<PolicyKey>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.engine.most_module_bytes()).await?;
    if !is_of_type(&parts.headers, WASM) {
        return Err(Problem::wrong_type(WASM));
    }
    let stopwatch = app.options.stopwatch.clone();
    let started = stopwatch();
    let compile_ms = move || stopwatch().saturating_sub(started) / 1_000;
    let uploaded = app.engine.upload(policy.0, bytes.into(), compile_ms).await?;
    Answer::put(uploaded.created, &VersionAnswer::new(&uploaded.version))
}

/// List versions
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}/versions",
    operation_id = "list_versions",
    tag = "Policies",
    params(("policy" = String, Path, description = "The policy"), Paging),
    responses(
        (status = 200, description = "All versions, oldest first", body = Page<VersionAnswer>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(policy): At<PolicyKey>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.policies.contains_key(&policy.0) {
        return Err(EngineError::PolicyNotFound(policy.0).into());
    }
    let versions = catalog.versions.get(&policy.0).map_or(&[][..], Vec::as_slice);
    let versions = versions.iter().map(|version| VersionAnswer::new(version));
    Answer::ok(&paging.page(versions, |version| version.version)?)
}

/// Read a version
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}/versions/{version}",
    operation_id = "read_version",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "The version", body = VersionAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(policy): At<PolicyKey>,
    At(number): At<VersionNumber>,
) -> Result<Answer, Problem> {
    let version = find(&app, &policy, &number)?;
    Answer::ok(&VersionAnswer::new(&version))
}

/// Download a module
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}/versions/{version}/module",
    operation_id = "download_module",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "The component, as it was uploaded", body = Vec<u8>, content_type = "application/wasm"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn module(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(policy): At<PolicyKey>,
    At(number): At<VersionNumber>,
) -> Result<Response, Problem> {
    let version = find(&app, &policy, &number)?;
    let bytes = app.engine.module_bytes(&policy.0, number.0).await?;
    let name = format!("attachment; filename=\"{}-{}.wasm\"", version.policy, version.version);
    let headers = [
        (CONTENT_TYPE, WASM.to_owned()),
        (CONTENT_DISPOSITION, name),
        (ETAG, format!("\"{}\"", version.digest)),
        // A version's bytes never change.
        (CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// Delete a version
///
/// It can't be bound any more. Terms that run it keep running, and what it decided can be replayed.
#[utoipa::path(
    delete,
    path = "/v1/policies/{policy}/versions/{version}",
    operation_id = "delete_version",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "Deleted", body = VersionAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    _: Operator<Policies>,
    At(policy): At<PolicyKey>,
    At(number): At<VersionNumber>,
) -> Result<Answer, Problem> {
    if !find(&app, &policy, &number)?.deleted {
        app.engine.delete_version(policy.0.clone(), number.0).await?;
    }
    let version = find(&app, &policy, &number)?;
    Answer::ok(&VersionAnswer::new(&version))
}

fn find(app: &App, policy: &PolicyKey, number: &VersionNumber) -> Result<Arc<Version>, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.policies.contains_key(&policy.0) {
        return Err(EngineError::PolicyNotFound(policy.0.clone()).into());
    }
    let version = catalog.version(&policy.0, number.0).cloned();
    Ok(version.ok_or_else(|| EngineError::VersionNotFound(policy.0.clone(), number.0))?)
}

impl<'a> VersionAnswer<'a> {
    fn new(version: &'a Version) -> Self {
        let Manifest { name, version: authors, summary, settings_schema, needs } = &version.manifest;
        Self {
            policy: &version.policy,
            version: version.version,
            digest: version.digest,
            size_bytes: version.size_bytes,
            manifest: ManifestAnswer { name, version: authors, summary, settings_schema, needs: *needs },
            compile_ms: version.compile_ms,
            deleted: version.deleted,
            created_at: version.created_at,
        }
    }
}
