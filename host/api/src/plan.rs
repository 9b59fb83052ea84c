//! Plans.

use crate::{
    entitlement::EntitlementValue,
    patch::Patch,
    schema,
    terms::{Terms, TermsInput},
};
use proviso_ledger::model::{
    ids::{Key, Name},
    period::{Interval as LedgerInterval, IntervalUnit},
    time::Timestamp,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// The most features that one plan names.
pub const MAX_FEATURES: usize = 1_000;
/// The most units of one interval.
const MAX_UNITS: u16 = 1_000;

/// What to change of a plan: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Pro",
    "interval": "month",
    "entitlements": { "chat": { "type": "metered" }, "seats": { "type": "static", "value": 25 } },
    "terms": { "policy": "standard", "settings": { "rates": [{ "price": { "per_unit": "0.001" } }] } }
}))]
pub struct PlanInput {
    /// For people; defaults to the plan's own name.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 512)]
    pub name: Patch<String>,
    /// How long its periods are: a unit such as `month`, or a unit and a count; null when they never end by themselves.
    /// It is fixed once the plan exists.
    #[serde(default)]
    #[schema(value_type = Option<IntervalInput>)]
    pub interval: Patch<Interval>,
    /// What its customers are entitled to, by feature; at most 1000. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, EntitlementValue>>)]
    pub entitlements: Patch<BTreeMap<Key, EntitlementValue>>,
    /// The terms that shall be in force: bound now, unless they are in force already. `mode`, `on_fault` and `ends_at` that
    /// are given are applied to terms in force with the same policy version and settings. Null ends the terms in force.
    #[serde(default)]
    #[schema(value_type = Option<TermsInput>)]
    pub terms: Patch<TermsInput>,
}

/// `"month"` or `{"unit": "month", "count": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub LedgerInterval);

/// A unit, or a unit and a count of 1 to 1000.
#[derive(ToSchema)]
#[schema(as = Interval)]
#[serde(untagged)]
pub enum IntervalInput {
    /// One unit: `hour`, `day`, `week`, `month`, `quarter` or `year`.
    #[schema(example = "month")]
    Unit(String),
    /// Several units.
    Units(IntervalUnits),
}

/// Several units.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntervalUnits {
    /// `hour`, `day`, `week`, `month`, `quarter` or `year`.
    #[schema(value_type = String, example = "month")]
    pub unit: IntervalUnit,
    /// How many, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub count: u16,
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Interval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit such as \"month\", or {\"unit\": \"month\", \"count\": 3}")
            }

            fn visit_str<E: Error>(self, unit: &str) -> Result<Interval, E> {
                let unit = IntervalUnit::deserialize(serde::de::value::StrDeserializer::new(unit))?;
                LedgerInterval::new(unit, 1).map(Interval).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Interval, A::Error> {
                let IntervalUnits { unit, count } =
                    IntervalUnits::deserialize(MapAccessDeserializer::new(map))?;
                LedgerInterval::new(unit, count)
                    .map(Interval)
                    .map_err(|_| A::Error::custom(format_args!("count must be 1 to {MAX_UNITS}")))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A plan.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Plan<'a> {
    /// Its name in paths.
    #[schema(value_type = schema::Name)]
    pub plan: Name,
    /// For people.
    pub name: Cow<'a, str>,
    /// How long its periods are; null when they never end by themselves.
    pub interval: Option<IntervalUnits>,
    /// What its customers are entitled to, by feature.
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// The terms in force now.
    pub terms: Option<Terms<'a>>,
    /// The shadows in force now.
    pub shadows: Vec<Terms<'a>>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}
