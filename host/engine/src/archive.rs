//! Archiving: old entries are moved out of the way of new ones. What anyone is answered stays what it was.

use crate::error::EngineError;
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};
use proviso_ledger::state::FORMAT;
use proviso_store::Store;

/// Customers that are read at a time.
const CUSTOMERS: u32 = 500;
/// Entries that are moved in one transaction.
const ENTRIES: Seq = 4_096;

/// What was archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    /// Customers that were looked at.
    pub customers: u64,
    /// Entries that were moved.
    pub entries: u64,
}

/// Moves the entries before `before` of every customer, but none that is newer than its newest saved state: those are read
/// whenever the customer is loaded. Hosts may be at work meanwhile; an interrupted run is finished by the next.
///
/// # Errors
/// The store's; [`proviso_store::StoreError::NoArchive`] where there is none.
pub async fn archive(
    store: &dyn Store,
    before: Timestamp,
    mut progress: impl FnMut(&Archived),
) -> Result<Archived, EngineError> {
    let mut archived = Archived::default();
    let mut after: Option<CustomerId> = None;
    loop {
        let rows = store.customers(after.as_ref(), CUSTOMERS).await?;
        let Some(last) = rows.last() else { return Ok(archived) };
        after = Some(last.customer.clone());
        for row in rows {
            let old = store.seq_at(&row.customer, before).await?;
            let saved = store.snapshot_before(&row.customer, Seq::MAX, FORMAT).await?;
            let saved = saved.map_or(0, |saved| saved.seq);
            let last = old.min(saved);
            let mut through = 0;
            while through < last {
                through = last.min(through + ENTRIES);
                archived.entries += store.archive(&row.customer, through).await?;
            }
            archived.customers += 1;
            progress(&archived);
        }
    }
}
