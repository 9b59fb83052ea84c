//! Open reservations, with what is asked of all of them at once kept up to date: which ends next, and what they hold. So many of
//! them that end together cost no more each than one.

use super::ReservationState;
use crate::model::{amounts::Credits, grant::CreditType, ids::ReservationId, time::Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

/// Open reservations by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reservations {
    by_id: BTreeMap<ReservationId, ReservationState>,
    by_end: BTreeSet<(Timestamp, ReservationId)>,
    /// Of credit types of which anything is held.
    held: BTreeMap<CreditType, Held>,
    bytes: usize,
}

/// What reservations hold of one credit type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// All of it.
    pub reserved: Credits,
    /// The part beyond all grants.
    pub overage: Credits,
}

impl Reservations {
    /// The one that ends first, the older one of two that end together.
    #[must_use]
    pub fn next_to_end(&self) -> Option<(Timestamp, ReservationId)> {
        self.by_end.first().copied()
    }

    /// What they hold of a credit type.
    #[must_use]
    pub fn held(&self, credit: &CreditType) -> Held {
        self.held.get(credit).copied().unwrap_or_default()
    }

    /// What their usages take, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn insert(&mut self, id: ReservationId, state: ReservationState) {
        self.remove(&id);
        self.by_end.insert((state.expires_at, id));
        self.bytes = self.bytes.saturating_add(state.bytes());
        self.add(&state.credit, Held::default(), Held::of(&state));
        self.by_id.insert(id, state);
    }

    pub(crate) fn remove(&mut self, id: &ReservationId) -> Option<ReservationState> {
        let state = self.by_id.remove(id)?;
        self.by_end.remove(&(state.expires_at, *id));
        self.bytes = self.bytes.saturating_sub(state.bytes());
        self.add(&state.credit, Held::of(&state), Held::default());
        Some(state)
    }

    /// Changes what one holds or when it ends, but not its credit type and its usage. `None` when it is not open.
    pub(crate) fn change<T>(
        &mut self,
        id: &ReservationId,
        change: impl FnOnce(&mut ReservationState) -> T,
    ) -> Option<T> {
        let state = self.by_id.get_mut(id)?;
        let (end, before) = (state.expires_at, Held::of(state));
        let changed = change(state);
        let (credit, after) = (state.credit.clone(), Held::of(state));
        if state.expires_at != end {
            self.by_end.remove(&(end, *id));
            self.by_end.insert((state.expires_at, *id));
        }
        self.add(&credit, before, after);
        Some(changed)
    }

    /// Puts `after` in the place of `before`. What is not held is not listed, so that the sums are a function of the
    /// reservations.
    fn add(&mut self, credit: &CreditType, before: Held, after: Held) {
        if before == after {
            return;
        }
        let sum = self.held(credit);
        let sum = Held {
            reserved: sum.reserved.saturating_sub(before.reserved).saturating_add(after.reserved),
            overage: sum.overage.saturating_sub(before.overage).saturating_add(after.overage),
        };
        if sum == Held::default() {
            self.held.remove(credit);
        } else {
            self.held.insert(credit.clone(), sum);
        }
    }
}

impl Held {
    fn of(state: &ReservationState) -> Self {
        Self { reserved: state.held(), overage: state.overage }
    }
}

impl Deref for Reservations {
    type Target = BTreeMap<ReservationId, ReservationState>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}

impl Serialize for Reservations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_id.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reservations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut reservations = Self::default();
        for (id, state) in BTreeMap::deserialize(deserializer)? {
            reservations.insert(id, state);
        }
        Ok(reservations)
    }
}
