//! Runs around every request: names it, writes problems out, logs defects once, and counts.

use crate::{
    app::App,
    documented::PROBLEM_JSON,
    extract::answering,
    headers::{IDEMPOTENCY_REPLAYED, REQUEST_ID, TRUE},
    problem::Problem,
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    any::Any,
    sync::{Arc, atomic::Ordering},
};
use tracing::error;

/// The longest request id that is taken from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

pub async fn around(
    State(app): State<Arc<App>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = (app.options.stopwatch)();
    let (uri, method) = (request.uri().clone(), request.method().clone());
    let id = request_id(request.headers()).unwrap_or_else(|| {
        HeaderValue::try_from(app.new_request_id()).unwrap_or(HeaderValue::from_static("unnamed"))
    });
    let in_flight = app.metrics.begin();
    let mut response = answering(uri.clone(), next.run(request)).await;
    // A path that has other methods answers with the bare status.
    let problem = match response.extensions_mut().remove::<Problem>() {
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => Some(Problem::no_method()),
        problem => problem,
    };
    if let Some(problem) = problem {
        if let Some(defect) = problem.defect() {
            error!(defect, request_id = ?id, %method, path = uri.path(), "internal error");
        }
        let allow = response.headers_mut().remove(ALLOW);
        response = written(&problem, &uri);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.draining.load(Ordering::Relaxed) {
        // A client that keeps the connection would find it closed at its next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let elapsed = (app.options.stopwatch)().saturating_sub(started);
    in_flight.end(route.as_ref().map(MatchedPath::as_str), &method, response.status(), elapsed);
    response
}

/// The caller's own name of the request, if it is one that can be shown in a log.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_short = (1..=MAX_REQUEST_ID).contains(&id.len());
    (is_short && id.as_bytes().iter().all(u8::is_ascii_graphic)).then(|| id.clone())
}

fn written(problem: &Problem, uri: &Uri) -> Response {
    // A problem's body holds nothing that can't be written as JSON.
    let body = serde_json::to_vec(&problem.details(uri.path())).unwrap_or_default();
    let mut response = (problem.status(), Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if problem.is_replay() {
        headers.insert(IDEMPOTENCY_REPLAYED, TRUE);
    }
    if problem.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The answer to a request whose handler panicked.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_engine::{EngineError, StoreError};

    /// What may work a moment later says so: with a code that never changes, and with how long to wait.
    #[test]
    fn what_may_be_tried_again_says_when() {
        let unavailable = StoreError::Unavailable { detail: "secret".to_owned() };
        for (problem, code) in [
            (EngineError::Overloaded.into(), "overloaded"),
            (EngineError::Contention.into(), "contention"),
            (EngineError::ShuttingDown.into(), "shutting_down"),
            (EngineError::Store(unavailable).into(), "storage_unavailable"),
            (EngineError::Store(StoreError::DiskFull).into(), "storage_unavailable"),
            (EngineError::Store(StoreError::Closed).into(), "storage_unavailable"),
            (Problem::draining(), "draining"),
        ] {
            let response = written(&problem, &Uri::from_static("/v1/events"));
            assert_eq!((response.status().as_u16(), problem.code()), (503, code));
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "1", "{code}");
            assert!(!serde_json::to_string(&problem.details("/")).unwrap().contains("secret"));
        }
        let response = written(&Problem::no_route(), &Uri::from_static("/"));
        assert!(response.headers().get(RETRY_AFTER).is_none());
    }

    #[test]
    fn a_panic_tells_nothing_of_itself() {
        let panics: [Box<dyn Any + Send>; 3] =
            [Box::new("secret"), Box::new("secret".to_owned()), Box::new(7)];
        for panic in panics {
            let response = panicked(panic);
            let problem = response.extensions().get::<Problem>().unwrap();
            let body = serde_json::to_string(&problem.details("/")).unwrap();
            assert_eq!((problem.status().as_u16(), problem.code()), (500, "internal_error"));
            assert!(!body.contains("secret"), "{body}");
        }
    }

    #[test]
    fn request_ids_are_taken_when_a_log_can_show_them() {
        for (id, taken) in [("abc-1", true), ("", false), ("a b", false), (&"x".repeat(129), false)] {
            let headers = HeaderMap::from_iter([(REQUEST_ID, id.parse().unwrap())]);
            assert_eq!(request_id(&headers).is_some(), taken, "{id}");
        }
        assert!(request_id(&HeaderMap::new()).is_none());
    }
}
