//! Burn-down: from which grants a cost is drawn, and what funds the part that they can't.

use crate::{
    credits::Credits,
    decision::{Offer, Overage, Rating, Refusal, TopUp},
    grant::{Category, CreditType, Grant},
    ids::{GrantId, Key},
    journal::Draw,
    state::{CustomerState, GrantState},
    time::Timestamp,
    transfer::{Book, Transfer},
};
use std::collections::BTreeSet;

/// The largest amount of one grant, charge or adjustment: a billion credits.
pub const LARGEST_AMOUNT: Credits = Credits(1_000_000_000_000_000);

/// Where the credits for a cost come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Funding {
    /// From standing grants.
    pub draws: Vec<Draw>,
    /// A grant issued on the spot, and what is drawn from it.
    pub top_up: Option<(Grant, Credits)>,
    /// Beyond all grants.
    pub overage: Credits,
}

/// Why a cost finds no funding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfunded {
    /// No, for this reason.
    Refused(Refusal, Vec<Offer>),
    /// The policy's answer breaks a rule of the ledger.
    Invalid(String),
}

impl CustomerState {
    /// What `feature` may draw of `credit` at `at` without overage.
    #[must_use]
    pub fn available(&self, credit: &CreditType, feature: Option<&Key>, at: Timestamp) -> Credits {
        let sum = self
            .drawable(credit, feature, at)
            .fold(0_i64, |sum, grant| sum.saturating_add(grant.remaining.0));
        Credits(sum)
    }

    /// By how much `cost` exceeds what is available to it; zero when it does not.
    #[must_use]
    pub fn shortfall(
        &self,
        credit: &CreditType,
        feature: Option<&Key>,
        cost: Credits,
        at: Timestamp,
    ) -> Credits {
        Credits(cost.0.saturating_sub(self.available(credit, feature, at).0).max(0))
    }

