//! Pages of a customer's journal.

use crate::{engine::Engine, error::EngineError, reads::parse};
use proviso_ledger::{
    journal::Entry,
    model::{
        ids::{CustomerId, Key, Seq, hex},
        time::Timestamp,
    },
};
use std::sync::Arc;

/// Entries that are read at a time: a few, since each may be large.
const PAGE: u32 = 100;
/// After so many entries a page ends, however few of them fit.
const MOST_READ: usize = 10_000;

/// Which entries of a journal are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// Of these kinds; empty means all.
    pub kinds: Vec<String>,
    /// About usage of this feature.
    pub feature: Option<Key>,
    /// About usage of this entity and of those that stood below it.
    pub entity: Option<Key>,
    /// Accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Accepted before.
    pub to: Option<Timestamp>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
}

/// A page of a journal.
#[derive(Debug, Default)]
pub struct LedgerPage {
    /// Entries with their chained hash in hexadecimal.
    pub entries: Vec<(Entry, String)>,
    /// The last entry that was read, after which the next page begins; `None` on the last.
    pub next_after: Option<Seq>,
}

impl LedgerFilter {
    fn is_by_content(&self) -> bool {
        !self.kinds.is_empty() || self.feature.is_some() || self.entity.is_some()
    }

    fn fits(&self, entry: &Entry) -> bool {
        let usage = entry.event.usage();
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == entry.event.kind()))
            && self
                .feature
                .as_ref()
                .is_none_or(|feature| usage.is_some_and(|usage| &usage.feature == feature))
            && self
                .entity
                .as_ref()
                .is_none_or(|entity| usage.is_some_and(|usage| usage.entities().any(|one| one == entity)))
    }
}

impl Engine {
    /// A page of a journal: up to `limit` entries that fit, and no more after `most_bytes` of them, after entry `after` in the order
    /// of the list.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn ledger(
        &self,
        customer: &CustomerId,
        filter: &LedgerFilter,
        after: Option<Seq>,
        limit: u32,
        most_bytes: usize,
    ) -> Result<LedgerPage, EngineError> {
        self.state(customer).await?;
        let store = &self.shared.store;
        let before = match filter.from {
            Some(from) => store.seq_at(customer, from.plus_micros(-1)).await?,
            None => 0,
        };
        let last = match filter.to {
            Some(to) => Some(store.seq_at(customer, to.plus_micros(-1)).await?),
            None => None,
        };
        let count = if filter.is_by_content() { PAGE } else { limit.saturating_add(1).min(PAGE) };
        let (mut page, mut place, mut read, mut bytes) = (LedgerPage::default(), after, 0_usize, 0_usize);
        loop {
            let stored = if filter.oldest_first {
                store.entries(customer, place.unwrap_or(0).max(before), count).await?
            } else {
                let end = last.map(|last| last.saturating_add(1));
                store.entries_before(customer, place.into_iter().chain(end).min(), count).await?
            };
            let is_last = stored.len() < count as usize;
            for stored in stored {
                if stored.seq <= before || last.is_some_and(|last| stored.seq > last) {
                    return Ok(page);
                }
                if page.entries.len() >= limit as usize || read >= MOST_READ || bytes >= most_bytes {
                    page.next_after = place;
                    return Ok(page);
                }
                (place, read) = (Some(stored.seq), read.saturating_add(1));
                let entry = parse(customer, &stored)?;
                if filter.fits(&entry) {
                    bytes = bytes.saturating_add(stored.body.len());
                    page.entries.push((entry, hex(stored.hash)));
                }
            }
            if is_last {
                return Ok(page);
            }
        }
    }

    /// One entry of a journal, if there is one of that number.
    pub(crate) async fn find_entry(
        &self,
        customer: &CustomerId,
        seq: Seq,
    ) -> Result<Option<Arc<Entry>>, EngineError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(None) };
        let stored = self.shared.store.entries(customer, before, 1).await?;
        let stored = stored.first().filter(|stored| stored.seq == seq);
        stored.map(|stored| parse(customer, stored).map(Arc::new)).transpose()
    }
}
