//! `POST /v1/customers/{customer}/resets`: the period closes now, as the policy in force decides.

use super::reservations::Empty;
use crate::{
    access::{Customer, Manage},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Keyed, MaybeJson},
    problem::Problem,
    render,
};
use axum::extract::State;
use proviso_api::period::Reset;
use proviso_engine::command::Command;
use std::sync::Arc;

problems!(
    ResetProblems: CALLER CUSTOMER BODY REQUIRED_KEY LANE,
    CustomerClosed, NoPeriod, TotalOutOfRange, TooMany
);

/// Reset early
///
/// Closes the period now. The next boundary stays where it was.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/resets",
    operation_id = "reset_period",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each reset, the same for its repeats"),
    ),
    responses((status = 200, description = "A new period began", body = Reset), ResetProblems),
)]
pub async fn reset(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let outcome = app.record(customer.id.clone(), Command::Reset, Some(idempotency)).await?;
    render::answer(&customer.id, &outcome)
}
