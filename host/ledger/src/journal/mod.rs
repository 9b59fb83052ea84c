//! The journal: one entry for each accepted command, each chained to the one before it by SHA-256.
//!
//! An entry's JSON text is stored as it was written and the hash covers those bytes, so no canonical form is needed.

use crate::{
    counters::Count,
    credits::Credits,
    customer::Profile,
    decision::{Balance, Fee, Line, Offer, Settlement, Usage},
    entitlement::Override,
    error::FoldError,
    grant::{CreditType, Grant},
    ids::{ChargeId, CustomerId, Digest, GrantId, IdempotencyKey, Key, ReservationId, Seq, TermsId},
    state::Period,
    terms::{PolicyRef, Terms, TermsKey},
    time::Timestamp,
    transfer::{Book, Transfer},
};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::sync::Arc;

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
    /// Its number: 1, 2, 3, with no gaps.
    pub seq: Seq,
    /// When it was accepted; never earlier than its predecessor.
    pub at: Timestamp,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// SHA-256 of the request that the key came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// What happened.
    pub event: Event,
    /// The movements of credits, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// What was added to usage counters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
    /// The balance of the credit type concerned, after this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

/// A balance after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The balance.
    pub balance: Balance,
    /// When the period that holds the entry ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_reset_at: Option<Timestamp>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The customer was created or changed.
    Configured(Configured),
    /// The customer was closed.
    Closed {},
    /// Terms were bound to the customer.
    TermsBound(Arc<Terms>),
    /// The customer's terms were given an end.
    TermsEnded {
        /// Which.
        id: TermsId,
        /// Their end, exclusive.
        ends_at: Timestamp,
    },
    /// An entitlement of the customer was set apart from the plan.
    OverrideSet(Override),
    /// A feature's overrides were taken back.
    OverrideRemoved {
        /// The feature.
        feature: Key,
    },
    /// Credits were granted.
    Granted(Grant),
    /// What a grant had left was voided.
    Voided {
        /// Which.
        grant: GrantId,
    },
    /// A balance was corrected.
    Adjusted(Adjusted),
    /// A usage was charged.
    Charged(Box<Charged>),
    /// A charge, reservation or commit was refused.
    Refused(Box<Refused>),
    /// Credits were set aside for a usage to come.
    Reserved(Box<Reserved>),
    /// A reservation's actual usage was charged.
    Committed(Box<Committed>),
    /// A reservation was given back.
    Released {
        /// Which.
        reservation: ReservationId,
    },
    /// A reservation's time ran out.
    ReservationExpired {
        /// Which.
        reservation: ReservationId,
    },
    /// Grants' time ran out.
    GrantsExpired {
        /// Which.
        grants: Vec<GrantId>,
    },
    /// A period began, after closing the one before it, if any.
    Reset(Box<Reset>),
}

/// The customer as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// The new profile.
    pub profile: Profile,
    /// The current period under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}

/// A correction: credits given (as a grant) or taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// The credit type.
    pub credit: CreditType,
    /// Above zero: given. Below: taken.
    pub amount: Credits,
    /// Why.
    pub reason: String,
    /// The grant that carries what was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// How a policy came to its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The terms that decided.
    pub terms: TermsKey,
    /// The policy of those terms.
    pub policy: PolicyRef,
    /// Units of fuel that were burnt: the same for ever for the same arguments.
    pub fuel: u64,
    /// What the policy logged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The fault that put other terms, or none, in the place of those in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultRecord>,
    /// What shadows would have decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowRecord>,
}

/// A policy's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The terms whose policy faulted.
    pub terms: TermsKey,
    /// Which kind, such as `out_of_fuel`.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// What a shadow would have decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// The shadow.
    pub terms: TermsKey,
    /// What it would have cost; none when refused or faulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Credits>,
    /// The code of its refusal or fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Units of fuel that were burnt.
    pub fuel: u64,
}

/// What a usage was rated at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// The credit type.
    pub credit: CreditType,
    /// The cost.
    pub cost: Credits,
    /// The explanation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// A usage was charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charged {
    /// What was used.
    pub usage: Usage,
    /// What it cost.
    pub rated: Rated,
    /// Who decided.
    pub decision: DecisionRecord,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A charge.
    Charge,
    /// A reservation.
    Reserve,
    /// A commit of this reservation, which stays open.
    Commit(ReservationId),
}