    fn drawable<'a>(
        &'a self,
        credit: &'a CreditType,
        feature: Option<&'a Key>,
        at: Timestamp,
    ) -> impl Iterator<Item = &'a GrantState> {
        self.grants.iter().filter(move |grant| {
            grant.is_usable(at)
                && &grant.grant.credit == credit
                && grant.remaining > Credits::ZERO
                && grant.grant.covers(feature)
        })
    }

    /// Draws `cost` in the policy's order first and in burn-down order then. Returns the draws and what they leave.
    pub(crate) fn draw(
        &self,
        credit: &CreditType,
        feature: Option<&Key>,
        cost: Credits,
        first: &[GrantId],
        at: Timestamp,
    ) -> (Vec<Draw>, Credits) {
        let mut left = cost.0;
        let mut draws = Vec::with_capacity(1);
        let preferred =
            first.iter().filter_map(|id| self.drawable(credit, feature, at).find(|g| g.grant.id == *id));
        let others = self.drawable(credit, feature, at).filter(|grant| !first.contains(&grant.grant.id));
        for grant in preferred.chain(others) {
            if left == 0 {
                break;
            }
            let amount = left.min(grant.remaining.0);
            left -= amount;
            draws.push(Draw { grant: grant.grant.id, amount: Credits(amount) });
        }
        (draws, Credits(left))
    }

    /// Funds `cost`, a part or all of `rating`'s, as the policy's `overage` answer allows (none: not at all).
    pub(crate) fn fund(
        &self,
        at: Timestamp,
        feature: Option<&Key>,
        rating: &Rating,
        cost: Credits,
        overage: Option<&Overage>,
    ) -> Result<Funding, Unfunded> {
        self.check_rating(rating).map_err(Unfunded::Invalid)?;
        let (draws, shortfall) = self.draw(&rating.credit, feature, cost, &rating.draw_order, at);
        let mut funding = Funding { draws, top_up: None, overage: Credits::ZERO };
        if shortfall.is_zero() {
            return Ok(funding);
        }
        let insufficient = || Refusal {
            code: "insufficient_credits".to_owned(),
            detail: format!("{} credits are missing", shortfall),
            retry_at: None,
        };
        match overage {
            None => Err(Unfunded::Refused(insufficient(), Vec::new())),
            Some(Overage::Deny(refusal)) => Err(Unfunded::Refused(refusal.clone(), Vec::new())),
            Some(Overage::RequirePurchase(offers)) => {
                let refusal = Refusal { code: "purchase_required".to_owned(), ..insufficient() };
                Err(Unfunded::Refused(refusal, offers.clone()))
            }
            Some(Overage::Allow(limit)) => {
                let outstanding = self.accounts.get(&rating.credit).map_or(0, |account| account.overage.0);
                if outstanding.saturating_add(shortfall.0) > limit.0 {
                    let detail = format!(
                        "{shortfall} credits are missing; with the outstanding overage of {} that is over the limit of \
                         {limit}",
                        Credits(outstanding)
                    );
                    return Err(Unfunded::Refused(Refusal { detail, ..insufficient() }, Vec::new()));
                }
                funding.overage = shortfall;
                Ok(funding)
            }
            Some(Overage::TopUp(top_up)) => {
                let grant =
                    self.top_up_grant(at, &rating.credit, shortfall, top_up).map_err(Unfunded::Invalid)?;
                funding.top_up = Some((grant, shortfall));
                Ok(funding)
            }
        }
    }

    fn check_rating(&self, rating: &Rating) -> Result<(), String> {
        if rating.cost.is_negative() || rating.cost > LARGEST_AMOUNT {
            return Err(format!("a cost of {} is not between 0 and {LARGEST_AMOUNT}", rating.cost));
        }
        let mut named = BTreeSet::new();
        for id in &rating.draw_order {
            if self.grant(*id).is_none() {
                return Err(format!("the draw order names {id}, which is no live grant"));
            }
            // Drawn from twice, a grant would give more than it has.
            if !named.insert(*id) {
                return Err(format!("the draw order names {id} twice"));
            }
        }
        Ok(())
    }

    fn top_up_grant(
        &self,
        at: Timestamp,
        credit: &CreditType,
        shortfall: Credits,
        top_up: &TopUp,
    ) -> Result<Grant, String> {
        if top_up.amount < shortfall || top_up.amount > LARGEST_AMOUNT {
            return Err(format!("a top-up of {} for a shortfall of {shortfall}", top_up.amount));
        }
        if top_up.expires_at.is_some_and(|expiry| expiry <= at) {
            return Err("a top-up that has expired already".to_owned());
        }
        Ok(Grant {
            id: GrantId { entry: self.seq + 1, index: 0 },
            credit: credit.clone(),
            amount: top_up.amount,
            category: Category::TopUp,
            priority: 0,
            effective_at: at,
            expires_at: top_up.expires_at,
            features: Vec::new(),
            cost_basis: top_up.cost_basis.clone(),
            metadata: Vec::new(),
        })
    }
}

impl Funding {
    /// The movements that carry it out, into `to`.
    pub(crate) fn transfers(&self, credit: &CreditType, to: Book) -> Vec<Transfer> {
        let mut transfers = Vec::with_capacity(self.draws.len() + 1);
        if let Some((grant, _)) = &self.top_up {
            transfers.push(CustomerState::transfer(
                credit,
                Book::Issued,
                Book::Grant(grant.id),
                grant.amount,
            ));
        }
        for draw in &self.draws {
            transfers.push(CustomerState::transfer(credit, Book::Grant(draw.grant), to, draw.amount));
        }
        if let Some((grant, drawn)) = &self.top_up {
            transfers.push(CustomerState::transfer(credit, Book::Grant(grant.id), to, *drawn));
        }
        if !self.overage.is_zero() {
            transfers.push(CustomerState::transfer(credit, Book::Overage, to, self.overage));
        }
        transfers
    }

    /// The grant that is issued on the spot.
    pub(crate) fn top_up(&self) -> Option<Grant> {
        self.top_up.as_ref().map(|(grant, _)| grant.clone())
    }
}
