//! For whoever operates the server: health, readiness, metrics. No key is needed.

use crate::{answer::Answer, app::App, documented::problems, metrics, problem::Problem};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use proviso_api::operations::Health;
use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

problems!(ReadyProblems: , StorageUnavailable, Draining, InternalError);
problems!(MetricsProblems: , InternalError);

const OK: Health = Health { status: Cow::Borrowed("ok") };

/// Health
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "It answers", body = Health)),
)]
pub async fn healthz() -> Result<Answer, Problem> {
    Answer::ok(&OK)
}

/// Readiness
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "Operating",
    security(()),
    responses(
        (status = 200, description = "The database answers, and the host is not about to end", body = Health),
        ReadyProblems,
    ),
)]
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Answer, Problem> {
    if app.draining.load(Ordering::Relaxed) {
        return Err(Problem::draining());
    }
    app.engine.check_ready().await?;
    Answer::ok(&OK)
}

/// Metrics
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Operating",
    security(()),
    responses(
        (status = 200, description = "OpenMetrics' text format", body = String, content_type = "application/openmetrics-text"),
        MetricsProblems,
    ),
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.metrics.render().map_err(|_| Problem::internal("metrics can't be written".to_owned()))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
