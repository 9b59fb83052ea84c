//! `/v1/customers/{customer}/leases`: credits that a client is handed, draws down by itself and settles in batches.

use super::{
    reservations::{Empty, ttl},
    submission::{self, Submission},
};
use crate::{
    access::{self, Customer},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, Json, Keyed, MaybeJson, Paging, Query, few, json_bytes, object, parse},
    problem::Problem,
    render, wire,
};
use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use proviso_api::{
    Page,
    charge::BatchResult,
    grant::MAX_FEATURES,
    lease::{ClosedLease, ExtendedLease, Lease, LeaseExtension, LeaseInput, LeaseStatus, OpenedLease},
    usage::{LeaseSettlement, MAX_BATCH},
};
use proviso_engine::command::{Command, Ttl};
use proviso_ledger::{
    journal::{Entry, Event, LeaseEnded, LeaseOpened},
    model::{
        amounts::Credits,
        grant::default_credit,
        ids::{CustomerId, Key, LeaseId},
        lease,
        transfer::Book,
    },
    rules::lease::LeaseRequest,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, sync::Arc};

problems!(
    OpenProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    CustomerClosed, InsufficientCredits, BudgetExceeded, TotalOutOfRange, TooMany, TooLarge
);
problems!(
    ExtendProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    LeaseNotFound, LeaseClosed, LeaseTooLong, CustomerClosed, InsufficientCredits, BudgetExceeded, TotalOutOfRange
);
problems!(CloseProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE, LeaseNotFound, LeaseClosed);
problems!(SettleProblems: CALLER UNCONDITIONAL CUSTOMER BODY LANE, LeaseNotFound);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, LeaseNotFound);

/// Open a lease
///
/// Hands credits to a client that must decide by itself. They count as held, in hard budgets too, until they are settled or come
/// back: when the lease is closed, or by itself after `ttl_seconds`. A refusal says what is available.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/leases",
    operation_id = "open_lease",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("Idempotency-Key" = String, Header, description = "New for each lease, the same for its repeats"),
    ),
    request_body = LeaseInput,
    responses((status = 201, description = "Opened", body = OpenedLease), OpenProblems),
)]
pub async fn open(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<LeaseInput>>,
) -> Result<Answer, Problem> {
    let LeaseInput { amount, credit, ttl_seconds, mut features, entity } = body;
    few("/features", features.len(), MAX_FEATURES, "features")?;
    features.sort_unstable();
    features.dedup();
    let ttl = ttl_seconds.map_or(Ok(Ttl::DEFAULT), ttl)?;
    let credit = credit.unwrap_or_else(default_credit);
    let lease = LeaseRequest { credit, lease: lease::Lease { amount, features, entity } };
    let command = Command::OpenLease(Box::new(lease), ttl);
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, |entry| opened(&customer.id, entry))
}

/// Extend a lease
///
/// Brings it to so many credits in all, and moves its end: both are absolute, so an extension may be repeated. It lasts no longer than
/// seven days in all.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/leases/{lease}/extend",
    operation_id = "extend_lease",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("lease" = String, Path, description = "The lease"),
        ("Idempotency-Key" = String, Header, description = "New for each extension, the same for its repeats"),
    ),
    request_body = LeaseExtension,
    responses((status = 200, description = "Extended", body = ExtendedLease), ExtendProblems),
)]
pub async fn extend(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<LeaseId>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<LeaseExtension>>,
) -> Result<Answer, Problem> {
    let LeaseExtension { amount, ttl_seconds } = body;
    if amount.is_none() && ttl_seconds.is_none() {
        return Err(Problem::invalid_field("", "send amount, ttl_seconds or both"));
    }
    let command = Command::ExtendLease(id, amount, ttl_seconds.map(ttl).transpose()?);
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, extended)
}

/// Settle usage under a lease
///
/// Up to 1000 usages that the client let pass, each with its own idempotency key, answered in their order. Each is charged by the
/// terms in force when it occurred: out of the lease as far as it goes, then of what is available, the rest as overage. It bills in any
/// case, also once the lease has ended, and once, however often and in whichever batch it is sent.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/leases/{lease}/settlements",
    operation_id = "settle_lease",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("lease" = String, Path, description = "The lease"),
    ),
    request_body = Vec<LeaseSettlement>,
    responses(
        (status = 200, description = "One result for each usage, in order", body = Vec<BatchResult>),
        SettleProblems,
    ),
)]
pub async fn settle(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<LeaseId>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, bytes) = json_bytes(request, &app).await?;
    let items = parse(&bytes)?;
    // Who opened it has the answer, so the entry is there; a lease that ended stays one.
    if let Err(error) = app.engine.opened_lease(&customer.id, id).await {
        // Is it the customer that is missing?
        app.engine.state(&customer.id).await?;
        return Err(error.into());
    }
    let read = |place: &str, raw: &RawValue| settlement(&customer.id, id, place, raw);
    submission::many(&app, &customer.caller(), parts.uri.path(), items, MAX_BATCH, read).await
}

