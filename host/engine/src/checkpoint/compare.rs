//! Compares a database with what a checkpoint says: whether something differs, or all of it is only older, as after a
//! restored backup.

use super::{
    anchored::Anchored,
    catalog::{Stamps, by_row, compare_catalog},
    file::CheckpointFile,
    merkle::Merkle,
    sign::PublicKey,
    statement::{Statement, Unreliable, catalog_root, journal_leaf},
};
use crate::verify::Difference;
use proviso_ledger::{
    journal::ChainHash,
    model::{
        ids::{CustomerId, Seq},
        time::Timestamp,
    },
};
use proviso_store::JournalEnd;
use std::collections::BTreeMap;

/// Customers that are named, of those that are not there.
const MOST_NAMED: usize = 20;

/// A database that is an earlier state of what a checkpoint says: nothing differs, but something is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// When the checkpoint was made.
    pub at: Timestamp,
    /// Journals that end earlier.
    pub shorter: u64,
    /// The entries that these lack.
    pub entries: u64,
    /// Journals that are not there at all.
    pub missing: u64,
    /// Whose they are, the first twenty.
    pub gone: Vec<CustomerId>,
    /// Whether the catalog is older, too.
    pub catalog: bool,
}

/// A comparison with a checkpoint in a file.
pub(crate) struct FileCheck {
    statement: Statement,
    /// Of customers that were not met yet.
    ends: BTreeMap<CustomerId, JournalEnd>,
    stamps: Stamps,
    /// Journals that end earlier than the checkpoint says, with both numbers.
    behind: Vec<(CustomerId, Seq, Seq)>,
    /// Whether something was written after the checkpoint.
    has_gone_on: bool,
}

impl FileCheck {
    /// Accepts a file that one of the trusted keys signed, with none whichever key it names.
    pub fn new(file: CheckpointFile, trusted: &[PublicKey]) -> Result<Self, String> {
        let CheckpointFile { signed, journals, stamps } = file;
        let statement = signed.open(trusted).map_err(|error| error.to_string())?;
        let mut tree = Merkle::default();
        journals.iter().for_each(|(customer, end)| tree.add(&journal_leaf(customer, end)));
        if tree.root() != statement.journals_root || catalog_root(&stamps) != statement.catalog_root {
            return Err(Unreliable::Forged.to_string());
        }
        Ok(Self {
            statement,
            ends: journals.into_iter().collect(),
            stamps: by_row(stamps),
            behind: Vec::new(),
            has_gone_on: false,
        })
    }

    fn name(&self) -> String {
        format!("the checkpoint of {}", self.statement.at)
    }

    /// The entry whose hash is to be compared.
    pub fn seq(&self, customer: &CustomerId) -> Option<Seq> {
        self.ends.get(customer).map(|end| end.seq)
    }

    /// Takes in a journal that ends at `last`, with the hash at the number that was asked for, if it goes that far.
    pub fn journal(&mut self, customer: &CustomerId, last: Seq, found: Option<&ChainHash>) -> Option<String> {
        let known = self.ends.remove(customer).filter(|end| *end != JournalEnd::GONE);
        match (known, found) {
            (Some(end), Some(found)) if end.hash != *found => {
                return Some(format!("entry {} is not the one that {} names", end.seq, self.name()));
            }
            (Some(end), Some(_)) => self.has_gone_on |= last > end.seq,
            (Some(end), None) => self.behind.push((customer.clone(), last, end.seq)),
            (None, _) => self.has_gone_on |= last > 0,
        }
        None
    }

    /// Takes in a journal of which nothing can be said, since it differs anyhow.
    pub fn skip(&mut self, customer: &CustomerId) {
        self.ends.remove(customer);
    }

    /// Once all journals were met: what differs, or that the database is only older. `differs` says whether something
    /// else was found to differ.
    pub fn finish(
        mut self,
        catalog: &Stamps,
        revision: u64,
        stored: Option<&Anchored<'_>>,
        differs: bool,
        differences: &mut Vec<Difference>,
    ) -> Option<Older> {
        let name = self.name();
        let before = differences.len();
        let expected = self.statement.catalog_revision;
        let catalog_is_older = compare_catalog(&self.stamps, expected, catalog, revision, &name, differences);
        self.has_gone_on |= revision > expected;
        if let (Some(previous), Some(stored)) = (self.statement.previous, stored) {
            self.has_gone_on |= stored.newest_number() > previous.number;
            let found = stored.digest(previous.number);
            if found.is_some_and(|found| found != previous.digest) {
                let detail = format!("is not the one that {name} names");
                differences.push(Difference { subject: format!("checkpoint {}", previous.number), detail });
            }
        } else if let Some(stored) = stored {
            self.has_gone_on |= stored.newest_number() > 0;
        }
        let gone: Vec<_> =
            std::mem::take(&mut self.ends).into_iter().filter(|(_, end)| end.seq > 0).collect();
        let is_behind = catalog_is_older || !self.behind.is_empty() || !gone.is_empty();
        if is_behind && !self.has_gone_on && !differs && differences.len() == before {
            let lacking = self.behind.iter().map(|(_, last, due)| due.saturating_sub(*last));
            return Some(Older {
                at: self.statement.at,
                shorter: count(self.behind.len()),
                entries: lacking.chain(gone.iter().map(|(_, end)| end.seq)).sum(),
                missing: count(gone.len()),
                gone: gone.iter().map(|(customer, _)| customer.clone()).take(MOST_NAMED).collect(),
                catalog: catalog_is_older,
            });
        }
        if catalog_is_older {
            let detail = format!("is at revision {revision}, {name} at {expected}");
            differences.push(Difference { subject: "the catalog".to_owned(), detail });
        }
        for (customer, last, due) in self.behind {
            let detail = cut_off(last, due, &name);
            differences.push(Difference { subject: customer.to_string(), detail });
        }
        for (customer, end) in gone {
            let detail = gone_since(end.seq, &name);
            differences.push(Difference { subject: customer.to_string(), detail });
        }
        None
    }
}

/// What a journal's missing end is called.
pub(crate) fn cut_off(last: Seq, due: Seq, name: &str) -> String {
    format!("the journal ends at entry {last}, {name} names entry {due}: the newest entries were cut off")
}

/// What a missing customer is called.
pub(crate) fn gone_since(due: Seq, name: &str) -> String {
    format!("the customer is gone, {name} names entry {due} of its journal")
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
