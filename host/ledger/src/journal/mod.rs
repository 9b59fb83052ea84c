//! The journal: one entry for each accepted command, each chained to the one before it by SHA-256.
//!
//! An entry's JSON text is stored as it was written and the hash covers those bytes, so no canonical form is needed. An entry
//! carries the number of its format: a host that meets a newer one says so and stands aside.

pub mod budget;
pub mod event;
pub mod imported;
pub mod lease;
pub mod period;
pub mod record;
pub mod refused;
pub mod selling;
pub mod top_up;

pub use budget::*;
pub use event::*;
pub use imported::*;
pub use lease::*;
pub use period::*;
pub use record::*;
pub use refused::*;
pub use selling::*;
pub use top_up::*;

use crate::model::{
    amounts::Credits,
    grant::Grant,
    ids::{ChargeId, CustomerId, Digest, IdempotencyKey, Name, ReservationId, Seq},
    transfer::{Book, Transfer},
    usage::Usage,
};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The newest format that this code reads. An entry is written in the oldest format that has its event
/// ([`Event::format`]), so that hosts of several versions read all that needs nothing new.
pub const FORMAT: u32 = 1;

/// The format that every host reads.
pub const FIRST_FORMAT: u32 = 1;

/// The newest format that may be written, from the newest that the oldest live host reads: none above that one, nor above
/// this host's own. When nothing is known of live hosts, what every host reads.
#[must_use]
pub const fn writable_format(oldest_live: Option<u32>) -> u32 {
    match oldest_live {
        Some(oldest) if oldest < FORMAT => oldest,
        Some(_) => FORMAT,
        None => FIRST_FORMAT,
    }
}

/// A SHA-256 that covers an entry and, through its predecessor's, all entries before it.
pub type ChainHash = [u8; 32];

/// The hash that the first entry of a customer's journal is chained to.
#[must_use]
pub fn genesis(customer: &CustomerId) -> ChainHash {
    Digest::of(format!("proviso journal 1\n{customer}").as_bytes()).0
}

/// SHA-256 of the predecessor's hash followed by the entry's text.
#[must_use]
pub fn chain(before: &ChainHash, body: &str) -> ChainHash {
    sha2::Sha256::new().chain_update(before).chain_update(body.as_bytes()).finalize().into()
}

/// One entry of a customer's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its format.
    #[serde(rename = "v")]
    pub format: u32,
    /// Its number: 1, 2, 3, with no gaps.
    pub seq: Seq,
    /// When it was accepted; never earlier than its predecessor.
    pub at: crate::model::time::Timestamp,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// SHA-256 of the request that the key came with.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::model::ids::short_digest::option"
    )]
    pub request: Option<Digest>,
    /// The id of the API key that asked; none for what time itself brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// What happened.
    pub event: Event,
    /// The movements of credits, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// What was added to usage counters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
    /// What counts toward budgets; a reservation's is held until it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetCount>,
    /// Which percentages of budgets and balances are reached with this, each for the first time in its window or period.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// The balance of the credit type concerned, after this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

/// Why a stored text is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Written by a newer host, in a format that this one does not read.
    #[error("has the format {0}, this host reads up to {FORMAT}")]
    Newer(u32),
    /// Not an entry at all.
    #[error("can't be read: {0}")]
    Unreadable(String),
}

