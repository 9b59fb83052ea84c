//! Grants: credits that a customer is given.

use super::reservations::Empty;
use crate::{
    access::{Customer, Grantor, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, Json, Keyed, MaybeJson, Paging, Query},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    Page,
    grant::{Grant, GrantInput, Granted, MAX_FEATURES, Voided},
};
use proviso_engine::command::Command;
use proviso_ledger::{
    journal::{Entry, Event},
    model::{grant::default_credit, ids::GrantId, transfer::Book, view::Expiry},
    rules::{grants::GrantRequest, rejection::Rejection},
};
use std::sync::Arc;

problems!(
    CreateProblems: CALLER CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, TotalOutOfRange, TooMany, TooLarge
);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, GrantNotFound);
problems!(VoidProblems: CALLER CUSTOMER BODY REQUIRED_KEY LANE, GrantNotFound, GrantClosed);

/// Give credits
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/grants",
    operation_id = "create_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each grant, the same for its repeats"),
    ),
    request_body = GrantInput,
    responses((status = 201, description = "Given", body = Granted), CreateProblems),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<GrantInput>>,
) -> Result<Answer, Problem> {
    let grant = grant(body)?;
    let command = Command::Grant(Box::new(grant));
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, granted)
}

/// List grants
///
/// Those that still matter; the ledger has those of long ago of which nothing is left.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/grants",
    operation_id = "list_grants",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Grants, oldest first", body = Page<Grant>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let at = app.now().max(state.at);
    let mut grants: Vec<Grant<'_>> = state.grants.iter().map(|grant| wire::grant(grant, at)).collect();
    grants.sort_by_key(|grant| grant.id);
    Answer::ok(&paging.page(grants, |grant| grant.id)?)
}

/// Read a grant
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/grants/{grant}",
    operation_id = "read_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("grant" = String, Path, description = "The grant"),
    ),
    responses((status = 200, description = "The grant", body = Grant), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<GrantId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let grant = state.grant(id).ok_or(Rejection::GrantNotFound(id))?;
    Answer::ok(&wire::grant(grant, app.now().max(state.at)))
}

/// Void a grant
///
/// What it has left is gone; what was spent of it stays spent.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/grants/{grant}/void",
    operation_id = "void_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("grant" = String, Path, description = "The grant"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    responses((status = 200, description = "Voided", body = Voided), VoidProblems),
)]
pub async fn void(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<GrantId>,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let outcome = app.record(customer.request(Command::Void(id), Some(idempotency))).await?;
    render::answer(&outcome, voided)
}

fn grant(body: GrantInput) -> Result<GrantRequest, Problem> {
    if body.features.len() > MAX_FEATURES {
        return Err(Problem::invalid_field("/features", format!("more than {MAX_FEATURES} features")));
    }
    Ok(GrantRequest {
        effective_at: body.effective_at,
        credit: body.credit.unwrap_or_else(default_credit),
        amount: body.amount,
        category: body.category,
        priority: body.priority,
        expires: Expiry { at: body.expires_at, with_period: body.expires_with_period },
        features: body.features,
        cost_basis: body.cost_basis,
        metadata: body.metadata.0,
    })
}

fn granted(entry: &Entry) -> Result<Answer, Problem> {
    let Event::Granted(grant) = &entry.event else { return Err(render::mismatch(entry)) };
    let grant = wire::new_grant(grant, entry.at);
    Answer::new(StatusCode::CREATED, &Granted { grant, balance: render::balance(entry)?, entry: entry.seq })
}

fn voided(entry: &Entry) -> Result<Answer, Problem> {
    let Event::Voided { grant } = &entry.event else { return Err(render::mismatch(entry)) };
    let voided = render::moved(entry, |_, to| to == Book::Voided);
    Answer::ok(&Voided { id: *grant, voided, balance: render::balance(entry)?, entry: entry.seq })
}
