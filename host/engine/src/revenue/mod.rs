//! Revenue: what of prepaid credits is deferred, earned, or lost to expiry, in money. It is computed from the same transfers as
//! balances are, by the time of the entries: books that are closed stay as they are, however late a usage is reported.

mod books;

pub(crate) use books::{drawn, given_back};

use crate::{engine::Engine, error::EngineError, reads::parse};
use books::{Amounts, Books};
use proviso_ledger::model::{
    amounts::{Currency, Decimal},
    ids::{CustomerId, Seq},
    time::{Timestamp, Zone},
};
use std::collections::BTreeMap;

/// Entries that are read at a time.
const PAGE: u32 = 1_000;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;
/// After so many entries a page over customers ends with the customer at hand.
const MOST_READ: u64 = 20_000;

/// By what revenue is grouped. Currencies are never added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevenueBy {
    /// By local month of the entry.
    Month,
    /// By currency.
    Currency,
    /// By customer.
    Customer,
    /// By the category of the grant that was sold.
    Category,
    /// By the grant that was sold.
    Grant,
}

/// Which revenue is reported, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct RevenueReport {
    /// What was written at or after this...
    pub from: Timestamp,
    /// ...and before this.
    pub to: Timestamp,
    /// By what it is grouped.
    pub group_by: Vec<RevenueBy>,
    /// The zone of months.
    pub zone: Zone,
}

/// Revenue of one group. `opening + sold = earned + breakage + voided + deferred`, to the minor unit, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revenue {
    /// The values that the group has in common, in the order of the grouping.
    pub group: Vec<String>,
    /// Of all amounts.
    pub currency: Currency,
    /// What was deferred when the group's time began.
    pub opening: Decimal,
    /// Cost bases of grants that were issued.
    pub sold: Decimal,
    /// Of credits that were burnt, less what refunds took back.
    pub earned: Decimal,
    /// Of credits that expired.
    pub breakage: Decimal,
    /// Of credits that were voided.
    pub voided: Decimal,
    /// What refunds took back, which `earned` is less.
    pub refunded: Decimal,
    /// What was deferred when the group's time ended.
    pub deferred: Decimal,
}

/// A page of revenue by customer.
#[derive(Debug, PartialEq, Eq)]
pub struct RevenuePage {
    /// In the order of groups.
    pub rows: Vec<Revenue>,
    /// The last customer that was read, unless it is the last one.
    pub next: Option<CustomerId>,
}

/// Sums by the groups but for the month, by currency.
type Groups = BTreeMap<(Vec<String>, Currency), OfGroup>;

#[derive(Debug, Default)]
struct OfGroup {
    /// Before the report's time.
    opening: Amounts,
    /// By month since January of year 0, or all under 0.
    moved: BTreeMap<i64, Amounts>,
}

