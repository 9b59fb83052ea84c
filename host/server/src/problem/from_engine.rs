//! The one place where the engine's errors become problems. Details that callers must not see go to the log.

use super::{Problem, Short};
use proviso_api::{ProblemCode as C, problem::FieldError};
use proviso_engine::{DecideError, EngineError, StoreError};
use proviso_ledger::{model::terms::TermsError, rules::rejection::Rejection};
use tracing::error;

/// The code of an error.
#[must_use]
pub fn code_of(error: &EngineError) -> C {
    match error {
        EngineError::Decide(error) => code_of_decision(error),
        EngineError::Within(_, error) => code_of(error),
        EngineError::PolicyNotFound(_) => C::PolicyNotFound,
        EngineError::VersionNotFound(..) => C::VersionNotFound,
        EngineError::TermsNotFound => C::TermsNotFound,
        EngineError::NotAShadow => C::NotAShadow,
        EngineError::NotACanary => C::NotACanary,
        EngineError::CanaryRunning(_) => C::CanaryRunning,
        EngineError::CanaryAlone(_) => C::CanaryAlone,
        EngineError::CanaryShareLower(_) => C::CanaryShareLower,
        EngineError::BacktestNotFound => C::BacktestNotFound,
        EngineError::ApiKeyNotFound => C::ApiKeyNotFound,
        EngineError::PlanIntervalFixed => C::PlanIntervalFixed,
        EngineError::TrialOfItself | EngineError::ProductIncomplete(_) | EngineError::ProductInvalid(..) => {
            C::InvalidRequest
        }
        EngineError::IdempotencyKeyReused => C::IdempotencyKeyReused,
        EngineError::SettingsInvalid(_) => C::SettingsInvalid,
        EngineError::CandidateRefused(_) => C::SettingsInvalid,
        EngineError::SignatureRequired => C::SignatureRequired,
        EngineError::SignatureInvalid => C::SignatureInvalid,
        EngineError::PolicyRejected(_) => C::PolicyRejected,
        EngineError::NewerFormat(_) => C::NewerFormat,
        EngineError::Overloaded => C::Overloaded,
        EngineError::TooMuchWork => C::TooMuchWork,
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
            | StoreError::NoBackup
            | StoreError::NotEmpty { .. }
            | StoreError::Address { .. } => C::InternalError,
        },
        EngineError::Damaged(..) | EngineError::Module(_) | EngineError::Internal(_) => C::InternalError,
    }
}

