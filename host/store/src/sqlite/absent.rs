//! Keys that were looked up a moment ago and not found.
//!
//! A caller asks for a key, decides, and commits under it, so the commit would look the same key up in the tables again.
//! In come keys that are neither in a [view](super::tail::View) nor in the tables; while nothing has left memory since
//! that view, such a key can only have come to the tail, which a commit asks anyway.

use crate::rows::KeyHash;
use proviso_ledger::ids::CustomerId;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Far more than are between a question and its commit at once; then all are forgotten.
const LIMIT: usize = 16_384;

#[derive(Debug)]
pub struct Absent(Mutex<Keys>);

#[derive(Debug)]
struct Keys {
    epoch: u64,
    keys: HashSet<(CustomerId, KeyHash)>,
}

impl Absent {
    pub fn new() -> Self {
        // All the room at once: growing would hold up commits.
        Self(Mutex::new(Keys { epoch: 0, keys: HashSet::with_capacity(LIMIT) }))
    }

    /// Notes keys that a view of this epoch and, after it, the tables did not have.
    pub fn note(&self, epoch: u64, keys: impl Iterator<Item = (CustomerId, KeyHash)>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch < noted.epoch {
            return;
        }
        if epoch > noted.epoch || noted.keys.len() >= LIMIT {
            noted.epoch = epoch;
            noted.keys.clear();
        }
        let room = LIMIT - noted.keys.len();
        noted.keys.extend(keys.take(room));
    }

    /// Takes out of `keys` those that need not be looked up in the tables, given a view of this epoch.
    pub fn strike(&self, epoch: u64, keys: &mut Vec<(&CustomerId, KeyHash)>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch == noted.epoch {
            // Each is used once, which keeps them few.
            keys.retain(|(customer, hash)| !noted.keys.remove(&((*customer).clone(), *hash)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_struck_once_and_only_in_its_epoch() {
        let (absent, acme) = (Absent::new(), "acme".parse::<CustomerId>().unwrap());
        let left = |epoch, hash| {
            let mut keys = vec![(&acme, [hash; 16])];
            absent.strike(epoch, &mut keys);
            keys.len()
        };
        let note = |epoch, hash| absent.note(epoch, std::iter::once((acme.clone(), [hash; 16])));
        for (noted, asked, expected) in [(0, 0, 0), (0, 1, 1), (1, 1, 0), (0, 0, 1), (0, 1, 1)] {
            note(noted, 7);
            assert_eq!(left(asked, 7), expected, "noted in {noted}, asked in {asked}");
        }
        note(1, 8);
        assert_eq!([left(1, 8), left(1, 8)], [0, 1]);
    }
}
