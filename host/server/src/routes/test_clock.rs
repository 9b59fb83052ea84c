//! `/v1/test_clock`: moves the host's time forward, so that a test need not wait for a month to end.

use crate::{
    access::{Admin, Operator},
    answer::Answer,
    app::App,
    documented::problems,
    extract::Json,
    problem::Problem,
};
use axum::extract::State;
use proviso_api::operations::TestClock;
use std::sync::Arc;

problems!(ReadProblems: CALLER OPERATOR);
problems!(AdvanceProblems: CALLER UNCONDITIONAL OPERATOR BODY, ClockGoesBack);

/// Read the test clock
#[utoipa::path(
    get,
    path = "/v1/test_clock",
    operation_id = "read_test_clock",
    tag = "Operating",
    responses((status = 200, description = "The host's time", body = TestClock), ReadProblems),
)]
pub async fn get(State(app): State<Arc<App>>, _: Operator<Admin>) -> Result<Answer, Problem> {
    Answer::ok(&TestClock { now: app.now() })
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
    responses((status = 200, description = "The host's time", body = TestClock), AdvanceProblems),
)]
pub async fn advance(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    Json(body): Json<TestClock>,
) -> Result<Answer, Problem> {
    let clock = app.engine.clock();
    if !clock.advance_to(body.now) && clock.now() > body.now {
        return Err(Problem::clock_goes_back(clock.now()));
    }
    Answer::ok(&TestClock { now: clock.now() })
}
