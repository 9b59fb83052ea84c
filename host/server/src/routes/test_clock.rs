//! `/v1/test_clock`: moves the host's time forward, so that a test need not wait for a month to end.

use crate::{
    access::{Admin, Operator},
    answers::Answer,
    app::App,
    extract::Json,
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_ledger::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The host's time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestClock {
    /// Now.
    #[schema(value_type = schema::Time)]
    now: Timestamp,
}

/// Read the test clock
#[utoipa::path(
    get,
    path = "/v1/test_clock",
    operation_id = "read_test_clock",
    tag = "Operating",
    responses(
        (status = 200, description = "The host's time", body = TestClock),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(State(app): State<Arc<App>>, _: Operator<Admin>) -> Result<Answer, Problem> {
    Answer::ok(&TestClock { now: app.engine.clock().now() })
}

/// Move the test clock forward
///
/// It runs on from there; everything that depends on time follows.
#[utoipa::path(
    post,
    path = "/v1/test_clock",
    operation_id = "advance_test_clock",
    tag = "Operating",
    request_body = TestClock,
    responses(
        (status = 200, description = "The host's time", body = TestClock),
        (status = 409, description = "That lies in the past: clock_goes_back", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn advance(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    body: Json<TestClock>,
) -> Result<Answer, Problem> {
    let clock = app.engine.clock();
    if !clock.advance_to(body.value.now) && clock.now() > body.value.now {
        return Err(Problem::clock_goes_back(clock.now()));
    }
    Answer::ok(&TestClock { now: clock.now() })
}
