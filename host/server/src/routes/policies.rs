//! Policies: names under which versions are uploaded.

use super::customers::short;
use crate::{
    access::{Operator, Policies, Read},
    answers::Answer,
    app::App,
    extract::{At, MaybeJson, Page, Paging, PolicyKey, Query},
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    EngineError,
    catalog::{Catalog, Policy},
};
use proviso_ledger::model::{ids::Key, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A policy, as the caller describes it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyInput, example = json!({ "description": "Rates, tiers and allowances by settings" }))]
pub struct PolicyBody {
    /// For people.
    #[serde(default)]
    description: String,
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicyAnswer<'a> {
    /// Its key.
    #[schema(value_type = schema::Key)]
    policy: &'a Key,
    /// For people.
    description: &'a str,
    /// The newest version that may be bound; null when there is none.
    latest_version: Option<u32>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
}

/// Create or change a policy
#[utoipa::path(
    put,
    path = "/v1/policies/{policy}",
    operation_id = "put_policy",
    tag = "Policies",
    params(("policy" = String, Path, description = "The caller's own key")),
    request_body = Option<PolicyBody>,
    responses(
        (status = 200, description = "Changed", body = PolicyAnswer),
        (status = 201, description = "Created", body = PolicyAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator<Policies>,
    At(policy): At<PolicyKey>,
    body: MaybeJson<PolicyBody>,
) -> Result<Answer, Problem> {
    short("/description", &body.value.description)?;
    let (policy, created) = app.engine.put_policy(policy.0, body.value.description).await?;
    Answer::put(created, &answer(&app.engine.catalog(), &policy))
}

/// Read a policy
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}",
    operation_id = "read_policy",
    tag = "Policies",
    params(("policy" = String, Path, description = "The policy")),
    responses(
        (status = 200, description = "The policy", body = PolicyAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(policy): At<PolicyKey>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let found = catalog.policies.get(&policy.0).ok_or(EngineError::PolicyNotFound(policy.0))?;
    Answer::ok(&answer(&catalog, found))
}

/// List policies
#[utoipa::path(
    get,
    path = "/v1/policies",
    operation_id = "list_policies",
    tag = "Policies",
    params(Paging),
    responses(
        (status = 200, description = "Policies by key", body = Page<PolicyAnswer>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let policies = catalog.policies.values().map(|policy| answer(&catalog, policy));
    Answer::ok(&paging.page(policies, |policy| policy.policy.clone())?)
}

fn answer<'a>(catalog: &Catalog, policy: &'a Policy) -> PolicyAnswer<'a> {
    let versions = catalog.versions.get(&policy.policy).map_or(&[][..], Vec::as_slice);
    PolicyAnswer {
        policy: &policy.policy,
        description: &policy.description,
        latest_version: versions.iter().rev().find(|version| !version.deleted).map(|version| version.version),
        created_at: policy.created_at,
    }
}
