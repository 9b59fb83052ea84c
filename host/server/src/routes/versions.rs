//! Versions of policies: modules that are uploaded, tried, and kept for ever by the digest of their bytes.

use crate::{
    access::{Policies, Policy, ReadPolicies},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Paging, Query, VersionNumber, is_of_type, read_body},
    problem::Problem,
    wire,
};
use axum::{
    extract::{Request, State},
    http::{
        HeaderMap,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
};
use proviso_api::{Page, ProblemCode, policy::PolicyVersion, schema};
use proviso_engine::{EngineError, ModuleSignature, acting_as, catalog::Version, version_tag};
use proviso_ledger::model::ids::Name;
use std::sync::Arc;

const WASM: &str = "application/wasm";
const SIGNATURE: &str = "proviso-signature";

problems!(
    UploadProblems: CALLER UNCONDITIONAL OPERATOR CATALOG,
    InvalidPath, UnsupportedMediaType, BodyTooLarge, BodyIncomplete, BodyTimeout, PolicyRejected,
    SignatureRequired, SignatureInvalid,
    Overloaded
);
problems!(ListProblems: CALLER OPERATOR LIST, InvalidPath, PolicyNotFound);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, PolicyNotFound, VersionNotFound);
problems!(
    DeleteProblems: CALLER OPERATOR CATALOG,
    InvalidPath, PolicyNotFound, VersionNotFound, ChangedMeanwhile
);

/// Upload a version
///
/// The module is inspected, compiled and tried before it is kept. The same bytes again answer the version that has them.
#[utoipa::path(
    post,
    path = "/v1/policies/{policy}/versions",
    operation_id = "upload_version",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy; it is created when it does not exist"),
        (
            "Proviso-Signature" = Option<String>,
            Header,
            description = "`ed25519=` and the signature of the module in 128 hexadecimal digits, where the host takes signed modules only"
        ),
    ),
    request_body(content = inline(schema::Module), content_type = "application/wasm", description = "The component"),
    responses(
        (status = 200, description = "These bytes were uploaded before", body = PolicyVersion),
        (status = 201, description = "A new version", body = PolicyVersion),
        UploadProblems,
    ),
)]
pub async fn upload(
    State(app): State<Arc<App>>,
    policy: Policy<Policies>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let signature = signature(&parts.headers)?;
    let bytes = read_body(body, app.engine.most_module_bytes(), &app.bodies, parts.extensions.get()).await?;
    if !is_of_type(&parts.headers, WASM) {
        return Err(Problem::wrong_type(WASM));
    }
    let stopwatch = app.options.stopwatch.clone();
    let started = stopwatch();
    let compile_ms = move || stopwatch().saturating_sub(started) / 1_000;
    let uploaded =
        acting_as(policy.by, app.engine.upload_signed(policy.name, bytes.into(), signature, compile_ms))
            .await?;
    Answer::put(uploaded.created, &wire::policy_version(&uploaded.version))
}

/// The module's signature, if there is one.
fn signature(headers: &HeaderMap) -> Result<Option<ModuleSignature>, Problem> {
    let Some(value) = headers.get(SIGNATURE) else { return Ok(None) };
    let read = value.to_str().map_err(|error| error.to_string()).and_then(str::parse);
    let invalid = |detail| Problem::new(ProblemCode::SignatureInvalid, format!("{SIGNATURE}: {detail}"));
    read.map(Some).map_err(invalid)
}

/// List versions
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}/versions",
    operation_id = "list_versions",
    tag = "Policies",
    params(("policy" = String, Path, description = "The policy"), Paging),
    responses(
        (status = 200, description = "All versions, oldest first", body = Page<PolicyVersion>),
        ListProblems,
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    policy: Policy<ReadPolicies>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.policies.contains_key(&policy.name) {
        return Err(EngineError::PolicyNotFound(policy.name).into());
    }
    let versions = catalog.versions.get(&policy.name).map_or(&[][..], Vec::as_slice);
    let versions = versions.iter().map(|version| wire::policy_version(version));
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
    responses((status = 200, description = "The version", body = PolicyVersion), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    policy: Policy<ReadPolicies>,
    At(number): At<VersionNumber>,
) -> Result<Answer, Problem> {
    let version = find(&app, &policy.name, &number)?;
    Ok(Answer::ok(&wire::policy_version(&version))?.tagged(Some(version_tag(&version)?)))
}

/// Download a module
///
/// Needs the scope `policies`: a module may hold what its owner does not tell everybody who reads.
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
        (status = 200, description = "The component, as it was uploaded", body = inline(schema::Module), content_type = "application/wasm"),
        ReadProblems,
    ),
)]
pub async fn module(
    State(app): State<Arc<App>>,
    policy: Policy<Policies>,
    At(number): At<VersionNumber>,
) -> Result<Response, Problem> {
    let version = find(&app, &policy.name, &number)?;
    let bytes = app.engine.module_bytes(&policy.name, number.0).await?;
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
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version"),
    ),
    responses((status = 200, description = "Deleted", body = PolicyVersion), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    policy: Policy<Policies>,
    At(number): At<VersionNumber>,
    IfMatch(expected): IfMatch,
) -> Result<Answer, Problem> {
    find(&app, &policy.name, &number)?;
    acting_as(policy.by, app.engine.delete_version(policy.name.clone(), number.0, expected)).await?;
    let version = find(&app, &policy.name, &number)?;
    Ok(Answer::ok(&wire::policy_version(&version))?.tagged(Some(version_tag(&version)?)))
}

fn find(app: &App, policy: &Name, number: &VersionNumber) -> Result<Arc<Version>, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.policies.contains_key(policy) {
        return Err(EngineError::PolicyNotFound(policy.clone()).into());
    }
    let version = catalog.version(policy, number.0).cloned();
    Ok(version.ok_or_else(|| EngineError::VersionNotFound(policy.clone(), number.0))?)
}
