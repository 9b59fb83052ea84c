//! Terms: which policy, with which settings, decides for a plan or for one customer, and when.

use crate::{
    access::{Customer, Manage, Operator, Read},
    answers::Answer,
    app::App,
    extract::{At, IdempotencyHeader, Json, MaybeJson, Page, Paging, PlanKey, Query},
    problem::{Problem, ProblemBody},
    render::{self, TermsEnded},
    schema,
};
use axum::extract::State;
use proviso_engine::{EngineError, TermsInput, command::Command};
use proviso_ledger::model::{
    ids::{Digest, Key, TermsId},
    json::JsonText,
    terms::{Mode, OnFault, Owner, Terms as LedgerTerms, TermsKey, in_force},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Terms to bind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TermsInput, example = json!({
    "policy": "standard",
    "version": 1,
    "settings": { "rates": [{ "feature": "chat", "quantity": "input_tokens", "price": { "per_unit": "0.001" } }] },
    "on_fault": "last_good"
}))]
pub struct TermsBody {
    /// The policy.
    #[schema(value_type = schema::Key)]
    policy: Key,
    /// Its version; the newest, when it is not said.
    #[serde(default)]
    version: Option<u32>,
    /// The settings, as the policy's manifest describes them.
    #[serde(default = "no_settings")]
    #[schema(value_type = Object)]
    settings: Value,
    /// From when; at once, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    effective_at: Option<Timestamp>,
    /// Until when, exclusive; without an end, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    ends_at: Option<Timestamp>,
    /// `active` decides, `shadow` is only recorded beside what decides.
    #[serde(default)]
    #[schema(value_type = String, example = "active")]
    mode: Mode,
    /// What decides when the policy faults: `deny`, `plan` or `last_good`.
    #[serde(default)]
    #[schema(value_type = String, example = "deny")]
    on_fault: OnFault,
}

fn no_settings() -> Value {
    Value::Object(serde_json::Map::new())
}

impl TermsBody {
    /// In the engine's words.
    pub fn read(self) -> TermsInput {
        let Self { policy, version, settings, effective_at, ends_at, mode, on_fault } = self;
        TermsInput { policy, version, settings, effective_at, ends_at, mode, on_fault }
    }
}

/// When terms end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TermsEndInput)]
pub struct EndBody {
    /// Their end, exclusive; now, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    ends_at: Option<Timestamp>,
}

/// Terms as they were agreed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Terms<'a> {
    /// Their id.
    #[schema(value_type = schema::Id, example = "terms_12")]
    id: TermsId,
    /// Their name in decisions.
    #[schema(value_type = String, example = "plan/pro/terms_12")]
    key: &'a TermsKey,
    /// The policy.
    #[schema(value_type = schema::Key)]
    policy: &'a Key,
    /// Its version.
    version: u32,
    /// SHA-256 of its module.
    #[schema(value_type = schema::Digest)]
    digest: Digest,
    /// The settings as they were given.
    #[schema(value_type = Object)]
    settings: &'a JsonText,
    /// From when.
    #[schema(value_type = schema::Time)]
    effective_at: Timestamp,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    ends_at: Option<Timestamp>,
    /// Whether they decide.
    #[schema(value_type = String, example = "active")]
    mode: Mode,
    /// What decides when the policy faults.
    #[schema(value_type = String, example = "deny")]
    on_fault: OnFault,
    /// When they were bound.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
    /// Whether these are the ones that decide now, among those of the same plan or customer; only when terms are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<bool>,
}

impl<'a> Terms<'a> {
    pub fn new(terms: &'a LedgerTerms) -> Self {
        Self {
            id: terms.key.id,
            key: &terms.key,
            policy: &terms.policy.name,
            version: terms.policy.version,
            digest: terms.policy.digest,
            settings: &terms.settings,
            effective_at: terms.effective_at,
            ends_at: terms.ends_at,
            mode: terms.mode,
            on_fault: terms.on_fault,
            created_at: terms.created_at,
            in_force: None,
        }
    }
}

/// Bind terms to a plan
///
/// They decide for all its customers from the next decision on, or from when they say.
#[utoipa::path(
    post,
    path = "/v1/plans/{plan}/terms",
    operation_id = "bind_plan_terms",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = TermsBody,
    responses(
        (status = 201, description = "Bound", body = Terms),
        (status = 422, description = "The policy refuses the settings: settings_invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn bind_to_plan(
    State(app): State<Arc<App>>,
    _: Operator<Manage>,
    At(plan): At<PlanKey>,
    key: IdempotencyHeader,
    body: Json<TermsBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"plan terms", plan.0.as_str().as_bytes(), &body.bytes]);
    let bound = app.engine.bind_plan_terms(plan.0, body.value.read(), idempotency).await;
    let bound = bound.map_err(|error| explained(error, ""))?;
    Ok(Answer::put(true, &Terms::new(&bound.value))?.replayed(bound.replayed))
}

