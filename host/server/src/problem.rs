//! Every way to say no, as RFC 9457 problem details with a stable `code`. In go the engine's errors and the server's own
//! checks; out come status, code and what a caller may know. Internal detail goes to the log, here and nowhere else.

use crate::answers::{Offer, Policy};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_engine::{EngineError, StoreError, catalog::Scope};
use proviso_ledger::{
    journal::{Entry, Event, Refused},
    model::{
        amounts::Credits,
        ids::{CustomerId, Key},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use serde::Serialize;
use std::{borrow::Cow, fmt::Display, sync::Arc};
use tracing::error;
use utoipa::ToSchema;

/// What is wrong with one field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the request.
    pub pointer: String,
    /// For people.
    pub detail: String,
    /// For machines, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), code: None }
    }
}

/// A request that is not carried out.
#[derive(Debug, Clone)]
pub struct Problem(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    /// The refusal that the journal has of this.
    refusal: Option<Arc<Entry>>,
    replayed: bool,
}

/// Problem details, RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// A name of the kind of problem.
    #[schema(example = "urn:proviso:problem:insufficient_credits")]
    r#type: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, for people.
    detail: &'a str,
    /// The path that was asked.
    instance: &'a str,
    /// The kind of problem, for machines: stable.
    #[schema(example = "insufficient_credits")]
    code: &'a str,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "slice_is_empty")]
    errors: &'a [FieldError],
    /// Of a refused charge: what it would have cost, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Credits>)]
    required: Option<Credits>,
    /// Of a refused charge: what was available to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Credits>)]
    available: Option<Credits>,
    /// Of a refused charge: the credit type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Key>)]
    credit: Option<&'a Key>,
    /// Of a refused charge: the earliest time at which asking again can help.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Time>)]
    retry_at: Option<Timestamp>,
    /// Of a refused charge: what may be bought to go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offers: Vec<Offer<'a>>,
    /// Of a refused charge: who refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy<'a>>,
    /// Of a refused charge: the journal's entry of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    /// Of a refused charge: whether a fault put other terms, or none, in the place of those in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<bool>,
}

fn slice_is_empty<T>(slice: &&[T]) -> bool {
    slice.is_empty()
}

impl IntoResponse for Problem {
    /// The body is written at the end, where the path that was asked is known.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            status,
            code: Cow::Borrowed(code),
            title,
            detail: detail.into(),
            errors: Vec::new(),
            refusal: None,
            replayed: false,
        }))
    }

    fn with(self, errors: Vec<FieldError>) -> Self {
        Self(Arc::new(Inner { errors, ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The same, as a mistake in a field of the request: a thing that the body names is not there.
    pub fn named_by(self, pointer: &str) -> Self {
        let errors = vec![FieldError::new(pointer, self.0.detail.clone())];
        let inner = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Inner { status: StatusCode::UNPROCESSABLE_ENTITY, errors, ..inner }))
    }

    /// The same, about a part of the request that stands at `place`.
    pub fn within(self, place: &str) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        for error in &mut inner.errors {
            error.pointer.insert_str(0, place);
        }
        Self(Arc::new(inner))
    }

    /// The same, in a request that calls the field at `from` otherwise.
    pub fn renamed(self, from: &str, to: &str) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        for error in inner.errors.iter_mut().filter(|error| error.pointer == from) {
            to.clone_into(&mut error.pointer);
        }
        Self(Arc::new(inner))
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// For people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether an earlier request with the same key was answered so.
    pub fn is_replay(&self) -> bool {
        self.0.replayed
    }

    /// What is sent.
    pub fn body<'a>(&'a self, instance: &'a str) -> ProblemBody<'a> {
        let Inner { status, code, title, detail, errors, refusal, .. } = &*self.0;
        let refused = refusal.as_deref().and_then(refused);
        let decision = refused.and_then(|refused| refused.decision.as_ref());
        ProblemBody {
            r#type: format!("urn:proviso:problem:{code}"),
            title,
            status: status.as_u16(),
            detail,
            instance,
            code,
            errors,
            required: refused.and_then(|refused| Some(refused.rated.as_ref()?.cost)),
            available: refused.map(|refused| refused.available),
            credit: refusal.as_deref().and_then(|entry| Some(&entry.after.as_ref()?.balance.credit)),
            retry_at: refused.and_then(|refused| refused.retry_at),
            offers: refused
                .map(|refused| refused.offers.iter().map(Offer::new).collect())
                .unwrap_or_default(),
            policy: decision.map(|decision| Policy::new(&decision.policy)),
            entry: refusal.as_ref().map(|entry| entry.seq),
            degraded: decision.map(|decision| decision.fault.is_some()),
        }
    }

    /// The refusal of a charge, as the journal has it.
    pub fn refused(entry: &Arc<Entry>, replayed: bool) -> Self {
        let Some(refused) = refused(entry) else {
            return Self::internal("a refusal without a refusal".to_owned());
        };
        Self(Arc::new(Inner {
            status: StatusCode::PAYMENT_REQUIRED,
            code: Cow::Owned(refused.code.clone()),
            title: "the charge was refused",
            detail: refused.detail.clone(),
            errors: Vec::new(),
            refusal: Some(entry.clone()),
            replayed,
        }))
    }

    /// A defect; what it is goes to the log only.
    pub fn internal(detail: String) -> Self {
        error!(detail, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "something went wrong inside",
            "this is not your mistake; what happened is in the server's log",
        )
    }
}

