//! Which entries a quarter of an hour has usage of, so that a report of a part of it reads those alone, however late some of
//! them were written.

use proviso_ledger::model::{ids::Seq, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Entries that lie no further apart are read together.
const GAP: Seq = 256;
/// With more runs than this, the two that are closest become one.
const MOST_RUNS: usize = 32;

/// Runs of entries among which are all that have usage of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// The earliest time of use.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
    /// First and last entry of each run.
    pub runs: Vec<(Seq, Seq)>,
}

impl Index {
    /// Of one entry.
    pub fn of(seq: Seq, at: Timestamp) -> Self {
        Self { first: at, last: at, runs: vec![(seq, seq)] }
    }

    /// Takes in an entry that comes after all that are in it.
    pub fn add(&mut self, seq: Seq, at: Timestamp) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        match self.runs.last_mut() {
            Some((_, last)) if seq <= last.saturating_add(GAP) => *last = seq,
            _ => self.runs.push((seq, seq)),
        }
        if self.runs.len() > MOST_RUNS {
            let gaps = self.runs.windows(2).enumerate().filter_map(|(place, pair)| match pair {
                [(_, end), (start, _)] => Some((start.saturating_sub(*end), place)),
                _ => None,
            });
            if let Some((_, place)) = gaps.min()
                && let Some((_, last)) = self.runs.get(place + 1).copied()
            {
                self.runs.remove(place + 1);
                if let Some(run) = self.runs.get_mut(place) {
                    run.1 = last;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_a_run_and_there_are_never_many() {
        let mut index = Index::of(7, Timestamp(5));
        let seqs: Vec<Seq> = (1..200).map(|n| 7 + n * n * 40).collect();
        for seq in &seqs {
            index.add(*seq, Timestamp(4));
            assert!(index.runs.len() <= MOST_RUNS);
            let held = |seq: Seq| index.runs.iter().any(|(first, last)| (*first..=*last).contains(&seq));
            assert!(held(7) && seqs.iter().take_while(|one| *one <= seq).all(|one| held(*one)));
        }
        assert!(index.runs.is_sorted() && index.runs.len() > MOST_RUNS / 2);
        assert_eq!((index.first, index.last), (Timestamp(4), Timestamp(5)));
    }
}
