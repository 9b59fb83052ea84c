//! Policies: names under which versions are uploaded.

use crate::{
    access::{self, Policies, Publisher, ReadPolicies},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{IfMatch, MaybeJson, Paging, Query, short},
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    Page,
    patch::Patch,
    policy::{Policy, PolicyInput},
};
use proviso_engine::{EngineError, Tag};
use std::sync::Arc;

problems!(PutProblems: CALLER OPERATOR BODY CATALOG, InvalidPath, ChangedMeanwhile);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, PolicyNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);

/// Create or change a policy
///
/// An absent field stays as it is, null clears it. Only an operator sets what a policy may use. The same request again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/policies/{policy}",
    operation_id = "put_policy",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy's name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the policy that is changed"),
    ),
    request_body = Option<PolicyInput>,
    responses(
        (status = 200, description = "In force", body = Policy),
        (status = 201, description = "Created", body = Policy),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    policy: access::Policy<Policies>,
    IfMatch(expected): IfMatch,
    MaybeJson(body): MaybeJson<PolicyInput>,
) -> Result<Answer, Problem> {
    short("/description", body.description.value().map_or("", String::as_str))?;
    let PolicyInput { description, resource_class } = body;
    if !matches!(resource_class, Patch::Absent) {
        policy.may_set_class()?;
    }
    let (description, class) = (description.into_option().into(), resource_class.into_option().into());
    let (policy, created) = app.engine.put_policy(policy.name, description, class, expected).await?;
    let view = Answer::put(created, &wire::policy(&app.engine.catalog(), &policy))?;
    Ok(view.tagged(Some(Tag::of(&*policy)?)))
}

/// Read a policy
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}",
    operation_id = "read_policy",
    tag = "Policies",
    params(("policy" = String, Path, description = "The policy")),
    responses((status = 200, description = "The policy", body = Policy), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    policy: access::Policy<ReadPolicies>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let found = catalog.policies.get(&policy.name).ok_or(EngineError::PolicyNotFound(policy.name))?;
    Ok(Answer::ok(&wire::policy(&catalog, found))?.tagged(Some(Tag::of(&**found)?)))
}

/// List policies
///
/// A key that is narrowed to a prefix sees only those.
#[utoipa::path(
    get,
    path = "/v1/policies",
    operation_id = "list_policies",
    tag = "Policies",
    params(Paging),
    responses((status = 200, description = "Policies by name", body = Page<Policy>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Publisher<ReadPolicies>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let policies = catalog.policies.values().filter(|policy| caller.sees(&policy.policy));
    let policies = policies.map(|policy| wire::policy(&catalog, policy));
    Answer::ok(&paging.page(policies, |policy| policy.policy.clone())?)
}
