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
    /// Neither the plan, nor an add-on, nor an override knows this feature.
    #[error("neither the plan, nor an add-on, nor an override knows feature {0}")]
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
    /// Nobody knows this bundle.
    #[error("there is no bundle {0}")]
    BundleNotFound(Name),
    /// A bundle that may not be bought.
    #[error("bundle {0} is not for sale any more: GET /v1/bundles lists those that are")]
    BundleWithdrawn(Name),
    /// Nobody knows this add-on.
    #[error("there is no add-on {0}")]
    AddOnNotFound(Name),
    /// An add-on that nobody may take any more.
    #[error("add-on {0} is not for sale any more: GET /v1/add-ons lists those that are")]
    AddOnWithdrawn(Name),
    /// A version of an add-on that is not the newest.
    #[error("version {1} of add-on {0} is not for sale: {2} is")]
    AddOnVersionNotSold(Name, u32, u32),
    /// More of an add-on than a customer may have.
    #[error("must be at most {0}: a customer may have no more of this add-on")]
    AddOnQuantity(u32),
    /// Nobody knows this promotion.
    #[error("there is no promotion {0}: codes are told apart by upper and lower case")]
    PromotionNotFound(Name),
    /// A promotion that begins later.
    #[error("promotion {0} begins at {1}: redeem it then")]
    PromotionNotStarted(Name, Timestamp),
    /// A promotion that is over.
    #[error("promotion {0} ended at {1}")]
    PromotionEnded(Name, Timestamp),
    /// A promotion for the customers of other plans.
    #[error(
        "promotion {0} is not for customers of this plan: GET /v1/promotions/{0} lists the plans that it is for"
    )]
    PromotionNotForPlan(Name),
    /// A promotion that was redeemed as often as it may be.
    #[error("promotion {0} was redeemed {1} times, as often as it may be")]
    PromotionExhausted(Name, u64),
    /// A change of plan whose preview would have to look ahead over too many periods.
    #[error("lies too many periods ahead for a preview")]
    PreviewTooFar,
    /// An import of a customer that is there already, and is another one.
    #[error(
        "the customer {0} exists and is not as the import has it: an import changes no customer that exists"
    )]
    CustomerExists(CustomerId),
    /// An import of something of a customer that is there already, and is another one: what it is, and its key.
    #[error("{0} {1} exists and is not as the import has it: an import changes nothing that exists")]
    ImportExists(&'static str, Key),
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
