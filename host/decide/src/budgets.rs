//! Changes of a customer's entities and budgets, as differences from what is in force.

use crate::{
    DecideError,
    change::Change,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    model::{
        amounts::Decimal,
        budget::{Budget, DEFAULT_WARNINGS, Measured, Subject},
        counter::Window,
        entity::Entity,
        grant::{CreditType, default_credit},
        ids::Key,
    },
    state::CustomerState,
};

/// How an entity is made known or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityChange {
    /// Which.
    pub id: Key,
    /// The entity above it; none makes it a root.
    pub parent: Change<Key>,
    /// The caller's data, which policies may read, sorted by name.
    pub attributes: Change<Vec<(String, String)>>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl EntityChange {
    /// The entity after the change; `None` when it is in force already.
    pub(crate) fn apply(&self, state: &CustomerState) -> Result<Option<Entity>, DecideError> {
        let before = state.entities.get(&self.id);
        self.expected.check(|| before.map(Tag::of).transpose())?;
        let attributes = self.attributes.clone().apply(before.map(|before| before.attributes.clone()));
        let after = Entity {
            parent: self.parent.clone().apply(before.and_then(|before| before.parent.clone())),
            attributes: attributes.unwrap_or_default(),
        };
        if before == Some(&after) {
            return Ok(None);
        }
        self.expected.permits(before, "entity", &self.id)?;
        Ok(Some(after))
    }
}

/// How a budget is put in force or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetChange {
    /// Which.
    pub id: Key,
    /// The entity whose usage counts, with that of all below it. Takes the place of an attribute.
    pub entity: Change<Key>,
    /// The attribute, by name and value, with which usage counts. Takes the place of an entity.
    pub attribute: Change<(String, String)>,
    /// Only usage of these features; empty means all.
    pub features: Change<Vec<Key>>,
    /// When it starts again; required where there is no budget yet.
    pub window: Option<Window>,
    /// How much may be used in a window; required where there is no budget yet.
    pub limit: Option<Decimal>,
    /// The quantity that is added up. Takes the place of credits.
    pub quantity: Change<String>,
    /// The type of the credits that are added up. Takes the place of a quantity.
    pub credit: Change<CreditType>,
    /// Whether what would exceed the limit is refused; it is where nothing is said.
    pub hard: Change<bool>,
    /// The percentages that entries report.
    pub warn_at: Change<Vec<u16>>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl BudgetChange {
    /// The budget after the change; `None` when it is in force already.
    pub(crate) fn apply(&self, state: &CustomerState) -> Result<Option<Budget>, DecideError> {
        let before = state.budgets.get(&self.id).map(|state| &state.budget);
        self.expected.check(|| before.map(Tag::of).transpose())?;
        let mut features =
            self.features.clone().apply(before.map(|before| before.features.clone())).unwrap_or_default();
        features.sort();
        features.dedup();
        let warn_at = self.warn_at.clone().apply(before.map(|before| before.warn_at.clone()));
        let mut warn_at = warn_at.unwrap_or_else(|| DEFAULT_WARNINGS.to_vec());
        warn_at.sort_unstable();
        warn_at.dedup();
        let after = Budget {
            subject: self.subject(before.map(|before| &before.subject)),
            features,
            measured: self.measured(before.map(|before| &before.measured)),
            window: self
                .window
                .or_else(|| before.map(|before| before.window))
                .ok_or(DecideError::BudgetIncomplete("window"))?,
            limit: self
                .limit
                .or_else(|| before.map(|before| before.limit))
                .ok_or(DecideError::BudgetIncomplete("limit"))?,
            hard: self.hard.apply(before.map(|before| before.hard)).unwrap_or(true),
            warn_at,
        };
        if before == Some(&after) {
            return Ok(None);
        }
        self.expected.permits(before, "budget", &self.id)?;
        Ok(Some(after))
    }

    fn subject(&self, before: Option<&Subject>) -> Subject {
        match (&self.entity, &self.attribute, before) {
            (Change::Set(entity), ..) => Subject::Entity(entity.clone()),
            (_, Change::Set((name, value)), _) => {
                Subject::Attribute { name: name.clone(), value: value.clone() }
            }
            (Change::Clear, _, Some(Subject::Entity(_)))
            | (_, Change::Clear, Some(Subject::Attribute { .. })) => Subject::Customer,
            (_, _, before) => before.cloned().unwrap_or_default(),
        }
    }

    fn measured(&self, before: Option<&Measured>) -> Measured {
        let credits = || Measured::Credits(default_credit());
        match (&self.quantity, &self.credit, before) {
            (Change::Set(name), ..) => Measured::Quantity(name.clone()),
            (_, Change::Set(credit), _) => Measured::Credits(credit.clone()),
            (Change::Clear, _, Some(Measured::Quantity(_)))
            | (_, Change::Clear, Some(Measured::Credits(_))) => credits(),
            (_, _, before) => before.cloned().unwrap_or_else(credits),
        }
    }
}

/// The tag of an entity; `None` for one that is not known.
///
/// # Errors
/// An entity that can't be written as JSON.
pub fn entity_tag(state: &CustomerState, id: &Key) -> Result<Option<Tag>, DecideError> {
    state.entities.get(id).map(Tag::of).transpose()
}

/// The tag of a budget, whatever counts toward it; `None` for one that is not there.
///
/// # Errors
/// A budget that can't be written as JSON.
pub fn budget_tag(state: &CustomerState, id: &Key) -> Result<Option<Tag>, DecideError> {
    state.budgets.get(id).map(|state| Tag::of(&state.budget)).transpose()
}
