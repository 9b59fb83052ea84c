//! Why a command is not carried out as given. Nothing is written then.

use proviso_ledger::{
    model::{
        ids::{CustomerId, Key, Name},
        terms::TermsKey,
        time::Timestamp,
    },
    rules::rejection::Rejection,
};

/// One reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecideError {
    /// Nobody knows this customer.
    #[error("there is no customer {0}")]
    CustomerNotFound(CustomerId),
    /// Nobody knows this plan.
    #[error("there is no plan {0}")]
    PlanNotFound(Name),
    /// No such version of a plan.
    #[error("plan {0} has no version {1}")]
    PlanVersionNotFound(Name, u32),
    /// Neither the plan nor an override knows this feature.
    #[error("neither the plan nor an override knows feature {0}")]
    FeatureNotFound(Key),
    /// No terms are in force, so nothing can be rated.
    #[error("no terms are in force for this customer: bind a policy to it or to its plan")]
    NoTermsInForce,
    /// A usage lies too far ahead.
    #[error("occurred_at is over 5 minutes ahead of {0}")]
    OccurredInFuture(Timestamp),
    /// A usage lies too far back.
    #[error("occurred_at is before {0}, when the window for late usage begins")]
    OccurredTooOld(Timestamp),
    /// What is in force is not what the caller expects.
    #[error("it is no longer as the caller expects: read it again")]
    ChangedMeanwhile,
    /// A plan for a trial that the customer has had.
    #[error("the customer's trial of {0} ended at {1}")]
    TrialUsed(Name, Timestamp),
    /// A new override that does not say what the customer is entitled to.
    #[error("is missing: the customer has no override of this feature yet")]
    OverrideIncomplete,
    /// A new budget that lacks this field.
    #[error("is missing: the customer has no such budget yet")]
    BudgetIncomplete(&'static str),
    /// A new rule for top-ups that lacks this field.
    #[error("is missing: no rule says yet when these credits are topped up")]
    AutoTopUpIncomplete(&'static str),
    /// A change of plan whose preview would have to look ahead over too many periods.
    #[error("lies too many periods ahead for a preview")]
    PreviewTooFar,
    /// An import of a customer that is there already, and is another one.
    #[error(
        "the customer {0} exists and is not as the import has it: an import changes no customer that exists"
    )]
    CustomerExists(CustomerId),
    /// The ledger can't carry the command out as given.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Terms that an open reservation names are not there.
    #[error("terms {0} are gone")]
    TermsGone(TermsKey),
    /// It needs an entry that older hosts, which are still at work, could not read.
    #[error(
        "hosts that read entries up to format {newest} are at work, and this needs format {needed}: upgrade them first"
    )]
    UpgradeUnfinished {
        /// The format of the entry.
        needed: u32,
        /// The newest that may be written.
        newest: u32,
    },
    /// A defect of the host.
    #[error("internal error: {0}")]
    Internal(String),
}
