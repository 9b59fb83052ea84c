//! What the server itself finds wrong with a request.

use super::Problem;
use proviso_api::{ProblemCode as C, access::Scope, problem::FieldError};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::Timestamp,
};
use std::fmt::Display;

/// The longest part of a path that is repeated in a problem, in characters.
const MAX_ECHO: usize = 64;

impl Problem {
    pub fn no_api_key() -> Self {
        Self::new(C::ApiKeyRequired, "send an API key as \"Authorization: Bearer <key>\"")
    }

    pub fn bad_api_key() -> Self {
        Self::new(C::ApiKeyInvalid, "the API key is unknown, has expired or was revoked")
    }

    pub fn no_scope(scopes: impl Iterator<Item = Scope>) -> Self {
        let scopes: Vec<_> = scopes.map(|scope| format!("\"{}\"", scope.as_str())).collect();
        Self::new(C::ScopeMissing, format!("this needs an API key with the scope {}", scopes.join(" or ")))
    }

    pub fn narrowed_key() -> Self {
        let detail = "the API key is narrowed to one customer, and this belongs to none";
        Self::new(C::KeyIsNarrowed, detail)
    }

    /// Also where there is such a policy: a narrowed key must not learn of others.
    pub fn other_policies(prefix: &Name) -> Self {
        let detail = format!("the API key is narrowed to policies whose names begin with {prefix}");
        Self::new(C::KeyIsNarrowed, detail)
    }

    pub fn key_may_not_grant() -> Self {
        let detail = "the API key is narrowed to one customer and was created without may_grant";
        Self::new(C::KeyMayNotGrant, detail)
    }

    /// Also for a customer that the API key must not learn of.
    pub fn customer_not_found(customer: &CustomerId) -> Self {
        Self::new(C::CustomerNotFound, format!("there is no customer {customer}"))
    }

    /// A part of the path that can't be an id of this kind.
    pub fn not_found(code: C, what: &str, id: &str) -> Self {
        let id: String = id.chars().take(MAX_ECHO).collect();
        Self::new(code, format!("there is no {what} {id}"))
    }

    pub fn no_route() -> Self {
        Self::new(C::RouteNotFound, "there is nothing at this path; /docs lists what there is")
    }

    pub fn no_method() -> Self {
        Self::new(C::MethodNotAllowed, "this path has other methods: see the Allow header")
    }

    pub fn bad_path(part: &str, why: impl Display) -> Self {
        Self::new(C::InvalidPath, format!("{part} in the path: {why}"))
    }

    pub fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(C::InvalidQuery, detail)
    }

    pub fn no_precondition() -> Self {
        Self::new(C::PreconditionUnsupported, "If-Match can't be compared with anything here: leave it out")
    }

    pub fn bad_cursor() -> Self {
        let detail =
            "cursor must be the next_cursor of an earlier page of the same list with the same filters";
        Self::new(C::InvalidCursor, detail)
    }

    pub fn bad_idempotency_key() -> Self {
        let detail = "Idempotency-Key must be one value of 1 to 255 visible ASCII characters that does not begin with proviso:";
        Self::new(C::InvalidIdempotencyKey, detail)
    }

    pub fn no_idempotency_key() -> Self {
        let detail =
            "send a header Idempotency-Key that is new for each request and the same for its repeats";
        Self::new(C::IdempotencyKeyRequired, detail)
    }

    pub fn malformed(error: &serde_json::Error) -> Self {
        Self::new(C::MalformedJson, format!("the body is not JSON: {error}"))
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.first() {
            Some(first) if first.pointer.is_empty() => first.detail.clone(),
            Some(first) => format!("{}: {}", first.pointer, first.detail),
            None => String::new(),
        };
        Self::new(C::InvalidRequest, detail).with(errors)
    }

    /// One field that is wrong.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, detail)])
    }

    pub fn wrong_type(expected: &str) -> Self {
        let detail = format!(
            "the body must be {expected}, in UTF-8 and not compressed, and its Content-Type must say so"
        );
        Self::new(C::UnsupportedMediaType, detail)
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(C::BodyTooLarge, format!("the body may have {limit} bytes at most"))
    }

    pub fn broken_body() -> Self {
        Self::new(C::BodyIncomplete, "the connection broke while the body was read")
    }

    pub fn too_many_bodies() -> Self {
        Self::new(C::Overloaded, "too many large bodies are coming in already")
    }

    pub fn slow_body() -> Self {
        Self::new(C::BodyTimeout, "the body did not arrive in time")
    }

    /// Too many requests `of` an API key or a customer; `wait_seconds` until there is place for one.
    pub fn too_many_requests(of: &str, rate: u32, wait_seconds: u64) -> Self {
        let detail = format!("{of} may make {rate} requests a second at this host");
        Self::new(C::TooManyRequests, detail).retry_after_seconds_of(wait_seconds)
    }

    pub fn draining() -> Self {
        Self::new(C::Draining, "the host is about to end: send new requests to another one")
    }

    pub fn clock_goes_back(now: Timestamp) -> Self {
        Self::new(C::ClockGoesBack, format!("the test clock is at {now} and only moves forward"))
    }
}
