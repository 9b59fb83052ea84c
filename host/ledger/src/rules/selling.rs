//! What is sold beside plans: packs of credits, and credits for a code.

use super::{
    bounds::MOST_LIVE,
    grants::{GrantRequest, GrantTerms},
    rejection::Rejection,
};
use crate::{
    journal::{BundlePurchased, Event, PromotionRedeemed},
    model::{ids::Name, time::Timestamp},
    state::{CustomerState, Draft},
};

impl CustomerState {
    /// The entry that gives the credits of a pack that was bought. They pay outstanding overage first, where the terms say so.
    ///
    /// # Errors
    /// As of any grant.
    pub fn purchase(
        &self,
        at: Timestamp,
        (bundle, quantity, payment): (Name, u32, Option<String>),
        request: GrantRequest,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        let (grant, transfers) = self.granting(at, request, terms)?;
        let credit = grant.credit.clone();
        let bought = BundlePurchased { bundle, quantity, payment, grant };
        Ok(Draft::moving(Event::BundlePurchased(Box::new(bought)), credit, transfers))
    }

    /// Whether the customer may redeem a promotion, whatever the promotion itself says.
    ///
    /// # Errors
    /// A closed customer; a promotion that was redeemed before; more promotions than are remembered.
    pub fn may_redeem(&self, promotion: &Name) -> Result<(), Rejection> {
        self.require_open()?;
        if self.redeemed.contains(promotion) {
            return Err(Rejection::AlreadyRedeemed(promotion.clone()));
        }
        match self.redeemed.len() {
            redeemed if redeemed >= MOST_LIVE => Err(Rejection::TooMany(redeemed, "redeemed promotions")),
            _ => Ok(()),
        }
    }

    /// The entry that gives the credits of a promotion, as its redemption of this number.
    ///
    /// # Errors
    /// As of [`may_redeem`](Self::may_redeem), and of any grant.
    pub fn redeem(
        &self,
        at: Timestamp,
        (promotion, number): (Name, u64),
        request: GrantRequest,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        self.may_redeem(&promotion)?;
        let (grant, transfers) = self.granting(at, request, terms)?;
        let credit = grant.credit.clone();
        let redeemed = PromotionRedeemed { promotion, number, grant };
        Ok(Draft::moving(Event::PromotionRedeemed(Box::new(redeemed)), credit, transfers))
    }
}