/// A charge, reservation or commit was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// What was asked.
    pub intent: Intent,
    /// For which usage.
    pub usage: Usage,
    /// `insufficient_credits`, `purchase_required`, `policy_denied`, `policy_fault` or a code of the policy.
    pub code: String,
    /// For people.
    pub detail: String,
    /// What it would have cost, when that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rated: Option<Rated>,
    /// What was available to it.
    pub available: Credits,
    /// The earliest time at which asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What may be bought to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer>,
    /// Who decided; none when no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
}

/// Credits were set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// What is expected to be used.
    pub usage: Usage,
    /// What that would cost: what is held.
    pub rated: Rated,
    /// Who decided; the commit is rated by the same terms.
    pub decision: DecisionRecord,
    /// When the hold ends by itself.
    pub expires_at: Timestamp,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// A reservation's actual usage was charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Which reservation.
    pub reservation: ReservationId,
    /// What was used.
    pub usage: Usage,
    /// What it cost.
    pub rated: Rated,
    /// Who decided.
    pub decision: DecisionRecord,
    /// Which of the held credits were spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Draw>,
    /// What was spent of the overage that was held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken_overage: Credits,
    /// What of the hold went back.
    pub returned: Credits,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// Credits drawn from one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The grant.
    pub grant: GrantId,
    /// How much.
    pub amount: Credits,
}

/// Why a period began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The first period of the customer on a plan.
    Started,
    /// The period before it ran to its end.
    Scheduled,
    /// It was asked for.
    Early,
    /// The customer changed plans.
    PlanChanged,
}

/// A period began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reset {
    /// Why.
    pub reason: ResetReason,
    /// The period that closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Period>,
    /// The period that began.
    pub opened: Period,
    /// Who decided; none when no terms were in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
    /// Grants that began: rollovers first, then those that were issued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Which of them carry on credits of which older grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled: Vec<Rolled>,
    /// Grants whose rest expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<GrantId>,
    /// Costs that the reset brought.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<Fee>,
    /// Overage that was taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settlement>,
    /// Lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A rollover's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// The older grant.
    pub from: GrantId,
    /// The grant that carries its credits on.
    pub to: GrantId,
}

fn is_zero(amount: &Credits) -> bool {
    amount.is_zero()
}

impl Entry {
    /// Reads an entry's text.
    ///
    /// # Errors
    /// [`FoldError::Unreadable`] when it is no entry.
    pub fn parse(seq: Seq, body: &str) -> Result<Self, FoldError> {
        serde_json::from_str(body).map_err(|error| FoldError::Unreadable { seq, detail: error.to_string() })
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
            _ => Vec::new(),
        };
        for transfer in &self.transfers {
            if let (Book::Grant(grant), Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
                match draws.iter_mut().find(|draw| draw.grant == grant) {
                    Some(draw) => {
                        draw.amount = draw.amount.checked_add(transfer.amount).unwrap_or(draw.amount)
                    }
                    None => draws.push(Draw { grant, amount: transfer.amount }),
                }
            }
        }
        draws
    }

    /// What this entry drew beyond all grants; for a commit, with what it spent of the overage that was held.
    #[must_use]
    pub fn overage(&self) -> Credits {
        let held = match &self.event {
            Event::Committed(committed) => committed.taken_overage.0,
            _ => 0,
        };
        let drawn = self.transfers.iter().filter(|transfer| transfer.from == Book::Overage);
        Credits(drawn.fold(held, |sum, transfer| sum.saturating_add(transfer.amount.0)))
    }

    /// The decision that the entry records.
    #[must_use]
    pub fn decision(&self) -> Option<&DecisionRecord> {
        match &self.event {
            Event::Charged(charged) => Some(&charged.decision),
            Event::Refused(refused) => refused.decision.as_ref(),
            Event::Reserved(reserved) => Some(&reserved.decision),
            Event::Committed(committed) => Some(&committed.decision),
            Event::Reset(reset) => reset.decision.as_ref(),
            _ => None,
        }
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
}
