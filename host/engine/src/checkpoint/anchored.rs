//! What the stored checkpoints say, in the order of customers: one pass over the anchors serves `verify`, and shows whether
//! they are those that were signed.

use super::{
    catalog::{Stamps, by_row, compare_catalog},
    merkle::Merkle,
    sign::PublicKey,
    statement::{Previous, Signed, Stamp, Statement, journal_leaf},
};
use crate::{error::EngineError, verify::Difference};
use proviso_ledger::model::{
    ids::{CustomerId, Digest},
    time::Timestamp,
};
use proviso_store::{Anchor, CheckpointRow, CheckpointStore, JournalEnd};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Rows that are read at a time.
const PAGE: u32 = 5_000;

/// The stored checkpoints, and how far their anchors are read.
pub(crate) struct Anchored<'a> {
    store: &'a dyn CheckpointStore,
    /// Those that can be relied on, with the tree of their anchors so far.
    checkpoints: BTreeMap<u64, (Statement, Merkle)>,
    /// The newest one, whether or not it can be relied on.
    newest: Option<Previous>,
    /// The tree of the ends that the newest one is about.
    ends: Merkle,
    read: VecDeque<Anchor>,
    /// The last one that was read.
    cursor: Option<(CustomerId, u64)>,
    is_all_read: bool,
    /// The newest state of each row of the catalog that checkpoints name.
    stamps: Stamps,
    /// Checkpoints after the newest statement that journals' ends name.
    later: BTreeSet<u64>,
    /// Keys that signed without anybody vouching for them.
    pub unvouched: BTreeSet<PublicKey>,
    digests: BTreeMap<u64, Digest>,
}

/// What a checkpoint says of a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub checkpoint: u64,
    pub at: Timestamp,
    pub end: JournalEnd,
}

impl Point {
    pub fn name(&self) -> String {
        format!("checkpoint {} of {}", self.checkpoint, self.at)
    }
}

