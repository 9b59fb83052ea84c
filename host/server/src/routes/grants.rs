//! Grants: credits that a customer is given.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use super::reservations::Empty;
use crate::{
    access::{Customer, Grantor, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Json, Keyed, MaybeJson, Paging, Query, few},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    Page,
    grant::{Grant, GrantInput, Granted, MAX_FEATURES, Voided},
    schema,
};
use proviso_engine::{Subject, Tag, command::Command};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{grant::default_credit, ids::GrantId, time::Timestamp, transfer::Book, view::Expiry},
    rules::{grants::GrantRequest, rejection::Rejection},
    state::{GrantState, GrantStatus},
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

problems!(
    CreateProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, TotalOutOfRange, TooMany, TooLarge
);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, GrantNotFound);
problems!(
    VoidProblems: CALLER CUSTOMER BODY REQUIRED_KEY LANE,
    GrantNotFound, GrantClosed, ChangedMeanwhile
);

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

/// Which grants.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only grants that have something left and expire before this.
    #[param(value_type = Option<schema::Time>)]
    expiring_before: Option<Timestamp>,
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

/// List grants
///
/// Those that still matter; the ledger has those of long ago of which nothing is left.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/grants",
    operation_id = "list_grants",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer"), Listing),
    responses((status = 200, description = "Grants, oldest first", body = Page<Grant>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(Listing { expiring_before, limit, cursor }): Query<Listing>,
) -> Result<Answer, Problem> {
    let paging = Paging::new(limit, cursor);
    let state = app.engine.state(&customer.id).await?;
    let at = app.now().max(state.at);
    let is_asked = |grant: &&GrantState| {
        let left = grant.remaining.saturating_add(grant.held);
        expiring_before.is_none_or(|before| {
            let ends = grant.ends_at.is_some_and(|end| end < before);
            grant.status == GrantStatus::Live && ends && left.is_positive()
        })
    };
    let asked = state.grants.iter().filter(is_asked);
    let mut grants: Vec<Grant<'_>> = asked.map(|grant| wire::grant(grant, at)).collect();
    grants.sort_by_key(|grant| grant.id);
    Answer::ok(&paging.page(grants, |grant| grant.id)?)
}

/// Read a grant
///
/// However long ago it ended. Once the customer's state has forgotten it, what it was is read from the journal, and `spent` is
/// absent.
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
    let at = app.now().max(state.at);
    if let Some(grant) = state.grant(id) {
        return Ok(Answer::ok(&wire::grant(grant, at))?.tagged(Some(Tag::of(grant)?)));
    }
    let grant = app.engine.forgotten_grant(&state, id).await?.ok_or(Rejection::GrantNotFound(id))?;
    Answer::ok(&wire::forgotten_grant(&state, &grant, at))
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
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the grant"),
    ),
    responses((status = 200, description = "Voided", body = Voided), VoidProblems),
)]
pub async fn void(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<GrantId>,
    IfMatch(expected): IfMatch,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let command = expected.of(Subject::Grant(id), Command::Void(id));
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, voided)
}

fn grant(body: GrantInput) -> Result<GrantRequest, Problem> {
    few("/features", body.features.len(), MAX_FEATURES, "features")?;
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
