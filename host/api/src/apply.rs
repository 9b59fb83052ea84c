//! Plans, their terms and policies as they shall be, all at once.

use crate::{
    entitlement::EntitlementValue,
    maps::distinct,
    patch::null_is_default,
    plan::{Interval, IntervalInput},
    plan_grant::{PlanGrant, Trial},
    policy::PolicyInput,
    schema,
    terms::TermsInput,
};
use proviso_ledger::model::ids::{Key, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// The most plans, and the most policies, of one request.
pub const MAX_THINGS: usize = 1_000;
/// The most terms of one plan in a request.
pub const MAX_TERMS: usize = 64;

/// What shall be. What is not named stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "dry_run": true,
    "plans": { "pro": {
        "name": "Pro",
        "interval": "month",
        "entitlements": { "chat": { "type": "metered" } },
        "terms": [{ "policy": "standard", "version": 1,
                    "settings": { "rates": [{ "price": { "per_unit": "0.001" } }] } }]
    } }
}))]
pub struct ApplyInput {
    /// What is said of policies, by name; at most 1000. Their modules are uploaded before.
    #[serde(default, deserialize_with = "distinct")]
    #[schema(value_type = BTreeMap<String, PolicyInput>)]
    pub policies: BTreeMap<Name, PolicyInput>,
    /// Plans by name; at most 1000.
    #[serde(default, deserialize_with = "distinct")]
    #[schema(value_type = BTreeMap<String, PlanDefinition>)]
    pub plans: BTreeMap<Name, PlanDefinition>,
    /// Whether the terms of plans that are not named end, and those of plans that are named without any.
    #[serde(default, deserialize_with = "null_is_default")]
    pub prune: bool,
    /// Whether to say only what would change. Nothing is stored then, and the idempotency key is not looked at.
    #[serde(default, deserialize_with = "null_is_default")]
    pub dry_run: bool,
}

/// The whole of a plan: a field that is absent is what it defaults to, and not what the plan has.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanDefinition {
    /// For people; defaults to the plan's own name.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub name: Option<String>,
    /// How long its periods are: a unit such as `month`, or a unit and a count; absent when they never end by themselves. It is fixed
    /// once the plan exists.
    #[serde(default)]
    #[schema(value_type = Option<IntervalInput>)]
    pub interval: Option<Interval>,
    /// What those are entitled to who take it from now on, by feature; at most 1000.
    #[serde(default, deserialize_with = "distinct")]
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// What it gives those who take it from now on, beside what its policy issues; at most 64, with those of the trial.
    #[serde(default, deserialize_with = "null_is_default")]
    pub grants: Vec<PlanGrant>,
    /// Its trial, for customers that take it from now on.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// All terms that decide from now on, at most 64; absent leaves those that the plan has. Of the active ones that have begun, the
    /// last is to be in force; later ones are to be scheduled; shadows, and at most one canary, are to be under way. Others that could
    /// still decide are ended.
    #[serde(default)]
    pub terms: Option<Vec<TermsInput>>,
}

/// What was changed, or would be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplyReport<'a> {
    /// Whether it was changed; false for a dry run.
    pub applied: bool,
    /// A digest of the changes, which is the `ETag`, too: with `If-Match`, exactly these changes are made, or none.
    #[schema(example = "6c3e226b4d4795d518ab341b0824ec29")]
    pub digest: Cow<'a, str>,
    /// The changes in their order, as the audit records them.
    pub changes: Vec<ApplyChange<'a>>,
    /// How many plans, lists of terms and policies of the request are as they shall be.
    pub unchanged: u64,
    /// What is not done, and why.
    pub remarks: Vec<ApplyRemark<'a>>,
}

/// One change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplyChange<'a> {
    /// What kind of change: one of those of the audit.
    #[schema(example = "terms_bound")]
    pub r#type: Cow<'a, str>,
    /// What is changed.
    #[schema(example = "plan/pro/terms_2")]
    pub subject: Cow<'a, str>,
    /// What asks for it, as a JSON pointer into the request; null for what the request does not name.
    #[schema(example = "/plans/pro/terms/0")]
    pub pointer: Option<Cow<'a, str>>,
    /// What was there before; null for what is new. Of a thing that stays, only what changes.
    #[schema(value_type = Option<schema::AnyObject>)]
    pub before: Option<Cow<'a, Value>>,
    /// What is there afterwards. Of a thing that stays, only what changes.
    #[schema(value_type = Option<schema::AnyObject>)]
    pub after: Option<Cow<'a, Value>>,
    /// Of terms that are bound to a plan: those that decide for its customers now; null where none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::AnyObject>)]
    pub replaces: Option<Cow<'a, Value>>,
}

/// What is not done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplyRemark<'a> {
    /// About what.
    #[schema(example = "plan/pro/terms_2")]
    pub subject: Cow<'a, str>,
    /// Where in the request, as a JSON pointer.
    #[schema(example = "/plans/pro/terms/1")]
    pub pointer: Cow<'a, str>,
    /// Why, and what can be done.
    pub detail: Cow<'a, str>,
}