impl<'a> Anchored<'a> {
    /// Reads all statements; says which can't be relied on.
    pub async fn load(
        store: &'a dyn CheckpointStore,
        trusted: &[PublicKey],
        differences: &mut Vec<Difference>,
    ) -> Result<Self, EngineError> {
        let mut all = Self {
            store,
            checkpoints: BTreeMap::new(),
            newest: None,
            ends: Merkle::default(),
            read: VecDeque::new(),
            cursor: None,
            is_all_read: false,
            stamps: Stamps::new(),
            later: BTreeSet::new(),
            unvouched: BTreeSet::new(),
            digests: BTreeMap::new(),
        };
        loop {
            let page = store.checkpoints(all.newest_number(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            for row in page {
                all.add(&row, trusted, differences);
            }
        }
    }

    fn add(&mut self, row: &CheckpointRow, trusted: &[PublicKey], differences: &mut Vec<Difference>) {
        let mut differ = |detail: String| {
            differences.push(Difference { subject: format!("checkpoint {}", row.number), detail });
        };
        let due = self.newest_number().saturating_add(1);
        if row.number > due {
            let last = row.number - 1;
            differ(if last == due {
                format!("checkpoint {due}, which stood before it, is gone")
            } else {
                format!("checkpoints {due} to {last}, which stood before it, are gone")
            });
        }
        let before = self.newest.replace(row.into());
        self.digests.insert(row.number, Digest::of(row.statement.as_bytes()));
        let signed = Signed::from(row);
        let statement = match signed.open(trusted) {
            Ok(statement) => statement,
            Err(error) => return differ(error.to_string()),
        };
        if trusted.is_empty() {
            self.unvouched.insert(signed.public_key);
        }
        let news: Option<Vec<Stamp>> = serde_json::from_str(&row.catalog).ok();
        let is_signed = statement.number == Some(row.number)
            && statement.at == row.at
            && statement.catalog_news == Some(Digest::of(row.catalog.as_bytes()))
            && statement.anchors_root.is_some();
        let (true, Some(news)) = (is_signed, news) else {
            return differ("is not what its key signed".to_owned());
        };
        if row.number == due && statement.previous != before {
            differ("names another checkpoint before it than the one that stands there".to_owned());
        }
        self.stamps.extend(by_row(news));
        self.checkpoints.insert(row.number, (statement, Merkle::default()));
    }

    /// How many can be relied on.
    pub fn count(&self) -> u64 {
        u64::try_from(self.checkpoints.len()).unwrap_or(u64::MAX)
    }

    pub fn newest_number(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.number)
    }

    /// The digest of a stored statement.
    pub fn digest(&self, number: u64) -> Option<Digest> {
        self.digests.get(&number).copied()
    }

    /// The newest one, when all can be relied on: what it is about includes what the others say.
    fn newest_of_all(&self) -> Option<&Statement> {
        let newest = self.checkpoints.values().next_back().map(|(statement, _)| statement);
        newest.filter(|_| self.count() == self.newest_number())
    }

    /// The next customer that checkpoints name, if it is not above `up_to`, with what they say of its journal.
    pub async fn next(
        &mut self,
        up_to: Option<&CustomerId>,
    ) -> Result<Option<(CustomerId, Vec<Point>)>, EngineError> {
        self.fill().await?;
        let Some(customer) = self.read.front().map(|anchor| anchor.customer.clone()) else { return Ok(None) };
        if up_to.is_some_and(|up_to| customer > *up_to) {
            return Ok(None);
        }
        let mut points: Vec<Point> = Vec::new();
        while self.read.front().is_some_and(|anchor| anchor.customer == customer) {
            if let Some(Anchor { checkpoint, end, .. }) = self.read.pop_front()
                && let Some((statement, tree)) = self.checkpoints.get_mut(&checkpoint)
            {
                tree.add(&journal_leaf(&customer, &end));
                points.push(Point { checkpoint, at: statement.at, end });
            }
            self.fill().await?;
        }
        if let Some(last) = points.last() {
            self.ends.add(&journal_leaf(&customer, &last.end));
        }
        Ok(Some((customer, points)))
    }

    /// Reads on when nothing is left. What came after the newest statement that was read is not looked at.
    async fn fill(&mut self) -> Result<(), EngineError> {
        let newest = self.newest_number();
        while self.read.is_empty() && !self.is_all_read {
            let after = self.cursor.as_ref().map(|(customer, checkpoint)| (customer, *checkpoint));
            let page = self.store.anchors(after, PAGE).await?;
            match page.last() {
                Some(last) => self.cursor = Some((last.customer.clone(), last.checkpoint)),
                None => self.is_all_read = true,
            }
            let is_later = |anchor: &&Anchor| anchor.checkpoint > newest;
            self.later.extend(page.iter().filter(is_later).map(|anchor| anchor.checkpoint));
            self.read.extend(page.into_iter().filter(|anchor| anchor.checkpoint <= newest));
        }
        Ok(())
    }

    /// Says which checkpoints are gone although journals' ends name them, once all ends were read. One that was written meanwhile
    /// is there by now.
    pub async fn check_gone(&self, differences: &mut Vec<Difference>) -> Result<(), EngineError> {
        let mut gone = self.later.clone();
        let mut after = self.newest_number();
        while !gone.is_empty() {
            let page = self.store.checkpoints(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            let there: BTreeSet<u64> = page.iter().map(|row| row.number).collect();
            gone.retain(|number| !there.contains(number));
        }
        differences.extend(gone.into_iter().map(|number| Difference {
            subject: format!("checkpoint {number}"),
            detail: "is gone, although ends of journals name it".to_owned(),
        }));
        Ok(())
    }

    /// Says of which checkpoints the anchors are not those that were signed, once all were read.
    pub fn check_anchors(&self, differences: &mut Vec<Difference>) {
        let mut is_whole = true;
        for (number, (statement, tree)) in &self.checkpoints {
            if statement.anchors_root != Some(tree.root()) {
                is_whole = false;
                let detail = "the ends of journals that it names are not those that were signed".to_owned();
                differences.push(Difference { subject: format!("checkpoint {number}"), detail });
            }
        }
        let newest = self.newest_of_all().filter(|newest| newest.journals_root != self.ends.root());
        if let Some(newest) = newest.filter(|_| is_whole) {
            let detail = "is about other journals than the checkpoints name".to_owned();
            let subject = format!("checkpoint {}", newest.number.unwrap_or(0));
            differences.push(Difference { subject, detail });
        }
    }

    /// Says what differs in the catalog.
    pub fn check_catalog(&self, catalog: &Stamps, revision: u64, differences: &mut Vec<Difference>) {
        let Some(newest) = self.newest_of_all() else { return };
        let name = format!("checkpoint {} of {}", self.newest_number(), newest.at);
        let at = newest.catalog_revision;
        if compare_catalog(&self.stamps, at, catalog, revision, &name, differences) {
            let detail = format!("is at revision {revision}, {name} at {at}");
            differences.push(Difference { subject: "the catalog".to_owned(), detail });
        }
    }
}
