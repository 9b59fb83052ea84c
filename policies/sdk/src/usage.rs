//! What was used, by whom and what for.

use crate::calendar::{Moment, Period};
use alloc::{string::String, vec::Vec};
use proviso_amounts::Quantity;

/// Something known of a usage, an entity or a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Unique in its list.
    pub name: String,
    /// Any text.
    pub value: String,
}

/// The value of an attribute in a list.
pub(crate) fn value_of<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value.as_str())
}

/// How much of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedQuantity {
    /// Such as `input_tokens`.
    pub name: String,
    /// In whole units.
    pub amount: Quantity,
}

/// A user, team, department or agent under the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// The key that the customer's system knows it by.
    pub id: String,
    /// Filled when the manifest needs [`crate::Need::EntityAttributes`]. Sorted by name.
    pub attributes: Vec<Attribute>,
}

impl Entity {
    /// The value of an attribute; the manifest must need [`crate::Need::EntityAttributes`].
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }
}

/// What a usage is reported for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// It happens now and is billed.
    #[default]
    Charge,
    /// Credits are held for it.
    Reserve,
    /// It has happened, and its reservation is settled. A refusal changes nothing: the host then bills what is held.
    Commit,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The feature's key.
    pub feature: String,
    /// Sorted by name; names are unique.
    pub quantities: Vec<NamedQuantity>,
    /// Sorted by name; names are unique.
    pub attributes: Vec<Attribute>,
    /// Who used it: the entity itself, then its parent and so on up to the root. Empty when none was named.
    pub entities: Vec<Entity>,
    /// When it was used.
    pub occurred_at: Moment,
    /// What it is for.
    pub purpose: Purpose,
    /// The period that it occurred in.
    pub period: Period,
    /// Whether that period had ended when the usage was reported. Counters then hold the values of that time's windows.
    pub late: bool,
}

impl Usage {
    /// The amount of a quantity; zero when the usage does not have it.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Quantity {
        let found = self.quantities.iter().find(|quantity| quantity.name == name);
        found.map_or(Quantity::ZERO, |quantity| quantity.amount)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }

    /// Who used it, when that was said.
    #[must_use]
    pub fn entity(&self) -> Option<&Entity> {
        self.entities.first()
    }

    /// Whether a limit may refuse it: not when it has happened already.
    #[must_use]
    pub fn is_refusable(&self) -> bool {
        self.purpose != Purpose::Commit
    }
}
