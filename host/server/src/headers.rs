//! Names of headers that HTTP itself does not define.

use axum::http::{HeaderName, HeaderValue};

/// The caller's idempotency key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that repeats an earlier one.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The value of [`IDEMPOTENCY_REPLAYED`].
pub const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Names a request in the host's log: the caller's own name of it, or one that the host gives.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
