//! Usage reports. A report is computed once for all its pages: the first page says up to which entry it is, later ones find the
//! groups in a small cache, or compute them again up to the same entry. They come out of the [totals](crate::rollup) that are kept,
//! and out of the journal where those don't say.

use crate::{
    engine::Engine,
    error::EngineError,
    idempotency::first_import_hash,
    reads::{CustomerSummary, parse},
    report::{Collector, GroupKey, Pass, UsageGroups, UsagePage, UsageReport},
    rollup::{
        collect,
        counted::{Counted, Payers},
        journal::UsageJournal,
        roller,
    },
};
use proviso_ledger::{
    model::{
        ids::{CustomerId, Seq},
        time::{Timestamp, Zone},
    },
    state::ImportedSpan,
};
use proviso_store::Store;
use std::sync::Arc;

/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;
/// After so many entries a page over customers ends with the customer at hand...
const MOST_READ: u64 = 20_000;
/// ...each of which counts as so many by itself.
const READ_BY_CUSTOMER: u64 = 20;

/// From when until when a report of a customer in this zone is.
pub type Span = dyn Fn(&Zone) -> (Timestamp, Timestamp) + Send + Sync;

/// Usage by customer.
pub type UsageOfAll = Vec<(CustomerSummary, UsageGroups)>;

impl Engine {
    /// Brings usage totals up to date, as the host does from time to time. What a report says does not depend on it.
    pub async fn roll_up_usage(&self) {
        roller::roll_all(&self.shared).await;
    }

