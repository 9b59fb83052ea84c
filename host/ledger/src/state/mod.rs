//! A customer's state: a fold over the journal. A saved one is a cache; its presence affects cost, never meaning.

pub mod add_ons;
pub mod balance;
pub mod budgets;
pub mod counters;
pub mod entities;
pub mod grant_list;
pub mod grants;
pub mod history;
pub mod imported;
pub(crate) mod moves;
pub mod plan_change;
pub mod reservations;
pub mod top_ups;
pub mod waivers;

pub use add_ons::AddOnState;
pub use budgets::{BudgetState, BudgetTotal, Budgets};
pub use counters::Counters;
pub use entities::Entities;
pub use grant_list::Grants;
pub use grants::{CarriedTo, EndsWith, GrantState, GrantStatus, Incoming, Onward};
pub use history::{Meanwhile, Missed, MissedCall, PastPeriod, PastZone, PeriodAt, Since};
pub use imported::ImportedSpan;
pub use plan_change::{PendingPlanChange, Starting};
pub use reservations::{Held, Reservations};
pub use top_ups::{AutoTopUpState, Halted, TopUpState, TopUpStatus};
pub use waivers::Waivers;

use crate::{
    journal::{self, BudgetCount, ChainHash, Count, Cycle, Event, Given, Period},
    model::{
        amounts::Credits,
        counter::WindowId,
        customer::Profile,
        entitlement::Override,
        grant::CreditType,
        ids::{CustomerId, Digest, GrantId, IdempotencyKey, Key, Name, Seq},
        lease::Lease,
        terms::{Terms, TermsKey},
        time::{Timestamp, Zone},
        transfer::Transfer,
        usage::Usage,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The format of saved states. One of another format is ignored and folded anew, so any change here needs a new number.
pub const FORMAT: u32 = 11;

/// How far back usage may be reported: what ended before is closed for good and forgotten. 35 days, in microseconds.
pub const LATE_WINDOW: i64 = 35 * 86_400 * Timestamp::SECOND;

/// What credits are held for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldFor {
    /// One usage: a reservation.
    Usage {
        /// What is expected to be used.
        usage: Usage,
        /// The terms that rated it, which also rate the commit.
        terms: TermsKey,
    },
    /// All that a client lets pass: a lease.
    Lease(Lease),
}

/// An open reservation or lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationState {
    /// What for.
    pub held_for: HeldFor,
    /// The credit type held.
    pub credit: CreditType,
    /// What is held of which grant.
    pub holds: Vec<(GrantId, Credits)>,
    /// The grants of which it holds what had expired before: late usage brought it back, and what is given back expires again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revived: Vec<GrantId>,
    /// What is held beyond all grants.
    pub overage: Credits,
    /// What is held in counters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
    /// What is held in budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetCount>,
    /// When the hold began.
    pub reserved_at: Timestamp,
    /// When the hold ends by itself.
    pub expires_at: Timestamp,
}

/// The books of one credit type that belong to no grant and no reservation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// All that was ever issued.
    pub issued: Credits,
    /// All that was ever spent.
    pub spent: Credits,
    /// All that ever expired.
    pub expired: Credits,
    /// All that was ever voided.
    pub voided: Credits,
    /// Drawn beyond all grants, to spend or to hold, and not yet settled.
    pub overage: Credits,
}

/// All that is known of one customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerState {
    /// The customer.
    pub customer: CustomerId,
    /// The number of the last entry; 0 before the first.
    pub seq: Seq,
    /// The time of the last entry.
    pub at: Timestamp,
    /// The hash of the last entry.
    pub hash: ChainHash,
    /// The time of the first entry.
    pub created_at: Timestamp,
    /// The profile; none before the customer was created.
    pub profile: Option<Profile>,
    /// Whether the customer was closed.
    pub closed: bool,
    /// The customer's own terms, in the order they were bound.
    pub terms: Vec<Arc<Terms>>,
    /// The customer's entitlement overrides, in the order they were set.
    pub overrides: Vec<Override>,
    /// Grants that still matter, in burn-down order.
    pub grants: Grants,
    /// Voided grants that were drawn and are forgotten: no refund brings them back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub voided: BTreeSet<GrantId>,
    /// Open reservations and leases.
    pub reservations: Reservations,
    /// The other books, by credit type.
    pub accounts: BTreeMap<CreditType, Account>,
    /// What of overage was waived, by credit type: of those that ever had any overage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waivers: BTreeMap<CreditType, Waivers>,
    /// The running period.
    pub period: Option<Period>,
    /// The number of the last period that began; 0 before the first.
    pub periods: u32,
    /// The cycle of the last period that began.
    pub cycle: Option<Cycle>,
    /// The name of that cycle's windows: from when usage counts in it. That is its start, or that of a later cycle that was begun
    /// on request.
    pub cycle_window: WindowId,
    /// The first period of the cycle that was last begun on request: what was given before does not count.
    pub fresh_from: u32,
    /// When that period began.
    pub fresh_at: Timestamp,
    /// The whole plan allowances of the running period, before what was given in the cycle was taken off.
    pub whole: Vec<Given>,
    /// The part of it that was given in full, whatever the cycle had given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<Given>,
    /// Periods that late usage, an open reservation or a cycle may still need, oldest first.
    pub past: Vec<PastPeriod>,
    /// The customer's zones before this one, as far as the late window reaches, oldest first.
    pub zones: Vec<PastZone>,
    /// Ends and beginnings of periods that a fault left undone.
    pub missed: Vec<Missed>,
    /// The change of plan that is to come.
    pub plan_change: Option<PendingPlanChange>,
    /// The period that is about to begin, after such a change.
    pub starting: Option<Starting>,
    /// The keys of one-time grants that plans gave: none is given twice, whatever plan names it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given_once: BTreeSet<Key>,
    /// When the trials of plans ended or end, of those that the customer had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trials: BTreeMap<Name, Timestamp>,
    /// The promotions that the customer redeemed: none is redeemed twice.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub redeemed: BTreeSet<Name>,
    /// Where the customer's imported usage is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedSpan>,
    /// Usage totals by what they count.
    pub counters: Counters,
    /// The customer's tree of entities.
    #[serde(default, skip_serializing_if = "Entities::is_empty")]
    pub entities: Entities,
    /// The customer's budgets, with what counts toward them.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
    /// The add-ons that the customer has or had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add_ons: BTreeMap<Name, AddOnState>,
    /// The rules for top-ups with the last of these, by credit type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auto_top_ups: BTreeMap<CreditType, AutoTopUpState>,
    /// The highest percentage of a balance that entries said was used, by credit type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warned: BTreeMap<CreditType, Warned>,
}

