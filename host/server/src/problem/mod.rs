//! Every way to refuse a request, as RFC 9457 problem details with a stable `code`.

mod from_engine;
mod of_request;

pub use from_engine::code_of;

use crate::wire;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    ProblemCode,
    decision::Late,
    problem::{FieldError, ProblemDetails},
};
use proviso_ledger::{
    journal::{Entry, Event, OverBudget, Refused},
    model::{amounts::Credits, grant::CreditType, time::Timestamp},
    rules::rejection::Rejection,
};
use std::{borrow::Cow, sync::Arc};

/// A request that is not carried out.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    status: u16,
    detail: String,
    errors: Vec<FieldError>,
    /// The entry that records the refusal, if it is in the journal.
    refusal: Option<Arc<Entry>>,
    replayed: bool,
    /// What is missing, where the journal does not say it.
    short: Option<Short>,
    /// After how many seconds another attempt may succeed.
    retry_after_seconds: Option<u64>,
    /// What goes to the log, and not to the caller.
    defect: Option<String>,
}

/// What a hold that was refused would have needed.
#[derive(Debug, Clone)]
enum Short {
    Credits { credit: CreditType, required: Credits, available: Credits },
    Budget { over: Box<OverBudget>, retry_at: Option<Timestamp> },
}

impl Short {
    fn of(rejection: &Rejection) -> Option<Self> {
        match rejection {
            Rejection::LeaseExceedsAvailable { credit, required, available } => {
                Some(Self::Credits { credit: credit.clone(), required: *required, available: *available })
            }
            Rejection::LeaseOverBudget { over, retry_at } => {
                Some(Self::Budget { over: over.clone(), retry_at: *retry_at })
            }
            _ => None,
        }
    }
}

/// A code of the published list, or a policy's own.
#[derive(Debug, Clone)]
enum Code {
    Listed(ProblemCode),
    OfPolicy(String),
}

