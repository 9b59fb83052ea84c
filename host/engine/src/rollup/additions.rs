//! What entries add to totals, before it is stored.

use super::{
    Grain, Kind,
    counted::{Counted, Paid},
    index::Index,
    totals::{MODEL, Totals, read_index},
};
use proviso_ledger::model::{ids::Seq, time::Timestamp};
use proviso_store::{RollupId, RollupRow, StoreError};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// What some entries of one customer add to its totals. Each entry is counted once, in a quarter of an hour and for its entity: what is
/// stored beside that follows from it.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// By slot and a hash of what they are of.
    quarters: BTreeMap<(i64, u64), Vec<Totals>>,
    /// By slot: the entries that have usage of it.
    index: BTreeMap<i64, Vec<(Seq, Timestamp)>>,
    len: usize,
}

impl Additions {
    /// Takes in an entry that comes after all that are in it.
    pub fn add(&mut self, seq: Seq, counted: &Counted<'_>, paid: &Paid) {
        let slot = Grain::Quarter.slot(counted.at);
        let of_hash = self.quarters.entry((slot, hash(counted))).or_insert_with(|| Vec::with_capacity(1));
        match of_hash.iter_mut().find(|totals| totals.is_of(counted)) {
            Some(totals) => totals.add(counted, paid),
            None => {
                let mut totals = Totals::none(counted);
                totals.add(counted, paid);
                of_hash.push(totals);
                self.len = self.len.saturating_add(1);
            }
        }
        self.index.entry(slot).or_default().push((seq, counted.at));
    }

    /// How many totals these are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Splits off what is of days that have ended by `before`, the beginning of a day.
    pub fn split_before(&mut self, before: Timestamp) -> Self {
        let end = Grain::Quarter.slot(before);
        let quarters: BTreeMap<_, _> = self.quarters.extract_if(..(end, 0), |_, _| true).collect();
        let len = quarters.values().map(Vec::len).sum();
        self.len = self.len.saturating_sub(len);
        Self { quarters, index: self.index.extract_if(..end, |_, _| true).collect(), len }
    }

    /// All that is stored of it.
    pub fn sums(self) -> Sums {
        let mut sums = Sums::default();
        for ((quarter, _), of_hash) in self.quarters {
            for totals in of_hash {
                if totals.entities.is_empty() {
                    sums.take_in(quarter, Kind::Plain, totals);
                } else {
                    let together = Totals { entities: Vec::new(), ..totals.clone() };
                    sums.take_in(quarter, Kind::OfEntities, together);
                    sums.take_in(quarter, Kind::OfEntity, totals);
                }
            }
        }
        let place = |quarter| id(Grain::Quarter, Kind::Index, quarter, [0; 16]);
        sums.index = self.index.into_iter().map(|(quarter, entries)| (place(quarter), entries)).collect();
        sums
    }
}

/// A hash of what usage is counted as.
fn hash(counted: &Counted<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let usage = counted.usage;
    (usage.feature.as_str(), usage.attribute(MODEL), counted.credit.as_str()).hash(&mut hasher);
    counted.is_imported.hash(&mut hasher);
    usage.entities().for_each(|entity| entity.as_str().hash(&mut hasher));
    hasher.finish()
}

/// What is added to the totals that are stored, by their place.
#[derive(Debug, Default)]
pub(super) struct Sums {
    totals: BTreeMap<RollupId, Totals>,
    index: BTreeMap<RollupId, Vec<(Seq, Timestamp)>>,
}

impl Sums {
    fn take_in(&mut self, quarter: i64, kind: Kind, totals: Totals) {
        let (key, at) = (totals.key(), Grain::Quarter.start(quarter));
        let mut merge = |grain: Grain, totals: Totals| {
            let place = id(grain, kind, grain.slot(at), key);
            match self.totals.get_mut(&place) {
                Some(sum) => sum.merge(&totals),
                None => drop(self.totals.insert(place, totals)),
            }
        };
        merge(Grain::Day, totals.clone());
        merge(Grain::Quarter, totals);
    }

    /// The places that it touches.
    pub fn ids(&self) -> Vec<RollupId> {
        self.totals.keys().chain(self.index.keys()).copied().collect()
    }

    /// The rows that result on top of those that are stored.
    pub fn onto(self, stored: &[RollupRow]) -> Result<Vec<RollupRow>, StoreError> {
        let stored: BTreeMap<_, _> = stored.iter().map(|row| (row.id, row)).collect();
        let mut rows = Vec::with_capacity(self.totals.len() + self.index.len());
        for (id, added) in self.totals {
            let total = match stored.get(&id) {
                Some(row) => {
                    let mut total = Totals::read(row)?;
                    total.merge(&added);
                    total
                }
                None => added,
            };
            rows.push(RollupRow { id, body: write(&total)? });
        }
        for (id, added) in self.index {
            let mut index = stored.get(&id).map(|row| read_index(row)).transpose()?;
            for (seq, at) in added {
                match &mut index {
                    Some(index) => index.add(seq, at),
                    None => index = Some(Index::of(seq, at)),
                }
            }
            if let Some(index) = index {
                rows.push(RollupRow { id, body: write(&index)? });
            }
        }
        Ok(rows)
    }
}