fn refused(entry: &Entry) -> Option<&Refused> {
    match &entry.event {
        Event::Refused(refused) => Some(refused),
        _ => None,
    }
}

/// What the server itself finds wrong with a request.
impl Problem {
    pub fn no_key() -> Self {
        let detail = "send an API key as \"Authorization: Bearer <key>\"";
        Self::new(StatusCode::UNAUTHORIZED, "api_key_required", "an API key is required", detail)
    }

    pub fn bad_key() -> Self {
        let detail = "the API key is unknown, has expired or was revoked";
        Self::new(StatusCode::UNAUTHORIZED, "api_key_invalid", "the API key does not work", detail)
    }

    pub fn no_scope(scope: Scope) -> Self {
        let name = match scope {
            Scope::Usage => "usage",
            Scope::Read => "read",
            Scope::Manage => "manage",
            Scope::Policies => "policies",
            Scope::Admin => "admin",
        };
        let detail = format!("this needs an API key with the scope \"{name}\"");
        Self::new(StatusCode::FORBIDDEN, "scope_missing", "the API key may not do this", detail)
    }

    pub fn narrowed_key() -> Self {
        let detail = "the API key is narrowed to one customer, and this belongs to none";
        Self::new(StatusCode::FORBIDDEN, "key_is_narrowed", "the API key may not do this", detail)
    }

    pub fn customer_not_found(customer: &CustomerId) -> Self {
        EngineError::CustomerNotFound(customer.clone()).into()
    }

    /// Something named in the path that is not there.
    pub fn not_found(what: &'static str, name: &str) -> Self {
        let code = match what {
            "reservation" => "reservation_not_found",
            "grant" => "grant_not_found",
            "terms" => "terms_not_found",
            "version" => "version_not_found",
            "api_key" => "api_key_not_found",
            _ => "not_found",
        };
        let (what, name) = (what.replace('_', " "), name.chars().take(64).collect::<String>());
        Self::new(StatusCode::NOT_FOUND, code, "not found", format!("there is no {what} {name}"))
    }

    pub fn no_route() -> Self {
        let detail = "there is nothing at this path; /docs lists what there is";
        Self::new(StatusCode::NOT_FOUND, "route_not_found", "not found", detail)
    }

    pub fn no_method() -> Self {
        let detail = "this path knows other methods: see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "method not allowed", detail)
    }

    pub fn bad_path(part: &str, why: impl Display) -> Self {
        let detail = format!("{part} in the path: {why}");
        Self::new(StatusCode::BAD_REQUEST, "invalid_path", "the path is not valid", detail)
    }

