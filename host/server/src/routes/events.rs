//! `POST /v1/events`: usages as CloudEvents 1.0, in any of the three modes of their HTTP binding. Each event is charged as
//! `POST …/charges` would charge it, once, however often and in whichever mode it is delivered.

mod data;
mod envelope;
mod headers;
mod otel;

use self::{data::Data, envelope::Envelope};
use super::charging::{self, ItemResult};
use crate::{
    access::{Caller, Usage},
    answers::Answer,
    app::App,
    extract::{media_type, object, read_body},
    problem::{Problem, ProblemBody},
    render::Charge,
};
use axum::extract::{Request, State};
use std::sync::Arc;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
/// Event formats other than these begin so, too.
const ANY_FORMAT: &str = "application/cloudevents";
const ALL_MODES: &str =
    "application/cloudevents+json, application/cloudevents-batch+json, or JSON beside ce- headers";

/// Send usage as CloudEvents
///
/// Structured (one event), batched (up to 1000), or binary (`ce-` headers and `data` as the body). `subject` is the
/// customer, `type` the feature, `time` when it was used. `source` and `id` make the event unique: delivered again, in
/// whichever mode, it is answered as before; with other content it is refused with `idempotency_key_reused`. Names of
/// OpenTelemetry's GenAI conventions in `data` are understood.
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
            (Data = "application/json"),
        ),
    ),
    responses(
        (status = 200, description = "Of a batch: one result for each event, in order", body = Vec<ItemResult>),
        (status = 201, description = "Of a single event: charged", body = Charge),
        (status = 402, description = "Of a single event: refused, as a charge is", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "None of the three modes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The event was delivered before with other content: idempotency_key_reused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem; pointers lead into the event in its structured form", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn ingest(
    State(app): State<Arc<App>>,
    caller: Caller<Usage>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.options.max_body_bytes).await?;
    let media_type = media_type(&parts.headers).map(str::to_ascii_lowercase);
    let event: Envelope = match media_type.as_deref() {
        Some(STRUCTURED) => object("", &bytes)?,
        Some(BATCHED) => {
            let read = |place: &str, event: &serde_json::value::RawValue| {
                object::<Envelope>(place, event.get().as_bytes())?.charging(place)?.by(&caller)
            };
            return charging::many(&app, parts.uri.path(), &bytes, read).await;
        }
        Some(other) if envelope::is_json(other) && !other.starts_with(ANY_FORMAT) => {
            Envelope::of_headers(&parts.headers, &bytes)?
        }
        _ => return Err(Problem::wrong_type(ALL_MODES)),
    };
    charging::one(&app, event.charging("")?.by(&caller)?).await
}
