//! Credits that were bought: grants that were issued with a cost basis. Together with usage they are what a customer's costs are made of.

use crate::{
    engine::Engine,
    error::EngineError,
    reads::{CustomerSummary, parse},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        grant::Grant,
        ids::{CustomerId, Seq},
        time::Timestamp,
        transfer::Book,
    },
};
use std::ops::Range;

/// Entries that are read at a time.
const PAGE: u32 = 1_000;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;
/// After so many entries a page ends, however few purchases it has...
const MOST_READ: u64 = 20_000;
/// ...and each customer counts as so many by itself.
const READ_BY_CUSTOMER: u64 = 20;

/// A grant that was issued with a cost basis.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// When the entry was written that issued it.
    pub at: Timestamp,
    /// What was bought.
    pub grant: Grant,
    /// Whether it came with a period of a plan.
    pub recurring: bool,
}

/// Purchases by customer.
pub type PurchasesOfAll = Vec<(CustomerSummary, Vec<Purchase>)>;

impl Engine {
    /// A customer's purchases in entries of this time after entry `after`, oldest first: `limit` or a few more, or what takes long enough
    /// to read. Returns the last entry that was read, unless it is the last one. What counts is what `sold` of the revenue counts, but
    /// for grants that were moved in, which another system sold.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn purchases(
        &self,
        customer: &CustomerId,
        time: Range<Timestamp>,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<(Vec<Purchase>, Option<Seq>), EngineError> {
        // What is due by now is written first.
        self.state(customer).await?;
        let (found, next, _) = self.find_purchases(customer, time, after, limit, MOST_READ).await?;
        Ok((found, next))
    }

    /// The purchases of the customers after `after`, by key; those of each customer are on one page. Returns the last customer that was
    /// read, unless it is the last one.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn purchases_of_all(
        &self,
        after: Option<CustomerId>,
        time: Range<Timestamp>,
        limit: usize,
    ) -> Result<(PurchasesOfAll, Option<CustomerId>), EngineError> {
        let (mut found, mut count, mut read, mut after) = (Vec::new(), 0_usize, 0_u64, after);
        loop {
            let customers = self.customers(after.as_ref(), CUSTOMERS).await?;
            let has_more = customers.len() == CUSTOMERS as usize;
            after = customers.last().map(|last| last.customer.clone());
            let mut left = customers.into_iter().peekable();
            while let Some(summary) = left.next() {
                let (all, most) = (usize::MAX, u64::MAX);
                let (own, _, entries) =
                    self.find_purchases(&summary.customer, time.clone(), None, all, most).await?;
                read = read.saturating_add(entries).saturating_add(READ_BY_CUSTOMER);
                count = count.saturating_add(own.len());
                let customer = summary.customer.clone();
                if !own.is_empty() {
                    found.push((summary, own));
                }
                let is_last = !has_more && left.peek().is_none();
                if count >= limit || read >= MOST_READ {
                    return Ok((found, (!is_last).then_some(customer)));
                }
            }
            if !has_more {
                return Ok((found, None));
            }
        }
    }

    /// Returns how many entries were read, too.
    async fn find_purchases(
        &self,
        customer: &CustomerId,
        time: Range<Timestamp>,
        after: Option<Seq>,
        limit: usize,
        most_read: u64,
    ) -> Result<(Vec<Purchase>, Option<Seq>, u64), EngineError> {
        let store = &self.shared.store;
        let first = store.seq_at(customer, time.start.plus_micros(-1)).await?;
        let last = store.seq_at(customer, time.end.plus_micros(-1)).await?;
        let (mut at, mut found, mut read) = (first.max(after.unwrap_or(0)), Vec::new(), 0_u64);
        while at < last {
            let page = store.entries(customer, at, PAGE).await?;
            let Some(newest) = page.last() else { break };
            let newest = newest.seq;
            for stored in page.iter().take_while(|stored| stored.seq <= last) {
                if found.len() >= limit || read >= most_read {
                    return Ok((found, Some(at), read));
                }
                (at, read) = (stored.seq, read.saturating_add(1));
                found.extend(bought(&parse(customer, stored)?));
            }
            at = newest;
        }
        Ok((found, None, read))
    }
}

/// What an entry sells: grants with a cost basis that it issues. What is carried over, given back or moved in was sold before.
fn bought(entry: &Entry) -> Vec<Purchase> {
    if matches!(entry.event, Event::GrantImported(_)) {
        return Vec::new();
    }
    let is_issued = |grant: &&Grant| {
        entry.transfers.iter().any(|one| one.from == Book::Issued && one.to == Book::Grant(grant.id))
    };
    let has_basis = |grant: &&Grant| grant.cost_basis.is_some_and(|basis| !basis.is_zero());
    let recurring = matches!(entry.event, Event::PeriodOpened(_));
    let sold = entry.grants().iter().filter(is_issued).filter(has_basis);
    sold.map(|grant| Purchase { at: entry.at, grant: grant.clone(), recurring }).collect()
}