fn id(grain: Grain, kind: Kind, slot: i64, key: [u8; 16]) -> RollupId {
    RollupId { grain: grain.number(), kind: kind.number(), slot, key }
}

fn write(body: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(body).map_err(|error| StoreError::Corrupt { detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_ledger::model::{amounts::Credits, ids::Key, usage::Usage};

    const DAY: i64 = 86_400 * Timestamp::SECOND;

    fn usage(feature: &str, entities: &[&str], at: i64) -> Usage {
        let mut entities = entities.iter().map(|entity| entity.parse().unwrap());
        Usage {
            feature: feature.parse().unwrap(),
            quantities: vec![("tokens".to_owned(), "2".parse().unwrap())],
            attributes: Vec::new(),
            entity: entities.next(),
            ancestors: entities.collect(),
            occurred_at: Timestamp(at),
        }
    }

    fn add(additions: &mut Additions, seq: Seq, usage: &Usage, cost: &str, is_refund: bool) {
        let (credit, cost): (Key, Credits) = ("credits".parse().unwrap(), cost.parse().unwrap());
        let at = usage.occurred_at;
        let counted = Counted { usage, credit: &credit, cost, at, is_refund, is_imported: false };
        additions.add(seq, &counted, &Paid::from([("plan", cost)]));
    }

    /// Grain, kind, slot, entries, cost and the quantity.
    fn told(rows: &[RollupRow]) -> Vec<(u8, u8, i64, i64, String, String)> {
        let totals = rows.iter().filter(|row| row.id.kind != Kind::Index.number());
        let mut told: Vec<_> = totals
            .map(|row| {
                let totals = Totals::read(row).unwrap();
                let (grain, kind, slot) = (row.id.grain, row.id.kind, row.id.slot);
                let (_, tokens) = totals.quantities["tokens"];
                (grain, kind, slot, totals.entries, totals.cost.to_string(), tokens.to_string())
            })
            .collect();
        told.sort();
        told
    }

    fn row(
        grain: u8,
        kind: u8,
        slot: i64,
        entries: i64,
        cost: &str,
        tokens: &str,
    ) -> (u8, u8, i64, i64, String, String) {
        (grain, kind, slot, entries, cost.to_owned(), tokens.to_owned())
    }

    #[test]
    fn what_is_counted_once_is_stored_for_each_grain_and_kind() {
        let quarter = Grain::Quarter.micros();
        let mut additions = Additions::default();
        add(&mut additions, 1, &usage("chat", &["ann", "team"], 0), "1", false);
        add(&mut additions, 2, &usage("chat", &["bob", "team"], 1), "2", false);
        add(&mut additions, 3, &usage("chat", &["ann", "team"], quarter), "4", false);
        add(&mut additions, 4, &usage("chat", &["ann", "team"], 2), "0.5", true);
        add(&mut additions, 5, &usage("chat", &[], DAY), "8", false);
        // Ann and Bob in the first quarter, Ann in the second, and nobody's on the next day.
        assert_eq!(additions.len(), 4);
        let first = additions.split_before(Timestamp(DAY));
        assert_eq!((first.len(), additions.len()), (3, 1));
        assert_eq!(
            told(&additions.sums().onto(&[]).unwrap()),
            [row(0, 0, 96, 1, "8", "2"), row(1, 0, 1, 1, "8", "2")]
        );
        let rows = first.sums().onto(&[]).unwrap();
        let expected = [
            row(0, 1, 0, 3, "2.5", "2"),
            row(0, 1, 1, 1, "4", "2"),
            row(0, 2, 0, 1, "2", "2"),
            row(0, 2, 0, 2, "0.5", "0"),
            row(0, 2, 1, 1, "4", "2"),
            row(1, 1, 0, 4, "6.5", "4"),
            row(1, 2, 0, 1, "2", "2"),
            row(1, 2, 0, 3, "4.5", "2"),
        ];
        assert_eq!(told(&rows), expected);
        // On top of what is stored.
        let mut more = Additions::default();
        add(&mut more, 6, &usage("chat", &["bob", "team"], 3), "1", false);
        let sums = more.sums();
        assert!(sums.ids().iter().all(|id| rows.iter().any(|row| row.id == *id)));
        let rows = sums.onto(&rows).unwrap();
        let expected = [
            row(0, 1, 0, 4, "3.5", "4"),
            row(0, 2, 0, 2, "3", "4"),
            row(1, 1, 0, 5, "7.5", "6"),
            row(1, 2, 0, 2, "3", "4"),
        ];
        assert_eq!(told(&rows), expected);
        let index = rows.iter().find(|row| row.id.kind == Kind::Index.number()).unwrap();
        assert_eq!(read_index(index).unwrap().runs, [(1, 6)]);
    }
}
