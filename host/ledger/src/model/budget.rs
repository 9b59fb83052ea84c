//! Budgets: how much may be used in a window of time, by a whole customer, below an entity, or with a value of an attribute.
//! They only ever refuse; they give no credits.

use super::{
    amounts::{Credits, Decimal},
    counter::Window,
    grant::CreditType,
    ids::Key,
    usage::Usage,
};
use serde::{Deserialize, Serialize};

/// The percentages of its limit that are reported of a budget for which nothing else is said, and of a balance.
pub const DEFAULT_WARNINGS: [u16; 3] = [50, 80, 100];

/// Whose usage a budget counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// All of the customer.
    #[default]
    Customer,
    /// This entity's, and that of all below it.
    Entity(Key),
    /// Usage with this attribute.
    Attribute {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// What a budget adds up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Costs in credits of this type.
    Credits(CreditType),
    /// A quantity, by name.
    Quantity(String),
}

/// How much may be used in each window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Whose usage counts.
    pub subject: Subject,
    /// Only usage of these features, sorted; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// What is added up.
    pub measured: Measured,
    /// When it starts again at zero.
    pub window: Window,
    /// How much may be used in a window.
    pub limit: Decimal,
    /// Whether what would exceed the limit is refused. Else it is only reported.
    pub hard: bool,
    /// At which percentages of the limit that is used an entry says so, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warn_at: Vec<u16>,
}

impl Budget {
    /// Whether another budget counts the same, so that what was counted stays when that takes its place.
    #[must_use]
    pub fn counts_like(&self, other: &Self) -> bool {
        self.subject == other.subject
            && self.features == other.features
            && self.measured == other.measured
            && self.window == other.window
    }

    /// What a usage that costs so much adds, if its subject is the budget's; zero where it does not count.
    #[must_use]
    pub fn amount(&self, usage: &Usage, credit: &CreditType, cost: Credits) -> Decimal {
        if !self.features.is_empty() && self.features.binary_search(&usage.feature).is_err() {
            return Decimal::ZERO;
        }
        self.part(usage, credit, cost)
    }

    /// What it measures of these quantities and this cost.
    #[must_use]
    pub fn part(&self, usage: &Usage, credit: &CreditType, cost: Credits) -> Decimal {
        match &self.measured {
            Measured::Credits(own) if own == credit => cost.decimal(),
            Measured::Credits(_) => Decimal::ZERO,
            Measured::Quantity(name) => usage.quantity(name).decimal(),
        }
    }

    /// What it takes under this key, in bytes.
    #[must_use]
    pub fn bytes(&self, id: &Key) -> usize {
        let subject = match &self.subject {
            Subject::Customer => 0,
            Subject::Entity(entity) => entity.as_str().len(),
            Subject::Attribute { name, value } => name.len() + value.len(),
        };
        let measured = match &self.measured {
            Measured::Credits(credit) => credit.as_str().len(),
            Measured::Quantity(name) => name.len(),
        };
        let features: usize = self.features.iter().map(|feature| feature.as_str().len()).sum();
        id.as_str().len() + subject + measured + features + self.warn_at.len() * 4
    }
}
