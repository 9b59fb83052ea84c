//! The entries of a journal that may have usage of some time, page by page.
//!
//! Usage is written soon after it occurs, so those lie together. Imported usage is not: it may be of years ago, and is looked for where
//! the customer's state says that it is.

use super::counted::MOST_LATE;
use crate::error::EngineError;
use proviso_decide::AHEAD;
use proviso_ledger::{
    model::{
        ids::{CustomerId, Seq},
        time::Timestamp,
    },
    state::ImportedSpan,
};
use proviso_store::{Store, StoredEntry};
use std::{collections::VecDeque, ops::Range};

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// Entries to read, in order.
struct Run {
    /// The last one that was read.
    at: Seq,
    through: Seq,
    /// Whether it ends with entries too late to have usage of the time.
    is_timed: bool,
}

/// A journal that is read for usage of some time.
pub(crate) struct UsageJournal<'a> {
    store: &'a dyn Store,
    customer: &'a CustomerId,
    /// Entries from this on are too late.
    end: Timestamp,
    runs: VecDeque<Run>,
}

impl<'a> UsageJournal<'a> {
    /// The entries after `after`, up to `through`, that may have usage of `time`.
    ///
    /// # Errors
    /// The store's.
    pub async fn new(
        store: &'a dyn Store,
        customer: &'a CustomerId,
        time: Range<Timestamp>,
        imported: Option<ImportedSpan>,
        (after, through): (Seq, Seq),
    ) -> Result<Self, EngineError> {
        // A usage is written up to 5 minutes before it is said to occur, and up to `MOST_LATE` after.
        let first = time.start.plus_micros(-AHEAD - 1);
        let start = store.seq_at(customer, first).await?.max(after);
        let mut runs = VecDeque::from([Run { at: start, through, is_timed: true }]);
        if let Some(span) = imported.filter(|span| span.overlaps(time.start, time.end)) {
            let (at, last) = (span.first.saturating_sub(1).max(after), span.last.min(through));
            runs.push_front(Run { at: at.min(start), through: last.min(start), is_timed: false });
            // Where the run before it ends is known once that was read.
            runs.push_back(Run { at: at.max(start), through: last, is_timed: false });
        }
        Ok(Self { store, customer, end: time.end.plus_micros(MOST_LATE), runs })
    }

    /// The next of them; none are left when it is empty.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(&mut self) -> Result<Vec<StoredEntry>, EngineError> {
        while let Some(run) = self.runs.front_mut() {
            if run.at >= run.through {
                self.end_run();
                continue;
            }
            let mut page = self.store.entries(self.customer, run.at, PAGE).await?;
            let read = page.len();
            let is_in =
                |stored: &StoredEntry| stored.seq <= run.through && !(run.is_timed && stored.at >= self.end);
            let fits = page.iter().take_while(|stored| is_in(stored)).count();
            page.truncate(fits);
            run.at = page.last().map_or(run.at, |last| last.seq);
            if fits < read || read < PAGE as usize {
                self.end_run();
            }
            if !page.is_empty() {
                return Ok(page);
            }
        }
        Ok(Vec::new())
    }

    /// What a run has read, the ones after it need not read again.
    fn end_run(&mut self) {
        let Some(ended) = self.runs.pop_front() else { return };
        for run in &mut self.runs {
            run.at = run.at.max(ended.at);
        }
    }
}
