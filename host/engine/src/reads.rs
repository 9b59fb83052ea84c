//! Questions about the past that write nothing: customers, balances as they were.

use crate::{
    engine::Engine,
    error::EngineError,
    idempotency::{key_hash, replay},
};
use proviso_decide::command::{Idempotency, Outcome};
use proviso_ledger::{
    fold::FoldError,
    journal::Entry,
    model::{
        customer::Profile,
        ids::{CustomerId, Digest},
        time::Timestamp,
    },
    state::{CustomerState, FORMAT},
};
use proviso_store::StoredEntry;

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// A customer in a list.
#[derive(Debug, Clone)]
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

    /// Up to `limit` customers with keys above `after` of which a top-up awaits its payment, or did a moment ago, by key.
    ///
    /// # Errors
    /// The store's.
    pub async fn customers_awaiting_payment(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerId>, EngineError> {
        let rows = self.shared.store.customers_awaiting_payment(after, limit).await?;
        Ok(rows.into_iter().map(|row| row.customer).collect())
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
