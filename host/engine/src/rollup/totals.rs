//! The totals of one slot and how entries add to them.

use super::{
    Grain, Kind,
    counted::{Counted, Paid},
    index::Index,
};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{Digest, Key, Seq},
    time::Timestamp,
};
use proviso_store::{RollupId, RollupRow, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Usage of one feature, model, credit type and, in its kind, entity. Each sum says of how many entries it is, so that a sum of
/// none can be told from one that is zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    #[serde(rename = "f")]
    pub feature: Key,
    /// The entity, then those above it.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Key>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(rename = "c")]
    pub credit: Key,
    /// Whether another system billed all of it; else none of it.
    #[serde(rename = "i", default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Entries, also refunds.
    #[serde(rename = "n")]
    pub entries: i64,
    /// Charges and commits.
    #[serde(rename = "x")]
    pub charges: i64,
    #[serde(rename = "t")]
    pub cost: Credits,
    /// By name: entries and sum.
    #[serde(rename = "q", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantities: BTreeMap<String, (i64, Quantity)>,
    /// By who paid: entries, charges and cost.
    #[serde(rename = "p", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paid: BTreeMap<String, (i64, i64, Credits)>,
}

/// The attribute by which totals are kept, beside the feature.
pub(super) const MODEL: &str = "model";

impl Totals {
    fn none(counted: &Counted<'_>, kind: Kind) -> Self {
        let entities = match kind {
            Kind::OfEntity => counted.usage.entities().cloned().collect(),
            Kind::Plain | Kind::OfEntities | Kind::Index => Vec::new(),
        };
        Self {
            feature: counted.usage.feature.clone(),
            entities,
            model: counted.usage.attribute(MODEL).map(str::to_owned),
            credit: counted.credit.clone(),
            imported: counted.is_imported,
            entries: 0,
            charges: 0,
            cost: Credits::ZERO,
            quantities: BTreeMap::new(),
            paid: BTreeMap::new(),
        }
    }

    /// Whether usage adds to it.
    fn is_of(&self, counted: &Counted<'_>, kind: Kind) -> bool {
        self.feature == counted.usage.feature
            && self.credit == *counted.credit
            && self.imported == counted.is_imported
            && self.model.as_deref() == counted.usage.attribute(MODEL)
            && (kind != Kind::OfEntity || self.entities.iter().eq(counted.usage.entities()))
    }