    /// All groups of a customer, read from the journal alone: what the totals are compared with.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn usage_of_journal(
        &self,
        customer: &CustomerId,
        report: UsageReport,
        as_of: Option<Seq>,
    ) -> Result<UsageGroups, EngineError> {
        let state = self.state(customer).await?;
        let report = report.or_in(state.zone());
        let as_of = as_of.unwrap_or(state.seq);
        let (collector, _) =
            walk(&*self.shared.store, customer, &report, state.imported, as_of, None).await?;
        Ok(collector.finish().0)
    }

    /// Accepted usage in groups: up to `limit` of those after `after`, as of an entry or else as of now.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn usage(
        &self,
        customer: &CustomerId,
        report: UsageReport,
        as_of: Option<Seq>,
        after: Option<GroupKey>,
        limit: usize,
    ) -> Result<UsagePage, EngineError> {
        let state = self.state(customer).await?;
        let report = report.or_in(state.zone());
        let as_of = as_of.unwrap_or(state.seq).min(state.seq);
        let pass = match self.reports.find(customer, &report, as_of, after.as_ref()) {
            Some(pass) => pass,
            None => {
                let pass = Arc::new(self.pass(customer, report, state.imported, as_of, after.clone()).await?);
                // One page is all of most reports.
                if pass.has_more || pass.groups.len() > limit {
                    self.reports.keep(pass.clone());
                }
                pass
            }
        };
        Ok(pass.page(after.as_ref(), limit))
    }

    /// All groups of a customer at once.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn whole_usage(
        &self,
        customer: &CustomerId,
        report: UsageReport,
    ) -> Result<UsageGroups, EngineError> {
        let state = self.state(customer).await?;
        let report = report.or_in(state.zone());
        Ok(self.passes(customer, report, state.imported, state.seq).await?.0)
    }

    /// The usage of the customers after `after`, by key, each in the span of its own zone: for `limit` groups or more, or what takes
    /// long enough to read. Returns the last customer that was read, unless it is the last one.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn usage_of_all(
        &self,
        after: Option<CustomerId>,
        limit: usize,
        report: &UsageReport,
        span: &Span,
    ) -> Result<(UsageOfAll, Option<CustomerId>), EngineError> {
        let (mut found, mut groups, mut read) = (Vec::new(), 0_usize, 0_u64);
        let mut after = after;
        loop {
            let customers = self.customers(after.as_ref(), CUSTOMERS).await?;
            let has_more = customers.len() == CUSTOMERS as usize;
            let keys: Vec<_> =
                customers.iter().map(|one| (one.customer.clone(), first_import_hash())).collect();
            let have_imports = self.shared.store.find_keys(&keys).await?;
            for (place, summary) in customers.iter().enumerate() {
                let CustomerSummary { customer, profile, .. } = summary;
                let (from, to) = span(&profile.time_zone);
                let own = UsageReport { from, to, ..report.clone() }.or_in(profile.time_zone.clone());
                let (imported, as_of) = match have_imports.get(place).copied().flatten() {
                    Some(_) => {
                        let state = self.state(customer).await?;
                        (state.imported, state.seq)
                    }
                    None => (None, Seq::MAX),
                };
                let (usage, entries) = self.passes(customer, own, imported, as_of).await?;
                // A customer without entries takes a query, too.
                read = read.saturating_add(entries).saturating_add(READ_BY_CUSTOMER);
                groups = groups.saturating_add(usage.len());
                if !usage.is_empty() {
                    found.push((summary.clone(), usage));
                }
                let is_last = !has_more && place + 1 == customers.len();
                if groups >= limit || read >= MOST_READ {
                    return Ok((found, (!is_last).then(|| customer.clone())));
                }
            }
            after = customers.last().map(|last| last.customer.clone());
            if !has_more {
                return Ok((found, None));
            }
        }
    }

    /// All groups, and how many entries were read for them.
    async fn passes(
        &self,
        customer: &CustomerId,
        report: UsageReport,
        imported: Option<ImportedSpan>,
        as_of: Seq,
    ) -> Result<(UsageGroups, u64), EngineError> {
        let (mut groups, mut read, mut after) = (UsageGroups::new(), 0_u64, None);
        loop {
            let pass = self.pass(customer, report.clone(), imported, as_of, after).await?;
            read = read.saturating_add(pass.read);
            after = pass.groups.keys().next_back().cloned();
            groups.extend(pass.groups);
            if !pass.has_more {
                return Ok((groups, read));
            }
        }
    }

    async fn pass(
        &self,
        customer: &CustomerId,
        report: UsageReport,
        imported: Option<ImportedSpan>,
        as_of: Seq,
        after: Option<GroupKey>,
    ) -> Result<Pass, EngineError> {
        let store = &*self.shared.store;
        let (collector, read) =
            match collect(store, customer, &report, imported, as_of, after.clone()).await? {
                Some(collected) => collected,
                None => walk(store, customer, &report, imported, as_of, after.clone()).await?,
            };
        let (groups, has_more) = collector.finish();
        Ok(Pass { customer: customer.clone(), report, as_of, after, groups, has_more, read })
    }
}

/// Collects a report out of the journal alone. Returns how many entries were read, too.
///
/// # Errors
/// A damaged journal, or the store's.
pub(crate) async fn walk(
    store: &dyn Store,
    customer: &CustomerId,
    report: &UsageReport,
    imported: Option<ImportedSpan>,
    as_of: Seq,
    after: Option<GroupKey>,
) -> Result<(Collector, u64), EngineError> {
    let span = report.from..report.to;
    let zone = report.zone.clone().unwrap_or_default();
    let (mut collector, mut payers, mut read) = (Collector::new(after), Payers::new(store, customer), 0_u64);
    let mut journal = UsageJournal::new(store, customer, span.clone(), imported, (0, as_of)).await?;
    loop {
        let page = journal.page().await?;
        if page.is_empty() {
            return Ok((collector, read));
        }
        for stored in page {
            read = read.saturating_add(1);
            let entry = parse(customer, &stored)?;
            let is_asked = |counted: &Counted<'_>| report.is_of(counted.usage) && span.contains(&counted.at);
            let Some(counted) = Counted::of(&entry).filter(is_asked) else { continue };
            let moment = zone.moment(counted.at);
            let paid = match report.by_category() {
                true => Some(payers.of(&entry, counted.cost).await?),
                false => None,
            };
            collector.count(report, &counted, &moment, paid.as_ref(), true);
        }
    }
}
