//! `POST /v1/customers/{customer}/charges`: a usage, rated by the policy in force and drawn at once.

use super::submission::{self, Submission};
use crate::{
    access::{self, Customer},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Json, Keyed},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{charge::Charge, usage::Usage};
use std::sync::Arc;

problems!(ChargeProblems: CALLER CUSTOMER BODY REQUIRED_KEY LANE RATED REFUSED);

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
