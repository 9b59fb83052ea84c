//! What a plan itself gives: grants with each period or once, and a trial.

use crate::{
    grant::MAX_FEATURES,
    patch::{null_is_credits, null_is_default},
    plan::{Interval, IntervalInput},
    problem::FieldError,
    schema,
};
use proviso_ledger::model::{
    amounts::{Credits, Money},
    grant::{Category, default_credit},
    ids::{Key, Name},
    plan_grant::{
        PlanExpiry, PlanGrant as OwnGrant, PlanTrial, Recurrence as OwnRecurrence, TrialEnd as OwnTrialEnd,
    },
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{collections::BTreeSet, fmt};
use utoipa::ToSchema;

/// The most grants that one plan gives, those of its trial among them.
pub const MAX_GRANTS: usize = 64;

/// How often a plan gives a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recurrence {
    /// With each period.
    #[default]
    Period,
    /// Once for each customer, when it takes the plan.
    Once,
}

/// A grant that the plan gives beside what its policy issues. One of each period is an allowance: changes of plan never give it twice
/// in a cycle. A one-time grant is given when a customer takes the plan, and never again under the same key, whichever plan has it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key": "included", "amount": "1000", "recurrence": "period" }))]
pub struct PlanGrant {
    /// What it is known by in all plans. The metadata of the grants that it gives names it: `plan_grant`.
    #[schema(value_type = schema::Key, example = "included")]
    pub key: Key,
    /// How many credits, above zero.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default = "default_credit", deserialize_with = "null_is_credits")]
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// Why it exists: `plan`, `trial`, `prepaid`, `promotional`, `top_up`, `contract`, `rollover` or `adjustment`; defaults to
    /// `plan` for one of each period, to `promotional` for a one-time grant.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "plan")]
    pub category: Option<Category>,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default")]
    pub priority: i32,
    /// The features that may draw on it, at most 64; empty means all.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Vec<Key>,
    /// What the customer pays for it. Of one that is reduced, its share.
    #[serde(default)]
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
    /// How often it is given; defaults to `period`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub recurrence: Recurrence,
    /// When what is left of it expires; defaults to `with_period` for one of each period, to `never` for a one-time grant.
    #[serde(default)]
    #[schema(value_type = Option<ExpiresSchema>)]
    pub expires: Option<Expires>,
}

/// When what is left of a plan's grant expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expires(pub PlanExpiry);

/// `"never"`, `"with_period"`, `{"with_period": 1}` or `{"after": "P30D"}`.
#[derive(ToSchema)]
#[schema(as = PlanGrantExpiry)]
#[serde(untagged)]
pub enum ExpiresSchema {
    /// `never`, or `with_period`: with the end of the period in which it is given.
    #[schema(example = "with_period")]
    Word(String),
    /// With another period, or after a time.
    Other(ExpiresOther),
}

/// With another period, or after a time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpiresOther {
    /// With the end of which period: 0 is the one in which it is given, 1 the one after, and so on.
    WithPeriod(u32),
    /// So long after it is given.
    #[schema(value_type = IntervalInput)]
    After(Interval),
}

impl From<ExpiresOther> for Expires {
    fn from(other: ExpiresOther) -> Self {
        Self(match other {
            ExpiresOther::WithPeriod(n) => PlanExpiry::WithPeriod(n),
            ExpiresOther::After(interval) => PlanExpiry::After(interval.0),
        })
    }
}

const NEVER: &str = "never";
const WITH_PERIOD: &str = "with_period";