impl Problem {
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code: Code::Listed(code),
            status: code.status(),
            detail: detail.into(),
            errors: Vec::new(),
            refusal: None,
            replayed: false,
            short: None,
            retry_after_seconds: (code.status() == 503).then_some(1),
            defect: None,
        }))
    }

    /// A defect, which is told to the log only.
    pub fn internal(defect: String) -> Self {
        let detail = "this is not your mistake; what happened is in the server's log";
        let mut problem = Self::new(ProblemCode::InternalError, detail);
        problem.0.defect = Some(defect);
        problem
    }

    /// The refusal of a charge, as the journal has it.
    pub fn refused(entry: &Arc<Entry>, replayed: bool) -> Self {
        let Some(refused) = refusal(entry) else {
            return Self::internal(format!("entry {} is no refusal", entry.seq));
        };
        let code = match ProblemCode::of_refusal(&refused.code, refused.by_policy) {
            Ok(code) => Code::Listed(code),
            Err(own) => Code::OfPolicy(own.to_owned()),
        };
        Self(Box::new(Inner {
            code,
            // A policy may answer any code: its status says whether more credits, or another time, may help.
            status: if refused.invalid {
                ProblemCode::NAMED_BY_BODY
            } else {
                StatusCode::PAYMENT_REQUIRED.as_u16()
            },
            detail: refused.detail.clone(),
            errors: Vec::new(),
            refusal: Some(entry.clone()),
            replayed,
            short: None,
            retry_after_seconds: None,
            defect: None,
        }))
    }

    pub fn with(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The same, where the body and not the path names what does not exist.
    pub fn named_by(mut self, pointer: &str) -> Self {
        self.0.errors = vec![FieldError::new(pointer, self.0.detail.clone())];
        self.0.status = ProblemCode::NAMED_BY_BODY;
        self
    }

    /// The same, about the field at `pointer` where it names none.
    pub fn about(mut self, pointer: &str) -> Self {
        if self.0.errors.is_empty() && self.0.status < 500 {
            self.0.errors = vec![FieldError::new(pointer, self.0.detail.clone())];
        }
        self
    }

    /// The same, about the part of the request at `place`, a JSON pointer.
    pub fn within(mut self, place: &str) -> Self {
        for error in &mut self.0.errors {
            error.pointer.insert_str(0, place);
        }
        self
    }

    /// The same, in a request in which the field at `from` has the pointer `to`.
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        for error in self.0.errors.iter_mut().filter(|error| error.pointer == from) {
            to.clone_into(&mut error.pointer);
        }
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn code(&self) -> &str {
        match &self.0.code {
            Code::Listed(code) => code.as_str(),
            Code::OfPolicy(code) => code,
        }
    }

    /// Whether an earlier request with the same key was answered so.
    pub fn is_replay(&self) -> bool {
        self.0.replayed
    }

    /// After how many seconds another attempt may succeed; `None` when it won't without a change.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after_seconds
    }

    /// The same, for which another attempt may succeed after so long.
    pub fn retry_after_seconds_of(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// What goes to the log.
    pub fn defect(&self) -> Option<&str> {
        self.0.defect.as_deref()
    }

    /// The body of the answer; `instance` is the path of the request.
    pub fn details<'a>(&'a self, instance: &'a str) -> ProblemDetails<'a> {
        let Inner { code, status, detail, errors, refusal: entry, .. } = &*self.0;
        let title = match code {
            Code::Listed(code) => code.title(),
            Code::OfPolicy(_) => ProblemCode::PolicyDenied.title(),
        };
        let refused = entry.as_deref().and_then(refusal);
        let decision = refused.and_then(|refused| refused.decision.as_ref());
        let short = self.0.short.as_ref();
        let (credit, required, available) = match short {
            Some(Short::Credits { credit, required, available }) => {
                (Some(credit.clone()), Some(*required), Some(*available))
            }
            _ => (None, None, None),
        };
        let (over, open_again) = match short {
            Some(Short::Budget { over, retry_at }) => (Some(&**over), *retry_at),
            _ => (None, None),
        };
        ProblemDetails {
            r#type: format!("urn:proviso:problem:{}", self.code()),
            title: Cow::Borrowed(title),
            status: *status,
            detail: Cow::Borrowed(detail),
            instance: Cow::Borrowed(instance),
            code: Cow::Borrowed(self.code()),
            policy_code: refused.filter(|one| one.code != self.code()).map(|one| Cow::Borrowed(&*one.code)),
            errors: Cow::Borrowed(errors),
            required: refused
                .map(|refused| refused.rated.as_ref().map_or(Credits::ZERO, |rated| rated.cost))
                .or(required),
            available: refused.map(|refused| refused.available).or(available),
            credit: entry
                .as_deref()
                .and_then(|entry| Some(entry.after.as_ref()?.balance.credit.clone()))
                .or(credit),
            retry_at: refused.and_then(|refused| refused.retry_at).or(open_again),
            next_reset_at: entry.as_deref().and_then(|entry| entry.after.as_ref()?.next_reset_at),
            source: refused.and_then(|refused| refused.source),
            over_budget: refused
                .and_then(|refused| refused.over_budget.as_deref())
                .or(over)
                .map(wire::over_budget)
                .unwrap_or_default(),
            offers: refused
                .map(|refused| refused.offers.iter().map(wire::offer).collect())
                .unwrap_or_default(),
            pending_top_up: refused.and_then(|refused| refused.pending_top_up).map(wire::pending_top_up),
            suggestions: refused
                .map(|refused| refused.suggestions.iter().map(wire::suggestion).collect())
                .unwrap_or_default(),
            late: refused.and_then(|refused| refused.late).map(|period| Late { period }),
            policy: decision.map(|decision| wire::deciding_policy(&decision.policy)),
            entry: entry.as_ref().map(|entry| entry.seq),
            degraded: decision.map(|decision| decision.fault.is_some()),
            retry_after_seconds: self.retry_after_seconds(),
        }
    }
}

impl IntoResponse for Problem {
    /// The body is written by the middleware, which knows the path.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The code that a refusal is answered with, as text.
pub fn refusal_code(code: &str, by_policy: bool) -> &str {
    match ProblemCode::of_refusal(code, by_policy) {
        Ok(code) => code.as_str(),
        Err(own) => own,
    }
}

fn refusal(entry: &Entry) -> Option<&Refused> {
    match &entry.event {
        Event::Refused(refused) => Some(refused),
        _ => None,
    }
}
