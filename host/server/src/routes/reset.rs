//! `POST /v1/customers/{customer}/reset`: the period closes now, as the policy in force decides.

use super::reservations::Empty;
use crate::{
    access::{Customer, Manage},
    answers::Answer,
    app::App,
    extract::{IdempotencyHeader, MaybeJson},
    problem::{Problem, ProblemBody},
    render::{self, Reset},
};
use axum::extract::State;
use proviso_engine::command::Command;
use std::sync::Arc;

/// Reset early
///
/// Closes the period now. The next boundary stays where it was.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/reset",
    operation_id = "reset_period",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "Whose period"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    responses(
        (status = 200, description = "A new period began", body = Reset),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn reset(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    key: IdempotencyHeader,
    body: MaybeJson<Empty>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"reset", customer.id.as_str().as_bytes(), &body.bytes]);
    let outcome = app.record(customer.id.clone(), Command::Reset, idempotency).await?;
    render::answer(&customer.id, &outcome)
}
