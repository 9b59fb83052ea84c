//! Why the core says no.

use crate::{
    journal::{OverBudget, Refused},
    model::{
        amounts::{Credits, Quantity},
        grant::CreditType,
        ids::{ChargeId, GrantId, Key, LeaseId, Name, PlanChangeId, ReservationId, TopUpId},
        terms::TermsError,
        time::Timestamp,
    },
};

/// A command that can't be carried out as given. Nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The customer was closed.
    #[error("the customer is closed: no new charges, reservations or grants")]
    CustomerClosed,
    /// No such grant.
    #[error("the customer has no live grant {0}")]
    GrantNotFound(GrantId),
    /// The grant was voided or has expired.
    #[error("grant {0} is voided or expired already")]
    GrantClosed(GrantId),
    /// No such entity was made known.
    #[error("the customer has no entity {0}")]
    EntityNotFound(Key),
    /// Something still needs the entity.
    #[error("entity {0} is in use: {1}")]
    EntityInUse(Key, &'static str),
    /// A parent that is the entity itself or stands below it.
    #[error("entity {0} would stand above itself")]
    EntityAboveItself(Key),
    /// More levels than a tree may have.
    #[error("the tree would have more than {0} levels")]
    TreeTooDeep(usize),
    /// No such budget.
    #[error("the customer has no budget {0}")]
    BudgetNotFound(Key),
    /// No such reservation was ever made.
    #[error("the customer has no reservation {0}")]
    ReservationNotFound(ReservationId),
    /// The reservation was committed, released or has expired.
    #[error("reservation {0} is closed: it was committed, released or has expired")]
    ReservationClosed(ReservationId),
    /// A hold would last longer than any may, extensions included.
    #[error("reservation {0} can't be held beyond {1}: commit it, or release it and reserve again")]
    ReservationTooLong(ReservationId, Timestamp),
    /// No such lease was ever opened.
    #[error("the customer has no lease {0}")]
    LeaseNotFound(LeaseId),
    /// The lease was closed or has expired.
    #[error("lease {0} is closed: it was closed, or has expired")]
    LeaseClosed(LeaseId),
    /// A lease would last longer than any may, extensions included.
    #[error("lease {0} can't last beyond {1}: settle it, and open another")]
    LeaseTooLong(LeaseId, Timestamp),
    /// Less is available than a lease would hold.
    #[error("{required} {credit} are needed, {available} are available")]
    LeaseExceedsAvailable {
        /// The credit type.
        credit: CreditType,
        /// How much would be held in addition.
        required: Credits,
        /// How much is available to the lease's features.
        available: Credits,
    },
    /// A hard budget does not allow what a lease would hold.
    #[error("{}", over.detail())]
    LeaseOverBudget {
        /// Which, and what is left of it.
        over: Box<OverBudget>,
        /// When asking again can help; none when waiting does not.
        retry_at: Option<Timestamp>,
    },
    /// No such terms.
    #[error("the customer has no such terms")]
    TermsNotFound,
    /// The terms ended before.
    #[error("these terms ended at {0}")]
    TermsEnded(Timestamp),
    /// Terms can't be bound.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// A time that must lie ahead does not.
    #[error("{0} must be later than {1}")]
    NotLater(&'static str, Timestamp),
    /// An amount is zero, negative or too large.
    #[error("{0} must be above 0 and below 1000000000000000")]
    AmountOutOfRange(&'static str),
    /// An imported grant of which more is gone than was granted.
    #[error("used and voided together are more than the {0} that were granted")]
    MoreUsedThanGranted(Credits),
    /// Imported usage for which more was paid than it cost.
    #[error("what was paid is more than the {0} that it cost")]
    MorePaidThanCost(Credits),
    /// A total of the customer would not fit 128 bits.
    #[error("a total of this customer would go out of range")]
    TotalOutOfRange,
    /// More live things than a customer may have.
    #[error("the customer has {0} {1} already, the most that are kept live")]
    TooMany(usize, &'static str),
    /// The callers' own data in things of one kind takes more bytes than a customer may have.
    #[error("the customer's {1} would take more than {0} bytes, the most that are kept")]
    TooLarge(usize, &'static str),
    /// Less is available than an adjustment would take.
    #[error("only {0} credits are available")]
    AdjustmentExceedsAvailable(Credits),
    /// No such charge was ever made.
    #[error("the customer has no charge {0}")]
    ChargeNotFound(ChargeId),
    /// A refund of more than is left of the charge.
    #[error("only {0} credits of the charge are not refunded yet")]
    RefundExceedsCharge(Credits),
    /// A refund of more of a quantity than is left of the charge.
    #[error("only {1} of {0} of the charge are not refunded yet")]
    RefundExceedsQuantity(String, Quantity),
    /// A refund of a part where only one more refund is left.
    #[error("the charge has {0} refunds: one more is possible, of all the {1} credits that are left")]
    LastRefund(u32, Credits),
    /// Which part of the cost these quantities made is not known.
    #[error(
        "the charge's lines do not say what these quantities cost: refund an amount, or all quantities in equal parts"
    )]
    RefundNotDivisible,
    /// The charge, or a grant that it drew, has changed since it was read.
    #[error("the charge was refunded meanwhile; try again shortly")]
    RefundedMeanwhile,
    /// A grant that would have begun before usage may still be reported.
    #[error("{0} must not be earlier than {1}: usage of before is closed")]
    TooEarly(&'static str, Timestamp),
    /// Nothing of that period is left to be made good.
    #[error("period {0} has nothing that a fault left undone")]
    NothingMissed(u32),
    /// What a fault left undone of a period fails again.
    #[error("the terms in force still fail for period {0}: {1}")]
    StillFails(u32, String),
    /// A change to the plan that the customer is on.
    #[error("the customer is on that plan already")]
    PlanUnchanged,
    /// A move to another version at the end of the period, of a customer that awaits another plan.
    #[error("a change to another plan is pending: cancel it first")]
    PlanChangePending,
    /// A change that waits for the end of a period that never comes.
    #[error("no period of the customer ends by itself")]
    NoPeriodEnd,
    /// The change of plan is not pending.
    #[error("the customer has no pending change of plan {0}")]
    PlanChangeNotFound(PlanChangeId),
    /// No rule for the top-ups of that credit type.
    #[error("no rule says when {0} are topped up")]
    AutoTopUpNotFound(Key),
    /// A threshold below zero, or too large.
    #[error("threshold must be 0 or more and below 1000000000000000")]
    ThresholdOutOfRange,
    /// A top-up up to no more than the threshold.
    #[error("target must be above the threshold of {0}")]
    TargetNotAbove(Credits),
    /// No such top-up was ever asked for.
    #[error("the customer has no top-up {0}")]
    TopUpNotFound(TopUpId),
    /// The top-up was answered before, or may not be answered any more.
    #[error("top-up {0} is {1} already")]
    TopUpClosed(TopUpId, &'static str),
    /// The rule's top-up awaits its payment.
    #[error("top-up {0} awaits its payment: answer it first, or switch the rule off")]
    TopUpPending(TopUpId),
    /// A promotion is redeemed once.
    #[error("the customer has redeemed {0} already")]
    AlreadyRedeemed(Name),
    /// No such add-on is attached.
    #[error("the customer does not have the add-on {0}")]
    AddOnNotAttached(Name),
    /// The start of an add-on that has begun.
    #[error("the add-on has begun: its start can't change")]
    AddOnBegun,
    /// The customer has no plan, so there is no period to close.
    #[error("the customer has no plan with an interval, so there is no period to reset")]
    NoPeriod,
}

/// Why a decision did not become an entry that moves credits.
#[derive(Debug, Clone, PartialEq)]
pub enum Denied {
    /// The policy, or the lack of credits, says no: this goes into the journal.
    Refused(Box<Refused>),
    /// The command can't be carried out as given.
    Rejected(Rejection),
    /// The policy's answer breaks a rule of the ledger: to be treated as its fault.
    InvalidDecision(String),
}

impl From<Rejection> for Denied {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
