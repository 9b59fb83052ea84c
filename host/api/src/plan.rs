//! Plans.

use crate::{
    entitlement::EntitlementValue,
    maps::Distinct,
    patch::Patch,
    plan_grant::{PlanGrant, Trial},
    schema,
    terms::{Terms, TermsInput},
};
use proviso_ledger::model::{
    ids::{Key, Name},
    period::{Interval as LedgerInterval, IntervalUnit},
    time::Timestamp,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
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
    "grants": [{ "key": "included", "amount": "1000" }],
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
    /// What those are entitled to who take it from now on, by feature; at most 1000. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, EntitlementValue>>)]
    pub entitlements: Patch<Distinct<Key, EntitlementValue>>,
    /// What it gives those who take it from now on, beside what its policy issues, also where no terms are bound; at most 64, with
    /// those of the trial. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PlanGrant>>)]
    pub grants: Patch<Vec<PlanGrant>>,
    /// Its trial, for customers that take it from now on. Replaced as a whole.
    #[serde(default)]
    #[schema(value_type = Option<Trial>)]
    pub trial: Patch<Trial>,
    /// The terms that shall be in force: bound now, unless they are in force already. `mode`, `on_fault` and `ends_at` that
    /// are given are applied to terms in force with the same policy version and settings. Null ends the terms in force.
    #[serde(default)]
    #[schema(value_type = Option<TermsInput>)]
    pub terms: Patch<TermsInput>,
}

/// `"month"`, `"P3M"` or `{"unit": "month", "count": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub LedgerInterval);

/// A unit, or a count of 1 to 1000 of one unit: as an ISO 8601 duration, or in two fields.
#[derive(ToSchema)]
#[schema(as = Interval)]
#[serde(untagged)]
pub enum IntervalInput {
    /// One unit: `hour`, `day`, `week`, `month`, `quarter` or `year`; or so many: `PT12H`, `P14D`, `P2W`, `P3M`, `P1Y`.
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
                f.write_str("a unit such as \"month\", \"P3M\", or {\"unit\": \"month\", \"count\": 3}")
            }

            fn visit_str<E: Error>(self, unit: &str) -> Result<Interval, E> {
                if unit.starts_with('P') {
                    return duration(unit).map(Interval).ok_or_else(|| {
                        E::custom("must be 1 to 1000 of one unit, such as PT12H, P14D, P2W, P3M or P1Y")
                    });
                }
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

/// An ISO 8601 duration of one unit.
fn duration(text: &str) -> Option<LedgerInterval> {
    let (rest, in_hours) = match (text.strip_prefix("PT"), text.strip_prefix('P')) {
        (Some(rest), _) => (rest, true),
        (None, rest) => (rest?, false),
    };
    let unit = match rest.chars().last()? {
        'H' if in_hours => IntervalUnit::Hour,
        'D' if !in_hours => IntervalUnit::Day,
        'W' if !in_hours => IntervalUnit::Week,
        'M' if !in_hours => IntervalUnit::Month,
        'Y' if !in_hours => IntervalUnit::Year,
        _ => return None,
    };
    let digits = rest.strip_suffix(|_: char| true)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    LedgerInterval::new(unit, digits.parse().ok()?).ok()
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        IntervalUnits { unit: self.0.unit(), count: self.0.count() }.serialize(serializer)
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
    /// Which version of it is sold: 1 for the first, and one more with each change of entitlements, grants or trial. Customers stay on the
    /// version that they were sold until they are migrated; entitlements, grants and trial here are those of this version.
    pub version: u32,
    /// How long its periods are; null when they never end by themselves.
    pub interval: Option<IntervalUnits>,
    /// What its customers are entitled to, by feature.
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// What it gives its customers beside what its policy issues.
    pub grants: Vec<PlanGrant>,
    /// Its trial; null for none.
    pub trial: Option<Trial>,
    /// The terms in force now.
    pub terms: Option<Terms<'a>>,
    /// The shadows in force now.
    pub shadows: Vec<Terms<'a>>,
    /// The canary under way: it decides for its share of the customers, or will.
    #[serde(default)]
    pub canary: Option<Terms<'a>>,
    /// Other terms that take effect later, in the order in which they were bound.
    #[serde(default)]
    pub scheduled: Vec<Terms<'a>>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_unit_or_so_many_of_one() {
        let read =
            |text: &str| serde_json::from_str::<Interval>(text).map(|one| (one.0.unit(), one.0.count()));
        for (text, unit, count) in [
            (r#""month""#, IntervalUnit::Month, 1),
            (r#""P14D""#, IntervalUnit::Day, 14),
            (r#""PT12H""#, IntervalUnit::Hour, 12),
            (r#""P2W""#, IntervalUnit::Week, 2),
            (r#""P3M""#, IntervalUnit::Month, 3),
            (r#""P1000Y""#, IntervalUnit::Year, 1_000),
            (r#"{"unit": "quarter", "count": 2}"#, IntervalUnit::Quarter, 2),
        ] {
            assert_eq!(read(text).unwrap(), (unit, count), "{text}");
        }
        for text in
            ["P", "PT", "P0D", "P1001D", "P1H", "PT1D", "P1M1D", "P-1D", "P+1D", "P1d", "P1é", "14D", ""]
        {
            assert!(read(&format!("{text:?}")).is_err(), "{text}");
        }
    }
}