fn code_of_decision(error: &DecideError) -> C {
    match error {
        DecideError::CustomerNotFound(_) => C::CustomerNotFound,
        DecideError::PlanNotFound(_) => C::PlanNotFound,
        DecideError::PlanVersionNotFound(..) => C::PlanVersionNotFound,
        DecideError::FeatureNotFound(_) => C::FeatureNotFound,
        DecideError::NoTermsInForce => C::NoTermsInForce,
        DecideError::ChangedMeanwhile => C::ChangedMeanwhile,
        DecideError::TrialUsed(..) => C::TrialUsed,
        DecideError::CustomerExists(_) | DecideError::ImportExists(..) => C::CustomerExists,
        DecideError::AddOnNotFound(_) => C::AddOnNotFound,
        DecideError::AddOnWithdrawn(_) => C::AddOnWithdrawn,
        DecideError::AddOnVersionNotSold(..) => C::AddOnVersionNotSold,
        DecideError::BundleNotFound(_) => C::BundleNotFound,
        DecideError::BundleWithdrawn(_) => C::BundleWithdrawn,
        DecideError::PromotionNotFound(_) => C::PromotionNotFound,
        DecideError::PromotionNotStarted(..) => C::PromotionNotStarted,
        DecideError::PromotionEnded(..) => C::PromotionEnded,
        DecideError::PromotionNotForPlan(_) => C::PromotionNotForPlan,
        DecideError::PromotionExhausted(..) => C::PromotionExhausted,
        DecideError::OverrideIncomplete
        | DecideError::BudgetIncomplete(_)
        | DecideError::AutoTopUpIncomplete(_)
        | DecideError::AddOnQuantity(_)
        | DecideError::PreviewTooFar => C::InvalidRequest,
        DecideError::OccurredInFuture(_) => C::OccurredAtInFuture,
        DecideError::OccurredTooOld(_) => C::OccurredAtTooOld,
        DecideError::Rejected(rejection) => match rejection {
            Rejection::CustomerClosed => C::CustomerClosed,
            Rejection::EntityNotFound(_) => C::EntityNotFound,
            Rejection::EntityInUse(..) => C::EntityInUse,
            Rejection::EntityAboveItself(_) | Rejection::TreeTooDeep(_) => C::InvalidRequest,
            Rejection::BudgetNotFound(_) => C::BudgetNotFound,
            Rejection::GrantNotFound(_) => C::GrantNotFound,
            Rejection::GrantClosed(_) => C::GrantClosed,
            Rejection::ReservationNotFound(_) => C::ReservationNotFound,
            Rejection::ReservationClosed(_) => C::ReservationClosed,
            Rejection::ReservationTooLong(..) => C::ReservationTooLong,
            Rejection::LeaseNotFound(_) => C::LeaseNotFound,
            Rejection::LeaseClosed(_) => C::LeaseClosed,
            Rejection::LeaseTooLong(..) => C::LeaseTooLong,
            Rejection::LeaseExceedsAvailable { .. } => C::InsufficientCredits,
            Rejection::LeaseOverBudget { .. } => C::BudgetExceeded,
            Rejection::TermsNotFound => C::TermsNotFound,
            Rejection::TermsEnded(_) => C::TermsEnded,
            Rejection::NotLater(..)
            | Rejection::AmountOutOfRange(_)
            | Rejection::MoreUsedThanGranted(_)
            | Rejection::MorePaidThanCost(_) => C::InvalidRequest,
            Rejection::TotalOutOfRange => C::TotalOutOfRange,
            Rejection::TooMany(..) | Rejection::LastRefund(..) => C::TooMany,
            Rejection::TooLarge(..) => C::TooLarge,
            Rejection::AdjustmentExceedsAvailable(_) => C::AdjustmentExceedsAvailable,
            Rejection::ChargeNotFound(_) => C::ChargeNotFound,
            Rejection::RefundExceedsCharge(_) | Rejection::RefundExceedsQuantity(..) => {
                C::RefundExceedsCharge
            }
            Rejection::RefundNotDivisible => C::RefundNotDivisible,
            Rejection::RefundedMeanwhile => C::Contention,
            Rejection::NoPeriod => C::NoPeriod,
            Rejection::Terms(TermsError::ContractFixed { .. }) => C::ContractFixed,
            Rejection::Terms(_) | Rejection::TooEarly(..) => C::InvalidRequest,
            Rejection::NothingMissed(_) => C::NothingMissed,
            Rejection::StillFails(..) => C::StillFails,
            Rejection::PlanUnchanged => C::PlanUnchanged,
            Rejection::NoPeriodEnd => C::NoPeriodEnd,
            Rejection::PlanChangePending => C::PlanChangePending,
            Rejection::PlanChangeNotFound(_) => C::PlanChangeNotFound,
            Rejection::ThresholdOutOfRange | Rejection::TargetNotAbove(_) => C::InvalidRequest,
            Rejection::AutoTopUpNotFound(_) => C::AutoTopUpNotFound,
            Rejection::TopUpNotFound(_) => C::TopUpNotFound,
            Rejection::TopUpClosed(..) => C::TopUpClosed,
            Rejection::TopUpPending(_) => C::TopUpPending,
            Rejection::AlreadyRedeemed(_) => C::AlreadyRedeemed,
            Rejection::AddOnNotAttached(_) => C::AddOnNotAttached,
            Rejection::AddOnBegun => C::InvalidRequest,
        },
        DecideError::UpgradeUnfinished { .. } => C::UpgradeUnfinished,
        DecideError::TermsGone(_) | DecideError::Internal(_) => C::InternalError,
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let error = match error {
            EngineError::Within(place, error) => return Self::from(*error).within(&place),
            error => error,
        };
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
        let short = match &error {
            EngineError::Decide(DecideError::Rejected(rejection)) => Short::of(rejection),
            _ => None,
        };
        let errors = fields(error, &detail);
        let mut problem = Self::new(code, detail).with(errors);
        problem.0.short = short;
        problem
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        EngineError::from(error).into()
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
        EngineError::Decide(DecideError::OccurredInFuture(_) | DecideError::OccurredTooOld(_)) => {
            one("/occurred_at")
        }
        EngineError::CanaryShareLower(_) => one("/share_percent"),
        EngineError::TrialOfItself => one("/trial/then/plan"),
        EngineError::ProductIncomplete(field) | EngineError::ProductInvalid(field, _) => {
            one(&format!("/{field}"))
        }
        EngineError::Decide(DecideError::OverrideIncomplete) => one("/type"),
        EngineError::Decide(
            DecideError::BudgetIncomplete(field) | DecideError::AutoTopUpIncomplete(field),
        ) => one(&format!("/{field}")),
        EngineError::Decide(DecideError::PreviewTooFar) => one("/when"),
        EngineError::Decide(DecideError::AddOnQuantity(_)) => one("/quantity"),
        EngineError::Decide(DecideError::Rejected(rejection)) => match rejection {
            Rejection::NotLater(field, _)
            | Rejection::TooEarly(field, _)
            | Rejection::AmountOutOfRange(field) => one(&format!("/{field}")),
            Rejection::AddOnBegun => one("/starts_at"),
            Rejection::MoreUsedThanGranted(_) => one("/used"),
            Rejection::MorePaidThanCost(_) => one("/paid"),
            Rejection::Terms(TermsError::EndsBeforeStart(_)) => one("/ends_at"),
            Rejection::Terms(TermsError::ContractEnds(_)) => one("/contract/end"),
            Rejection::Terms(TermsError::ContractFixed { .. }) => one("/contract"),
            Rejection::EntityAboveItself(_) | Rejection::TreeTooDeep(_) => one("/parent"),
            Rejection::AdjustmentExceedsAvailable(_) => one("/amount"),
            Rejection::ThresholdOutOfRange => one("/threshold"),
            Rejection::TargetNotAbove(_) => one("/target"),
            Rejection::ReservationTooLong(..) | Rejection::LeaseTooLong(..) => one("/ttl_seconds"),
            Rejection::RefundExceedsQuantity(name, _) => {
                one(&format!("/quantities/{}", name.replace('~', "~0").replace('/', "~1")))
            }
            Rejection::RefundNotDivisible => one("/quantities"),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
