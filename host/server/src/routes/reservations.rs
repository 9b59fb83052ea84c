//! Reservations: credits are set aside for a usage to come; then exactly one of commit, release and expiry wins.

use super::usages::UsageBody;
use crate::{
    access::{Customer, Usage},
    answers::Answer,
    app::App,
    extract::{At, Attributes, IdempotencyHeader, Json, MaybeJson, Quantities, RequiredKey},
    problem::{FieldError, Problem, ProblemBody},
    render::{self, Charge, Released, Reservation},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    EngineError,
    command::{ActualUsage, Command, Idempotency, Reply, Request, Ttl},
};
use proviso_ledger::{
    journal::Event,
    model::{
        ids::{Key, ReservationId},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

const USUAL_TTL_SECONDS: u32 = 900;
const LONGEST_TTL_SECONDS: u32 = 86_400;

/// A usage to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExpectedUsage, example = json!({
    "feature": "chat",
    "quantities": { "input_tokens": 1200, "output_tokens": 2000 },
    "ttl_seconds": 300
}))]
pub struct ReserveBody {
    /// The feature that will be used.
    #[schema(value_type = schema::Key)]
    feature: Key,
    /// How much of what is expected; at most 64.
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    quantities: Quantities,
    /// What else is known of it; at most 64.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    attributes: Attributes,
    /// The user, team or agent under the customer who will use it.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    entity: Option<Key>,
    /// When it is used; now, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    occurred_at: Option<Timestamp>,
    /// How long the hold lasts, 1 to 86400 seconds; 900 by default.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400, default = 900)]
    ttl_seconds: Option<u32>,
}

/// What a reservation came to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ActualUsage, example = json!({ "quantities": { "input_tokens": 1200, "output_tokens": 410 } }))]
pub struct CommitBody {
    /// How much of what was used; at most 64.
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    quantities: Quantities,
    /// Attributes that replace those of the reservation.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
    attributes: Option<Attributes>,
}

/// Reserve credits
///
/// Sets the expected cost aside. Commit what was used, or release it; it is given back by itself after `ttl_seconds`.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations",
    operation_id = "reserve",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "Who pays"),
        ("Idempotency-Key" = String, Header, description = "New for each reservation, the same for its repeats"),
    ),
    request_body = ReserveBody,
    responses(
        (status = 201, description = "Reserved", body = Reservation),
        (status = 402, description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn reserve(
    State(app): State<Arc<App>>,
    customer: Customer<Usage>,
    key: RequiredKey,
    body: Json<ReserveBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"reserve", customer.id.as_str().as_bytes(), &body.bytes]);
    let ReserveBody { feature, quantities, attributes, entity, occurred_at, ttl_seconds } = body.value;
    let ttl = ttl_seconds.unwrap_or(USUAL_TTL_SECONDS);
    if !(1..=LONGEST_TTL_SECONDS).contains(&ttl) {
        let detail = format!("must be 1 to {LONGEST_TTL_SECONDS}");
        return Err(Problem::invalid(vec![FieldError::new("/ttl_seconds", detail)]));
    }
    let usage = UsageBody { feature, quantities, attributes, entity, occurred_at };
    let command = Command::Reserve(Box::new(usage.into()), Ttl(ttl));
    let outcome = app.record(customer.id.clone(), command, Some(idempotency)).await?;
    render::answer(&customer.id, &outcome)
}

/// Commit a reservation
///
/// Charges the actual usage: out of the hold as far as it goes, the rest as a normal charge; what is left goes back.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations/{reservation}/commit",
    operation_id = "commit_reservation",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "Who pays"),
        ("reservation" = String, Path, description = "The reservation"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = CommitBody,
    responses(
        (status = 200, description = "Committed", body = Charge),
        (status = 402, description = "Refused; the reservation stays open", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was committed, released or has expired: reservation_closed", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn commit(
    State(app): State<Arc<App>>,
    customer: Customer<Usage>,
    At(id): At<ReservationId>,
    key: IdempotencyHeader,
    body: Json<CommitBody>,
) -> Result<Answer, Problem> {
    let path = [customer.id.as_str(), &id.to_string()].join("/");
    let idempotency = key.with(&[b"commit", path.as_bytes(), &body.bytes]);
    let CommitBody { quantities, attributes } = body.value;
    let attributes = attributes.map(|attributes| attributes.0);
    let command = Command::Commit(id, Box::new(ActualUsage { quantities: quantities.0, attributes }));
    close(&app, &customer, id, command, idempotency).await
}

/// Nothing to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Release a reservation
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations/{reservation}/release",
    operation_id = "release_reservation",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "Who would have paid"),
        ("reservation" = String, Path, description = "The reservation"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    responses(
        (status = 200, description = "Given back", body = Released),
        (status = 409, description = "It was committed, released or has expired: reservation_closed", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn release(
    State(app): State<Arc<App>>,
    customer: Customer<Usage>,
    At(id): At<ReservationId>,
    key: IdempotencyHeader,
    body: MaybeJson<Empty>,
) -> Result<Answer, Problem> {
    let path = [customer.id.as_str(), &id.to_string()].join("/");
    let idempotency = key.with(&[b"release", path.as_bytes(), &body.bytes]);
    close(&app, &customer, id, Command::Release(id), idempotency).await
}

async fn close(
    app: &App,
    customer: &Customer<Usage>,
    id: ReservationId,
    command: Command,
    idempotency: Option<Idempotency>,
) -> Result<Answer, Problem> {
    let request = Request { customer: customer.id.clone(), command, idempotency };
    match app.engine.execute(request).await {
        Ok(Reply::Entry(outcome)) => render::answer(&customer.id, &outcome),
        Ok(other) => Err(Problem::internal(format!("a reservation was answered with {other:?}"))),
        // A state keeps no closed reservations: the journal tells those from ones that never were.
        Err(EngineError::Rejected(Rejection::ReservationClosed(_)))
            if !was_made(app, customer, id).await? =>
        {
            Err(Rejection::ReservationNotFound(id).into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn was_made(app: &App, customer: &Customer<Usage>, id: ReservationId) -> Result<bool, Problem> {
    let page = app.engine.ledger(&customer.id, id.entry.checked_add(1), 1).await?;
    Ok(page.entries.first().is_some_and(|(entry, _)| {
        entry.seq == id.entry && id.index == 0 && matches!(entry.event, Event::Reserved(_))
    }))
}