fn settlement(
    customer: &CustomerId,
    lease: LeaseId,
    place: &str,
    raw: &RawValue,
) -> Result<Submission, Problem> {
    let item: LeaseSettlement = object(place, raw.get().as_bytes())?;
    let key = item.idempotency_key.clone();
    let kind = format!("settlement {lease}");
    Ok(Submission::of_item(place, kind.as_bytes(), customer.clone(), key, item.into())?.under(lease))
}

/// Close a lease
///
/// What was not settled comes back. Usage that is settled later still bills.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/leases/{lease}/close",
    operation_id = "close_lease",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("lease" = String, Path, description = "The lease"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    responses((status = 200, description = "Closed", body = ClosedLease), CloseProblems),
)]
pub async fn close(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    At(id): At<LeaseId>,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let outcome = app.record(customer.request(Command::CloseLease(id), Some(idempotency))).await?;
    render::answer(&outcome, closed)
}

/// List open leases
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/leases",
    operation_id = "list_leases",
    tag = "Usage",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Open ones, oldest first", body = Page<Lease>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<access::Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    Answer::ok(&paging.page(state.reservations.iter().filter_map(wire::open_lease), |one| one.id)?)
}

/// Read a lease
///
/// However long ago it ended: with what was settled until then, and what came back.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/leases/{lease}",
    operation_id = "read_lease",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("lease" = String, Path, description = "The lease"),
    ),
    responses((status = 200, description = "The lease", body = Lease), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<access::Read>,
    At(id): At<LeaseId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    if let Some((_, hold)) = state.lease(id) {
        return Answer::ok(&wire::open_lease((&id.hold(), hold)));
    }
    let (opened, end) = app.engine.ended_lease(&customer.id, id).await?;
    Answer::ok(&ended(id, &opened, &end)?)
}

fn opened(customer: &CustomerId, entry: &Entry) -> Result<Answer, Problem> {
    let Event::LeaseOpened(opened) = &entry.event else { return Err(render::mismatch(entry)) };
    let id = LeaseId { entry: entry.seq, index: 0 };
    let opened = OpenedLease {
        lease: just_opened(id, entry, opened),
        customer: customer.clone(),
        balance: render::balance(entry)?,
        entry: entry.seq,
    };
    Answer::new(StatusCode::CREATED, &opened)
}

fn just_opened<'a>(id: LeaseId, entry: &Entry, opened: &'a LeaseOpened) -> Lease<'a> {
    let LeaseOpened { credit, lease: lease::Lease { amount, features, entity }, expires_at } = opened;
    Lease {
        id,
        status: LeaseStatus::Open,
        credit: credit.clone(),
        amount: *amount,
        drawn: Credits::ZERO,
        remaining: *amount,
        features: Cow::Borrowed(features),
        entity: entity.clone(),
        opened_at: entry.at,
        expires_at: *expires_at,
        returned: None,
    }
}

fn extended(entry: &Entry) -> Result<Answer, Problem> {
    let Event::LeaseExtended(extended) = &entry.event else { return Err(render::mismatch(entry)) };
    let id = extended.lease;
    let balance = render::balance(entry)?;
    Answer::ok(&ExtendedLease {
        id,
        credit: credit_of(entry)?,
        amount: extended.amount,
        added: render::moved(entry, |_, to| to == Book::Reserved(id.hold())),
        drawn: extended.drawn,
        remaining: extended.amount.saturating_sub(extended.drawn),
        expires_at: extended.expires_at,
        balance,
        entry: entry.seq,
    })
}

fn closed(entry: &Entry) -> Result<Answer, Problem> {
    let Event::LeaseEnded(LeaseEnded { lease, amount, drawn, .. }) = entry.event else {
        return Err(render::mismatch(entry));
    };
    Answer::ok(&ClosedLease {
        id: lease,
        credit: credit_of(entry)?,
        amount,
        drawn,
        returned: amount.saturating_sub(drawn),
        balance: render::balance(entry)?,
        entry: entry.seq,
    })
}

/// A lease that has ended.
fn ended<'a>(id: LeaseId, entry: &'a Entry, end: &Entry) -> Result<Lease<'a>, Problem> {
    let Event::LeaseOpened(opened) = &entry.event else { return Err(render::mismatch(entry)) };
    let Event::LeaseEnded(LeaseEnded { expired, amount, drawn, .. }) = end.event else {
        return Err(render::mismatch(end));
    };
    Ok(Lease {
        status: if expired { LeaseStatus::Expired } else { LeaseStatus::Closed },
        amount,
        drawn,
        remaining: Credits::ZERO,
        expires_at: end.at,
        returned: Some(amount.saturating_sub(drawn)),
        ..just_opened(id, entry, opened)
    })
}

fn credit_of(entry: &Entry) -> Result<Key, Problem> {
    let after = entry.after.as_ref().map(|after| after.balance.credit.clone());
    after.ok_or_else(|| Problem::internal(format!("entry {} records no balance", entry.seq)))
}
