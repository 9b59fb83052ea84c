//! The one place where the engine's errors become problems. Details that callers must not see go to the log.

use super::Problem;
use proviso_api::{ProblemCode as C, problem::FieldError};
use proviso_engine::{EngineError, StoreError};
use proviso_ledger::error::Rejection;
use tracing::error;

/// The code of an error.
#[must_use]
pub fn code_of(error: &EngineError) -> C {
    match error {
        EngineError::CustomerNotFound(_) => C::CustomerNotFound,
        EngineError::PlanNotFound(_) => C::PlanNotFound,
        EngineError::PolicyNotFound(_) => C::PolicyNotFound,
        EngineError::VersionNotFound(..) => C::VersionNotFound,
        EngineError::TermsNotFound => C::TermsNotFound,
        EngineError::FeatureNotFound(_) => C::FeatureNotFound,
        EngineError::ApiKeyNotFound => C::ApiKeyNotFound,
        EngineError::PlanIntervalFixed => C::PlanIntervalFixed,
        EngineError::NoTermsInForce => C::NoTermsInForce,
        EngineError::NotEntitled(..) => C::NotEntitled,
        EngineError::IdempotencyKeyReused => C::IdempotencyKeyReused,
        EngineError::ChangedMeanwhile => C::ChangedMeanwhile,
        EngineError::OverrideIncomplete => C::InvalidRequest,
        EngineError::SettingsInvalid(_) => C::SettingsInvalid,
        EngineError::PolicyRejected(_) => C::PolicyRejected,
        EngineError::OccurredInFuture(_) => C::OccurredAtInFuture,
        EngineError::OccurredTooOld(_) => C::OccurredAtTooOld,
        EngineError::Rejected(rejection) => match rejection {
            Rejection::CustomerClosed => C::CustomerClosed,
            Rejection::GrantNotFound(_) => C::GrantNotFound,
            Rejection::GrantClosed(_) => C::GrantClosed,
            Rejection::ReservationNotFound(_) => C::ReservationNotFound,
            Rejection::ReservationClosed(_) => C::ReservationClosed,
            Rejection::TermsNotFound => C::TermsNotFound,
            Rejection::TermsEnded(_) => C::TermsEnded,
            Rejection::NotLater(..) | Rejection::AmountOutOfRange(_) => C::InvalidRequest,
            Rejection::TotalOutOfRange => C::TotalOutOfRange,
            Rejection::TooMany(..) => C::TooMany,
            Rejection::AdjustmentExceedsAvailable(_) => C::AdjustmentExceedsAvailable,
            Rejection::NoPeriod => C::NoPeriod,
        },
        EngineError::Overloaded => C::Overloaded,
        EngineError::Contention => C::Contention,
        EngineError::ShuttingDown => C::ShuttingDown,
        EngineError::Store(error) => match error {
            StoreError::Unavailable { .. }
            | StoreError::DiskFull
            | StoreError::Refused { .. }
            | StoreError::Unsupported { .. }
            | StoreError::Standby
            | StoreError::Closed => C::StorageUnavailable,
            StoreError::Corrupt { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::OlderSchema { .. }
            | StoreError::Locked { .. }
            | StoreError::ReadOnly
            | StoreError::NoArchive
            | StoreError::NotEmpty { .. }
            | StoreError::Address { .. } => C::InternalError,
        },
        EngineError::Damaged(..) | EngineError::Module(_) | EngineError::Internal(_) => C::InternalError,
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let code = code_of(&error);
        match code {
            C::InternalError => return Self::internal(error.to_string()),
            C::StorageUnavailable => {
                error!(%error, "the database can't be used");
                return Self::new(code, "the database can't be used at the moment");
            }
            _ => {}
        }
        let detail = error.to_string();
        let errors = fields(error, &detail);
        Self::new(code, detail).with(errors)
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        EngineError::from(rejection).into()
    }
}

/// The fields of the request that an error is about.
fn fields(error: EngineError, detail: &str) -> Vec<FieldError> {
    let one = |pointer: &str| vec![FieldError::new(pointer, detail)];
    match error {
        EngineError::SettingsInvalid(problems) => problems
            .into_iter()
            .map(|problem| FieldError::new(format!("/settings{}", problem.pointer), problem.detail))
            .collect(),
        EngineError::PolicyRejected(rejection) => {
            let findings = rejection.0.into_iter();
            let finding =
                |pointer, detail, code: &'static str| FieldError { pointer, detail, code: Some(code.into()) };
            findings.map(|found| finding(found.place, found.detail, found.code)).collect()
        }
        EngineError::OccurredInFuture(_) | EngineError::OccurredTooOld(_) => one("/occurred_at"),
        EngineError::OverrideIncomplete => one("/type"),
        EngineError::Rejected(Rejection::NotLater(field, _) | Rejection::AmountOutOfRange(field)) => {
            one(&format!("/{field}"))
        }
        EngineError::Rejected(Rejection::AdjustmentExceedsAvailable(_)) => one("/amount"),
        _ => Vec::new(),
    }
}