    pub fn bad_query(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", "the query string is not valid", detail)
    }

    pub fn bad_cursor() -> Self {
        let detail = "cursor must be the next_cursor of an earlier page of the same list";
        Self::new(StatusCode::BAD_REQUEST, "invalid_cursor", "the cursor is not valid", detail)
    }

    pub fn bad_idempotency_key() -> Self {
        let detail = "Idempotency-Key must be one value of 1 to 255 visible ASCII characters";
        let title = "the idempotency key is not valid";
        Self::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", title, detail)
    }

    pub fn no_idempotency_key() -> Self {
        let detail = "send a header Idempotency-Key that is new for each charge and the same for its repeats";
        let title = "an idempotency key is required";
        Self::new(StatusCode::BAD_REQUEST, "idempotency_key_required", title, detail)
    }

    pub fn malformed(error: &serde_json::Error) -> Self {
        let detail = format!("the body is not JSON: {error}");
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", "the body is not JSON", detail)
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.first() {
            Some(first) if first.pointer.is_empty() => first.detail.clone(),
            Some(first) => format!("{}: {}", first.pointer, first.detail),
            None => String::new(),
        };
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", "the request is not valid", detail).with(errors)
    }

    pub fn wrong_type(expected: &str) -> Self {
        let detail = format!("the body must be {expected}, in UTF-8, and its Content-Type must say so");
        let title = "the body is of another type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", title, detail)
    }

    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body may have {limit} bytes at most");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large", detail)
    }

    pub fn broken_body() -> Self {
        let detail = "the connection broke while the body was read";
        Self::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body is incomplete", detail)
    }

    pub fn slow_body() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body came too slowly", detail)
    }

    pub fn draining() -> Self {
        let detail = "the host is about to end: what is asked now is answered, but ask another one";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "the host is about to end", detail)
    }

    pub fn clock_goes_back(now: Timestamp) -> Self {
        let detail = format!("the test clock stands at {now} and only moves forward");
        Self::new(StatusCode::CONFLICT, "clock_goes_back", "the clock only moves forward", detail)
    }
}

