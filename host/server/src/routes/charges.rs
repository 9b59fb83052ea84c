//! `POST /v1/customers/{customer}/charges`: a usage, rated by the policy in force and drawn at once.

use super::{
    charging::{self, Charging},
    usages::UsageBody,
};
use crate::{
    access::{Customer, Usage},
    answers::Answer,
    app::App,
    extract::{Json, RequiredKey},
    problem::{Problem, ProblemBody},
    render::Charge,
};
use axum::extract::State;
use std::sync::Arc;

/// Charge a usage
///
/// An answer means that the charge is durable. A refusal is in the journal, too: the same key gets it again.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/charges",
    operation_id = "charge",
    tag = "Usage",
    params(
        ("customer" = String, Path, description = "Who pays"),
        ("Idempotency-Key" = String, Header, description = "New for each charge, the same for its repeats"),
    ),
    request_body = UsageBody,
    responses(
        (status = 201, description = "Charged", body = Charge),
        (status = 402, description = "Refused: insufficient_credits, purchase_required, policy_denied, not_entitled or a code of the policy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn charge(
    State(app): State<Arc<App>>,
    customer: Customer<Usage>,
    key: RequiredKey,
    body: Json<UsageBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"charge", customer.id.as_str().as_bytes(), &body.bytes]);
    let usage = body.value.into();
    charging::one(&app, Charging { customer: customer.id, idempotency, usage, time_at: "/occurred_at" }).await
}