impl Serialize for Expires {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PlanExpiry::Never => serializer.serialize_str(NEVER),
            PlanExpiry::WithPeriod(0) => serializer.serialize_str(WITH_PERIOD),
            PlanExpiry::WithPeriod(n) => ExpiresOther::WithPeriod(n).serialize(serializer),
            PlanExpiry::After(interval) => ExpiresOther::After(Interval(interval)).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Expires {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Expires;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`never`, `with_period`, {\"with_period\": 1} or {\"after\": \"P30D\"}")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Expires, E> {
                match word {
                    NEVER => Ok(Expires(PlanExpiry::Never)),
                    WITH_PERIOD => Ok(Expires(PlanExpiry::WithPeriod(0))),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expires, A::Error> {
                ExpiresOther::deserialize(MapAccessDeserializer::new(map)).map(Expires::from)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A trial of the plan: a customer that takes the plan has it once. It gives credits until its end, on top of what the plan gives. A
/// customer that leaves the plan and takes it again before that end goes on with the same trial; taking a plan again whose trial
/// ended by moving the customer on is refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "duration": "P14D", "grants": [{ "key": "try", "amount": "200" }], "then": { "plan": "pro" } }))]
pub struct Trial {
    /// How long it lasts, in the customer's zone.
    #[schema(value_type = IntervalInput)]
    pub duration: Interval,
    /// What it gives, of category `trial`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub grants: Vec<TrialGrant>,
    /// What its end does.
    #[schema(value_type = TrialEndSchema)]
    pub then: TrialEnd,
}

/// Credits that a trial gives until its end.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialGrant {
    /// What it is known by in this plan.
    #[schema(value_type = schema::Key, example = "try")]
    pub key: Key,
    /// How many credits, above zero.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default = "default_credit", deserialize_with = "null_is_credits")]
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default")]
    pub priority: i32,
    /// The features that may draw on it, at most 64; empty means all.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Vec<Key>,
}

/// What the end of a trial does: `"stay"`, `"end"` or `{"plan": "pro"}`.
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

/// `"stay"`, `"end"` (the plan is taken away) or `{"plan": "pro"}` (the customer changes to that plan).
#[derive(ToSchema)]
#[schema(as = TrialEnd)]
#[serde(untagged)]
pub enum TrialEndSchema {
    /// `stay` or `end`.
    #[schema(example = "end")]
    Word(String),
    /// The next plan.
    Next(NextPlan),
}

/// The plan to which the end of a trial changes.
#[derive(ToSchema)]
#[allow(dead_code)] // It only stands for the variant in the document.
pub struct NextPlan {
    /// Another plan, which must exist.
    #[schema(value_type = schema::Name)]
    plan: Name,
}

/// The grants of a plan, checked each for itself and against the others.
///
/// # Errors
/// The first that is wrong, by its JSON pointer below `place`.
pub fn read_grants(grants: Vec<PlanGrant>, place: &str) -> Result<Vec<OwnGrant>, FieldError> {
    let grants: Vec<OwnGrant> = grants.into_iter().map(OwnGrant::from).collect();
    check(&grants, place)?;
    Ok(grants)
}

/// The trial of a plan, checked.
///
/// # Errors
/// The first that is wrong, by its JSON pointer below `place`.
pub fn read_trial(trial: Trial, place: &str) -> Result<PlanTrial, FieldError> {
    let Trial { duration, grants, then } = trial;
    let grants: Vec<OwnGrant> = grants.into_iter().map(OwnGrant::from).collect();
    check(&grants, &format!("{place}/grants"))?;
    let then = match then {
        TrialEnd::Stay => OwnTrialEnd::Stay,
        TrialEnd::End => OwnTrialEnd::End,
        TrialEnd::Plan(plan) => OwnTrialEnd::Plan(plan),
    };
    Ok(PlanTrial { duration: duration.0, grants, then })
}

fn check(grants: &[OwnGrant], place: &str) -> Result<(), FieldError> {
    if grants.len() > MAX_GRANTS {
        return Err(FieldError::new(place, format!("more than {MAX_GRANTS} grants")));
    }
    let mut keys = BTreeSet::new();
    for (n, grant) in grants.iter().enumerate() {
        let wrong =
            |field: &str, detail: String| Err(FieldError::new(format!("{place}/{n}/{field}"), detail));
        if !keys.insert(&grant.key) {
            return wrong("key", format!("{} names another grant, too", grant.key));
        }
        if !grant.amount.is_positive() || !grant.amount.is_acceptable() {
            return wrong("amount", format!("must be above 0 and at most {}", Credits::LARGEST));
        }
        if grant.features.len() > MAX_FEATURES {
            return wrong("features", format!("more than {MAX_FEATURES} features"));
        }
    }
    Ok(())
}

impl From<PlanGrant> for OwnGrant {
    fn from(grant: PlanGrant) -> Self {
        let PlanGrant { key, amount, credit, category, priority, features, cost_basis, recurrence, expires } =
            grant;
        let (recurrence, ends, why) = match recurrence {
            Recurrence::Period => (OwnRecurrence::Period, PlanExpiry::WithPeriod(0), Category::Plan),
            Recurrence::Once => (OwnRecurrence::Once, PlanExpiry::Never, Category::Promotional),
        };
        let (expires, category) = (expires.map_or(ends, |expires| expires.0), category.unwrap_or(why));
        Self { key, amount, credit, category, priority, features, cost_basis, recurrence, expires }
    }
}

impl From<TrialGrant> for OwnGrant {
    fn from(grant: TrialGrant) -> Self {
        let TrialGrant { key, amount, credit, priority, features } = grant;
        Self {
            key,
            amount,
            credit,
            category: Category::Trial,
            priority,
            features,
            cost_basis: None,
            recurrence: OwnRecurrence::Trial,
            // With the trial.
            expires: PlanExpiry::Never,
        }
    }
}

impl From<&OwnGrant> for PlanGrant {
    fn from(grant: &OwnGrant) -> Self {
        let OwnGrant { key, amount, credit, category, priority, features, cost_basis, recurrence, expires } =
            grant.clone();
        let recurrence = match recurrence {
            OwnRecurrence::Once => Recurrence::Once,
            OwnRecurrence::Period | OwnRecurrence::Trial => Recurrence::Period,
        };
        let (expires, category) = (Some(Expires(expires)), Some(category));
        Self { key, amount, credit, category, priority, features, cost_basis, recurrence, expires }
    }
}

impl From<&PlanTrial> for Trial {
    fn from(trial: &PlanTrial) -> Self {
        let grant = |grant: &OwnGrant| TrialGrant {
            key: grant.key.clone(),
            amount: grant.amount,
            credit: grant.credit.clone(),
            priority: grant.priority,
            features: grant.features.clone(),
        };
        Self {
            duration: Interval(trial.duration),
            grants: trial.grants.iter().map(grant).collect(),
            then: match &trial.then {
                OwnTrialEnd::Stay => TrialEnd::Stay,
                OwnTrialEnd::End => TrialEnd::End,
                OwnTrialEnd::Plan(plan) => TrialEnd::Plan(plan.clone()),
            },
        }
    }
}
