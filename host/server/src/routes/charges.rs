//! `/v1/customers/{customer}/charges`: a usage, rated by the policy in force and drawn at once, and its refunds.

use super::submission::{self, Submission};
use crate::{
    access::{self, Customer},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, Json, Keyed, short},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    charge::{Charge, ChargeRead, Refund, RefundInput, RefundedOf},
    decision::Draw,
    usage::Usage,
};
use proviso_engine::{RefundedCharge, command::Outcome};
use proviso_ledger::{
    journal::{self, Entry, Event},
    model::{
        ids::{ChargeId, CustomerId, RefundId},
        transfer::Book,
    },
    rules::refund::{Portion, RefundRequest},
};
use std::{borrow::Cow, sync::Arc};

problems!(ChargeProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE RATED REFUSED);
problems!(ReadProblems: CALLER CUSTOMER LANE, ChargeNotFound);
problems!(
    RefundProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    ChargeNotFound, CustomerClosed, RefundExceedsCharge, RefundNotDivisible, TotalOutOfRange, TooMany
);

/// Charge a usage
///
/// An answer means that the charge is durable. A refusal is in the journal, too: the same key gets it again. A policy may
/// refuse with a code of its own, always with status 402.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/charges",
    operation_id = "charge",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer who pays"),
        ("Idempotency-Key" = String, Header, description = "New for each charge, the same for its repeats"),
    ),
    request_body = Usage,
    responses((status = 201, description = "Charged", body = Charge), ChargeProblems),
)]
pub async fn charge(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    Keyed { idempotency, body: Json(usage) }: Keyed<Json<Usage>>,
) -> Result<Answer, Problem> {
    submission::one(&app, Submission::new(customer.id.clone(), idempotency, usage).with_key(customer.by()))
        .await
}

/// Read a charge
///
/// As it was answered, the commit of a reservation as well, with what was refunded of it since.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/charges/{charge}",
    operation_id = "read_charge",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("charge" = String, Path, description = "The charge"),
    ),
    responses((status = 200, description = "The charge", body = ChargeRead), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<access::Read>,
    At(id): At<ChargeId>,
) -> Result<Answer, Problem> {
    let RefundedCharge { charge, last } = app.engine.charge(&customer.id, id).await?;
    let outcome = Outcome { entry: charge, replayed: false };
    let (_, charge) = render::charge(&customer.id, &outcome, &[])?;
    let refunded = refunded_of(last.as_deref().and_then(Entry::refunded));
    Answer::ok(&ChargeRead { charge, refunded })
}

/// Refund a charge
///
/// Gives back an amount of the cost, or quantities with their share of it, or all that is left, at most what was charged in all.
/// What was drawn last goes back first: overage, then grants, into what was carried over of them. Credits of a grant that has
/// expired stay expired unless `reissue_expired` says otherwise. Counters and usage reports follow.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/charges/{charge}/refunds",
    operation_id = "refund_charge",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("charge" = String, Path, description = "The charge"),
        ("Idempotency-Key" = String, Header, description = "New for each refund, the same for its repeats"),
    ),
    request_body = RefundInput,
    responses((status = 201, description = "Refunded", body = Refund), RefundProblems),
)]
pub async fn refund(
    State(app): State<Arc<App>>,
    customer: Customer<access::Grantor>,
    At(id): At<ChargeId>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<RefundInput>>,
) -> Result<Answer, Problem> {
    let RefundInput { amount, quantities, reason, reissue_expired } = body;
    short("/reason", &reason)?;
    let portion = match (amount, quantities) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid_field("/quantities", "can't be given together with amount"));
        }
        (Some(amount), None) => Portion::Amount(amount),
        (None, Some(quantities)) => Portion::Quantities(quantities.0),
        (None, None) => Portion::Rest,
    };
    let request = RefundRequest { portion, reason, reissue_expired };
    let outcome = app.engine.refund(&customer.id, id, request, customer.origin(Some(idempotency))).await?;
    render::answer(&outcome, |entry| refund_of(&customer.id, entry))
}

fn refund_of(customer: &CustomerId, entry: &Entry) -> Result<Answer, Problem> {
    Answer::new(StatusCode::CREATED, &refund_made(customer, entry)?)
}

/// The refund that an entry made.
pub(super) fn refund_made<'a>(customer: &CustomerId, entry: &'a Entry) -> Result<Refund<'a>, Problem> {
    let Event::Refunded(refunded) = &entry.event else { return Err(render::mismatch(entry)) };
    let grant_of = |book: Book| match book {
        Book::Grant(grant) => Some(grant),
        _ => None,
    };
    let mut returned: Vec<Draw> = Vec::new();
    for transfer in &entry.transfers {
        // What goes on from a grant that has ended is only where it ends.
        let goes_on = entry.transfers.iter().any(|other| other.from == transfer.to);
        let Some(grant) = grant_of(transfer.to).filter(|_| !goes_on) else { continue };
        match returned.iter_mut().find(|draw| draw.grant == grant) {
            Some(draw) => draw.amount = draw.amount.saturating_add(transfer.amount),
            None => returned.push(Draw { grant, amount: transfer.amount }),
        }
    }
    let made = refunded.grants.iter().filter(|grant| grant.id.entry == entry.seq);
    Ok(Refund {
        id: RefundId { entry: entry.seq, index: 0 },
        charge: refunded.charge,
        customer: customer.clone(),
        feature: refunded.usage.feature.clone(),
        amount: refunded.amount,
        credit: refunded.credit.clone(),
        quantities: wire::quantities(&refunded.usage.quantities),
        reason: Cow::Borrowed(&refunded.reason),
        returned,
        overage: render::moved(entry, |_, to| to == Book::Overage),
        expired: render::moved(entry, |_, to| to == Book::Expired),
        voided: render::moved(entry, |_, to| to == Book::Voided),
        waived: Some(refunded.waived).filter(|waived| waived.is_positive()),
        grants: made.map(|grant| wire::new_grant(grant, entry.at)).collect(),
        refunded: refunded_of(Some(refunded)),
        balance: render::balance(entry)?,
        entry: entry.seq,
    })
}

/// What was refunded of a charge, as its last refund says.
fn refunded_of(last: Option<&journal::Refunded>) -> RefundedOf {
    last.map_or_else(RefundedOf::default, |last| RefundedOf {
        amount: last.total,
        quantities: last.total_quantities.0.iter().cloned().collect(),
        refunds: last.number,
    })
}
