//! Balances of one customer, and whether its books agree.

use super::{CustomerState, GrantStatus, Held};
use crate::{
    journal::Balance,
    model::{
        amounts::Credits,
        grant::{CreditType, default_credit},
        ids::Key,
        time::Timestamp,
    },
};

impl CustomerState {
    /// The balance of one credit type at `at`, over the grants that are usable then. Of a grant that ended, only what reservations
    /// still hold counts: what was spent of it belongs to the time before its end.
    #[must_use]
    pub fn balance(&self, credit: &CreditType, at: Timestamp) -> Balance {
        let [mut granted, mut used, mut available] = [Credits::ZERO; 3];
        for grant in self.grants.iter() {
            if &grant.grant.credit != credit || grant.grant.effective_at > at {
                continue;
            }
            granted = granted.saturating_add(grant.held);
            if grant.status == GrantStatus::Live {
                granted = granted.saturating_add(grant.remaining).saturating_add(grant.spent);
                used = used.saturating_add(grant.spent);
                available = available.saturating_add(grant.remaining);
            }
        }
        let Held { reserved, overage: held_overage } = self.reservations.held(credit);
        let drawn = self.accounts.get(credit).map_or(Credits::ZERO, |account| account.overage);
        Balance {
            credit: credit.clone(),
            granted,
            used,
            reserved,
            available,
            restricted: Credits::ZERO,
            overage: drawn.saturating_sub(held_overage),
            held_overage,
        }
    }

    /// The balance as a usage of `feature` sees it; none sees all.
    #[must_use]
    pub fn balance_of(&self, credit: &CreditType, feature: Option<&Key>, at: Timestamp) -> Balance {
        let balance = self.balance(credit, at);
        let Some(feature) = feature else { return balance };
        let available = self.available(credit, Some(feature), at);
        Balance { available, restricted: balance.available.saturating_sub(available), ..balance }
    }

    /// The overage that may be settled: what reservations hold of it is not spent yet and may still come back.
    pub(crate) fn outstanding(&self, credit: &CreditType) -> Credits {
        let drawn = self.accounts.get(credit).map_or(Credits::ZERO, |account| account.overage);
        drawn.saturating_sub(self.reservations.held(credit).overage)
    }

    /// The balances of all credit types that the customer ever held, by name.
    #[must_use]
    pub fn balances(&self, at: Timestamp) -> Vec<Balance> {
        self.accounts.keys().map(|credit| self.balance(credit, at)).collect()
    }

    /// What `feature` may draw of `credit` at `at` without overage (none: a cost of no feature).
    #[must_use]
    pub fn available(&self, credit: &CreditType, feature: Option<&Key>, at: Timestamp) -> Credits {
        let drawable = self.grants.iter().filter(|grant| {
            grant.is_usable(at) && &grant.grant.credit == credit && grant.grant.covers(feature)
        });
        drawable.fold(Credits::ZERO, |sum, grant| sum.saturating_add(grant.remaining))
    }

    /// The credit type to show where a policy named none: the only one, or `credits`.
    #[must_use]
    pub fn main_credit(&self) -> CreditType {
        let mut credits = self.accounts.keys();
        match (credits.next(), credits.next()) {
            (Some(only), None) => only.clone(),
            _ => default_credit(),
        }
    }

    /// Checks that the books of each credit type balance:
    /// issued + overage = remaining + reserved + spent + expired + voided.
    ///
    /// # Errors
    /// The credit type that does not, with both sides.
    pub fn check_books(&self) -> Result<(), (CreditType, String)> {
        for (credit, account) in &self.accounts {
            let remaining = self.grants.iter().filter(|g| &g.grant.credit == credit).map(|g| g.remaining);
            let held = self.reservations.values().filter(|r| &r.credit == credit).map(|r| r.held());
            let right = Credits::checked_sum(
                [account.spent, account.expired, account.voided].into_iter().chain(remaining).chain(held),
            );
            let left = account.issued.checked_add(account.overage);
            if left.is_none() || left != right {
                let side = |side: Option<Credits>| {
                    side.map_or_else(|| "out of range".to_owned(), |sum| sum.to_string())
                };
                let detail = format!("issued + overage = {}, the other books = {}", side(left), side(right));
                return Err((credit.clone(), detail));
            }
        }
        Ok(())
    }
}
