//! Entitlements: what a customer may use, from the plan or from an override of the customer, and which of them said so.

use super::{ids::Key, time::Timestamp};
use serde::{Deserialize, Serialize};

/// What a feature is entitled to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entitlement {
    /// On or off.
    Boolean {
        /// Whether it is on.
        value: bool,
    },
    /// A fixed value for the product to read, such as a number of seats or a tier's name.
    Static {
        /// The value.
        value: serde_json::Value,
    },
    /// Usage that is charged in credits; access lasts as long as a charge would be allowed.
    Metered {},
}

/// A customer's exception from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The feature it is for.
    pub feature: Key,
    /// What it says.
    pub entitlement: Entitlement,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl Override {
    /// Whether `at` lies in `starts_at..ends_at`.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.starts_at <= at && self.ends_at.is_none_or(|end| at < end)
    }
}

/// Which source gave an entitlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The customer's override.
    Override,
    /// The customer's plan.
    Plan,
    /// Neither.
    None,
}

/// The one evaluation: the override that covers `at` and started last wins over the plan's entry.
pub fn evaluate<'a>(
    feature: &Key,
    at: Timestamp,
    overrides: &'a [Override],
    plan: Option<&'a Entitlement>,
) -> (Source, Option<&'a Entitlement>) {
    // Overrides stand in the order they were set; the last of equal starts is the newest.
    let exception = overrides
        .iter()
        .filter(|one| &one.feature == feature && one.covers(at))
        .max_by_key(|one| one.starts_at);
    match (exception, plan) {
        (Some(exception), _) => (Source::Override, Some(&exception.entitlement)),
        (None, Some(entitlement)) => (Source::Plan, Some(entitlement)),
        (None, None) => (Source::None, None),
    }
}
