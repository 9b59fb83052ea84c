//! The totals of one slot and how usage adds to them.

use super::{
    counted::{Counted, Paid},
    index::Index,
};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{Digest, Key},
};
use proviso_store::{RollupRow, StoreError};
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
    /// Of the same as some usage, and nothing yet.
    pub fn none(counted: &Counted<'_>) -> Self {
        Self {
            feature: counted.usage.feature.clone(),
            entities: counted.usage.entities().cloned().collect(),
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

    /// Whether they are of the same as some usage.
    pub fn is_of(&self, counted: &Counted<'_>) -> bool {
        self.feature == counted.usage.feature
            && self.credit == *counted.credit
            && self.imported == counted.is_imported
            && self.model.as_deref() == counted.usage.attribute(MODEL)
            && self.entities.iter().eq(counted.usage.entities())
    }

    /// A hash of what they are of.
    pub fn key(&self) -> [u8; 16] {
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

    pub fn add(&mut self, counted: &Counted<'_>, paid: &Paid) {
        let charges = i64::from(!counted.is_refund);
        self.entries += 1;
        self.charges += charges;
        self.cost = signed(counted, self.cost, counted.cost);
        for (name, amount) in &counted.usage.quantities {
            change(&mut self.quantities, name, |(entries, total)| {
                *entries += 1;
                *total = match counted.is_refund {
                    true => total.saturating_sub(*amount),
                    false => total.saturating_add(*amount),
                };
            });
        }
        for (payer, amount) in paid {
            change(&mut self.paid, payer, |(entries, of, cost)| {
                *entries += 1;
                *of += charges;
                *cost = signed(counted, *cost, *amount);
            });
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.entries += other.entries;
        self.charges += other.charges;
        self.cost = self.cost.saturating_add(other.cost);
        for (name, (entries, amount)) in &other.quantities {
            change(&mut self.quantities, name, |total| {
                total.0 += entries;
                total.1 = total.1.saturating_add(*amount);
            });
        }
        for (payer, (entries, charges, cost)) in &other.paid {
            change(&mut self.paid, payer, |total| {
                total.0 += entries;
                total.1 += charges;
                total.2 = total.2.saturating_add(*cost);
            });
        }
    }

    /// Reads a stored row.
    pub fn read(row: &RollupRow) -> Result<Self, StoreError> {
        serde_json::from_str(&row.body).map_err(|error| unreadable(row, &error))
    }
}

/// Changes what a map has of a name; its text is copied only when it is new.
fn change<T: Default>(map: &mut BTreeMap<String, T>, name: &str, change: impl FnOnce(&mut T)) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => {
            let mut value = T::default();
            change(&mut value);
            map.insert(name.to_owned(), value);
        }
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