/// The one place where the engine's errors become statuses and codes.
impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        use StatusCode as S;
        let detail = error.to_string();
        let problem = |status, code, title| Self::new(status, code, title, detail.clone());
        match error {
            EngineError::CustomerNotFound(_) => problem(S::NOT_FOUND, "customer_not_found", "not found"),
            EngineError::PlanNotFound(_) => problem(S::NOT_FOUND, "plan_not_found", "not found"),
            EngineError::PolicyNotFound(_) => problem(S::NOT_FOUND, "policy_not_found", "not found"),
            EngineError::VersionNotFound(..) => problem(S::NOT_FOUND, "version_not_found", "not found"),
            EngineError::TermsNotFound => problem(S::NOT_FOUND, "terms_not_found", "not found"),
            EngineError::FeatureNotFound(_) => problem(S::NOT_FOUND, "feature_not_found", "not found"),
            EngineError::ApiKeyNotFound => problem(S::NOT_FOUND, "api_key_not_found", "not found"),
            EngineError::PlanIntervalFixed => {
                problem(S::CONFLICT, "plan_interval_fixed", "the plan's interval is fixed")
            }
            EngineError::NoTermsInForce => problem(S::CONFLICT, "no_terms_in_force", "nothing can be rated"),
            EngineError::NotEntitled(..) => {
                problem(S::PAYMENT_REQUIRED, "not_entitled", "the feature is switched off")
            }
            EngineError::IdempotencyKeyReused => {
                problem(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "the idempotency key is taken")
            }
            EngineError::SettingsInvalid(problems) => {
                let at = |problem: proviso_ledger::model::answers::SettingsProblem| {
                    FieldError::new(format!("/settings{}", problem.pointer), problem.detail)
                };
                problem(S::UNPROCESSABLE_ENTITY, "settings_invalid", "the policy refuses these settings")
                    .with(problems.into_iter().map(at).collect())
            }
            EngineError::PolicyRejected(rejection) => {
                let findings = rejection.0.into_iter();
                let errors = findings.map(|finding| FieldError {
                    pointer: finding.place,
                    detail: finding.detail,
                    code: Some(finding.code),
                });
                problem(S::UNPROCESSABLE_ENTITY, "policy_rejected", "the module is refused")
                    .with(errors.collect())
            }
            EngineError::OccurredInFuture(_) => {
                problem(S::BAD_REQUEST, "occurred_at_in_future", "the usage lies in the future")
                    .with(vec![FieldError::new("/occurred_at", detail)])
            }
            EngineError::OccurredTooOld(_) => {
                problem(S::BAD_REQUEST, "occurred_at_too_old", "the usage lies too far back")
                    .with(vec![FieldError::new("/occurred_at", detail)])
            }
            EngineError::Rejected(rejection) => rejection.into(),
            EngineError::Overloaded => problem(S::SERVICE_UNAVAILABLE, "overloaded", "try again shortly"),
            EngineError::Contention => problem(S::SERVICE_UNAVAILABLE, "contention", "try again shortly"),
            EngineError::ShuttingDown => {
                problem(S::SERVICE_UNAVAILABLE, "shutting_down", "try again shortly")
            }
            EngineError::Store(error) => error.into(),
            EngineError::Damaged(..) | EngineError::Module(_) | EngineError::Internal(_) => {
                Self::internal(detail)
            }
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        use StatusCode as S;
        let detail = rejection.to_string();
        let problem = |status, code, title| Self::new(status, code, title, detail.clone());
        match rejection {
            Rejection::CustomerClosed => problem(S::CONFLICT, "customer_closed", "the customer is closed"),
            Rejection::GrantNotFound(_) => problem(S::NOT_FOUND, "grant_not_found", "not found"),
            Rejection::GrantClosed(_) => problem(S::CONFLICT, "grant_closed", "the grant is closed"),
            Rejection::ReservationNotFound(_) => problem(S::NOT_FOUND, "reservation_not_found", "not found"),
            Rejection::ReservationClosed(_) => {
                problem(S::CONFLICT, "reservation_closed", "the reservation is closed")
            }
            Rejection::TermsNotFound => problem(S::NOT_FOUND, "terms_not_found", "not found"),
            Rejection::TermsEnded(_) => problem(S::CONFLICT, "terms_ended", "the terms ended before"),
            Rejection::NotLater(field, _) => {
                problem(S::BAD_REQUEST, "invalid_request", "the request is not valid")
                    .with(vec![FieldError::new(format!("/{field}"), detail)])
            }
            Rejection::AmountOutOfRange(field) => {
                problem(S::BAD_REQUEST, "invalid_request", "the request is not valid")
                    .with(vec![FieldError::new(format!("/{field}"), detail)])
            }
            Rejection::TotalOutOfRange => {
                problem(S::UNPROCESSABLE_ENTITY, "total_out_of_range", "a total would go out of range")
            }
            Rejection::TooMany(..) => problem(S::CONFLICT, "too_many", "the customer has too many of these"),
            Rejection::AdjustmentExceedsAvailable(_) => {
                problem(S::CONFLICT, "adjustment_exceeds_available", "less is available")
                    .with(vec![FieldError::new("/amount", detail)])
            }
            Rejection::NoPeriod => problem(S::CONFLICT, "no_period", "there is no period to reset"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. }
            | StoreError::DiskFull
            | StoreError::Refused { .. }
            | StoreError::Unsupported { .. }
            | StoreError::Standby
            | StoreError::Closed => {
                error!(%error, "the database can't be used");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "storage_unavailable",
                    "try again shortly",
                    "the database can't be used at the moment",
                )
            }
            StoreError::Corrupt { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::OlderSchema { .. }
            | StoreError::Locked { .. }
            | StoreError::ReadOnly
            | StoreError::NoArchive
            | StoreError::NotEmpty { .. }
            | StoreError::Address { .. } => Self::internal(error.to_string()),
        }
    }
}
