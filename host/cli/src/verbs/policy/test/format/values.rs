//! Values of case files that are written more freely than over the API: times without quotes, intervals by their unit's name.

use crate::verbs::policy::settings::json;
use proviso_ledger::model::{
    period::{Interval, IntervalUnit},
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::fmt;

/// A time, as TOML writes it or as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub Timestamp);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a time such as 2026-01-15T10:00:00Z")]
        enum Form {
            Text(String),
            Native(toml::value::Datetime),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Native(time) => time.to_string(),
        };
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A time, or `"never"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends(pub Option<Timestamp>);

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Never {
            Never,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be \"never\" or a time such as 2026-01-15T10:00:00Z")]
        enum Form {
            Never(Never),
            At(At),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Never(Never::Never) => None,
            Form::At(at) => Some(at.0),
        }))
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => at.fmt(f),
            None => f.write_str("never"),
        }
    }
}

/// The number of the ended period that a usage belongs to, or `"no"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late(pub Option<u32>);

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum No {
            No,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be \"no\" or the number of a period")]
        enum Form {
            No(No),
            Period(u32),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::No(No::No) => None,
            Form::Period(number) => Some(number),
        }))
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("no"),
        }
    }
}

/// `"month"`, `{ unit = "month", count = 3 }` or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalSetup(pub Option<Interval>);

impl<'de> Deserialize<'de> for IntervalSetup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Never {
            None,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "must be \"none\", a unit such as \"month\", or { unit = \"month\", count = 3 }"
        )]
        enum Form {
            Never(Never),
            One(IntervalUnit),
            Several(Interval),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Never(Never::None) => None,
            Form::One(unit) => Some(Interval::new(unit, 1).map_err(D::Error::custom)?),
            Form::Several(interval) => Some(interval),
        }))
    }
}

/// Settings of a policy: TOML as the JSON that it stands for. Times become text.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(pub Value);

impl Default for Settings {
    fn default() -> Self {
        Self(Value::Object(serde_json::Map::new()))
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        json(toml::Value::Table(table)).map(Self).map_err(D::Error::custom)
    }
}

impl Settings {
    /// These, with others laid over them: tables merge, everything else replaces.
    pub fn with(&self, above: &Self) -> Self {
        Self(overlay(&self.0, &above.0))
    }
}

/// The fields of a table as JSON; times become text.
pub fn json_fields<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<serde_json::Map<String, Value>, D::Error> {
    match Settings::deserialize(deserializer)?.0 {
        Value::Object(fields) => Ok(fields),
        _ => Err(D::Error::custom("must be a table")),
    }
}

fn overlay(below: &Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            let mut merged = below.clone();
            for (name, value) in above {
                let value = merged.get(name).map_or_else(|| value.clone(), |below| overlay(below, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        _ => above.clone(),
    }
}
