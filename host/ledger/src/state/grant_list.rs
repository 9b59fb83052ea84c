//! A customer's grants: walked in burn-down order, and found by id without walking. So an end of a period that carries thousands of
//! grants over costs thousands of steps, not their square.

use super::GrantState;
use crate::model::ids::GrantId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;

/// Grants in burn-down order.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// By id. Ids grow, so a new grant is the last.
    by_id: Vec<GrantState>,
    /// Places in `by_id`, in burn-down order.
    order: Vec<usize>,
}

fn burn_down_order(a: &GrantState, b: &GrantState) -> Ordering {
    a.grant.burn_down_order(a.ends_at, &b.grant, b.ends_at)
}

impl Grants {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All, in burn-down order.
    pub fn iter(&self) -> impl Iterator<Item = &GrantState> {
        self.order.iter().filter_map(|place| self.by_id.get(*place))
    }

    /// All, by id.
    pub fn by_id(&self) -> impl Iterator<Item = &GrantState> {
        self.by_id.iter()
    }

    /// All, by id. Whoever changes when they end must [`sort`](Self::sort) then.
    pub(crate) fn by_id_mut(&mut self) -> impl Iterator<Item = &mut GrantState> {
        self.by_id.iter_mut()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: GrantId) -> Option<&GrantState> {
        self.by_id.get(self.place_of(id).ok()?)
    }

    pub(crate) fn get_mut(&mut self, id: GrantId) -> Option<&mut GrantState> {
        let place = self.place_of(id).ok()?;
        self.by_id.get_mut(place)
    }

    pub(crate) fn insert(&mut self, state: GrantState) {
        let at = self.order.partition_point(|place| {
            self.by_id.get(*place).is_some_and(|other| burn_down_order(other, &state).is_lt())
        });
        let place = self.place_of(state.grant.id).unwrap_or_else(|place| place);
        if place < self.by_id.len() {
            self.order.iter_mut().filter(|other| **other >= place).for_each(|other| *other += 1);
        }
        self.by_id.insert(place, state);
        self.order.insert(at, place);
    }

    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&GrantState) -> bool) {
        let mut places = Vec::with_capacity(self.by_id.len());
        let mut kept = 0;
        self.by_id.retain(|state| {
            let is_kept = keeps(state);
            places.push(is_kept.then_some(kept));
            kept += usize::from(is_kept);
            is_kept
        });
        if kept < places.len() {
            let moved = self.order.iter().filter_map(|place| places.get(*place).copied().flatten());
            self.order = moved.collect();
        }
    }

    /// Puts them in burn-down order again.
    pub(crate) fn sort(&mut self) {
        let Self { by_id, order } = self;
        order.sort_by(|a, b| match (by_id.get(*a), by_id.get(*b)) {
            (Some(a), Some(b)) => burn_down_order(a, b),
            _ => Ordering::Equal,
        });
    }

    fn place_of(&self, id: GrantId) -> Result<usize, usize> {
        self.by_id.binary_search_by_key(&id, |state| state.grant.id)
    }
}

/// Takes grants that are in burn-down order.
impl FromIterator<GrantState> for Grants {
    fn from_iter<I: IntoIterator<Item = GrantState>>(grants: I) -> Self {
        let mut placed: Vec<(usize, GrantState)> = grants.into_iter().enumerate().collect();
        placed.sort_by_key(|(_, state)| state.grant.id);
        let mut order: Vec<(usize, usize)> =
            placed.iter().enumerate().map(|(place, (rank, _))| (*rank, place)).collect();
        order.sort_unstable();
        Self {
            by_id: placed.into_iter().map(|(_, state)| state).collect(),
            order: order.into_iter().map(|(_, place)| place).collect(),
        }
    }
}

/// In the same order, the same grants.
impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order && self.by_id == other.by_id
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
