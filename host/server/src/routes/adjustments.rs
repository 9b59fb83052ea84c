//! `POST /v1/customers/{customer}/adjustments`: a balance is corrected, with a reason.

use crate::{
    access::{Customer, Grantor},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Json, Keyed, short},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    decision::Draw,
    grant::{Adjustment, AdjustmentInput},
};
use proviso_engine::command::Command;
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        grant::default_credit,
        transfer::{Book, Transfer},
    },
};
use std::{borrow::Cow, sync::Arc};

problems!(
    AdjustmentProblems: CALLER CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, AdjustmentExceedsAvailable, TotalOutOfRange, TooMany, TooLarge
);

/// Correct a balance
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/adjustments",
    operation_id = "adjust_balance",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each correction, the same for its repeats"),
    ),
    request_body = AdjustmentInput,
    responses((status = 201, description = "Corrected", body = Adjustment), AdjustmentProblems),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<AdjustmentInput>>,
) -> Result<Answer, Problem> {
    let AdjustmentInput { amount, credit, reason } = body;
    short("/reason", &reason)?;
    let command = Command::Adjust { credit: credit.unwrap_or_else(default_credit), amount, reason };
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, adjusted)
}

fn adjusted(entry: &Entry) -> Result<Answer, Problem> {
    let Event::Adjusted(adjusted) = &entry.event else { return Err(render::mismatch(entry)) };
    let adjustment = Adjustment {
        credit: adjusted.credit.clone(),
        amount: adjusted.amount,
        reason: Cow::Borrowed(&adjusted.reason),
        grant: adjusted.grant.as_ref().map(|grant| wire::new_grant(grant, entry.at)),
        draws: taken(entry),
        balance: render::balance(entry)?,
        entry: entry.seq,
    };
    Answer::new(StatusCode::CREATED, &adjustment)
}

fn taken(entry: &Entry) -> Vec<Draw> {
    let draw = |transfer: &Transfer| match (transfer.from, transfer.to) {
        (Book::Grant(grant), Book::Voided) => Some(Draw { grant, amount: transfer.amount }),
        _ => None,
    };
    entry.transfers.iter().filter_map(draw).collect()
}
