//! The entries that a request makes.

use crate::{DecideError, Stop};
use proviso_ledger::{
    fold::{SealError, Sealed},
    journal::{ChainHash, Entry, FORMAT},
    model::{ids::Seq, time::Timestamp},
    rules::repeat::{Standing, repeated},
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
#[derive(Debug)]
pub struct Journal {
    /// In order.
    pub written: Vec<Written>,
    /// The newest format that may be written.
    newest: u32,
    /// Refusals of before, whose repeats are not written.
    standing: Vec<Standing>,
}

/// Takes entries of every format that this code knows.
impl Default for Journal {
    fn default() -> Self {
        Self::up_to(FORMAT)
    }
}

impl Journal {
    /// Takes no entry that needs a newer format than this one.
    #[must_use]
    pub const fn up_to(newest: u32) -> Self {
        Self { written: Vec::new(), newest, standing: Vec::new() }
    }

    /// The same, where repeats of these refusals are not written.
    #[must_use]
    pub fn after_refusals(self, standing: Vec<Standing>) -> Self {
        Self { standing, ..self }
    }

    /// The entry that a draft's request is answered with, as it repeats the refusal there.
    pub(crate) fn repeated(&self, draft: &Draft, at: Timestamp) -> Option<Seq> {
        repeated(&self.standing, draft, at)
    }

    /// Without entries, and with the same bound.
    pub(crate) const fn beside(&self) -> Self {
        Self::up_to(self.newest)
    }

    /// Takes a draft into the state as its next entry. Where hosts are alive that could not read it, nothing changes.
    pub(crate) fn seal(
        &mut self,
        state: &mut CustomerState,
        at: Timestamp,
        draft: Draft,
    ) -> Result<Arc<Entry>, Stop> {
        let needed = draft.event.format();
        if needed > self.newest {
            return Err(DecideError::UpgradeUnfinished { needed, newest: self.newest }.into());
        }
        let Sealed { entry, body, hash } = state.seal(at, draft).map_err(|error| match error {
            SealError::Rejected(rejection) => Stop::Error(rejection.into()),
            SealError::Defect(detail) => Stop::Defect(DecideError::Internal(detail)),
        })?;
        let entry = Arc::new(entry);
        self.written.push(Written { entry: entry.clone(), body, hash });
        Ok(entry)
    }
}
