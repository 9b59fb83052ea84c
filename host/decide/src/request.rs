//! What commands carry, and what comes back.

use crate::{change::Change, precondition::Expected};
use proviso_ledger::{
    journal::{Entry, Line, Offer, OverBudget, PendingTopUp, PlanChangeTime},
    model::{
        amounts::{Credits, Quantity},
        answers::{Allowance, Suggestion},
        grant::CreditType,
        ids::{Key, Name, Seq},
        terms::PolicyRef,
        time::{Timestamp, Zone},
        view::BalanceView,
    },
    state::CustomerState,
};
use std::sync::Arc;

/// How long a reservation holds, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(u32);

impl Ttl {
    /// What a reservation without one gets.
    pub const DEFAULT: Self = Self(900);
    /// The longest.
    pub const LONGEST: u32 = 86_400;

    /// So many seconds.
    ///
    /// Returns none outside 1 to 86,400.
    #[must_use]
    pub fn new(seconds: u32) -> Option<Self> {
        (1..=Self::LONGEST).contains(&seconds).then_some(Self(seconds))
    }

    /// When it ends that begins at `at`.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.plus_micros(i64::from(self.0) * Timestamp::SECOND)
    }
}

/// A usage as a caller reports it.
#[derive(Debug, Clone)]
pub struct UsageRequest {
    /// The feature that was used.
    pub feature: Key,
    /// How much of what, sorted by name; names are unique.
    pub quantities: Vec<(String, Quantity)>,
    /// What else is known of it, sorted by name; names are unique.
    pub attributes: Vec<(String, String)>,
    /// The user, team or agent under the customer who used it.
    pub entity: Option<Key>,
    /// When it was used; none means now.
    pub occurred_at: Option<Timestamp>,
}

/// What a reservation came to: the rest is as it was reserved.
#[derive(Debug, Clone)]
pub struct ActualUsage {
    /// The actual quantities, sorted by name.
    pub quantities: Vec<(String, Quantity)>,
    /// Attributes that replace those of the reservation, when given.
    pub attributes: Option<Vec<(String, String)>>,
}

/// How a customer is created or changed.
#[derive(Debug, Clone, Default)]
pub struct CustomerChange {
    /// For people; defaults to the customer's key.
    pub name: Change<String>,
    /// The plan.
    pub plan: Change<Name>,
    /// The zone in which periods and days are counted; defaults to UTC.
    pub time_zone: Change<Zone>,
    /// From where periods are counted; defaults to when the customer was created.
    pub anchor: Change<Timestamp>,
    /// The caller's data, which policies may read, sorted by name.
    pub attributes: Change<Vec<(String, String)>>,
    /// The customer's ids elsewhere, sorted by name.
    pub external_ids: Change<Vec<(String, String)>>,
    /// With another plan: how its allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

/// A change of a customer's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerPlanChange {
    /// The new plan; none takes the plan away.
    pub plan: Option<Name>,
    /// Its version; none means the newest.
    pub version: Option<u32>,
    /// When it takes effect; none means now.
    pub when: Option<PlanChangeTime>,
    /// How the new plan's allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
    /// Whether it is only asked what the change would do.
    pub dry_run: bool,
}

/// A move of a customer to another version of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerMigration {
    /// The plan that the customer must be on.
    pub plan: Name,
    /// The version that it must have; none means any.
    pub from: Option<u32>,
    /// The version that it gets.
    pub to: u32,
    /// Whether it takes effect when the running period ends, not now.
    pub at_period_end: bool,
    /// How the version's allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
    /// Whether it is only asked what the move would do.
    pub dry_run: bool,
}

/// What a move to another version came to.
#[derive(Debug, Clone)]
pub enum Migrated {
    /// The customer is not, or not any more, on a version that is moved from.
    NotConcerned,
    /// What it would do.
    Preview(PlanChangePreview),
    /// It was done so.
    Done(PlanChangePreview),
    /// It will be done at this instant, as things are now.
    Pending(Timestamp),
}

/// What a change of plan would do, if nothing else happened until then.
#[derive(Debug, Clone)]
pub struct PlanChangePreview {
    /// When it would take effect.
    pub effective_at: Timestamp,
    /// The version of the plan that the customer would get; none for no plan.
    pub plan_version: Option<u32>,
    /// The entry that would end the running period.
    pub closed: Option<Arc<Entry>>,
    /// The entry that would begin the next.
    pub opened: Option<Arc<Entry>>,
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The entry that carries the request out, or records its refusal.
    Entry(Outcome),
    /// The request repeats a refusal: the entry with that number is its answer, too, and nothing was written.
    Repeat {
        /// The entry.
        of: Seq,
        /// When it was asked.
        at: Timestamp,
    },
    /// What a charge would do.
    Check(Box<CheckOutcome>),
    /// What a change of plan would do.
    Preview(Box<PlanChangePreview>),
    /// What a move to another version of the plan came to.
    Migrated(Box<Migrated>),
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
    /// Whether the policy gave that code.
    pub by_policy: bool,
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
    /// What to change.
    pub suggestions: Vec<Suggestion>,
    /// The earliest time at which asking again can help.
    pub retry_at: Option<Timestamp>,
    /// The budget that does not allow it.
    pub over_budget: Option<Box<OverBudget>>,
    /// The top-up that awaits its payment, where credits are missing.
    pub pending_top_up: Option<PendingTopUp>,
    /// The balance as the feature sees it.
    pub balance: BalanceView,
    /// When the period ends.
    pub next_reset_at: Option<Timestamp>,
    /// The number of the ended period that the usage occurred in.
    pub late: Option<u32>,
    /// Who decided.
    pub policy: Option<PolicyRef>,
    /// Whether a fault put other terms, or none, in the place of those in force.
    pub degraded: bool,
}

impl CheckOutcome {
    /// What is known before anything was rated: the usage would be charged, and this is the balance.
    #[must_use]
    pub fn unrated(state: &CustomerState, feature: &Key, credit: CreditType, at: Timestamp) -> Self {
        Self {
            allowed: true,
            reason: "ok".to_owned(),
            by_policy: false,
            detail: String::new(),
            cost: None,
            lines: Vec::new(),
            offers: Vec::new(),
            suggestions: Vec::new(),
            retry_at: None,
            over_budget: None,
            pending_top_up: None,
            balance: state.balance_for(&credit, feature, at),
            credit,
            next_reset_at: state.next_reset_at(),
            late: None,
            policy: None,
            degraded: false,
        }
    }
}
