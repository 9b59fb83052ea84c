//! Plans and their terms, as far as decisions need them.

use proviso_ledger::model::{
    entitlement::Entitlement,
    ids::{Key, Name},
    period::Interval,
    plan_grant::{PlanGrant, PlanTrial},
    terms::Terms,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its key.
    pub plan: Name,
    /// For people.
    pub name: String,
    /// How long its periods are; none when they never end by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What its customers are entitled to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entitlements: BTreeMap<Key, Entitlement>,
    /// What it gives its customers, whatever its policy does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<PlanGrant>,
    /// Its trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<PlanTrial>,
    /// When it was first put.
    pub created_at: Timestamp,
}

/// The plans as of one revision.
pub trait Plans {
    /// A plan.
    fn plan(&self, plan: &Name) -> Option<&Plan>;

    /// A plan's terms, in the order they were bound.
    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>];
}
