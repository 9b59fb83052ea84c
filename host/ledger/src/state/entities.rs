//! A customer's tree of entities. Who stands above one is found in as many steps as there are levels, however many entities
//! there are.

use crate::model::{
    entity::{Entity, MOST_LEVELS},
    ids::Key,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Entities by key. Cheap to clone: readers of a state share it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entities(Arc<Tree>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Tree {
    by_id: BTreeMap<Key, Entity>,
    /// Those that stand directly below one.
    below: BTreeMap<Key, BTreeSet<Key>>,
    bytes: usize,
}

impl Entities {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &Key) -> Option<&Entity> {
        self.0.by_id.get(id)
    }

    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entity)> {
        self.0.by_id.iter()
    }

    /// Those after `after`, by key.
    pub fn after<'a>(&'a self, after: Option<&Key>) -> impl Iterator<Item = (&'a Key, &'a Entity)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.0.by_id.range::<Key, _>((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.by_id.is_empty()
    }

    /// What they take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Who stands above an entity, its parent first. None for one that is not known: it stands by itself.
    #[must_use]
    pub fn ancestors(&self, id: &Key) -> Vec<Key> {
        let parent = |id: &Key| self.get(id).and_then(|entity| entity.parent.as_ref());
        std::iter::successors(parent(id), |above| parent(above)).take(MOST_LEVELS).cloned().collect()
    }

    /// Whether entities stand below one.
    #[must_use]
    pub fn has_below(&self, id: &Key) -> bool {
        self.0.below.contains_key(id)
    }

    /// How many levels an entity and those below it take; no more than one above `most` are looked at.
    #[must_use]
    pub fn levels(&self, id: &Key, most: usize) -> usize {
        let (mut level, mut levels) = (vec![id], 0);
        while !level.is_empty() && levels <= most {
            levels += 1;
            level = level.into_iter().filter_map(|id| self.0.below.get(id)).flatten().collect();
        }
        levels
    }

    pub(crate) fn set(&mut self, id: &Key, entity: &Entity) {
        self.remove(id);
        let tree = Arc::make_mut(&mut self.0);
        tree.bytes = tree.bytes.saturating_add(entity.bytes(id));
        if let Some(parent) = &entity.parent {
            tree.below.entry(parent.clone()).or_default().insert(id.clone());
        }
        tree.by_id.insert(id.clone(), entity.clone());
    }

    pub(crate) fn remove(&mut self, id: &Key) {
        if self.get(id).is_none() {
            return;
        }
        let tree = Arc::make_mut(&mut self.0);
        let Some(entity) = tree.by_id.remove(id) else { return };
        tree.bytes = tree.bytes.saturating_sub(entity.bytes(id));
        if let Some(parent) = &entity.parent
            && let Some(siblings) = tree.below.get_mut(parent)
        {
            siblings.remove(id);
            if siblings.is_empty() {
                tree.below.remove(parent);
            }
        }
    }
}

impl Serialize for Entities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.by_id.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_id: BTreeMap<Key, Entity> = BTreeMap::deserialize(deserializer)?;
        let mut tree = Tree::default();
        for (id, entity) in &by_id {
            tree.bytes = tree.bytes.saturating_add(entity.bytes(id));
            if let Some(parent) = &entity.parent {
                tree.below.entry(parent.clone()).or_default().insert(id.clone());
            }
        }
        tree.by_id = by_id;
        Ok(Self(Arc::new(tree)))
    }
}
