//! Why the engine does not carry a request out. None of these is written to a journal.

use proviso_ledger::{
    decision::Problem,
    error::{FoldError, Rejection},
    ids::{CustomerId, Key, Name},
    time::Timestamp,
};
use proviso_policy::Rejection as ModuleRejection;
use proviso_store::StoreError;

/// One error of the engine; each says whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody knows this customer.
    #[error("there is no customer {0}")]
    CustomerNotFound(CustomerId),
    /// Nobody knows this plan.
    #[error("there is no plan {0}")]
    PlanNotFound(Name),
    /// Nobody knows this policy.
    #[error("there is no policy {0}")]
    PolicyNotFound(Name),
    /// Nobody knows this version, or it was deleted.
    #[error("policy {0} has no version {1}")]
    VersionNotFound(Name, u32),
    /// Nobody knows these terms.
    #[error("there are no such terms")]
    TermsNotFound,
    /// Nobody knows this feature, neither the plan nor an override.
    #[error("neither the plan nor an override knows feature {0}")]
    FeatureNotFound(Key),
    /// Nobody knows this API key.
    #[error("there is no such API key")]
    ApiKeyNotFound,
    /// A plan's interval is fixed once it exists, since periods are counted by it.
    #[error("a plan's interval can't change; make a new plan and move its customers")]
    PlanIntervalFixed,
    /// No terms are in force, so nothing can be rated.
    #[error("no terms are in force for this customer: bind a policy to it or to its plan")]
    NoTermsInForce,
    /// The customer is not entitled to the feature.
    #[error("{0} is switched off for this customer by its {1}")]
    NotEntitled(Key, &'static str),
    /// The same idempotency key came with another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// What is in force is not what the caller expects.
    #[error("it is no longer as the caller expects: read it again")]
    ChangedMeanwhile,
    /// A new override that does not say what the customer is entitled to.
    #[error("is missing: the customer has no override of this feature yet")]
    OverrideIncomplete,
    /// The settings are not what the policy takes.
    #[error("the policy refuses these settings")]
    SettingsInvalid(Vec<Problem>),
    /// The module is refused.
    #[error("the module is refused")]
    PolicyRejected(ModuleRejection),
    /// A usage lies too far ahead.
    #[error("occurred_at is over 5 minutes ahead of {0}")]
    OccurredInFuture(Timestamp),
    /// A usage lies too far back.
    #[error("occurred_at is before {0}, when the window for late usage begins")]
    OccurredTooOld(Timestamp),
    /// The ledger can't carry the command out as given.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too much waits already. A retry can help.
    #[error("the host is busy; try again shortly")]
    Overloaded,
    /// Other hosts kept winning the same customer. A retry can help.
    #[error("too many hosts write this customer at once; try again shortly")]
    Contention,
    /// The host is shutting down. A retry elsewhere, or later, can help.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The database. A retry can help when [`StoreError::is_retryable`] says so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal of a customer does not fold.
    #[error("the journal of customer {0} is damaged: {1}")]
    Damaged(CustomerId, FoldError),
    /// A stored policy module can't be run.
    #[error("a policy module can't be loaded: {0}")]
    Module(String),
    /// A defect of the host.
    #[error("internal error: {0}")]
    Internal(String),
}
