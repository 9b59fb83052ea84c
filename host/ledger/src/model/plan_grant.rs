//! What a plan itself gives, whatever its policy does.

use super::{
    grant::{Category, CreditType},
    ids::{Key, Name},
    period::Interval,
    time::{Timestamp, Zone},
    view::Expiry,
};
use proviso_amounts::{Credits, Money};
use serde::{Deserialize, Serialize};

/// A grant that a plan gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanGrant {
    /// What it is known by, in all plans: a customer gets a one-time grant of one key once.
    pub key: Key,
    /// How many credits, above zero.
    pub amount: Credits,
    /// The credit type.
    pub credit: CreditType,
    /// The category.
    pub category: Category,
    /// A lower number is drawn first.
    #[serde(default)]
    pub priority: i32,
    /// The features that may draw on it; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// What the customer pays for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_basis: Option<Money>,
    /// How often it is given; a trial's only with the trial.
    #[serde(default)]
    pub recurrence: Recurrence,
    /// When what is left of it expires; that of a trial at the trial's end.
    pub expires: PlanExpiry,
}

/// When what is left of a plan's grant expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanExpiry {
    /// Never.
    Never,
    /// With a period: 0 is the one in which it is given, 1 the one after.
    WithPeriod(u32),
    /// So long after it is given, in the customer's zone.
    After(Interval),
}

impl PlanExpiry {
    /// Of a grant that is given at an instant.
    #[must_use]
    pub fn of(self, at: Timestamp, zone: &Zone) -> Expiry {
        match self {
            Self::Never => Expiry::default(),
            Self::WithPeriod(n) => Expiry { at: None, with_period: Some(n) },
            // Beyond the calendar's end is never.
            Self::After(interval) => Expiry { at: interval.after(at, zone), with_period: None },
        }
    }
}

/// The trial of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTrial {
    /// How long it lasts, in the customer's zone.
    pub duration: Interval,
    /// What it gives until its end.
    pub grants: Vec<PlanGrant>,
    /// What happens then.
    pub then: TrialEnd,
}

/// What the end of a trial does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialEnd {
    /// The customer stays on the plan.
    Stay,
    /// The plan is taken away.
    End,
    /// The customer changes to this plan.
    Plan(Name),
}

/// How often a plan gives one of its grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recurrence {
    /// Once in a cycle, as an allowance.
    #[default]
    Period,
    /// Once for each customer, when it takes the plan: noted by its key, beside all allowances.
    Once,
    /// Once for each trial, until its end.
    Trial,
}