impl Engine {
    /// A customer's revenue.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn revenue(
        &self,
        customer: &CustomerId,
        report: &RevenueReport,
    ) -> Result<Vec<Revenue>, EngineError> {
        // What is due by now is written first.
        self.state(customer).await?;
        let mut groups = Groups::new();
        self.add_revenue(customer, report, &mut groups).await?;
        Ok(report.rows(&groups))
    }

    /// The revenue of all customers. Where it is grouped by customer, of those after `after`, as many as a page takes.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn revenue_of_all(
        &self,
        report: &RevenueReport,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<RevenuePage, EngineError> {
        let is_paged = report.group_by.contains(&RevenueBy::Customer);
        let (mut groups, mut read, mut after) = (Groups::new(), 0_u64, after);
        loop {
            let customers = self.customers(after.as_ref(), CUSTOMERS).await?;
            let has_more = customers.len() == CUSTOMERS as usize;
            for (place, summary) in customers.iter().enumerate() {
                let customer = &summary.customer;
                read = read.saturating_add(self.add_revenue(customer, report, &mut groups).await?);
                let is_last = !has_more && place + 1 == customers.len();
                if is_paged && !is_last && (groups.len() >= limit || read >= MOST_READ) {
                    return Ok(RevenuePage { rows: report.rows(&groups), next: Some(customer.clone()) });
                }
            }
            after = customers.last().map(|last| last.customer.clone());
            if !has_more {
                return Ok(RevenuePage { rows: report.rows(&groups), next: None });
            }
        }
    }

    /// Adds what a journal says; returns how many entries it has.
    async fn add_revenue(
        &self,
        customer: &CustomerId,
        report: &RevenueReport,
        groups: &mut Groups,
    ) -> Result<u64, EngineError> {
        let (mut books, mut at): (Books, Seq) = (Books::default(), 0);
        loop {
            let page = self.shared.store.entries(customer, at, PAGE).await?;
            let Some(last) = page.last() else { return Ok(at) };
            let is_last = page.len() < PAGE as usize;
            at = last.seq;
            for stored in page {
                if stored.at >= report.to {
                    return Ok(at);
                }
                let entry = parse(customer, &stored)?;
                let charge = match entry.refunded() {
                    Some(refunded) => Some(self.shared.entry(customer, refunded.charge.entry).await?),
                    None => None,
                };
                for (grant, change) in books.take(&entry, charge.as_deref()) {
                    let Some(sold) = books.sold(grant) else { continue };
                    let value = |by: &RevenueBy| match by {
                        RevenueBy::Month => None,
                        RevenueBy::Currency => Some(sold.basis.currency().to_string()),
                        RevenueBy::Customer => Some(customer.to_string()),
                        RevenueBy::Category => Some(sold.category.as_str().to_owned()),
                        RevenueBy::Grant => Some(grant.to_string()),
                    };
                    let key = report.group_by.iter().filter_map(value).collect();
                    let group = groups.entry((key, sold.basis.currency())).or_default();
                    if entry.at < report.from {
                        group.opening = group.opening.plus(change);
                    } else {
                        let month = if report.by_month() { report.zone.month(entry.at) } else { 0 };
                        let moved = group.moved.entry(month).or_default();
                        *moved = moved.plus(change);
                    }
                }
            }
            if is_last {
                return Ok(at);
            }
        }
    }
}

impl RevenueReport {
    fn by_month(&self) -> bool {
        self.group_by.contains(&RevenueBy::Month)
    }

    /// One row for each group; by month, for each month in which something moved or was deferred.
    fn rows(&self, groups: &Groups) -> Vec<Revenue> {
        let mut rows = Vec::new();
        for ((values, currency), group) in groups {
            let mut so_far = group.opening;
            let has_opening = !so_far.deferred().is_zero();
            let months = if self.by_month() {
                let last = self.zone.month(Timestamp(self.to.0.saturating_sub(1)));
                let first = group.moved.keys().next().copied().unwrap_or(last + 1);
                let first = if has_opening { self.zone.month(self.from) } else { first };
                first..=last
            } else {
                0..=0
            };
            for month in months {
                let moved = group.moved.get(&month).copied().unwrap_or_default();
                let opening = so_far.deferred();
                so_far = so_far.plus(moved);
                if moved.is_zero() && opening.is_zero() {
                    continue;
                }
                let mut values = values.iter();
                let value = |by: &RevenueBy| match by {
                    RevenueBy::Month => {
                        format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
                    }
                    _ => values.next().cloned().unwrap_or_default(),
                };
                let Amounts { sold, earned, breakage, voided, refunded } = moved;
                rows.push(Revenue {
                    group: self.group_by.iter().map(value).collect(),
                    currency: *currency,
                    opening,
                    sold,
                    earned,
                    breakage,
                    voided,
                    refunded,
                    deferred: so_far.deferred(),
                });
            }
        }
        rows.sort_by(|a, b| a.group.cmp(&b.group).then_with(|| a.currency.code().cmp(b.currency.code())));
        rows
    }
}
