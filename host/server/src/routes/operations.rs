//! For whoever runs the server: is it up, is it ready, what did it do. No key is needed.

use crate::{
    answers::Answer,
    app::App,
    problem::{Problem, ProblemBody},
};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::{Arc, atomic::Ordering};
use utoipa::ToSchema;

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Is it up
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "It answers", body = Health)),
)]
pub async fn healthz() -> Result<Answer, Problem> {
    Answer::ok(&Health { status: "ok" })
}

/// Is it ready
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "Operating",
    security(()),
    responses(
        (status = 200, description = "The database answers, what is written becomes durable, and the host is not about to end", body = Health),
        (status = 503, description = "The database does not answer, or no write has succeeded for 10 s: storage_unavailable; or the host is about to end: draining", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Answer, Problem> {
    if app.draining.load(Ordering::Relaxed) {
        return Err(Problem::draining());
    }
    app.engine.check_ready().await?;
    Answer::ok(&Health { status: "ok" })
}

/// Metrics
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(app.engine.stats());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
