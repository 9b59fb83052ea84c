//! What a database keeps of redeemed promotions across customers: a number for each customer that may redeem one, from 1 without
//! gaps. A claim comes before the customer's own entry and is never taken back, so that no promotion is ever redeemed more often than
//! its limit allows, whichever hosts ask at once and whatever becomes of them in between.

use crate::{
    columns::{Columns, key, number},
    error::StoreError,
    rows::Commit,
};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::Timestamp,
};

/// A customer that may redeem a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedemptionRow {
    /// Its place among those of the promotion, from 1.
    pub number: u64,
    /// Who.
    pub customer: CustomerId,
    /// When it was claimed.
    pub at: Timestamp,
}

/// A customer that asks for one of a promotion's redemptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedemptionClaim {
    /// The promotion, which must exist.
    pub promotion: Name,
    /// Who.
    pub customer: CustomerId,
    /// When.
    pub at: Timestamp,
    /// How many there are in all; None for any number.
    pub most: Option<u64>,
    /// The revision that wrote the promotion which says so.
    pub revision: u64,
}

/// What a claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The customer has this number, now or since before.
    Taken(u64),
    /// All are taken.
    Exhausted,
    /// The promotion is not the one that was named: it was changed since. Nothing was claimed.
    Changed,
}

/// The part of a store that counts redemptions.
#[async_trait::async_trait]
pub trait RedemptionStore: Send + Sync {
    /// Takes one of a promotion's redemptions for a customer; the same one again if it has one.
    async fn claim_redemption(&self, claim: RedemptionClaim) -> Result<Claimed, StoreError>;

    /// The number that a customer has.
    async fn redemption_of(&self, promotion: &Name, customer: &CustomerId)
    -> Result<Option<u64>, StoreError>;

    /// How many of each promotion were taken.
    async fn redemption_counts(&self, promotions: &[Name]) -> Result<Vec<u64>, StoreError>;

    /// How many of one were taken.
    async fn redemption_count(&self, promotion: &Name) -> Result<u64, StoreError> {
        let counts = self.redemption_counts(std::slice::from_ref(promotion)).await?;
        Ok(counts.first().copied().unwrap_or_default())
    }

    /// Up to `limit` of them numbered above `after`, in order.
    async fn redemptions(
        &self,
        promotion: &Name,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RedemptionRow>, StoreError>;

    /// Adds redemptions of another database as they are there. It is a [`Commit::Conflict`] when one exists.
    async fn add_redemptions(&self, promotion: &Name, rows: Vec<RedemptionRow>)
    -> Result<Commit, StoreError>;
}

pub const OF_CUSTOMER: &str = "SELECT number FROM redemptions WHERE promotion_id = $1 AND customer_id = $2";
/// Writes nothing when `$4` are taken. The caller has seen to it that no other claim of the promotion is under way.
pub const CLAIM: &str = "INSERT INTO redemptions (promotion_id, customer_id, at, number) \
     SELECT $1, $2, $3, coalesce(max(number), 0) + 1 FROM redemptions WHERE promotion_id = $1 \
     HAVING coalesce(max(number), 0) < $4 RETURNING number";
pub const PAGE: &str = "SELECT number, customer_id, at FROM redemptions \
     WHERE promotion_id = $1 AND number > $2 ORDER BY number LIMIT $3";
pub const ADD: &str = "INSERT INTO redemptions (promotion_id, number, customer_id, at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";

impl RedemptionClaim {
    /// The limit as a database compares it.
    pub(crate) fn limit(&self) -> i64 {
        self.most.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX)
    }
}

/// `number, customer_id, at`.
pub fn redemption(row: &impl Columns) -> Result<RedemptionRow, StoreError> {
    Ok(RedemptionRow { number: number(row, 0)?, customer: key(row, 1)?, at: Timestamp(row.integer(2)?) })
}
