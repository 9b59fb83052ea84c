//! Why the engine does not carry a request out. None of these is written to a journal.

use proviso_decide::DecideError;
use proviso_ledger::{
    fold::FoldError,
    model::{
        amounts::Percent,
        answers::SettingsProblem,
        ids::{CustomerId, Name, TermsId},
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_policy::Rejection as ModuleRejection;
use proviso_store::StoreError;

/// One error of the engine; each says whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A command can't be carried out as given.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// Nobody knows this policy.
    #[error("there is no policy {0}")]
    PolicyNotFound(Name),
    /// Nobody knows this version, or it was deleted.
    #[error("policy {0} has no version {1}")]
    VersionNotFound(Name, u32),
    /// Nobody knows these terms.
    #[error("there are no such terms")]
    TermsNotFound,
    /// These terms decide: only what shadows would have changed is compared.
    #[error("these terms are no shadow: they decide")]
    NotAShadow,
    /// These terms are no canary.
    #[error("these terms are no canary: they were bound for all of the plan's customers")]
    NotACanary,
    /// Another canary of the plan has not come to its end.
    #[error("canary {0} of this plan is under way: end it, or raise its share to 100 %, first")]
    CanaryRunning(TermsId),
    /// Nothing would decide for the customers that a canary leaves out.
    #[error("no terms decide for the plan's other customers at {0}: bind some first")]
    CanaryAlone(Timestamp),
    /// A canary's share only grows.
    #[error("must not be below {0} %, which the canary has: a share only grows")]
    CanaryShareLower(Percent),
    /// This host knows no such backtest.
    #[error("this host knows no such backtest")]
    BacktestNotFound,
    /// Nobody knows this API key.
    #[error("there is no such API key")]
    ApiKeyNotFound,
    /// A plan's interval is fixed once it exists, since periods are counted by it.
    #[error("a plan's interval can't change; make a new plan and move its customers")]
    PlanIntervalFixed,
    /// A new product that lacks this field.
    #[error("is missing: there is no such product yet")]
    ProductIncomplete(&'static str),
    /// A field of a product that can't be so: which, and why.
    #[error("{1}")]
    ProductInvalid(&'static str, String),
    /// A trial whose end would change to the plan that it is a trial of.
    #[error("must be another plan; `stay` keeps the customer on this one")]
    TrialOfItself,
    /// An error of one part of a request, which has this JSON pointer.
    #[error("{1}")]
    Within(String, Box<EngineError>),
    /// The same idempotency key came with another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// The settings are not what the policy takes.
    #[error("the policy refuses these settings")]
    SettingsInvalid(Vec<SettingsProblem>),
    /// A candidate can't stand in for these terms.
    #[error("the candidate can't stand in for {0}")]
    CandidateRefused(String),
    /// The host takes signed modules only.
    #[error(
        "this host takes signed modules only: send the header Proviso-Signature, as `proviso policy push --sign` does"
    )]
    SignatureRequired,
    /// A signature by none of the keys that the host was given, or of another module.
    #[error("the signature is not one of this module by a key that this host knows")]
    SignatureInvalid,
    /// The module is refused.
    #[error("the module is refused")]
    PolicyRejected(ModuleRejection),
    /// Too much waits already. A retry can help.
    #[error("the host is busy; try again shortly")]
    Overloaded,
    /// A question that would take more work than one request may.
    #[error(
        "the policies that are asked burn more than one request may: ask about fewer customers or features"
    )]
    TooMuchWork,
    /// Other hosts kept winning the same customer. A retry can help.
    #[error("too many hosts write this customer at once; try again shortly")]
    Contention,
    /// The host is shutting down. A retry elsewhere, or later, can help.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer host wrote to the journal of a customer in a format that this one does not read. Another host can help.
    #[error("customer {0} was written by a newer host: this one has to be upgraded")]
    NewerFormat(CustomerId),
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

impl From<Rejection> for EngineError {
    fn from(rejection: Rejection) -> Self {
        Self::Decide(rejection.into())
    }
}

impl EngineError {
    /// Why a customer's journal can't be taken in.
    pub(crate) fn journal(customer: &CustomerId, error: FoldError) -> Self {
        if error.is_newer() {
            Self::NewerFormat(customer.clone())
        } else {
            Self::Damaged(customer.clone(), error)
        }
    }
}
