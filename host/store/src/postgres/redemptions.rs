//! [Redemptions](crate::redemptions) in a PostgreSQL database. Who claims locks the promotion's row, so claims of one promotion
//! follow one another, and a change of it comes before or after them.

use super::{pool::Lease, store::PostgresStore};
use crate::{
    columns::{Columns, integer, number},
    error::StoreError,
    redemptions::{
        ADD, CLAIM, Claimed, OF_CUSTOMER, PAGE, RedemptionClaim, RedemptionRow, RedemptionStore, redemption,
    },
    rows::Commit,
};
use proviso_ledger::model::ids::{CustomerId, Name};

const COUNTS: &str = "SELECT (SELECT coalesce(max(number), 0) FROM redemptions WHERE promotion_id = asked.id) \
     FROM unnest($1::text[]) WITH ORDINALITY AS asked (id, place) ORDER BY asked.place";
const LOCK: &str = "SELECT revision FROM products WHERE kind = 'promotion' AND product_id = $1 FOR UPDATE";

#[async_trait::async_trait]
impl RedemptionStore for PostgresStore {
    async fn claim_redemption(&self, claim: RedemptionClaim) -> Result<Claimed, StoreError> {
        self.host()?;
        let mut lease = self.pool().lease().await?;
        lease.begin("BEGIN").await?;
        let claimed = claimed(&mut lease, &claim).await?;
        lease.end(if matches!(claimed, Claimed::Taken(_)) { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(claimed)
    }

    async fn redemption_of(
        &self,
        promotion: &Name,
        customer: &CustomerId,
    ) -> Result<Option<u64>, StoreError> {
        let query = || sqlx::query(OF_CUSTOMER).bind(promotion.as_str()).bind(customer.as_str());
        self.pool().fetch(query).await?.first().map(|row| number(row, 0)).transpose()
    }

    async fn redemption_counts(&self, promotions: &[Name]) -> Result<Vec<u64>, StoreError> {
        let promotions: Vec<&str> = promotions.iter().map(Name::as_str).collect();
        let rows = self.pool().fetch(|| sqlx::query(COUNTS).bind(&promotions)).await?;
        rows.iter().map(|row| number(row, 0)).collect()
    }

    async fn redemptions(
        &self,
        promotion: &Name,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RedemptionRow>, StoreError> {
        let query = || sqlx::query(PAGE).bind(promotion.as_str()).bind(integer(after)).bind(i64::from(limit));
        self.pool().fetch(query).await?.iter().map(redemption).collect()
    }

    async fn add_redemptions(
        &self,
        promotion: &Name,
        rows: Vec<RedemptionRow>,
    ) -> Result<Commit, StoreError> {
        self.host()?;
        let mut lease = self.pool().lease().await?;
        lease.begin("BEGIN").await?;
        for RedemptionRow { number, customer, at } in rows {
            let insert = sqlx::query(ADD)
                .bind(promotion.as_str())
                .bind(integer(number))
                .bind(customer.as_str().to_owned())
                .bind(at.0);
            if lease.execute(insert).await? != 1 {
                lease.end("ROLLBACK").await?;
                return Ok(Commit::Conflict);
            }
        }
        lease.end("COMMIT").await?;
        Ok(Commit::Durable)
    }
}

async fn claimed(lease: &mut Lease<'_>, claim: &RedemptionClaim) -> Result<Claimed, StoreError> {
    let (promotion, customer) = (claim.promotion.as_str(), claim.customer.as_str());
    let written = lease.fetch(sqlx::query(LOCK).bind(promotion)).await?;
    let known = lease.fetch(sqlx::query(OF_CUSTOMER).bind(promotion).bind(customer)).await?;
    if let Some(row) = known.first() {
        return Ok(Claimed::Taken(number(row, 0)?));
    }
    let written = written.first().map(|row| row.integer(0)).transpose()?;
    if written != Some(integer(claim.revision)) {
        return Ok(Claimed::Changed);
    }
    // A statement sees what was committed before the lock was given.
    let query = sqlx::query(CLAIM).bind(promotion).bind(customer).bind(claim.at.0).bind(claim.limit());
    let taken = lease.fetch(query).await?;
    taken.first().map_or(Ok(Claimed::Exhausted), |row| number(row, 0).map(Claimed::Taken))
}
