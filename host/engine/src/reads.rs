//! Questions about the past and the present that write nothing: usage reports, balances as they were, entitlements.

use crate::{
    engine::Engine,
    error::EngineError,
    idempotency::{key_hash, replay},
};
use proviso_decide::{
    AHEAD,
    command::{Idempotency, Outcome},
};
use proviso_ledger::{
    fold::FoldError,
    journal::Entry,
    model::{
        amounts::{Credits, Quantity},
        customer::Profile,
        ids::{CustomerId, Digest, Key},
        time::{Moment, Timestamp, Zone},
        usage::Usage,
    },
    state::{CustomerState, FORMAT, LATE_WINDOW},
};
use proviso_store::StoredEntry;
use std::collections::BTreeMap;

/// Entries that are read at a time.
const PAGE: u32 = 1_000;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;
/// After so many entries a page over customers ends with the customer at hand...
const MOST_READ: usize = 20_000;
/// ...each of which counts as so many by itself.
const READ_BY_CUSTOMER: usize = 20;

/// A customer in a list.
#[derive(Debug)]
pub struct CustomerSummary {
    /// The customer.
    pub customer: CustomerId,
    /// Its profile.
    pub profile: Profile,
    /// Whether it was closed.
    pub closed: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// By what usage is grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By feature.
    Feature,
    /// By entity.
    Entity,
    /// By local hour of the usage.
    Hour,
    /// By local day of the usage.
    Day,
    /// By local month of the usage.
    Month,
    /// By an attribute's value.
    Attribute(String),
}

/// Which usage is reported, and in which groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// From when.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub to: Timestamp,
    /// The properties that the usage of a group has in common.
    pub group_by: Vec<GroupBy>,
}

/// Usage by the values of what it is grouped by.
pub type UsageGroups = BTreeMap<Vec<Option<String>>, UsageGroup>;

/// Usage of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageGroup {
    /// Accepted charges and commits, also those that were refunded.
    pub charges: u64,
    /// What they cost, less what was refunded, by credit type.
    pub cost: BTreeMap<Key, Credits>,
    /// What was used, less the quantities that were refunded, by name.
    pub quantities: BTreeMap<String, Quantity>,
}

impl Engine {
    /// What answered an earlier request of the customer with this key, for use cases that have something to prepare
    /// before they come to the customer's lane, which looks for itself.
    ///
    /// # Errors
    /// Another request under the same key, a damaged journal, or the store's.
    pub async fn answered(
        &self,
        customer: &CustomerId,
        idempotency: &Idempotency,
    ) -> Result<Option<Outcome>, EngineError> {
        let lookup = [(customer.clone(), key_hash(&idempotency.0))];
        let found = self.shared.store.find_keys(&lookup).await?;
        let Some(seq) = found.first().copied().flatten() else { return Ok(None) };
        let entry = self.shared.entry(customer, seq).await?;
        replay(&entry, Some(idempotency)).map(Some)
    }

    /// A page of customers by key.
    ///
    /// # Errors
    /// The store's.
    pub async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerSummary>, EngineError> {
        let rows = self.shared.store.customers(after, limit).await?;
        let mut customers = Vec::with_capacity(rows.len());
        for row in rows {
            let profile = serde_json::from_str(&row.profile).map_err(|error| {
                proviso_store::StoreError::Corrupt { detail: format!("profile of {}: {error}", row.customer) }
            })?;
            let (customer, closed, created_at) = (row.customer, row.closed, row.created_at);
            customers.push(CustomerSummary { customer, profile, closed, created_at });
        }
        Ok(customers)
    }

    /// The state as it was at `at`, with all that was due by then.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn state_at(&self, customer: &CustomerId, at: Timestamp) -> Result<CustomerState, EngineError> {
        // What is due by now is written first, at its own instants, so that the past is complete.
        self.state(customer).await?;
        let last = self.shared.store.seq_at(customer, at).await?;
        let snapshot = self.shared.store.snapshot_before(customer, last, FORMAT).await?;
        let damaged = |error| EngineError::journal(customer, error);
        // One that can't be read is folded anew: it is a cache.
        let saved = snapshot.and_then(|snapshot| serde_json::from_str(&snapshot.state).ok());
        let mut state = saved.unwrap_or_else(|| CustomerState::new(customer.clone()));
        while state.seq < last {
            let page = self.shared.store.entries(customer, state.seq, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for stored in page.into_iter().take_while(|stored| stored.seq <= last) {
                state.fold(stored.seq, &stored.body, &stored.hash).map_err(damaged)?;
            }
        }
        Ok(state)
    }

