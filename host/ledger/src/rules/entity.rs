//! The tree of entities: who may stand where.

use super::rejection::Rejection;
use crate::{
    journal::{EntityChanged, Event},
    model::{
        budget::Subject,
        entity::{Entity, MOST_LEVELS},
        ids::Key,
    },
    state::{CustomerState, Draft},
};

impl CustomerState {
    /// The entry that makes an entity known, moves or changes it. Usage of before stays where it was counted.
    ///
    /// # Errors
    /// A closed customer; a parent that is not known or stands below the entity; a tree that gets too deep; too many entities.
    pub fn set_entity(&self, id: Key, entity: Entity) -> Result<Draft, Rejection> {
        self.require_open()?;
        let before = self.entities.get(&id);
        if let Some(parent) = &entity.parent {
            if *parent != id && self.entities.get(parent).is_none() {
                return Err(Rejection::EntityNotFound(parent.clone()));
            }
            let above = self.entities.ancestors(parent);
            if *parent == id || above.contains(&id) {
                return Err(Rejection::EntityAboveItself(id));
            }
            // The parent, who stands above it, and the entity with who stands below it.
            if 1 + above.len() + self.entities.levels(&id, MOST_LEVELS) > MOST_LEVELS {
                return Err(Rejection::TreeTooDeep(MOST_LEVELS));
            }
        }
        self.require_place_for_entity(&id, &entity)?;
        Ok(Draft::new(Event::EntityChanged(EntityChanged { new: before.is_none(), id, entity })))
    }

    /// The entry that forgets an entity.
    ///
    /// # Errors
    /// One that is not known, that others stand below, or that a budget names.
    pub fn remove_entity(&self, id: Key) -> Result<Draft, Rejection> {
        if self.entities.get(&id).is_none() {
            return Err(Rejection::EntityNotFound(id));
        }
        if self.entities.has_below(&id) {
            return Err(Rejection::EntityInUse(id, "entities stand below it"));
        }
        if self.budgets.of_subject(&Subject::Entity(id.clone())) > 0 {
            return Err(Rejection::EntityInUse(id, "a budget names it"));
        }
        Ok(Draft::new(Event::EntityRemoved { entity: id }))
    }
}
