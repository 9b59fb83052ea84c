//! Reservations: credits are set aside for a usage to come; then exactly one of commit, release and expiry wins.

use super::submission::usage_request;
use crate::{
    access::{self, Customer},
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
    balances::{OpenReservation, ReservationRead, ReservationStatus},
    charge::{Charge, Extended, Released, Reservation},
    usage::{ActualUsage, ExpectedUsage, Extension},
};
use proviso_engine::{
    EndedReservation,
    command::{self, Command, Ttl},
};
use proviso_ledger::{
    journal::{self, Entry, Event},
    model::{
        ids::{CustomerId, ReservationId},
        transfer::Book,
    },
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

problems!(ReserveProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE RATED REFUSED);
problems!(
    CommitProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    ReservationNotFound, ReservationClosed, TotalOutOfRange, TooMany, PolicyFault
);
problems!(
    ReleaseProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    ReservationNotFound, ReservationClosed
);

/// Reserve credits
///
/// Sets the expected cost aside. Commit what was used, or release it; it is given back by itself after `ttl_seconds`.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations",
    operation_id = "reserve",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("Idempotency-Key" = String, Header, description = "New for each reservation, the same for its repeats"),
    ),
    request_body = ExpectedUsage,
    responses((status = 201, description = "Reserved", body = Reservation), ReserveProblems),
)]
pub async fn reserve(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<ExpectedUsage>>,
) -> Result<Answer, Problem> {
    let ttl = body.ttl_seconds.map_or(Ok(Ttl::DEFAULT), ttl)?;
    let command = Command::Reserve(Box::new(usage_request(body.into())), ttl);
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, |entry| reserved(&customer.id, entry))
}

/// Commit a reservation
///
/// Charges the actual usage: out of the hold as far as it goes, then what is available, the rest as overage; what is left goes
/// back. A usage to which the policy gives no price costs what was held, and `as_reserved` says why; where the policy calls it invalid,
/// what was reserved counts as used, too, in counters, budgets and reports. Only where no policy could be asked (`policy_fault`) does
/// the reservation stay open.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations/{reservation}/commit",
    operation_id = "commit_reservation",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("reservation" = String, Path, description = "The reservation"),
        ("Idempotency-Key" = String, Header, description = "New for each commit, the same for its repeats"),
    ),
    request_body = ActualUsage,
    responses((status = 200, description = "Committed", body = Charge), CommitProblems),
)]
pub async fn commit(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<ReservationId>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<ActualUsage>>,
) -> Result<Answer, Problem> {
    let ActualUsage { quantities, attributes } = body;
    let attributes = attributes.map(|attributes| attributes.0);
    let actual = command::ActualUsage { quantities: quantities.0, attributes };
    let command = Command::Commit(id, Box::new(actual));
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    let (status, charge) = render::charge(&customer.id, &outcome, &[])?;
    Ok(Answer::new(status, &charge)?.replayed(outcome.replayed))
}

/// The body of an operation that takes no fields.
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
        ("customer" = String, Path, description = "The customer who would have paid"),
        ("reservation" = String, Path, description = "The reservation"),
        ("Idempotency-Key" = String, Header, description = "New for each release, the same for its repeats"),
    ),
    responses((status = 200, description = "Given back", body = Released), ReleaseProblems),
)]
pub async fn release(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<ReservationId>,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let outcome = app.record(customer.request(Command::Release(id), Some(idempotency))).await?;
    render::answer(&outcome, released)
}

problems!(
    ExtendProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    ReservationNotFound, ReservationClosed, ReservationTooLong
);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, ReservationNotFound);

/// Move a reservation's end
///
/// The hold lasts so long from now on, but no longer than seven days in all.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reservations/{reservation}/extend",
    operation_id = "extend_reservation",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("reservation" = String, Path, description = "The reservation"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    request_body = Extension,
    responses((status = 200, description = "Moved", body = Extended), ExtendProblems),
)]
pub async fn extend(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<ReservationId>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<Extension>>,
) -> Result<Answer, Problem> {
    let command = Command::Extend(id, ttl(body.ttl_seconds)?);
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, extended)
}

/// List open reservations
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/reservations",
    operation_id = "list_reservations",
    tag = "Usage",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Open ones, oldest first", body = Page<OpenReservation>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<access::Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    Answer::ok(&paging.page(state.reservations.iter().filter_map(wire::open_reservation), |one| one.id)?)
}

