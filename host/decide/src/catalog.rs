//! Plans and their terms, as far as decisions need them.

use crate::selling::{AddOn, Bundle, Promotion};
use proviso_ledger::model::{
    customer::SoldPlan,
    entitlement::Entitlement,
    ids::{Key, Name},
    period::Interval,
    plan_grant::{PlanGrant, PlanTrial},
    terms::Terms,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A plan as one of its versions sells it: the newest, where no other is meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its key.
    pub plan: Name,
    /// For people.
    pub name: String,
    /// Which version this is, counted from 1. Entitlements, grants and trial are what a version sells.
    #[serde(default = "first")]
    pub version: u32,
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
    /// When the plan was first put.
    pub created_at: Timestamp,
    /// When this version was first sold.
    #[serde(default)]
    pub version_created_at: Timestamp,
}

const fn first() -> u32 {
    1
}

impl Plan {
    /// As a customer gets it.
    #[must_use]
    pub fn sold(&self) -> SoldPlan {
        SoldPlan { plan: self.plan.clone(), version: self.version, interval: self.interval }
    }

    /// Whether another version sells the same.
    #[must_use]
    pub fn sells_same(&self, other: &Self) -> bool {
        (&self.entitlements, &self.grants, &self.trial) == (&other.entitlements, &other.grants, &other.trial)
    }
}

/// Of a plan's versions in their order, the one that was sold at an instant; before the first, that.
pub fn sold_at<'a>(versions: impl DoubleEndedIterator<Item = &'a Plan>, at: Timestamp) -> Option<&'a Plan> {
    let mut earliest = None;
    for version in versions.rev() {
        if version.version_created_at <= at {
            return Some(version);
        }
        earliest = Some(version);
    }
    earliest
}

/// The plans as of one revision.
pub trait Plans {
    /// A plan in its newest version.
    fn plan(&self, plan: &Name) -> Option<&Plan>;

    /// A plan as a version sold it. Where plans have no versions, it is the plan.
    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        let _ = version;
        self.plan(plan)
    }

    /// A plan in the version that was sold at an instant; before its first, that. Where plans have no versions, it is the plan.
    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        let _ = at;
        self.plan(plan)
    }

    /// A pack of credits. Where nothing is sold beside plans, there is none.
    fn bundle(&self, bundle: &Name) -> Option<&Bundle> {
        let _ = bundle;
        None
    }

    /// An add-on, likewise.
    fn add_on(&self, add_on: &Name) -> Option<&AddOn> {
        let _ = add_on;
        None
    }

    /// A promotion, likewise.
    fn promotion(&self, promotion: &Name) -> Option<&Promotion> {
        let _ = promotion;
        None
    }

    /// A plan's terms, in the order they were bound.
    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>];
}
