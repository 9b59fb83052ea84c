//! `POST /v1/events`: usages as CloudEvents 1.0, in any of the three modes of their HTTP binding. Each event is charged as
//! `POST …/charges` would charge it, once, however often and in whichever mode it is delivered.

mod attribution;
mod data;
mod envelope;
mod headers;
mod mode;
mod otel;

use self::{
    envelope::Envelope,
    mode::{JsonBody, Mode},
};
use super::submission;
use crate::{
    access::{Caller, Usage},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{object, parse, read_body},
    problem::Problem,
};
use axum::extract::{Request, State};
use proviso_api::{
    charge::{BatchResult, Charge},
    usage::MAX_BATCH,
};
use std::sync::Arc;

const ALL_MODES: &str = "application/cloudevents+json, application/cloudevents-batch+json, or JSON";

problems!(EventProblems: CALLER UNCONDITIONAL BODY LANE RATED REFUSED, CustomerNotFound, IdempotencyKeyReused);

/// Send usage as CloudEvents
///
/// Structured (one event), batched (up to 1000), or binary (`ce-` headers and `data` as the body). `application/json` without `ce-`
/// headers is an event or a batch of them. `subject` is the customer, `type` the feature, `time` when it was used. `source` and `id` make the event unique: delivered again, in
/// whichever mode, it is answered as before; with other content it is refused with `idempotency_key_reused`. Names of
/// OpenTelemetry's GenAI conventions in `data` are understood. An entity that is not valid does not stop the charge: it is
/// repaired or left out, and `warnings` say so. Pointers lead into the event in its structured form.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "ingest_events",
    tag = "Usage",
    params(
        ("ce-specversion" = Option<String>, Header, description = "Binary mode: `1.0`"),
        ("ce-id" = Option<String>, Header, description = "Binary mode: `id`, percent-encoded as all of these"),
        ("ce-source" = Option<String>, Header, description = "Binary mode: `source`"),
        ("ce-type" = Option<String>, Header, description = "Binary mode: `type`, the feature"),
        ("ce-subject" = Option<String>, Header, description = "Binary mode: `subject`, the customer"),
        ("ce-time" = Option<String>, Header, description = "Binary mode: `time`"),
    ),
    request_body(
        description = "An event, a batch of events, or in binary mode the event's data",
        content(
            (Envelope = "application/cloudevents+json"),
            (Vec<Envelope> = "application/cloudevents-batch+json"),
            (JsonBody = "application/json"),
        ),
    ),
    responses(
        (status = 200, description = "Of a batch: one result for each event, in order", body = Vec<BatchResult>),
        (status = 201, description = "Of a single event: charged", body = Charge),
        EventProblems,
    ),
)]
pub async fn ingest(
    State(app): State<Arc<App>>,
    caller: Caller<Usage>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.options.max_body_bytes, &app.bodies, parts.extensions.get()).await?;
    let event: Envelope = match Mode::of(&parts.headers, &bytes) {
        Some(Mode::Structured) => object("", &bytes)?,
        Some(Mode::Batched) => {
            let read = |place: &str, event: &serde_json::value::RawValue| {
                object::<Envelope>(place, event.get().as_bytes())?.submission(place)
            };
            return submission::many(&app, &caller, parts.uri.path(), parse(&bytes)?, MAX_BATCH, read).await;
        }
        Some(Mode::Binary) => Envelope::of_headers(&parts.headers, &bytes)?,
        None => return Err(Problem::wrong_type(ALL_MODES)),
    };
    submission::one(&app, event.submission("")?.by(&app, &caller)?).await
}
