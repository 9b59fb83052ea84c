//! Terms: which policy, with which settings, decides for a plan or for one customer, and when.

use crate::{
    access::{Customer, Grantor, Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Json, MaybeJson, MaybeKeyed, Paging, PlanName, Query},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    Page, Patch,
    canary::{CanaryInput, RollbackInput},
    terms::{ContractInput, Terms as TermsView, TermsEndInput, TermsEnded, TermsInput},
};
use proviso_decide::catalog::Plans as _;
use proviso_engine::{
    Changed, DecideError, EngineError, Tag, TermsInput as NewTerms, acting_as, command::Command,
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        canary::CanaryDraft,
        ids::TermsId,
        terms::{ContractDraft, Mode, Terms},
    },
};
use std::sync::Arc;

problems!(
    BindToPlanProblems: CALLER OPERATOR BODY KEY CATALOG,
    InvalidPath, PlanNotFound, ContractFixed, ChangedMeanwhile, SettingsInvalid, CanaryRunning, CanaryAlone;
    named PolicyNotFound VersionNotFound
);
problems!(
    BindToCustomerProblems: CALLER OPERATOR CUSTOMER GRANTOR BODY KEY LANE,
    CustomerClosed, ContractFixed, ChangedMeanwhile, TooMany, TooLarge, SettingsInvalid; named PolicyNotFound VersionNotFound
);
problems!(
    EndOfPlanProblems: CALLER OPERATOR BODY KEY CATALOG,
    InvalidPath, TermsNotFound, TermsEnded, ChangedMeanwhile
);
problems!(
    EndOfCustomerProblems: CALLER CUSTOMER GRANTOR BODY KEY LANE,
    TermsNotFound, TermsEnded, ChangedMeanwhile
);
problems!(ListOfPlanProblems: CALLER OPERATOR LIST, InvalidPath, PlanNotFound);
problems!(ListOfCustomerProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadOfPlanProblems: CALLER OPERATOR, InvalidPath, TermsNotFound);
problems!(ReadOfCustomerProblems: CALLER CUSTOMER LANE, TermsNotFound);

/// Bind terms to a plan
///
/// They decide for all its customers from the next decision on, or from `effective_at`; with `canary`, for a share of them.
#[utoipa::path(
    post,
    path = "/v1/plans/{plan}/terms",
    operation_id = "bind_plan_terms",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the plan"),
    ),
    request_body = TermsInput,
    responses((status = 201, description = "Bound", body = TermsView), BindToPlanProblems),
)]
pub async fn bind_to_plan(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(plan): At<PlanName>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<TermsInput>>,
) -> Result<Answer, Problem> {
    caller.may_bind(&body.policy)?;
    let (body, canary) = split_canary(body)?;
    let terms = NewTerms { canary, ..new_terms(body) };
    let bound = app.engine.bind_plan_terms(plan.0, terms, expected, idempotency);
    let bound = acting_as(caller.by(), bound).await;
    let Changed { value, replayed } = bound.map_err(|error| named_by_terms(error, ""))?;
    Ok(Answer::put(true, &wire::terms(&value))?.replayed(replayed))
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
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the customer"),
    ),
    request_body = TermsInput,
    responses((status = 201, description = "Bound", body = TermsView), BindToCustomerProblems),
)]
pub async fn bind_to_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<TermsInput>>,
) -> Result<Answer, Problem> {
    customer.may_bind(&body.policy)?;
    no_canary(&body, "")?;
    let bound = app
        .engine
        .bind_customer_terms(customer.id.clone(), new_terms(body), expected, customer.origin(idempotency))
        .await;
    render::answer(&bound.map_err(|error| named_by_terms(error, ""))?, bound_terms)
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
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the terms that are ended"),
    ),
    request_body = Option<TermsEndInput>,
    responses((status = 200, description = "Ended, or to end then", body = TermsEnded), EndOfPlanProblems),
)]
pub async fn end_of_plan(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(plan): At<PlanName>,
    At(id): At<TermsId>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: MaybeJson(body) }: MaybeKeyed<MaybeJson<TermsEndInput>>,
) -> Result<Answer, Problem> {
    if let Some(terms) = app.engine.catalog().terms_of(&plan.0).iter().find(|terms| terms.key.id == id) {
        caller.may_bind(&terms.policy.name)?;
    }
    let ended = app.engine.end_plan_terms(plan.0, id, body.ends_at, expected, idempotency);
    let ended = acting_as(caller.by(), ended).await?;
    Ok(Answer::ok(&wire::ended_terms(&ended.value))?.replayed(ended.replayed))
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
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the terms that are ended"),
    ),
    request_body = Option<TermsEndInput>,
    responses((status = 200, description = "Ended, or to end then", body = TermsEnded), EndOfCustomerProblems),
)]
pub async fn end_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(id): At<TermsId>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: MaybeJson(body) }: MaybeKeyed<MaybeJson<TermsEndInput>>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    if let Some(terms) = state.terms.iter().find(|terms| terms.key.id == id) {
        customer.may_bind(&terms.policy.name)?;
    }
    let command = Command::EndTerms { id, ends_at: body.ends_at, expected };
    let outcome = app.record(customer.request(command, idempotency)).await?;
    render::answer(&outcome, ended_terms)
}

