//! Grants given, voided and corrected.

use crate::{
    credits::Credits,
    customer::MOST_LIVE,
    draw::LARGEST_AMOUNT,
    error::Rejection,
    grant::{Category, CreditType, Grant},
    ids::GrantId,
    journal::{Adjusted, Event},
    state::{CustomerState, Draft, GrantStatus},
    time::Timestamp,
    transfer::Book,
};

impl CustomerState {
    /// The entry that grants credits. The grant is numbered by the entry that makes it, and is effective no earlier.
    ///
    /// # Errors
    /// A closed customer, an amount out of range, an expiry that is not after the start, too many grants.
    pub fn give(&self, at: Timestamp, mut grant: Grant) -> Result<Draft, Rejection> {
        self.require_open()?;
        grant.id = self.next_grant();
        grant.effective_at = grant.effective_at.max(at);
        self.check_grant(&grant)?;
        let transfers =
            vec![Self::transfer(&grant.credit, Book::Issued, Book::Grant(grant.id), grant.amount)];
        Ok(Draft::moving(Event::Granted(grant.clone()), grant.credit, transfers))
    }

    pub(crate) fn next_grant(&self) -> GrantId {
        GrantId { entry: self.seq + 1, index: 0 }
    }

    pub(crate) fn check_grant(&self, grant: &Grant) -> Result<(), Rejection> {
        if grant.amount <= Credits::ZERO || grant.amount > LARGEST_AMOUNT {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        if grant.expires_at.is_some_and(|expiry| expiry <= grant.effective_at) {
            return Err(Rejection::NotLater("expires_at", grant.effective_at));
        }
        if self.grants.len() >= MOST_LIVE {
            return Err(Rejection::TooMany(self.grants.len(), "grants"));
        }
        Ok(())
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
            transfers.push(Self::transfer(&credit, Book::Grant(id), Book::Voided, grant.remaining));
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
        let size = Credits(amount.0.checked_abs().ok_or(Rejection::AmountOutOfRange("amount"))?);
        if size.is_zero() || size > LARGEST_AMOUNT {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        let mut adjusted = Adjusted { credit: credit.clone(), amount, reason, grant: None };
        let transfers = if amount.is_negative() {
            let (draws, missing) = self.draw(&credit, None, size, &[], at);
            if !missing.is_zero() {
                return Err(Rejection::AdjustmentExceedsAvailable(self.available(&credit, None, at)));
            }
            draws
                .iter()
                .map(|d| Self::transfer(&credit, Book::Grant(d.grant), Book::Voided, d.amount))
                .collect()
        } else {
            let grant = Grant {
                id: self.next_grant(),
                credit: credit.clone(),
                amount,
                category: Category::Adjustment,
                priority: 0,
                effective_at: at,
                expires_at: None,
                features: Vec::new(),
                cost_basis: None,
                metadata: Vec::new(),
            };
            self.check_grant(&grant)?;
            let transfers = vec![Self::transfer(&credit, Book::Issued, Book::Grant(grant.id), amount)];
            adjusted.grant = Some(grant);
            transfers
        };
        Ok(Draft::moving(Event::Adjusted(adjusted), credit, transfers))
    }
}
