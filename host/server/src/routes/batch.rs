//! `POST /v1/charges/batch`: many charges, for any customers, each on its own. One that fails does not hold back others.

use super::submission::{self, Submission};
use crate::{
    access::{self, Caller},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{json_bytes, object, parse},
    problem::Problem,
};
use axum::extract::{Request, State};
use proviso_api::{
    charge::BatchResult,
    usage::{BatchCharge, MAX_BATCH},
};
use serde_json::value::RawValue;
use std::sync::Arc;

problems!(BatchProblems: CALLER UNCONDITIONAL BODY);

/// Charge many usages
///
/// Up to 1000 charges, each with its own idempotency key, answered in their order.
#[utoipa::path(
    post,
    path = "/v1/charges/batch",
    operation_id = "charge_batch",
    tag = "Usage",
    request_body = Vec<BatchCharge>,
    responses(
        (status = 200, description = "One result for each charge, in order", body = Vec<BatchResult>),
        BatchProblems,
    ),
)]
pub async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller<access::Usage>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, bytes) = json_bytes(request, &app).await?;
    submission::many(&app, &caller, parts.uri.path(), parse(&bytes)?, MAX_BATCH, read).await
}

fn read(place: &str, raw: &RawValue) -> Result<Submission, Problem> {
    let bytes = raw.get().as_bytes();
    let item: BatchCharge = object(place, bytes)?;
    let (customer, key) = (item.customer.clone(), item.idempotency_key.clone());
    Submission::of_item(place, b"batch", customer, key, item.into())
}
