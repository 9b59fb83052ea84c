//! Questions about the past and the present that write nothing: journal pages, usage reports, balances as they were,
//! entitlements.

use crate::{
    catalog::Catalog,
    engine::Engine,
    error::EngineError,
    idempotency::{key_hash, replay},
};
use proviso_decide::{
    AHEAD, Decider, Stop,
    access::Access,
    command::{Idempotency, Outcome},
};
use proviso_ledger::{
    fold::FoldError,
    journal::Entry,
    model::{
        amounts::{Credits, Quantity},
        customer::Profile,
        ids::{CustomerId, Digest, Key, Seq, hex},
        time::{Moment, Timestamp, Zone},
        usage::Usage,
    },
    state::{CustomerState, FORMAT, LATE_WINDOW},
};
use proviso_store::StoredEntry;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// A page of a journal, newest entries first.
#[derive(Debug)]
pub struct LedgerPage {
    /// Entries with their chained hash in hexadecimal.
    pub entries: Vec<(Entry, String)>,
    /// Where the next page begins; `None` on the last.
    pub next_before: Option<Seq>,
}

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
    /// A page of a journal.
    ///
    /// # Errors
    /// An unknown customer, or the store's.
    pub async fn ledger(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<LedgerPage, EngineError> {
        self.state(customer).await?;
        let stored = self.shared.store.entries_before(customer, before, limit.saturating_add(1)).await?;
        let has_more = stored.len() > limit as usize;
        let mut entries = Vec::with_capacity(stored.len());
        for stored in stored.into_iter().take(limit as usize) {
            let entry = parse(customer, &stored)?;
            entries.push((entry, hex(stored.hash)));
        }
        let next_before = entries.last().filter(|_| has_more).map(|(entry, _)| entry.seq);
        Ok(LedgerPage { entries, next_before })
    }

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

    /// Accepted usage that occurred at `from..to`, by the values of `group_by`; local days are those of `zone`, or of the
    /// customer's.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn usage(
        &self,
        customer: &CustomerId,
        from: Timestamp,
        to: Timestamp,
        group_by: &[GroupBy],
        zone: Option<Zone>,
    ) -> Result<BTreeMap<Vec<Option<String>>, UsageGroup>, EngineError> {
        let state = self.state(customer).await?;
        let zone = zone.unwrap_or_else(|| state.zone());
        let mut groups: BTreeMap<Vec<Option<String>>, UsageGroup> = BTreeMap::new();
        // A usage is written up to 5 minutes before it is said to occur, and up to the late window after.
        let (first, last_at) = (from.plus_micros(-AHEAD - 1), to.plus_micros(LATE_WINDOW));
        let mut after = self.shared.store.seq_at(customer, first).await?;
        loop {
            let page = self.shared.store.entries(customer, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(groups) };
            after = last.seq;
            for stored in page {
                if stored.at >= last_at {
                    return Ok(groups);
                }
                let entry = parse(customer, &stored)?;
                let charged = entry.charged_usage().map(|(usage, rated)| (usage, &rated.credit, rated.cost));
                let refunded = entry.refunded();
                let part = charged.or_else(|| refunded.map(|one| (&one.usage, &one.credit, one.amount)));
                let Some((usage, credit, cost)) = part else { continue };
                // What is refunded later than usage may be reported counts when it is refunded: what is past is closed.
                let is_closed = usage.occurred_at < entry.at.plus_micros(-LATE_WINDOW);
                let time = if is_closed && refunded.is_some() { entry.at } else { usage.occurred_at };
                if time < from || time >= to {
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
        }
    }

    /// What a customer may do with a feature, by the one evaluation that charges are subject to as well.
    ///
    /// # Errors
    /// An unknown customer or feature; the store's.
    pub async fn entitlement(
        &self,
        customer: &CustomerId,
        feature: &Key,
    ) -> Result<(Access, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        Ok((self.access(&state, feature).await?, state))
    }

    /// What a customer may do with the features that the plan or an override names: up to `limit` of those after `after`.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn entitlements(
        &self,
        customer: &CustomerId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<(Vec<Access>, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let catalog = self.catalog();
        let features = self.ask(&catalog, &HashMap::new(), &state, |decider| decider.features(&state));
        let mut answers = Vec::new();
        for feature in
            features.into_iter().filter(|feature| after.is_none_or(|after| feature > after)).take(limit)
        {
            answers.push(self.access(&state, &feature).await?);
        }
        Ok((answers, state))
    }

    async fn access(&self, state: &CustomerState, feature: &Key) -> Result<Access, EngineError> {
        let mut unavailable = HashMap::new();
        loop {
            let catalog = self.catalog();
            let asked = self.ask(&catalog, &unavailable, state, |decider| decider.access(state, feature));
            match asked {
                Ok(access) => return Ok(access),
                Err(Stop::Need(digest)) => match self.shared.load_module(digest).await {
                    Ok(_) => {}
                    Err(EngineError::Module(detail)) => drop(unavailable.insert(digest, detail)),
                    Err(error) => return Err(error),
                },
                Err(Stop::Error(error) | Stop::Defect(error)) => return Err(error.into()),
            }
        }
    }

    /// Asks a question about a state that writes nothing.
    fn ask<T>(
        &self,
        catalog: &Catalog,
        unavailable: &HashMap<Digest, String>,
        state: &CustomerState,
        question: impl FnOnce(&Decider<'_>) -> T,
    ) -> T {
        let decider = Decider {
            plans: catalog,
            policies: &|digest| self.shared.look_up_policy(digest, unavailable),
            now: self.clock().now().max(state.at),
            late_window: self.shared.options.late_window_micros(),
        };
        question(&decider)
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
fn parse(customer: &CustomerId, stored: &StoredEntry) -> Result<Entry, EngineError> {
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
