//! Changes of a customer's plan.

use crate::{
    balance::Balance,
    grant::Grant,
    patch::{Patch, null_is_default},
    period::{Period, PeriodStart, Settled},
    schema,
};
use proviso_ledger::{
    journal::CloseReason,
    model::{
        amounts::Credits,
        answers::{Allowance, FeeMethod},
        ids::{GrantId, Key, Name, PlanChangeId},
        time::Timestamp,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::borrow::Cow;
use utoipa::ToSchema;

/// A change of a customer's plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "plan": "pro", "when": "period_end" }))]
pub struct PlanChangeInput {
    /// The new plan; null takes the plan away.
    #[serde(default)]
    #[schema(value_type = Option<schema::Name>, required)]
    pub plan: Patch<Name>,
    /// Its version; defaults to the newest. With the customer's own plan, another version of it.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub plan_version: Option<u32>,
    /// When it takes effect: `now` (the default), `period_end`, or an instant that lies ahead.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<String>, example = "period_end")]
    pub when: When,
    /// What of the new plan's allowance is given, where the terms say nothing else: `carry` (the default) gives what exceeds what
    /// was given in the cycle, `prorate` the rest of the cycle in proportion, `full` all of it.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<String>, example = "carry")]
    pub allowance: Allowance,
    /// Whether to only say what the change would do. Nothing is written then, and no `Idempotency-Key` is needed.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Option<bool>)]
    pub dry_run: bool,
}

/// When a change of plan takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// Now.
    #[default]
    Now,
    /// At the end of the running period, wherever anchor and zone move that.
    PeriodEnd,
    /// At an instant.
    At(Timestamp),
}

const NOW: &str = "now";
const PERIOD_END: &str = "period_end";

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        match &*text {
            NOW => Ok(Self::Now),
            PERIOD_END => Ok(Self::PeriodEnd),
            time => time
                .parse()
                .map(Self::At)
                .map_err(|_| D::Error::custom("must be `now`, `period_end` or an RFC 3339 time")),
        }
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Now => serializer.serialize_str(NOW),
            Self::PeriodEnd => serializer.serialize_str(PERIOD_END),
            Self::At(time) => serializer.collect_str(time),
        }
    }
}

/// What became of a change of plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanChangeStatus {
    /// It is to come.
    Pending,
    /// It took effect.
    Done,
    /// It was only asked what it would do.
    Preview,
}

/// A change of plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanChange<'a> {
    /// Its id while it is pending; null when it took effect at once or is only a preview.
    #[schema(value_type = Option<schema::Id>, example = "change_12")]
    pub id: Option<PlanChangeId>,
    /// What became of it.
    pub status: PlanChangeStatus,
    /// The new plan; null for none.
    #[schema(value_type = Option<schema::Name>)]
    pub plan: Option<Name>,
    /// The version of it that the customer gets; null for none.
    pub plan_version: Option<u32>,
    /// `now`, `period_end` or an instant.
    #[schema(value_type = String, example = "period_end")]
    pub when: When,
    /// The instant at which it takes effect, as anchor and zone are.
    #[schema(value_type = schema::Time)]
    pub effective_at: Timestamp,
    /// What of the new plan's allowance is given.
    #[schema(value_type = String, example = "carry")]
    pub allowance: Allowance,
    /// What ends; null while it is pending, and where no period ran.
    pub closed: Option<PlanChangeClose<'a>>,
    /// What begins; null while it is pending, and where no period begins.
    pub opened: Option<PeriodStart<'a>>,
}

/// The end of a period by a change of plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanChangeClose<'a> {
    /// Why it ends.
    #[schema(value_type = String, example = "plan_changed")]
    pub reason: CloseReason,
    /// The period.
    pub period: Period,
    /// Grants that carry credits over.
    pub rolled_over: Vec<Grant<'a>>,
    /// What expires of which grant.
    pub expired: Vec<Expired>,
    /// Costs that the end brings.
    pub fees: Vec<Fee<'a>>,
    /// Overage that is taken off.
    pub settled: Vec<Settled>,
    /// What the policy notes about it, for people.
    pub notes: Cow<'a, [String]>,
    /// The balance afterwards, before the next period begins.
    pub balance: Balance,
    /// Whether a fault put other terms, or none, in the place of those in force.
    pub degraded: bool,
}

/// What expires of a grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Expired {
    /// The grant.
    #[schema(value_type = schema::Id)]
    pub grant: GrantId,
    /// Its credit type.
    #[schema(value_type = schema::Key)]
    pub credit: Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

/// A cost that the end of a period brings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fee<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key)]
    pub credit: Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// `drawn` from grants, or `invoiced`.
    #[schema(value_type = String, example = "drawn")]
    pub method: FeeMethod,
    /// What it is for.
    pub label: Cow<'a, str>,
}
