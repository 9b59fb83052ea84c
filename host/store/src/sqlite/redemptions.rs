//! [Redemptions](crate::redemptions) in a SQLite file. One thread writes, so claims follow one another.

use super::{
    reads::{all, first},
    store::SqliteStore,
    writer::Job,
};
use crate::{
    columns::{Columns, integer, number},
    error::StoreError,
    redemptions::{
        ADD, CLAIM, Claimed, OF_CUSTOMER, PAGE, RedemptionClaim, RedemptionRow, RedemptionStore, redemption,
    },
    rows::Commit,
};
use proviso_ledger::model::ids::{CustomerId, Name};
use rusqlite::{Connection, TransactionBehavior};

const COUNT: &str = "SELECT coalesce(max(number), 0) FROM redemptions WHERE promotion_id = $1";
const REVISION: &str = "SELECT revision FROM products WHERE kind = 'promotion' AND product_id = $1";

#[async_trait::async_trait]
impl RedemptionStore for SqliteStore {
    async fn claim_redemption(&self, claim: RedemptionClaim) -> Result<Claimed, StoreError> {
        self.write(|reply| Job::ClaimRedemption { claim, reply }).await
    }

    async fn redemption_of(
        &self,
        promotion: &Name,
        customer: &CustomerId,
    ) -> Result<Option<u64>, StoreError> {
        let (promotion, customer) = (promotion.clone(), customer.clone());
        let read = move |connection: &mut Connection| of(connection, &promotion, &customer);
        self.reads().readers.read(read).await
    }

    async fn redemption_counts(&self, promotions: &[Name]) -> Result<Vec<u64>, StoreError> {
        let promotions = promotions.to_vec();
        let read = move |connection: &mut Connection| {
            let count =
                |promotion: &Name| first(connection, COUNT, [promotion.as_str()], |row| number(row, 0));
            promotions.iter().map(|promotion| Ok(count(promotion)?.unwrap_or(0))).collect()
        };
        self.reads().readers.read(read).await
    }

    async fn redemptions(
        &self,
        promotion: &Name,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RedemptionRow>, StoreError> {
        let promotion = promotion.clone();
        let read = move |connection: &mut Connection| {
            all(connection, PAGE, (promotion.as_str(), integer(after), limit), |row| redemption(row))
        };
        self.reads().readers.read(read).await
    }

    async fn add_redemptions(
        &self,
        promotion: &Name,
        rows: Vec<RedemptionRow>,
    ) -> Result<Commit, StoreError> {
        let promotion = promotion.clone();
        self.write(|reply| Job::AddRedemptions { promotion, rows, reply }).await
    }
}

fn of(connection: &Connection, promotion: &Name, customer: &CustomerId) -> Result<Option<u64>, StoreError> {
    first(connection, OF_CUSTOMER, (promotion.as_str(), customer.as_str()), |row| number(row, 0))
}

pub fn claim(connection: &mut Connection, claim: &RedemptionClaim) -> Result<Claimed, StoreError> {
    // Rolled back when it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let RedemptionClaim { promotion, customer, at, revision, .. } = claim;
    if let Some(number) = of(&transaction, promotion, customer)? {
        return Ok(Claimed::Taken(number));
    }
    let written = first(&transaction, REVISION, [promotion.as_str()], |row| row.integer(0))?;
    if written != Some(integer(*revision)) {
        return Ok(Claimed::Changed);
    }
    let row = (promotion.as_str(), customer.as_str(), at.0, claim.limit());
    let taken = first(&transaction, CLAIM, row, |row| number(row, 0))?;
    transaction.commit()?;
    Ok(taken.map_or(Claimed::Exhausted, Claimed::Taken))
}

pub fn add(
    connection: &mut Connection,
    promotion: &Name,
    rows: &[RedemptionRow],
) -> Result<Commit, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(ADD)?;
        for RedemptionRow { number, customer, at } in rows {
            if insert.execute((promotion.as_str(), integer(*number), customer.as_str(), at.0))? != 1 {
                return Ok(Commit::Conflict);
            }
        }
    }
    transaction.commit()?;
    Ok(Commit::Durable)
}
