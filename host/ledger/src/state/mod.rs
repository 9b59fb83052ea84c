//! A customer's state: a fold over the journal. A saved one is a cache; its presence affects cost, never meaning.

use crate::{
    counters::{Count, Totals},
    credits::{self, Credits},
    customer::Profile,
    decision::{Balance, Usage},
    entitlement::Override,
    grant::{CreditType, Grant},
    ids::{CustomerId, GrantId, IdempotencyKey, ReservationId, Seq},
    journal::{self, ChainHash, Event},
    terms::{Terms, TermsKey},
    time::{Timestamp, Zone},
    transfer::{Book, Transfer},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One billing period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// 1 for the first.
    pub number: u32,
    /// Its start.
    pub start: Timestamp,
    /// Its end, exclusive; none when it never ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Whether a grant may still be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It may (once it is effective).
    Live,
    /// Its time ran out; what reservations give back expires.
    Expired,
    /// It was voided; what reservations give back is voided.
    Voided,
}

/// A grant and where its credits are. `amount` is not the sum of these once credits rolled over, expired or were voided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantState {
    /// The grant.
    pub grant: Arc<Grant>,
    /// Neither spent nor held.
    pub remaining: Credits,
    /// Held by reservations.
    pub held: Credits,
    /// Spent.
    pub spent: Credits,
    /// Whether it may still be drawn.
    pub status: GrantStatus,
}

/// An open reservation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationState {
    /// What is expected to be used.
    pub usage: Usage,
    /// The terms that rated it, which also rate the commit.
    pub terms: TermsKey,
    /// The credit type held.
    pub credit: CreditType,
    /// What is held of which grant.
    pub holds: Vec<(GrantId, Credits)>,
    /// What is held beyond all grants.
    pub overage: Credits,
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
    pub grants: Vec<GrantState>,
    /// Open reservations.
    pub reservations: BTreeMap<ReservationId, ReservationState>,
    /// The other books, by credit type.
    pub accounts: BTreeMap<CreditType, Account>,
    /// The current period.
    pub period: Option<Period>,
    /// Usage totals by what they count.
    pub counters: BTreeMap<String, Totals>,
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
    /// The credit type whose balance the entry records.
    pub credit: Option<CreditType>,
    /// The caller's key and the hash of its request.
    pub idempotency: Option<(IdempotencyKey, crate::ids::Digest)>,
}

impl Draft {
    /// An event that moves nothing.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self { event, transfers: Vec::new(), counts: Vec::new(), credit: None, idempotency: None }
    }

    pub(crate) fn moving(event: Event, credit: CreditType, transfers: Vec<Transfer>) -> Self {
        Self { event, transfers, counts: Vec::new(), credit: Some(credit), idempotency: None }
    }
}

impl GrantState {
    /// Whether it may be drawn at `at`.
    #[must_use]
    pub fn is_usable(&self, at: Timestamp) -> bool {
        self.status == GrantStatus::Live && self.grant.effective_at <= at
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.remaining.is_zero() && self.held.is_zero()
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
            grants: Vec::new(),
            reservations: BTreeMap::new(),
            accounts: BTreeMap::new(),
            period: None,
            counters: BTreeMap::new(),
        }
    }

    /// The customer's zone.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.profile.as_ref().map(|profile| profile.time_zone.clone()).unwrap_or_default()
    }

    /// A grant that still matters.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<&GrantState> {
        self.grants.iter().find(|grant| grant.grant.id == id)
    }

    /// The balance of one credit type at `at`, over the grants that are usable then.
    #[must_use]
    pub fn balance(&self, credit: &CreditType, at: Timestamp) -> Balance {
        let (mut granted, mut used, mut available) = (0_i64, 0_i64, 0_i64);
        for grant in &self.grants {
            // A grant that ran out of time still shows what reservations hold of it.
            if &grant.grant.credit != credit || grant.grant.effective_at > at {
                continue;
            }
            granted = granted
                .saturating_add(grant.remaining.0)
                .saturating_add(grant.held.0)
                .saturating_add(grant.spent.0);
            used = used.saturating_add(grant.spent.0);
            available = available.saturating_add(grant.remaining.0);
        }
        let reserved = self
            .reservations
            .values()
            .filter(|reservation| &reservation.credit == credit)
            .fold(0_i64, |sum, reservation| sum.saturating_add(reservation.held().0));
        Balance {
            credit: credit.clone(),
            granted: Credits(granted),
            used: Credits(used),
            reserved: Credits(reserved),
            available: Credits(available),
            overage: self.settleable(credit),
        }
    }

    /// The overage that may be settled: what reservations hold of it is not spent yet and may still come back.
    pub(crate) fn settleable(&self, credit: &CreditType) -> Credits {
        let drawn = self.accounts.get(credit).map_or(0, |account| account.overage.0);
        let of_credit = self.reservations.values().filter(|reservation| &reservation.credit == credit);
        Credits(of_credit.fold(drawn, |left, reservation| left.saturating_sub(reservation.overage.0)))
    }

    /// The balances of all credit types that the customer ever held, by name.
    #[must_use]
    pub fn balances(&self, at: Timestamp) -> Vec<Balance> {
        self.accounts.keys().map(|credit| self.balance(credit, at)).collect()
    }

    /// When the current period ends.
    #[must_use]
    pub fn next_reset_at(&self) -> Option<Timestamp> {
        self.period.as_ref().and_then(|period| period.end)
    }

    /// Checks that the books of each credit type balance:
    /// issued + overage = remaining + reserved + spent + expired + voided.
    ///
    /// # Errors
    /// The credit type that does not, with both sides in microcredits.
    pub fn check_books(&self) -> Result<(), (CreditType, String)> {
        for (credit, account) in &self.accounts {
            let wide = |amount: Credits| i128::from(amount.0);
            let mut right = wide(account.spent) + wide(account.expired) + wide(account.voided);
            right += self
                .grants
                .iter()
                .filter(|g| &g.grant.credit == credit)
                .map(|g| wide(g.remaining))
                .sum::<i128>();
            let held = self.reservations.values().filter(|r| &r.credit == credit);
            right += held.map(|reservation| wide(reservation.held())).sum::<i128>();
            let left = wide(account.issued) + wide(account.overage);
            if left != right {
                return Err((
                    credit.clone(),
                    format!("issued + overage = {left}, the other books = {right}"),
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn transfer(credit: &CreditType, from: Book, to: Book, amount: Credits) -> Transfer {
        Transfer { credit: credit.clone(), from, to, amount }
    }
}

impl ReservationState {
    /// All that it holds.
    #[must_use]
    pub fn held(&self) -> Credits {
        credits::sum(self.holds.iter().map(|(_, amount)| *amount).chain([self.overage]))
            .unwrap_or(Credits::ZERO)
    }
}
