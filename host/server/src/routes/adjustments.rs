//! `POST /v1/customers/{customer}/adjustments`: a balance is corrected, with a reason.

use crate::{
    access::{Customer, Grantor},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Json, Keyed, short},
    problem::Problem,
    render,
};
use axum::extract::State;
use proviso_api::grant::{Adjustment, AdjustmentInput};
use proviso_engine::command::Command;
use proviso_ledger::model::grant::default_credit;
use std::sync::Arc;

problems!(
    AdjustmentProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
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
    render::answer(&customer.id, &outcome)
}
