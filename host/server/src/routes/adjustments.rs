//! `POST /v1/customers/{customer}/adjustments`: a balance is corrected, with a reason.

use super::customers::short;
use crate::{
    access::{Customer, Manage},
    answers::Answer,
    app::App,
    extract::{IdempotencyHeader, Json},
    problem::{Problem, ProblemBody},
    render::{self, Adjustment},
    schema,
};
use axum::extract::State;
use proviso_engine::command::Command;
use proviso_ledger::model::{amounts::Credits, grant::default_credit, ids::Key};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A correction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdjustmentInput, example = json!({ "amount": "-2.5", "reason": "double delivery, ticket 4711" }))]
pub struct AdjustmentBody {
    /// Above zero gives, as a grant; below takes, from grants in burn-down order.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
    /// The credit type; `credits`, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    credit: Option<Key>,
    /// Why, for people.
    reason: String,
}

/// Correct a balance
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/adjustments",
    operation_id = "adjust_balance",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "Whose"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = AdjustmentBody,
    responses(
        (status = 201, description = "Corrected", body = Adjustment),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    key: IdempotencyHeader,
    body: Json<AdjustmentBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"adjust", customer.id.as_str().as_bytes(), &body.bytes]);
    let AdjustmentBody { amount, credit, reason } = body.value;
    short("/reason", &reason)?;
    let command = Command::Adjust { credit: credit.unwrap_or_else(default_credit), amount, reason };
    let outcome = app.record(customer.id.clone(), command, idempotency).await?;
    render::answer(&customer.id, &outcome)
}
