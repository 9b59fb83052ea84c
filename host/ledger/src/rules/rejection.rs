//! Why the core says no.

use crate::{
    ids::{GrantId, ReservationId},
    time::Timestamp,
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
    /// No such reservation was ever made.
    #[error("the customer has no reservation {0}")]
    ReservationNotFound(ReservationId),
    /// The reservation was committed, released or has expired.
    #[error("reservation {0} is closed: it was committed, released or has expired")]
    ReservationClosed(ReservationId),
    /// No such terms.
    #[error("the customer has no such terms")]
    TermsNotFound,
    /// The terms ended before.
    #[error("these terms ended at {0}")]
    TermsEnded(Timestamp),
    /// A time that must lie ahead does not.
    #[error("{0} must be later than {1}")]
    NotLater(&'static str, Timestamp),
    /// An amount is zero, negative or too large.
    #[error("{0} must be above 0 and at most 1000000000")]
    AmountOutOfRange(&'static str),
    /// A total of the customer would not fit 64 bits.
    #[error("a total of this customer would go out of range")]
    TotalOutOfRange,
    /// More live things than a customer may have.
    #[error("the customer has {0} {1} already, the most that are kept live")]
    TooMany(usize, &'static str),
    /// Less is available than an adjustment would take.
    #[error("only {0} credits are available")]
    AdjustmentExceedsAvailable(crate::credits::Credits),
    /// The customer has no plan, so there is no period to close.
    #[error("the customer has no plan with an interval, so there is no period to reset")]
    NoPeriod,
}

/// A journal that does not fold: it was tampered with, damaged, or written by a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Entry numbers have a gap or repeat.
    #[error("entry {found} stands where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that stood there.
        found: u64,
    },
    /// The time goes backwards.
    #[error("entry {0} is earlier than the one before it")]
    TimeGoesBack(u64),
    /// A movement that its book can't give or that names no book.
    #[error("entry {seq}: {detail}")]
    Transfer {
        /// The entry.
        seq: u64,
        /// What is wrong.
        detail: String,
    },
    /// The stored hash is not that of the chain.
    #[error("entry {0} does not carry the hash that its content and its predecessor give")]
    Hash(u64),
    /// The recorded balance is not what the movements give.
    #[error("entry {0} records another balance than its movements give")]
    Balance(u64),
    /// Not an entry at all.
    #[error("entry {seq} can't be read: {detail}")]
    Unreadable {
        /// The entry.
        seq: u64,
        /// Why.
        detail: String,
    },
    /// The books of a credit type don't add up.
    #[error("after entry {seq} the books of {credit} don't balance: {detail}")]
    Books {
        /// The entry.
        seq: u64,
        /// The credit type.
        credit: String,
        /// Both sides.
        detail: String,
    },
}

/// Why a decision did not become an entry that moves credits.
#[derive(Debug, Clone, PartialEq)]
pub enum Denied {
    /// The policy, or the lack of credits, says no: this goes into the journal.
    Refused(Box<crate::journal::Refused>),
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
