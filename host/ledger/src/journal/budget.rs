//! What entries say of entities, budgets and thresholds.

use crate::model::{
    amounts::Decimal,
    budget::{Budget, Measured, Subject},
    counter::{Window, WindowId},
    entity::Entity,
    grant::CreditType,
    ids::Key,
};
use serde::{Deserialize, Serialize};

/// An entity was made known, moved or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityChanged {
    /// Which.
    pub id: Key,
    /// Whether it was not known before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// What it is from now on.
    #[serde(flatten)]
    pub entity: Entity,
}

/// A budget was put in force or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetChanged {
    /// Which.
    pub id: Key,
    /// Whether it was not there before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// What it is from now on.
    #[serde(flatten)]
    pub budget: Budget,
}

/// What an entry adds to a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetCount {
    /// Which.
    pub budget: Key,
    /// The window that it counts in.
    #[serde(rename = "in")]
    pub window_id: WindowId,
    /// How much.
    pub add: Decimal,
}

/// The budget that a usage would have exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverBudget {
    /// Which.
    pub budget: Key,
    /// Whose usage it counts.
    pub subject: Subject,
    /// What it adds up.
    pub measured: Measured,
    /// When it starts again.
    pub window: Window,
    /// How much may be used in a window.
    pub limit: Decimal,
    /// How much was used.
    pub used: Decimal,
    /// How much open reservations hold.
    pub held: Decimal,
    /// How much the usage would have added.
    pub add: Decimal,
}

impl OverBudget {
    /// What was left of the limit; zero where more was used than that.
    #[must_use]
    pub fn remaining(&self) -> Decimal {
        self.limit.saturating_sub(self.used).saturating_sub(self.held).max(Decimal::ZERO)
    }
}

/// A percentage that is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// Of what.
    #[serde(flatten)]
    pub of: ThresholdOf,
    /// The percentage.
    pub percent: u16,
    /// What is used by now.
    pub used: Decimal,
    /// What the percentage is of: the budget's limit, or what was granted.
    pub limit: Decimal,
}

/// What a percentage is reached of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ThresholdOf {
    /// Of a budget, in one of its windows.
    Budget {
        /// Which.
        budget: Key,
        /// The window.
        #[serde(rename = "in")]
        window_id: WindowId,
    },
    /// Of the balance of a credit type, in the period that runs.
    Balance {
        /// The credit type.
        credit: CreditType,
    },
}
