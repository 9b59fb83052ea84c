//! Verification: every balance, transfer and hash is computed anew from the journal and compared with what is stored.

use crate::{catalog::Catalog, error::EngineError, idempotency::key_hash};
use proviso_ledger::state::FORMAT;
use proviso_ledger::{
    journal::ChainHash,
    model::ids::{CustomerId, Seq},
    state::CustomerState,
};
use proviso_store::{CustomerRow, Store, StoreError};

/// Entries that are read at a time.
const PAGE: u32 = 2_000;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 500;

/// What was verified, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Customers.
    pub customers: u64,
    /// Entries whose hash, movements and balance were computed anew.
    pub entries: u64,
    /// Snapshots that were compared with the fold.
    pub snapshots: u64,
    /// What differs; nothing when all is well.
    pub differences: Vec<Difference>,
    /// Journals that a newer version went on with, and this one could look at only in part.
    pub newer: Vec<Newer>,
}

impl Verification {
    /// Whether all was looked at, and agrees.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.newer.is_empty()
    }
}

/// A journal that this version can't read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// Whose.
    pub customer: CustomerId,
    /// The first entry of a newer format.
    pub seq: Seq,
    /// That format.
    pub format: u32,
}

/// Something stored that is not what the journal gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub customer: CustomerId,
    /// What.
    pub detail: String,
}

/// Verifies a whole database. It may be in use: what is written meanwhile may or may not be looked at.
///
/// # Errors
/// The store's. A difference is no error.
pub async fn verify(
    store: &dyn Store,
    mut progress: impl FnMut(&Verification),
) -> Result<Verification, EngineError> {
    let mut verification = Verification::default();
    Catalog::default().updated(store.catalog(0).await?)?;
    let mut after: Option<CustomerId> = None;
    loop {
        let rows = store.customers(after.as_ref(), CUSTOMERS).await?;
        let Some(last) = rows.last() else { return Ok(verification) };
        after = Some(last.customer.clone());
        for row in rows {
            verify_customer(store, &row, &mut verification).await?;
            verification.customers += 1;
            progress(&verification);
        }
    }
}

async fn verify_customer(
    store: &dyn Store,
    row: &CustomerRow,
    verification: &mut Verification,
) -> Result<(), StoreError> {
    let customer = &row.customer;
    let differences = &mut verification.differences;
    let mut differ = |detail: String| differences.push(Difference { customer: customer.clone(), detail });
    let newest = store.snapshot_before(customer, Seq::MAX, FORMAT).await?;
    let mut state = CustomerState::new(customer.clone());
    let mut keys = Vec::new();
    loop {
        let page = store.entries(customer, state.seq, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            let hash: ChainHash = stored.hash;
            let entry = match state.fold_verified(stored.seq, &stored.body, &hash) {
                Ok(entry) => entry,
                Err(error) if let Some(format) = error.newer() => {
                    verification.newer.push(Newer { customer: customer.clone(), seq: stored.seq, format });
                    return Ok(());
                }
                Err(error) => {
                    // What follows builds on it, so nothing more can be said of this customer.
                    differ(error.to_string());
                    return Ok(());
                }
            };
            if entry.at != stored.at {
                differ(format!("entry {} is stored under another time than it says", stored.seq));
            }
            if let Some(key) = &entry.key {
                keys.push(((customer.clone(), key_hash(key)), entry.seq));
            }
            verification.entries += 1;
            if let Some(snapshot) = newest.as_ref().filter(|snapshot| snapshot.seq == entry.seq) {
                verification.snapshots += 1;
                match serde_json::from_str::<CustomerState>(&snapshot.state) {
                    Ok(saved) if saved == state => {}
                    Ok(_) => {
                        differ(format!("the saved state after entry {} is not the journal's fold", entry.seq))
                    }
                    Err(error) => {
                        differ(format!("the saved state after entry {} can't be read: {error}", entry.seq))
                    }
                }
            }
        }
        let (lookups, seqs): (Vec<_>, Vec<_>) = keys.drain(..).unzip();
        for ((found, expected), (_, hash)) in store.find_keys(&lookups).await?.iter().zip(seqs).zip(&lookups)
        {
            if *found != Some(expected) {
                let key = proviso_ledger::model::ids::hex(hash);
                differ(format!("idempotency key {key} leads to entry {found:?} instead of {expected}"));
            }
        }
    }
    if let Some(snapshot) = newest.filter(|snapshot| snapshot.seq > state.seq) {
        differ(format!(
            "a saved state is after entry {}, but the journal ends at {}",
            snapshot.seq, state.seq
        ));
    }
    let same = state.profile.as_ref().is_some_and(|profile| {
        serde_json::from_str::<proviso_ledger::model::customer::Profile>(&row.profile)
            .is_ok_and(|saved| saved == *profile)
    });
    if !same || row.closed != state.closed {
        differ("the customer's row is not what its journal gives".to_owned());
    }
    Ok(())
}