/// Bind terms to a customer
///
/// They win over those of the customer's plan.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/terms",
    operation_id = "bind_customer_terms",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = TermsBody,
    responses(
        (status = 201, description = "Bound", body = Terms),
        (status = 422, description = "The policy refuses the settings: settings_invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn bind_to_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    key: IdempotencyHeader,
    body: Json<TermsBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"terms", customer.id.as_str().as_bytes(), &body.bytes]);
    // What answered a repeat may not be there to be prepared again.
    if let Some(idempotency) = &idempotency
        && let Some(outcome) = app.engine.answered(&customer.id, idempotency).await?
    {
        return render::answer(&customer.id, &outcome);
    }
    let terms = app.engine.prepare_terms(Owner::Customer, body.value.read()).await;
    let terms = terms.map_err(|error| explained(error, ""))?;
    let command = Command::BindTerms(Box::new(terms));
    let outcome = app.record(customer.id.clone(), command, idempotency).await?;
    render::answer(&customer.id, &outcome)
}

/// End terms of a plan
#[utoipa::path(
    post,
    path = "/v1/plans/{plan}/terms/{terms}/end",
    operation_id = "end_plan_terms",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("terms" = String, Path, description = "The terms"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = Option<EndBody>,
    responses(
        (status = 200, description = "Ended, or to end then", body = TermsEnded),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn end_of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Manage>,
    At(plan): At<PlanKey>,
    At(id): At<TermsId>,
    key: IdempotencyHeader,
    body: MaybeJson<EndBody>,
) -> Result<Answer, Problem> {
    let path = [plan.0.as_str(), &id.to_string()].join("/");
    let idempotency = key.with(&[b"end plan terms", path.as_bytes(), &body.bytes]);
    let terms = app.engine.end_plan_terms(plan.0, id, body.value.ends_at, idempotency).await?;
    Ok(Answer::ok(&ended(&terms.value))?.replayed(terms.replayed))
}

/// End terms of a customer
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/terms/{terms}/end",
    operation_id = "end_customer_terms",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("terms" = String, Path, description = "The terms"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = Option<EndBody>,
    responses(
        (status = 200, description = "Ended, or to end then", body = TermsEnded),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn end_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<TermsId>,
    key: IdempotencyHeader,
    body: MaybeJson<EndBody>,
) -> Result<Answer, Problem> {
    let path = [customer.id.as_str(), &id.to_string()].join("/");
    let idempotency = key.with(&[b"end terms", path.as_bytes(), &body.bytes]);
    let command = Command::EndTerms(id, body.value.ends_at);
    let outcome = app.record(customer.id.clone(), command, idempotency).await?;
    render::answer(&customer.id, &outcome)
}

/// List terms of a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/terms",
    operation_id = "list_plan_terms",
    tag = "Plans",
    params(("plan" = String, Path, description = "The plan"), Paging),
    responses(
        (status = 200, description = "All terms it ever had, oldest first", body = Page<Terms>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list_of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanKey>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.plans.contains_key(&plan.0) {
        return Err(EngineError::PlanNotFound(plan.0).into());
    }
    let terms = with_status(&app, catalog.terms_of(Some(&plan.0)));
    Answer::ok(&paging.page(terms, |terms| terms.id)?)
}

/// List terms of a customer
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/terms",
    operation_id = "list_customer_terms",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses(
        (status = 200, description = "All terms it ever had, oldest first", body = Page<Terms>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    Answer::ok(&paging.page(with_status(&app, &state.terms), |terms| terms.id)?)
}

/// Read terms of a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/terms/{terms}",
    operation_id = "read_plan_terms",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("terms" = String, Path, description = "The terms"),
    ),
    responses(
        (status = 200, description = "The terms", body = Terms),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get_of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanKey>,
    At(id): At<TermsId>,
) -> Result<Answer, Problem> {
    one(&app, app.engine.catalog().terms_of(Some(&plan.0)), id)
}

/// Read terms of a customer
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/terms/{terms}",
    operation_id = "read_customer_terms",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("terms" = String, Path, description = "The terms"),
    ),
    responses(
        (status = 200, description = "The terms", body = Terms),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<TermsId>,
) -> Result<Answer, Problem> {
    one(&app, &app.engine.state(&customer.id).await?.terms, id)
}

/// The problem of terms that can't be made; they stand at `place` of the request.
pub fn explained(error: EngineError, place: &str) -> Problem {
    match &error {
        EngineError::PolicyNotFound(_) => Problem::from(error).named_by(&format!("{place}/policy")),
        EngineError::VersionNotFound(..) => Problem::from(error).named_by(&format!("{place}/version")),
        EngineError::SettingsInvalid(_) => Problem::from(error).within(place),
        _ => error.into(),
    }
}

fn with_status<'a>(app: &App, all: &'a [Arc<LedgerTerms>]) -> impl Iterator<Item = Terms<'a>> {
    let current = in_force(all, app.engine.clock().now()).map(|terms| terms.key.id);
    all.iter().map(move |terms| Terms { in_force: Some(current == Some(terms.key.id)), ..Terms::new(terms) })
}

fn one(app: &App, all: &[Arc<LedgerTerms>], id: TermsId) -> Result<Answer, Problem> {
    let found = with_status(app, all).find(|terms| terms.id == id);
    Answer::ok(&found.ok_or(EngineError::TermsNotFound)?)
}

fn ended(terms: &LedgerTerms) -> TermsEnded {
    TermsEnded { id: terms.key.id, ends_at: terms.ends_at.unwrap_or(terms.effective_at) }
}
