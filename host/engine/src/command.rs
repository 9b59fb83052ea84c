//! What can be asked of a customer's lane, and what comes back.

use crate::precondition::Expected;
use proviso_ledger::{
    credits::Credits,
    decision::{Balance, Line, Offer, Usage},
    grant::{CreditType, Grant},
    ids::{CustomerId, Digest, GrantId, IdempotencyKey, Key, ReservationId, TermsId},
    journal::Entry,
    state::CustomerState,
    terms::{PolicyRef, Terms},
    time::Timestamp,
};
use std::sync::Arc;

pub use crate::changes::{OverrideChange, ProfileChange};

/// An idempotency key with the digest of the request it came with.
pub type Idempotency = (IdempotencyKey, Digest);

/// A request for one customer.
#[derive(Debug, Clone)]
pub struct Request {
    /// For whom.
    pub customer: CustomerId,
    /// What.
    pub command: Command,
    /// The caller's idempotency key.
    pub idempotency: Option<Idempotency>,
}

/// What is asked. `Check`, `Read` and `Sweep` write nothing of their own; what is due by time is written first in any case.
#[derive(Debug, Clone)]
pub enum Command {
    /// Create or change the customer.
    Configure(Box<ProfileChange>),
    /// Close the customer.
    Close(Expected),
    /// Bind terms to the customer. Key, creation time and policy are given by the engine's use case.
    BindTerms(Box<Terms>),
    /// Give the customer's terms an end: now, when none is given.
    EndTerms {
        /// The terms.
        id: TermsId,
        /// Their end.
        ends_at: Option<Timestamp>,
        /// What the caller expects to be in force.
        expected: Expected,
    },
    /// Set an entitlement apart from the plan.
    SetOverride(Box<OverrideChange>),
    /// Take a feature's overrides back.
    RemoveOverride(Key, Expected),
    /// Grant credits; the id is given by the ledger.
    Grant(Box<Grant>),
    /// Void what a grant has left.
    Void(GrantId),
    /// Correct a balance.
    Adjust {
        /// The credit type.
        credit: CreditType,
        /// Above zero gives, below takes.
        amount: Credits,
        /// Why.
        reason: String,
    },
    /// Close the period now.
    Reset,
    /// Charge a usage.
    Charge(Box<UsageRequest>),
    /// What a charge would do.
    Check(Box<UsageRequest>),
    /// Set credits aside.
    Reserve(Box<UsageRequest>, Ttl),
    /// Charge a reservation's actual usage.
    Commit(ReservationId, Box<ActualUsage>),
    /// Give a reservation back.
    Release(ReservationId),
    /// The state as it is now.
    Read,
    /// What is due, as the sweeper found it.
    Sweep,
}

/// How long a reservation holds, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub u32);

/// A usage whose time may be left to the host.
#[derive(Debug, Clone)]
pub struct UsageRequest {
    /// The usage; `occurred_at` is set by the host when the caller gave none.
    pub usage: Usage,
    /// Whether the caller gave `occurred_at`.
    pub has_time: bool,
}

/// What a reservation came to: the rest is as it was reserved.
#[derive(Debug, Clone)]
pub struct ActualUsage {
    /// The actual quantities, sorted by name.
    pub quantities: Vec<(String, proviso_ledger::credits::Quantity)>,
    /// Attributes that replace those of the reservation, when given.
    pub attributes: Option<Vec<(String, String)>>,
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The entry that carries the request out, or records its refusal.
    Entry(Outcome),
    /// What a charge would do.
    Check(Box<CheckOutcome>),
    /// The state; also when what was asked for is in force already.
    State(Arc<CustomerState>),
    /// The customer as configured.
    Configured {
        /// The state.
        state: Arc<CustomerState>,
        /// Whether the customer is new.
        created: bool,
    },
}

/// A durable outcome.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Whether it was there already, for an earlier request with the same key.
    pub replayed: bool,
}

/// What a charge would do now.
#[derive(Debug, Clone)]
pub struct CheckOutcome {
    /// Whether it would be charged.
    pub allowed: bool,
    /// `ok`, or the code of the refusal.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// The cost, when it could be rated.
    pub cost: Option<Credits>,
    /// The credit type.
    pub credit: CreditType,
    /// The explanation of the cost.
    pub lines: Vec<Line>,
    /// What may be bought to go on.
    pub offers: Vec<Offer>,
    /// The earliest time at which asking again can help.
    pub retry_at: Option<Timestamp>,
    /// The balance as it is.
    pub balance: Balance,
    /// When the period ends.
    pub next_reset_at: Option<Timestamp>,
    /// Who decided.
    pub policy: Option<PolicyRef>,
    /// Whether a fault put other terms, or none, in the place of those in force.
    pub degraded: bool,
}