impl Entry {
    /// Reads an entry's text.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn parse(body: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Format {
            v: u32,
        }
        let newer = |format: u32| format > FORMAT;
        match serde_json::from_str::<Self>(body) {
            // What reads well by accident may still mean something else.
            Ok(entry) if newer(entry.format) => Err(ReadError::Newer(entry.format)),
            Ok(entry) => Ok(entry),
            Err(error) => match serde_json::from_str(body) {
                Ok(Format { v }) if newer(v) => Err(ReadError::Newer(v)),
                _ => Err(ReadError::Unreadable(error.to_string())),
            },
        }
    }

    /// The charge id that a charge or commit has.
    #[must_use]
    pub fn charge_id(&self) -> ChargeId {
        ChargeId { entry: self.seq, index: 0 }
    }

    /// What this entry drew from grants: to spend, or to hold in `into`.
    #[must_use]
    pub fn draws(&self) -> Vec<Draw> {
        let mut draws: Vec<Draw> = match &self.event {
            Event::Committed(committed) => committed.taken.clone(),
            Event::Charged(charged) => {
                charged.settled.as_ref().map(|settled| settled.taken.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        for transfer in &self.transfers {
            if let (Book::Grant(grant), Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
                match draws.iter_mut().find(|draw| draw.grant == grant) {
                    Some(draw) => draw.amount = draw.amount.saturating_add(transfer.amount),
                    None => draws.push(Draw { grant, amount: transfer.amount }),
                }
            }
        }
        draws
    }

    /// The reservation that this entry commits.
    #[must_use]
    pub fn commits(&self) -> Option<ReservationId> {
        match &self.event {
            Event::Committed(committed) => Some(committed.reservation),
            _ => None,
        }
    }

    /// The reservation that this entry ends, by whichever outcome, or the hold of a lease.
    #[must_use]
    pub fn ends(&self) -> Option<ReservationId> {
        match &self.event {
            Event::LeaseEnded(ended) => Some(ended.lease.hold()),
            Event::Committed(committed) => Some(committed.reservation),
            Event::Released { reservation } | Event::ReservationExpired { reservation } => Some(*reservation),
            _ => None,
        }
    }

    /// What this entry drew beyond all grants; for a commit, with what it spent of the overage that was held.
    #[must_use]
    pub fn overage(&self) -> Credits {
        let held = match &self.event {
            Event::Committed(committed) => committed.taken_overage,
            _ => Credits::ZERO,
        };
        let drawn = self.transfers.iter().filter(|transfer| transfer.from == Book::Overage);
        drawn.fold(held, |sum, transfer| sum.saturating_add(transfer.amount))
    }

    /// The decision that the entry records.
    #[must_use]
    pub fn decision(&self) -> Option<&DecisionRecord> {
        self.event.decision()
    }

    /// The usage that was charged, and what it cost.
    #[must_use]
    pub fn charged_usage(&self) -> Option<(&Usage, &Rated)> {
        match &self.event {
            Event::Charged(charged) => Some((&charged.usage, &charged.rated)),
            Event::Committed(committed) => Some((&committed.usage, &committed.rated)),
            _ => None,
        }
    }

    /// Usage that another system billed.
    #[must_use]
    pub fn imported_usage(&self) -> Option<&UsageImported> {
        match &self.event {
            Event::UsageImported(imported) => Some(imported),
            _ => None,
        }
    }

    /// What of a charge it refunds.
    #[must_use]
    pub fn refunded(&self) -> Option<&Refunded> {
        match &self.event {
            Event::Refunded(refunded) => Some(refunded),
            _ => None,
        }
    }

    /// The grants that it made.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        match &self.event {
            Event::Granted(grant) => std::slice::from_ref(grant),
            Event::GrantImported(imported) => std::slice::from_ref(&imported.grant),
            Event::TopUpPaid(paid) => std::slice::from_ref(&paid.grant),
            Event::BundlePurchased(bought) => std::slice::from_ref(&bought.grant),
            Event::PromotionRedeemed(redeemed) => std::slice::from_ref(&redeemed.grant),
            Event::AddOnChanged(changed) => &changed.giving.grants,
            Event::AddOnGiven(given) => &given.giving.grants,
            Event::Adjusted(adjusted) => adjusted.grant.as_slice(),
            Event::Charged(charged) => charged.top_up.as_slice(),
            Event::Reserved(reserved) => reserved.top_up.as_slice(),
            Event::Committed(committed) => committed.top_up.as_slice(),
            Event::Refunded(refunded) => &refunded.grants,
            Event::PeriodClosed(closed) => &closed.grants,
            Event::PeriodOpened(opened) => &opened.grants,
            _ => &[],
        }
    }

    /// The number of the ended period that the entry's usage occurred in.
    #[must_use]
    pub fn late(&self) -> Option<u32> {
        match &self.event {
            Event::Charged(charged) => charged.late,
            Event::Refused(refused) => refused.late,
            Event::Reserved(reserved) => reserved.late,
            Event::Committed(committed) => committed.late,
            _ => None,
        }
    }
}

impl CloseReason {
    /// Why a period ends when its customer changes to this plan, or to none.
    #[must_use]
    pub const fn of_change_to(plan: Option<&Name>) -> Self {
        if plan.is_some() { Self::PlanChanged } else { Self::PlanEnded }
    }

    /// The name in the policy interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Early => "early",
            Self::PlanChanged => "plan_changed",
            Self::PlanEnded => "plan_ended",
            Self::Closed => "closed",
        }
    }
}

impl OpenReason {
    /// Why a period begins when its customer gets another plan, or another version of the same, after so many periods.
    #[must_use]
    pub const fn of_change_after(periods: u32, same_plan: bool) -> Self {
        match (periods, same_plan) {
            (0, _) => Self::Started,
            (_, true) => Self::VersionChanged,
            (_, false) => Self::PlanChanged,
        }
    }

    /// The name in the policy interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Scheduled => "scheduled",
            Self::Early => "early",
            // To a policy it is a change of plan like any other.
            Self::PlanChanged | Self::VersionChanged => "plan_changed",
        }
    }
}
