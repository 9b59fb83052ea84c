//! Entitlements: what a customer may use, from the plan or from an override of the customer, and which of them said so.

use super::{add_on::Attachment, ids::Key, time::Timestamp};
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
    /// An add-on of the customer.
    AddOn,
    /// Neither.
    None,
}

/// The one evaluation: the override that covers `at` and started last wins. Then an add-on wins over the plan's entry, and the one
/// that started last over other add-ons; but what switches a feature off takes nothing away from what another gives. `add_ons` are
/// those that the customer has at `at`.
pub fn evaluate<'a>(
    feature: &Key,
    at: Timestamp,
    overrides: &'a [Override],
    add_ons: impl Iterator<Item = &'a Attachment>,
    plan: Option<&'a Entitlement>,
) -> (Source, Option<&'a Entitlement>) {
    // Overrides stand in the order they were set; the last of equal starts is the newest.
    let exception = overrides
        .iter()
        .filter(|one| &one.feature == feature && one.covers(at))
        .max_by_key(|one| one.starts_at);
    if let Some(exception) = exception {
        return (Source::Override, Some(&exception.entitlement));
    }
    let own = add_ons.filter_map(|one| Some((one.starts_at, one.sold.entitlements.get(feature)?)));
    let add_on = own.max_by_key(|(starts_at, entitlement)| (gives(entitlement), *starts_at));
    match (add_on.map(|(_, entitlement)| entitlement), plan) {
        (Some(entitlement), None) => (Source::AddOn, Some(entitlement)),
        (Some(entitlement), Some(_)) if gives(entitlement) => (Source::AddOn, Some(entitlement)),
        (_, Some(entitlement)) => (Source::Plan, Some(entitlement)),
        (None, None) => (Source::None, None),
    }
}

/// Whether it does anything but switch off.
const fn gives(entitlement: &Entitlement) -> bool {
    !matches!(entitlement, Entitlement::Boolean { value: false })
}
