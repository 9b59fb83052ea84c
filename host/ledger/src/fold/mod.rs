//! The fold: the one place where a state changes. New entries and stored entries go through the same function, so a
//! state in memory and a state computed from the journal can't differ.

mod apply;
pub mod error;
mod import;
mod lease;

pub use error::FoldError;

use crate::{
    journal::{self, After, ChainHash, Entry},
    model::time::Timestamp,
    rules::rejection::Rejection,
    state::{CustomerState, Draft},
};

/// A new entry with the text that is stored and the hash that covers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// The entry.
    pub entry: Entry,
    /// Its JSON text, as hashed.
    pub body: String,
    /// Its hash in the chain.
    pub hash: ChainHash,
}

/// Why a draft was not sealed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SealError {
    /// The command can't be carried out; the state is as before.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A defect: the draft does not fit the state, which is no longer good.
    #[error("a draft does not fit its state: {0}")]
    Defect(String),
}

impl CustomerState {
    /// Numbers, balances and chains a draft, and takes it into the state.
    ///
    /// # Errors
    /// [`Rejection::TotalOutOfRange`] before anything has changed. After another error the state must be dropped and
    /// loaded again: a command built a draft that does not fit, which is a defect.
    pub fn seal(&mut self, at: Timestamp, draft: Draft) -> Result<Sealed, SealError> {
        let fits = self.counters.fits(&draft.counts) && self.budgets.fits(&draft.budgets);
        if !fits || !self.totals_fit(&draft.transfers) {
            return Err(SealError::Rejected(Rejection::TotalOutOfRange));
        }
        let (key, request) = draft.origin.idempotency.unzip();
        let mut entry = Entry {
            format: draft.event.format(),
            seq: self.seq + 1,
            at: at.max(self.at),
            key,
            request,
            by: draft.origin.by,
            event: draft.event,
            transfers: draft.transfers,
            counts: draft.counts,
            budgets: draft.budgets,
            thresholds: Vec::new(),
            after: None,
        };
        self.apply(&entry).map_err(|error| SealError::Defect(error.to_string()))?;
        entry.after = draft.credit.map(|credit| After {
            balance: self.balance_of(&credit, entry.event.feature(), entry.at),
            next_reset_at: self.next_reset_at(),
        });
        entry.thresholds = self.reached_by(&entry);
        self.note_reached(&entry.thresholds);
        let body = serde_json::to_string(&entry).map_err(|error| SealError::Defect(error.to_string()))?;
        self.hash = journal::chain(&self.hash, &body);
        Ok(Sealed { entry, body, hash: self.hash })
    }

    /// Takes a stored entry in and checks its place in the chain.
    ///
    /// # Errors
    /// See [`FoldError`]. The state must be dropped then.
    pub fn fold(&mut self, seq: u64, body: &str, hash: &ChainHash) -> Result<Entry, FoldError> {
        let chained = self.chained(seq, body, hash)?;
        let entry = Entry::parse(body).map_err(|error| FoldError::Read { seq, error })?;
        self.take_in(seq, &entry, chained)?;
        Ok(entry)
    }

    /// [`fold`](Self::fold) of an entry that was parsed from this stored text before.
    ///
    /// # Errors
    /// See [`FoldError`]. The state must be dropped then.
    pub fn fold_parsed(
        &mut self,
        seq: u64,
        entry: &Entry,
        body: &str,
        hash: &ChainHash,
    ) -> Result<(), FoldError> {
        let chained = self.chained(seq, body, hash)?;
        self.take_in(seq, entry, chained)
    }

    fn chained(&self, seq: u64, body: &str, hash: &ChainHash) -> Result<ChainHash, FoldError> {
        let chained = journal::chain(&self.hash, body);
        if &chained == hash { Ok(chained) } else { Err(FoldError::Hash(seq)) }
    }

    fn take_in(&mut self, seq: u64, entry: &Entry, chained: ChainHash) -> Result<(), FoldError> {
        if entry.seq != seq {
            return Err(FoldError::Gap { expected: seq, found: entry.seq });
        }
        self.apply(entry)?;
        self.note_reached(&entry.thresholds);
        self.hash = chained;
        Ok(())
    }

    /// What [`fold`](Self::fold) checks, and that the recorded balance and the books agree with the movements.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub fn fold_verified(&mut self, seq: u64, body: &str, hash: &ChainHash) -> Result<Entry, FoldError> {
        let entry = self.fold(seq, body, hash)?;
        if let Some(after) = &entry.after {
            let balance = self.balance_of(&after.balance.credit, entry.event.feature(), entry.at);
            if balance != after.balance || self.next_reset_at() != after.next_reset_at {
                return Err(FoldError::Balance(seq));
            }
        }
        self.check_books().map_err(|(credit, detail)| FoldError::Books {
            seq,
            credit: credit.to_string(),
            detail,
        })?;
        Ok(entry)
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), FoldError> {
        if entry.seq != self.seq + 1 {
            return Err(FoldError::Gap { expected: self.seq + 1, found: entry.seq });
        }
        if entry.at < self.at {
            return Err(FoldError::TimeGoesBack(entry.seq));
        }
        let broken = |detail: String| FoldError::Transfer { seq: entry.seq, detail };
        self.begin(entry);
        for transfer in &entry.transfers {
            self.move_credits(transfer).map_err(broken)?;
        }
        self.finish(entry).map_err(broken)?;
        self.seq = entry.seq;
        self.at = entry.at;
        Ok(())
    }
}