    /// Accepted usage that occurred within `span`, by its groups; local days are those of `zone`, or of the customer's.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn usage(
        &self,
        customer: &CustomerId,
        report: &UsageReport,
        zone: Option<Zone>,
    ) -> Result<UsageGroups, EngineError> {
        let state = self.state(customer).await?;
        let zone = zone.unwrap_or_else(|| state.zone());
        Ok(self.usage_in(customer, report, &zone).await?.0)
    }

    /// The same for the customers after `after`, by key: for `limit` groups or more, or what takes long enough to read. Local
    /// days are those of `zone`, or of each customer's. Returns the last customer that was read, unless it is the last one.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn usage_of_all(
        &self,
        after: Option<CustomerId>,
        limit: usize,
        report: &UsageReport,
        zone: Option<&Zone>,
    ) -> Result<(Vec<(CustomerId, UsageGroups)>, Option<CustomerId>), EngineError> {
        let (mut found, mut groups, mut read) = (Vec::new(), 0_usize, 0_usize);
        let mut after = after;
        loop {
            let customers = self.customers(after.as_ref(), CUSTOMERS).await?;
            let has_more = customers.len() == CUSTOMERS as usize;
            for (place, CustomerSummary { customer, profile, .. }) in customers.iter().enumerate() {
                let zone = zone.unwrap_or(&profile.time_zone);
                let (usage, entries) = self.usage_in(customer, report, zone).await?;
                // A customer without entries takes a query, too.
                read = read.saturating_add(entries).saturating_add(READ_BY_CUSTOMER);
                groups = groups.saturating_add(usage.len());
                if !usage.is_empty() {
                    found.push((customer.clone(), usage));
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

    /// The usage of a customer, and how many entries were read for it.
    async fn usage_in(
        &self,
        customer: &CustomerId,
        report: &UsageReport,
        zone: &Zone,
    ) -> Result<(UsageGroups, usize), EngineError> {
        let UsageReport { from, to, group_by } = report;
        let (mut groups, mut read) = (UsageGroups::new(), 0_usize);
        // A usage is written up to 5 minutes before it is said to occur, and up to the late window after.
        let (first, last_at) = (from.plus_micros(-AHEAD - 1), to.plus_micros(LATE_WINDOW));
        let mut after = self.shared.store.seq_at(customer, first).await?;
        loop {
            let page = self.shared.store.entries(customer, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok((groups, read)) };
            after = last.seq;
            read = read.saturating_add(page.len());
            let is_last = page.len() < PAGE as usize;
            for stored in page {
                if stored.at >= last_at {
                    return Ok((groups, read));
                }
                let entry = parse(customer, &stored)?;
                let charged = entry.charged_usage().map(|(usage, rated)| (usage, &rated.credit, rated.cost));
                let refunded = entry.refunded();
                let part = charged.or_else(|| refunded.map(|one| (&one.usage, &one.credit, one.amount)));
                let Some((usage, credit, cost)) = part else { continue };
                // What is refunded later than usage may be reported counts when it is refunded: what is past is closed.
                let is_closed = usage.occurred_at < entry.at.plus_micros(-LATE_WINDOW);
                let time = if is_closed && refunded.is_some() { entry.at } else { usage.occurred_at };
                if time < *from || time >= *to {
                    continue;
                }
                let moment = zone.moment(time);
                let key = group_by.iter().map(|by| by.value(usage, &moment)).collect();
                let group = groups.entry(key).or_default();
                if refunded.is_some() {
                    group.take_back(usage, credit, cost);
                } else {
                    group.add(usage, credit, cost);
                }
            }
            if is_last {
                return Ok((groups, read));
            }
        }
    }

    /// SHA-256 of a request, for idempotency: the route's own words and the body's bytes.
    #[must_use]
    pub fn request_digest(parts: &[&[u8]]) -> Digest {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Digest::of(&bytes)
    }
}

/// An entry as it is stored.
pub(crate) fn parse(customer: &CustomerId, stored: &StoredEntry) -> Result<Entry, EngineError> {
    let read = Entry::parse(&stored.body);
    read.map_err(|error| EngineError::journal(customer, FoldError::Read { seq: stored.seq, error }))
}

impl GroupBy {
    fn value(&self, usage: &Usage, moment: &Moment) -> Option<String> {
        let Moment { year, month, day, hour, .. } = moment;
        match self {
            Self::Feature => Some(usage.feature.to_string()),
            Self::Entity => usage.entity.as_ref().map(Key::to_string),
            Self::Hour => Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}")),
            Self::Day => Some(format!("{year:04}-{month:02}-{day:02}")),
            Self::Month => Some(format!("{year:04}-{month:02}")),
            Self::Attribute(name) => usage.attribute(name).map(str::to_owned),
        }
    }
}

impl UsageGroup {
    fn add(&mut self, usage: &Usage, credit: &Key, cost: Credits) {
        self.charges += 1;
        let total = self.cost.entry(credit.clone()).or_default();
        *total = total.saturating_add(cost);
        for (name, amount) in &usage.quantities {
            let total = self.quantities.entry(name.clone()).or_default();
            *total = total.saturating_add(*amount);
        }
    }

    fn take_back(&mut self, usage: &Usage, credit: &Key, cost: Credits) {
        let total = self.cost.entry(credit.clone()).or_default();
        *total = total.saturating_sub(cost);
        for (name, amount) in &usage.quantities {
            let total = self.quantities.entry(name.clone()).or_default();
            *total = total.saturating_sub(*amount);
        }
    }
}