    /// A hash of what it is of.
    fn key(&self) -> [u8; 16] {
        let mut text = Vec::new();
        let parts = [Some(self.feature.as_str()), self.model.as_deref(), Some(self.credit.as_str())];
        let entities = self.entities.iter().map(|one| Some(one.as_str()));
        for part in parts.into_iter().chain(entities) {
            // A length that no text has stands for none.
            text.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        if self.imported {
            text.push(1);
        }
        let Digest(hash) = Digest::of(&text);
        hash.first_chunk().copied().unwrap_or_default()
    }

    fn add(&mut self, counted: &Counted<'_>, paid: &Paid) {
        let charges = i64::from(!counted.is_refund);
        self.entries += 1;
        self.charges += charges;
        self.cost = signed(counted, self.cost, counted.cost);
        for (name, amount) in &counted.usage.quantities {
            if !self.quantities.contains_key(name) {
                self.quantities.insert(name.clone(), (0, Quantity::ZERO));
            }
            if let Some((entries, total)) = self.quantities.get_mut(name) {
                *entries += 1;
                *total = match counted.is_refund {
                    true => total.saturating_sub(*amount),
                    false => total.saturating_add(*amount),
                };
            }
        }
        for (payer, amount) in paid {
            if !self.paid.contains_key(*payer) {
                self.paid.insert((*payer).to_owned(), (0, 0, Credits::ZERO));
            }
            if let Some((entries, of, cost)) = self.paid.get_mut(*payer) {
                *entries += 1;
                *of += charges;
                *cost = signed(counted, *cost, *amount);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.entries += other.entries;
        self.charges += other.charges;
        self.cost = self.cost.saturating_add(other.cost);
        for (name, (entries, amount)) in &other.quantities {
            let total = self.quantities.entry(name.clone()).or_insert((0, Quantity::ZERO));
            total.0 += entries;
            total.1 = total.1.saturating_add(*amount);
        }
        for (payer, (entries, charges, cost)) in &other.paid {
            let total = self.paid.entry(payer.clone()).or_insert((0, 0, Credits::ZERO));
            total.0 += entries;
            total.1 += charges;
            total.2 = total.2.saturating_add(*cost);
        }
    }

    /// Reads a stored row.
    pub fn read(row: &RollupRow) -> Result<Self, StoreError> {
        serde_json::from_str(&row.body).map_err(|error| unreadable(row, &error))
    }
}

fn signed(counted: &Counted<'_>, total: Credits, amount: Credits) -> Credits {
    if counted.is_refund { total.saturating_sub(amount) } else { total.saturating_add(amount) }
}

/// Reads a stored row of the index.
pub(super) fn read_index(row: &RollupRow) -> Result<Index, StoreError> {
    serde_json::from_str(&row.body).map_err(|error| unreadable(row, &error))
}

fn unreadable(row: &RollupRow, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { detail: format!("usage totals {:?}: {error}", row.id) }
}

/// How many kinds of usage are kept at hand with their hashes.
const MOST_AT_HAND: usize = 16;

/// What some entries of one customer add to its totals.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// Totals of none, with their hashes: what a customer uses now is mostly what it used before.
    at_hand: Vec<(Kind, Totals, [u8; 16])>,
    totals: BTreeMap<RollupId, Totals>,
    index: BTreeMap<RollupId, Vec<(Seq, Timestamp)>>,
}

impl Additions {
    /// Takes in an entry that comes after all that are in it.
    pub fn add(&mut self, seq: Seq, counted: &Counted<'_>, paid: &Paid) {
        let kinds: &[Kind] = match counted.usage.entity {
            Some(_) => &[Kind::OfEntities, Kind::OfEntity],
            None => &[Kind::Plain],
        };
        for kind in kinds {
            let found =
                self.at_hand.iter().position(|(of, none, _)| of == kind && none.is_of(counted, *kind));
            let at = found.unwrap_or_else(|| {
                if self.at_hand.len() >= MOST_AT_HAND {
                    self.at_hand.clear();
                }
                let none = Totals::none(counted, *kind);
                let key = none.key();
                self.at_hand.push((*kind, none, key));
                self.at_hand.len() - 1
            });
            let Some((_, none, key)) = self.at_hand.get(at) else { continue };
            for grain in Grain::ALL {
                let id = id(grain, *kind, grain.slot(counted.at), *key);
                self.totals.entry(id).or_insert_with(|| none.clone()).add(counted, paid);
            }
        }
        let grain = Grain::Quarter;
        let place = id(grain, Kind::Index, grain.slot(counted.at), [0; 16]);
        self.index.entry(place).or_default().push((seq, counted.at));
    }

    /// How many totals these are.
    pub fn len(&self) -> usize {
        self.totals.len().saturating_add(self.index.len())
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

    /// Splits off what is of slots that have ended by `before`.
    pub fn split_before(&mut self, before: Timestamp) -> Self {
        let ended = |id: &RollupId| {
            let grain = if id.grain == Grain::Day.number() { Grain::Day } else { Grain::Quarter };
            id.slot < grain.slot(before)
        };
        Self {
            at_hand: Vec::new(),
            totals: self.totals.extract_if(.., |id, _| ended(id)).collect(),
            index: self.index.extract_if(.., |id, _| ended(id)).collect(),
        }
    }
}

fn id(grain: Grain, kind: Kind, slot: i64, key: [u8; 16]) -> RollupId {
    RollupId { grain: grain.number(), kind: kind.number(), slot, key }
}

fn write(body: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(body).map_err(|error| StoreError::Corrupt { detail: error.to_string() })
}
