//! The change of plan that a customer awaits. There is one at most: whoever changes the plan, now or later, has the last word.

use super::CustomerState;
use crate::{
    journal::PlanChangeTime,
    model::{
        answers::Allowance,
        ids::{Name, PlanChangeId},
        period::Interval,
        time::Timestamp,
    },
};
use serde::{Deserialize, Serialize};

/// A change of plan that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPlanChange {
    /// The entry that put it off made its id.
    pub id: PlanChangeId,
    /// The new plan; none takes the plan away.
    pub plan: Option<Name>,
    /// The version of the new plan, as it was when the change was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
    /// The new plan's interval.
    pub interval: Option<Interval>,
    /// When it takes effect.
    pub when: PlanChangeTime,
    /// How the new plan's allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
}

/// A period that is about to begin, after a pending change of plan took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// When it begins.
    pub at: Timestamp,
    /// What the change asked for.
    pub allowance: Allowance,
    /// Whether only the version of the plan is another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_plan: bool,
}

impl CustomerState {
    /// When the pending change of plan takes effect, as anchor and zone are now.
    #[must_use]
    pub fn plan_change_at(&self) -> Option<Timestamp> {
        match self.plan_change.as_ref()?.when {
            PlanChangeTime::At(at) => Some(at),
            PlanChangeTime::PeriodEnd => match &self.period {
                Some(period) => period.end,
                // It has just ended.
                None => self.past.last().and_then(|past| past.period.end),
            },
        }
    }
}
