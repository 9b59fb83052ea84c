//! Grants given, voided and corrected.

use super::{
    draw::{Use, draw_transfers},
    rejection::Rejection,
};
use crate::{
    journal::{Adjusted, Event},
    model::{
        amounts::{Credits, Money},
        answers::SettleFrom,
        grant::{Category, CreditType, Grant},
        ids::{GrantId, Key},
        time::Timestamp,
        transfer::{Book, Transfer},
        view::Expiry,
    },
    state::{CustomerState, Draft, GrantStatus, LATE_WINDOW},
};

/// Credits that a caller gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// The credit type.
    pub credit: CreditType,
    /// How many.
    pub amount: Credits,
    /// Why they are given.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// From when they may be used; none means now. Within the late window it may lie in the past: usage of that time may
    /// draw it.
    pub effective_at: Option<Timestamp>,
    /// When the rest expires.
    pub expires: Expiry,
    /// The features that may draw on it; empty means all.
    pub features: Vec<Key>,
    /// What the customer paid.
    pub cost_basis: Option<Money>,
    /// The caller's own data.
    pub metadata: Vec<(String, String)>,
}

/// What the terms in force say of grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantTerms {
    /// What pays outstanding overage.
    pub settle_from: SettleFrom,
    /// Categories whose grants expire with their period, unless they say otherwise.
    pub period_categories: Vec<Category>,
}

impl CustomerState {
    /// The entry that grants credits. The grant is numbered by the entry that makes it. What the customer bought pays
    /// outstanding overage first, where the terms say so.
    ///
    /// # Errors
    /// A closed customer, an amount out of range, a start too long ago, an expiry that is not after the start, too many grants.
    pub fn give(&self, at: Timestamp, request: GrantRequest, terms: &GrantTerms) -> Result<Draft, Rejection> {
        let (grant, transfers) = self.granting(at, request, terms)?;
        Ok(Draft::moving(Event::Granted(grant.clone()), grant.credit, transfers))
    }

    /// A grant that is given by an entry's own event, and how its credits move.
    pub(super) fn granting(
        &self,
        at: Timestamp,
        request: GrantRequest,
        terms: &GrantTerms,
    ) -> Result<(Grant, Vec<Transfer>), Rejection> {
        self.require_open()?;
        let (grant, transfers) = self.granting_nth(at, (0, Credits::ZERO), request, terms)?;
        self.check_grant(&grant, at)?;
        Ok((grant, transfers))
    }

    /// The grant of this place in its entry, unchecked, and how its credits move, after so many paid outstanding overage in the same
    /// entry.
    pub(super) fn granting_nth(
        &self,
        at: Timestamp,
        (index, paid): (u32, Credits),
        request: GrantRequest,
        terms: &GrantTerms,
    ) -> Result<(Grant, Vec<Transfer>), Rejection> {
        let earliest = Timestamp(at.0.saturating_sub(LATE_WINDOW));
        let effective_at = request.effective_at.unwrap_or(at);
        if effective_at < earliest {
            return Err(Rejection::TooEarly("effective_at", earliest));
        }
        let Expiry { at: expires_at, with_period } = request.expires;
        let by_category = expires_at.is_none() && terms.period_categories.contains(&request.category);
        let with_period = with_period.or_else(|| by_category.then_some(0));
        let grant = Grant {
            id: GrantId { entry: self.seq + 1, index },
            credit: request.credit,
            amount: request.amount,
            category: request.category,
            priority: request.priority,
            effective_at,
            expires_at,
            expires_with_period: with_period
                .map(|n| self.period_number_at(effective_at.max(at)).saturating_add(n)),
            features: request.features,
            cost_basis: request.cost_basis,
            metadata: request.metadata,
        };
        let mut transfers =
            vec![Transfer::new(&grant.credit, Book::Issued, Book::Grant(grant.id), grant.amount)];
        let pays = grant.is_purchase() && grant.features.is_empty() && grant.effective_at <= at;
        if pays && terms.settle_from == SettleFrom::Purchases {
            let owed = self.outstanding(&grant.credit).saturating_sub(paid).min(grant.amount);
            if owed.is_positive() {
                transfers.push(Transfer::new(&grant.credit, Book::Grant(grant.id), Book::Overage, owed));
            }
        }
        Ok((grant, transfers))
    }

    pub(crate) fn next_grant(&self) -> GrantId {
        GrantId { entry: self.seq + 1, index: 0 }
    }

    pub(super) fn check_grant(&self, grant: &Grant, at: Timestamp) -> Result<(), Rejection> {
        if grant.amount <= Credits::ZERO || !grant.amount.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        check_end(grant, at)?;
        self.require_place_for_grant(grant)
    }

    pub(crate) fn live_grants(&self) -> usize {
        self.grants.iter().filter(|grant| grant.status == GrantStatus::Live).count()
    }

    /// The entry that voids what a grant has left. What is spent stays spent; what is held is voided when it comes back.
    ///
    /// # Errors
    /// A grant that is not there, or is voided or expired already.
    pub fn void(&self, id: GrantId) -> Result<Draft, Rejection> {
        let grant = self.grant(id).ok_or(Rejection::GrantNotFound(id))?;
        if grant.status != GrantStatus::Live {
            return Err(Rejection::GrantClosed(id));
        }
        let credit = grant.grant.credit.clone();
        let mut transfers = Vec::new();
        if !grant.remaining.is_zero() {
            transfers.push(Transfer::new(&credit, Book::Grant(id), Book::Voided, grant.remaining));
        }
        Ok(Draft::moving(Event::Voided { grant: id }, credit, transfers))
    }

    /// The entry that corrects a balance: an amount above zero is granted, one below is voided in burn-down order.
    ///
    /// # Errors
    /// An amount out of range, or less available than would be taken.
    pub fn adjust(
        &self,
        at: Timestamp,
        credit: CreditType,
        amount: Credits,
        reason: String,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let size = amount.checked_abs().filter(|size| size.is_acceptable() && !size.is_zero());
        let size = size.ok_or(Rejection::AmountOutOfRange("amount"))?;
        let mut adjusted = Adjusted { credit: credit.clone(), amount, reason, grant: None };
        let transfers = if amount.is_negative() {
            let using = Use::general(&credit, at);
            let (draws, missing) = self.draw(using, size, &[]);
            if !missing.is_zero() {
                return Err(Rejection::AdjustmentExceedsAvailable(self.available_to(using)));
            }
            draw_transfers(&credit, &draws, Book::Voided).collect()
        } else {
            let grant = Grant {
                id: self.next_grant(),
                credit: credit.clone(),
                amount,
                category: Category::Adjustment,
                priority: 0,
                effective_at: at,
                expires_at: None,
                expires_with_period: None,
                features: Vec::new(),
                cost_basis: None,
                metadata: Vec::new(),
            };
            self.check_grant(&grant, at)?;
            let transfers = vec![Transfer::new(&credit, Book::Issued, Book::Grant(grant.id), amount)];
            adjusted.grant = Some(grant);
            transfers
        };
        Ok(Draft::moving(Event::Adjusted(adjusted), credit, transfers))
    }
}

/// Checks that a grant which is given at `at` does not end before it begins.
pub(super) fn check_end(grant: &Grant, at: Timestamp) -> Result<(), Rejection> {
    let earliest_end = grant.effective_at.max(at);
    if grant.expires_at.is_some_and(|expiry| expiry <= earliest_end) {
        return Err(Rejection::NotLater("expires_at", earliest_end));
    }
    Ok(())
}
