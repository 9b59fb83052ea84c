//! The entries that a request makes.

use crate::{DecideError, Stop};
use proviso_ledger::{
    fold::{SealError, Sealed},
    journal::{ChainHash, Entry},
    model::time::Timestamp,
    state::{CustomerState, Draft},
};
use std::sync::Arc;

/// An entry that awaits its commit.
#[derive(Debug, Clone)]
pub struct Written {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its JSON text.
    pub body: String,
    /// Its hash in the chain.
    pub hash: ChainHash,
}

/// The entries that a request made so far.
#[derive(Debug, Default)]
pub struct Journal {
    /// In order.
    pub written: Vec<Written>,
}

impl Journal {
    /// Takes a draft into the state as its next entry.
    pub(crate) fn seal(
        &mut self,
        state: &mut CustomerState,
        at: Timestamp,
        draft: Draft,
    ) -> Result<Arc<Entry>, Stop> {
        let Sealed { entry, body, hash } = state.seal(at, draft).map_err(|error| match error {
            SealError::Rejected(rejection) => Stop::Error(rejection.into()),
            SealError::Defect(detail) => Stop::Defect(DecideError::Internal(detail)),
        })?;
        let entry = Arc::new(entry);
        self.written.push(Written { entry: entry.clone(), body, hash });
        Ok(entry)
    }
}