/// How much of a balance entries said was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    /// The number of the last period that had begun.
    pub period: u32,
    /// The highest percentage.
    pub percent: u16,
}

/// An entry in the making: what will happen, before it is numbered, balanced and chained.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What happens.
    pub event: Event,
    /// The movements.
    pub transfers: Vec<Transfer>,
    /// The counts.
    pub counts: Vec<Count>,
    /// What counts toward budgets.
    pub budgets: Vec<BudgetCount>,
    /// The credit type whose balance the entry records.
    pub credit: Option<CreditType>,
    /// Who asked, under which key.
    pub origin: Origin,
}

/// Who asked for an entry, and how a repeat is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The caller's idempotency key and the hash of its request.
    pub idempotency: Option<(IdempotencyKey, Digest)>,
    /// The id of the API key.
    pub by: Option<Name>,
}

impl Draft {
    /// An event that moves nothing.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self {
            event,
            transfers: Vec::new(),
            counts: Vec::new(),
            budgets: Vec::new(),
            credit: None,
            origin: Origin::default(),
        }
    }

    pub(crate) fn moving(event: Event, credit: CreditType, transfers: Vec<Transfer>) -> Self {
        Self { transfers, credit: Some(credit), ..Self::new(event) }
    }
}

impl CustomerState {
    /// The state before the first entry.
    #[must_use]
    pub fn new(customer: CustomerId) -> Self {
        let hash = journal::genesis(&customer);
        Self {
            customer,
            seq: 0,
            at: Timestamp(0),
            hash,
            created_at: Timestamp(0),
            profile: None,
            closed: false,
            terms: Vec::new(),
            overrides: Vec::new(),
            grants: Grants::default(),
            voided: BTreeSet::new(),
            reservations: Reservations::default(),
            accounts: BTreeMap::new(),
            waivers: BTreeMap::new(),
            period: None,
            periods: 0,
            cycle: None,
            cycle_window: 0,
            fresh_from: 0,
            fresh_at: Timestamp(0),
            whole: Vec::new(),
            full: Vec::new(),
            past: Vec::new(),
            zones: Vec::new(),
            missed: Vec::new(),
            plan_change: None,
            starting: None,
            given_once: BTreeSet::new(),
            trials: BTreeMap::new(),
            redeemed: BTreeSet::new(),
            imported: None,
            counters: Counters::default(),
            entities: Entities::default(),
            budgets: Budgets::default(),
            add_ons: BTreeMap::new(),
            auto_top_ups: BTreeMap::new(),
            warned: BTreeMap::new(),
        }
    }

    /// The customer's zone.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.profile.as_ref().map(|profile| profile.time_zone.clone()).unwrap_or_default()
    }

    /// The customer's plan.
    #[must_use]
    pub fn plan(&self) -> Option<&Name> {
        self.profile.as_ref().and_then(|profile| profile.plan.as_ref())
    }

    /// The version of its plan that the customer was sold.
    #[must_use]
    pub fn plan_version(&self) -> Option<u32> {
        self.profile.as_ref().and_then(|profile| profile.plan_version)
    }

    /// When the trial of the customer's plan ends, as long as it goes on at `at`.
    #[must_use]
    pub fn trial_ends_at(&self, at: Timestamp) -> Option<Timestamp> {
        self.trials.get(self.plan()?).copied().filter(|ends_at| *ends_at > at && !self.closed)
    }

    /// When the running period ends.
    #[must_use]
    pub fn next_reset_at(&self) -> Option<Timestamp> {
        self.period.as_ref().and_then(|period| period.end)
    }
}

impl ReservationState {
    /// All that it holds.
    #[must_use]
    pub fn held(&self) -> Credits {
        self.holds.iter().fold(self.overage, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}