/// Read a reservation
///
/// However long ago it ended: with its outcome and the amounts of that.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/reservations/{reservation}",
    operation_id = "read_reservation",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("reservation" = String, Path, description = "The reservation"),
    ),
    responses((status = 200, description = "The reservation", body = ReservationRead), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<access::Read>,
    At(id): At<ReservationId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let open = state.reservations.get(&id).and_then(|open| wire::open_reservation((&id, open)));
    if let Some(open) = open {
        return Answer::ok(&wire::reservation_read(open));
    }
    let ended = app.engine.ended_reservation(&customer.id, id).await?;
    Answer::ok(&ended_reservation(id, &ended)?)
}

pub fn ttl(seconds: u32) -> Result<Ttl, Problem> {
    let wrong = || Problem::invalid_field("/ttl_seconds", format!("must be 1 to {}", Ttl::LONGEST));
    Ttl::new(seconds).ok_or_else(wrong)
}

fn reserved(customer: &CustomerId, entry: &Entry) -> Result<Answer, Problem> {
    let Event::Reserved(reserved) = &entry.event else { return Err(render::mismatch(entry)) };
    let journal::Reserved { usage, rated, decision, expires_at, top_up, reduced_from, .. } = &**reserved;
    let reservation = Reservation {
        id: ReservationId { entry: entry.seq, index: 0 },
        customer: customer.clone(),
        feature: usage.feature.clone(),
        entity: usage.entity.clone(),
        occurred_at: usage.occurred_at,
        late: render::late(entry),
        reduced_to: reduced_from.as_ref().map(|_| wire::quantities(&usage.quantities)),
        reserved: rated.cost,
        credit: rated.credit.clone(),
        lines: wire::lines(&rated.lines),
        draws: render::draws(entry),
        overage: entry.overage(),
        expires_at: *expires_at,
        top_up: render::issued(entry, top_up.as_ref()),
        balance: render::balance(entry)?,
        policy: wire::deciding_policy(&decision.policy),
        terms: decision.terms.clone(),
        entry: entry.seq,
        degraded: decision.fault.is_some(),
    };
    Answer::new(StatusCode::CREATED, &reservation)
}

fn released(entry: &Entry) -> Result<Answer, Problem> {
    let Event::Released { reservation } = &entry.event else { return Err(render::mismatch(entry)) };
    let returned = render::moved(entry, |from, _| from == Book::Reserved(*reservation));
    Answer::ok(&Released { id: *reservation, returned, balance: render::balance(entry)?, entry: entry.seq })
}

fn extended(entry: &Entry) -> Result<Answer, Problem> {
    let Event::ReservationExtended { reservation, expires_at } = &entry.event else {
        return Err(render::mismatch(entry));
    };
    let balance = render::balance(entry)?;
    Answer::ok(&Extended { id: *reservation, expires_at: *expires_at, balance, entry: entry.seq })
}

/// A reservation that has ended, with its outcome.
fn ended_reservation(id: ReservationId, ended: &EndedReservation) -> Result<ReservationRead, Problem> {
    let EndedReservation { reserved, end } = ended;
    let Event::Reserved(made) = &reserved.event else { return Err(render::mismatch(reserved)) };
    let open = wire::reservation_read(OpenReservation {
        id,
        feature: made.usage.feature.clone(),
        entity: made.usage.entity.clone(),
        credit: made.rated.credit.clone(),
        reserved: made.rated.cost,
        expires_at: made.expires_at,
    });
    let returned = render::moved(end, |from, to| from == Book::Reserved(id) && to != Book::Spent);
    let (ended_at, entry) = (Some(end.at), Some(end.seq));
    let ended = ReservationRead { ended_at, entry, returned: Some(returned), ..open };
    Ok(match &end.event {
        Event::Committed(committed) => ReservationRead {
            status: ReservationStatus::Committed,
            charge: Some(end.charge_id()),
            cost: Some(committed.rated.cost),
            overage: Some(end.overage()),
            returned: Some(committed.returned),
            ..ended
        },
        Event::Released { .. } => ReservationRead { status: ReservationStatus::Released, ..ended },
        _ => ReservationRead { status: ReservationStatus::Expired, ..ended },
    })
}