/// List terms of a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/terms",
    operation_id = "list_plan_terms",
    tag = "Plans",
    params(("plan" = String, Path, description = "The plan"), Paging),
    responses(
        (status = 200, description = "All terms it ever had, oldest first", body = Page<TermsView>),
        ListOfPlanProblems,
    ),
)]
pub async fn list_of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    if !catalog.plans.contains_key(&plan.0) {
        return Err(DecideError::PlanNotFound(plan.0).into());
    }
    let terms = wire::terms_with_status(catalog.terms_of(&plan.0), app.now());
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
        (status = 200, description = "All terms it ever had, oldest first", body = Page<TermsView>),
        ListOfCustomerProblems,
    ),
)]
pub async fn list_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let terms = wire::terms_with_status(&state.terms, app.now());
    Answer::ok(&paging.page(terms, |terms| terms.id)?)
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
    responses((status = 200, description = "The terms", body = TermsView), ReadOfPlanProblems),
)]
pub async fn get_of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    At(id): At<TermsId>,
) -> Result<Answer, Problem> {
    one(&app, app.engine.catalog().terms_of(&plan.0), id)
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
    responses((status = 200, description = "The terms", body = TermsView), ReadOfCustomerProblems),
)]
pub async fn get_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<TermsId>,
) -> Result<Answer, Problem> {
    one(&app, &app.engine.state(&customer.id).await?.terms, id)
}

/// Takes the canary out of new terms.
pub(super) fn split_canary(mut body: TermsInput) -> Result<(TermsInput, Option<CanaryDraft>), Problem> {
    let Some(CanaryInput { share_percent: share, rollback }) = body.canary.take() else {
        return Ok((body, None));
    };
    if body.mode == Patch::Value(Mode::Shadow) {
        return Err(Problem::invalid_field("/canary", "a shadow decides for nobody"));
    }
    let invalid = |(field, detail)| Problem::invalid_field(format!("/canary/rollback{field}"), detail);
    let rollback = rollback.map(RollbackInput::read).transpose().map_err(invalid)?;
    Ok((body, Some(CanaryDraft { share, rollback })))
}

/// Refuses a canary where terms can't be one; `place` is the JSON pointer to the terms in the request.
pub fn no_canary(body: &TermsInput, place: &str) -> Result<(), Problem> {
    match body.canary {
        None => Ok(()),
        Some(_) => Err(Problem::invalid_field(
            format!("{place}/canary"),
            "only terms that are bound by POST /v1/plans/{plan}/terms can be a canary",
        )),
    }
}

/// New terms in the engine's words.
pub fn new_terms(body: TermsInput) -> NewTerms {
    let TermsInput {
        policy,
        version,
        settings,
        effective_at,
        ends_at,
        mode,
        on_fault,
        contract,
        time_zone,
        note,
        canary: _,
    } = body;
    NewTerms {
        policy,
        version,
        settings,
        effective_at,
        ends_at: ends_at.into_option().flatten(),
        mode: mode.into_option().flatten().unwrap_or_default(),
        on_fault: on_fault.into_option().flatten().unwrap_or_default(),
        contract: contract.map(|ContractInput { id, start, end }| ContractDraft { id, start, end }),
        time_zone,
        note,
        canary: None,
    }
}

/// The problem of terms that can't be made; `place` is the JSON pointer to them in the request.
pub fn named_by_terms(error: EngineError, place: &str) -> Problem {
    match &error {
        EngineError::PolicyNotFound(_) => Problem::from(error).named_by(&format!("{place}/policy")),
        EngineError::VersionNotFound(..) => Problem::from(error).named_by(&format!("{place}/version")),
        EngineError::SettingsInvalid(_) => Problem::from(error).within(place),
        _ => error.into(),
    }
}

fn one(app: &App, all: &[Arc<Terms>], id: TermsId) -> Result<Answer, Problem> {
    let found = all.iter().find(|terms| terms.key.id == id).ok_or(EngineError::TermsNotFound)?;
    let view = wire::terms_with_status(all, app.now()).find(|terms| terms.id == id);
    Ok(Answer::ok(&view)?.tagged(Some(Tag::of(&**found)?)))
}

fn bound_terms(entry: &Entry) -> Result<Answer, Problem> {
    let Event::TermsBound(terms) = &entry.event else { return Err(render::mismatch(entry)) };
    Answer::new(StatusCode::CREATED, &wire::terms(terms))
}

fn ended_terms(entry: &Entry) -> Result<Answer, Problem> {
    let Event::TermsEnded { id, ends_at } = &entry.event else { return Err(render::mismatch(entry)) };
    Answer::ok(&TermsEnded { id: *id, ends_at: *ends_at })
}
