//! How a customer redeems a promotion: one of its redemptions is claimed in the store first, which keeps all hosts below its limit,
//! and then the customer's journal gets the entry.
//!
//! A claim is never taken back: one whose entry was not written (the host died, the customer was closed in between) counts, and is
//! used when the same customer redeems again.

use crate::{engine::Engine, error::EngineError};
use proviso_decide::{
    DecideError,
    catalog::Plans as _,
    command::{Command, Outcome, Reply, Request},
    selling::{Redemption, may_redeem},
};
use proviso_ledger::{
    model::ids::{CustomerId, Name},
    state::{CustomerState, Origin},
};
use proviso_store::{Claimed, RedemptionClaim, RedemptionRow, RedemptionStore};

/// How often a claim is made again after the promotion was changed meanwhile.
const MAX_ATTEMPTS: u32 = 8;

impl Engine {
    /// Redeems a promotion for a customer.
    ///
    /// # Errors
    /// Whatever keeps the customer from it; the store's.
    pub async fn redeem(
        &self,
        customer: CustomerId,
        promotion: Name,
        origin: Origin,
    ) -> Result<Outcome, EngineError> {
        let state = self.state(&customer).await?;
        // One that has it either repeats its request, or is told so.
        let number =
            if state.redeemed.contains(&promotion) { 0 } else { self.claim(&state, &promotion).await? };
        let command = Command::Redeem(Box::new(Redemption { promotion, number }));
        match self.execute(Request { customer, command, origin }).await? {
            Reply::Entry(outcome) => Ok(outcome),
            _ => Err(EngineError::Internal("a redemption without an entry".to_owned())),
        }
    }

    async fn claim(&self, state: &CustomerState, promotion: &Name) -> Result<u64, EngineError> {
        let store = self.redemption_store()?;
        self.shared.refresh_catalog().await?;
        for _ in 0..MAX_ATTEMPTS {
            let (catalog, at) = (self.catalog(), self.clock().now().max(state.at));
            let found = may_redeem(&*catalog, state, promotion, at)?;
            let (_, revision) = catalog
                .promotions
                .get(promotion)
                .ok_or_else(|| DecideError::PromotionNotFound(promotion.clone()))?;
            let claim = RedemptionClaim {
                promotion: promotion.clone(),
                customer: state.customer.clone(),
                at,
                most: found.max_redemptions,
                revision: *revision,
            };
            match store.claim_redemption(claim).await? {
                Claimed::Taken(number) => return Ok(number),
                Claimed::Exhausted => {
                    let most = found.max_redemptions.unwrap_or(u64::MAX);
                    return Err(DecideError::PromotionExhausted(promotion.clone(), most).into());
                }
                Claimed::Changed => self.shared.reread_catalog().await?,
            }
        }
        Err(EngineError::Contention)
    }

    /// How many redemptions of a promotion were claimed.
    ///
    /// # Errors
    /// The store's.
    pub async fn redemption_count(&self, promotion: &Name) -> Result<u64, EngineError> {
        Ok(self.redemption_store()?.redemption_count(promotion).await?)
    }

    /// The same of many promotions.
    ///
    /// # Errors
    /// The store's.
    pub async fn redemption_counts(&self, promotions: &[Name]) -> Result<Vec<u64>, EngineError> {
        Ok(self.redemption_store()?.redemption_counts(promotions).await?)
    }

    /// Up to `limit` redemptions of a promotion that are numbered above `after`, in order.
    ///
    /// # Errors
    /// An unknown promotion; the store's.
    pub async fn redemptions(
        &self,
        promotion: &Name,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RedemptionRow>, EngineError> {
        if self.catalog().promotion(promotion).is_none() {
            return Err(DecideError::PromotionNotFound(promotion.clone()).into());
        }
        Ok(self.redemption_store()?.redemptions(promotion, after, limit).await?)
    }

    fn redemption_store(&self) -> Result<&dyn RedemptionStore, EngineError> {
        let store = self.shared.store.redemption_store();
        store.ok_or_else(|| EngineError::Internal("this store counts no redemptions".to_owned()))
    }
}
