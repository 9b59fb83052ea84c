//! Budgets: how much may be used in a window of time.

use crate::{
    maps::{Text, is_name},
    patch::{Given, Patch},
    schema,
};
use proviso_ledger::model::{
    amounts::{Decimal, Quantity},
    counter::Window,
    ids::Key,
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The most features that one budget counts.
pub const MAX_FEATURES: usize = 64;
/// The most percentages that one budget reports.
pub const MAX_WARNINGS: usize = 16;
/// The highest percentage.
pub const MAX_PERCENT: u16 = 1_000;
/// The longest rolling window, in hours.
const MAX_HOURS: u16 = 744;

/// When a budget starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetWindow(pub Window);

impl Serialize for BudgetWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Window::Hours(1) => serializer.serialize_str("hour"),
            Window::Hours(hours) => serializer.collect_str(&format_args!("hours:{hours}")),
            Window::Day => serializer.serialize_str("day"),
            Window::Week => serializer.serialize_str("week"),
            Window::Month => serializer.serialize_str("month"),
            Window::Period | Window::Cycle => serializer.serialize_str("period"),
            Window::Lifetime => serializer.serialize_str("lifetime"),
        }
    }
}

impl<'de> Deserialize<'de> for BudgetWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let hours = |text: &str| text.parse().ok().filter(|hours| (1..=MAX_HOURS).contains(hours));
        let window = match &*text {
            "hour" => Some(Window::Hours(1)),
            "day" => Some(Window::Day),
            "week" => Some(Window::Week),
            "month" => Some(Window::Month),
            // A change of plan must not refill it.
            "period" => Some(Window::Cycle),
            "lifetime" => Some(Window::Lifetime),
            text => text.strip_prefix("hours:").and_then(hours).map(Window::Hours),
        };
        window.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "must be hour, day, week, month, period, lifetime, or hours:N with N from 1 to {MAX_HOURS}"
            ))
        })
    }
}

/// How much may be used in a window: zero or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How much.
    pub amount: Decimal,
    /// Whether it was written as a number: of credits that is refused.
    pub is_number: bool,
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let is_number = value.is_number();
        let amount = Quantity::deserialize(value).map_err(D::Error::custom)?;
        if amount.is_negative() || !amount.is_acceptable() {
            return Err(D::Error::custom("must be 0 or more and below 1000000000000000"));
        }
        Ok(Self { amount: amount.decimal(), is_number })
    }
}

/// A percentage of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarningPercent(pub u16);

impl<'de> Deserialize<'de> for WarningPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = u16::deserialize(deserializer)?;
        if (1..=MAX_PERCENT).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(D::Error::custom(format_args!("must be 1 to {MAX_PERCENT}")))
        }
    }
}

/// An attribute with which usage counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeInput {
    /// Its name.
    pub name: AttributeName,
    /// Its value.
    pub value: AttributeText,
}

/// The name of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeName(pub String);

impl<'de> Deserialize<'de> for AttributeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if is_name(&name) {
            Ok(Self(name))
        } else {
            Err(D::Error::custom("must be 1 to 128 characters of A-Z a-z 0-9 _ . : -"))
        }
    }
}

/// The value of an attribute, as usages carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeText(pub String);

impl<'de> Deserialize<'de> for AttributeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self(text.0))
    }
}

/// What to change of a budget: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "entity": "team-a", "window": "month", "limit": "500", "hard": true, "warn_at": [80, 100] }))]
pub struct BudgetInput {
    /// The entity whose usage counts, with that of all below it. Without `entity` and `attribute` all usage of the customer counts.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Patch<Key>,
    /// The attribute, such as the model, with which usage counts. Not together with `entity`.
    #[serde(default)]
    #[schema(value_type = Option<BudgetAttribute>)]
    pub attribute: Patch<AttributeInput>,
    /// Only usage of these features, at most 64; empty means all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Key>>)]
    pub features: Patch<Vec<Key>>,
    /// When it starts again: `hour` (a clock hour of UTC), `day`, `week` (from Monday), `month`, each in the customer's time zone,
    /// `period` (as it is scheduled: a change of plan in the middle goes on counting, a reset on request begins anew), `lifetime`, or
    /// `hours:N`, the running clock hour of UTC and the N - 1 before it. Required for a new budget.
    #[serde(default)]
    #[schema(value_type = String, example = "month")]
    pub window: Given<BudgetWindow>,
    /// How much may be used in a window, zero or more. Required for a new budget.
    #[serde(default)]
    #[schema(value_type = schema::Quantity, example = "500")]
    pub limit: Given<Limit>,
    /// The quantity that is limited; without it, credits are.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "output_tokens")]
    pub quantity: Patch<AttributeName>,
    /// The type of the credits that are limited; defaults to `credits`. Not together with `quantity`.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Patch<Key>,
    /// Whether what would exceed the limit is refused, which is the default; else it is only reported.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub hard: Patch<bool>,
    /// The opposite of `hard`. Not together with it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub soft: Patch<bool>,
    /// The percentages of the limit that an entry reports when they are reached, once in each window: at most 16, from 1 to 1000.
    /// Defaults to 50, 80 and 100.
    #[serde(default)]
    #[schema(value_type = Option<Vec<u64>>)]
    pub warn_at: Patch<Vec<WarningPercent>>,
}

/// An attribute with which usage counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetAttribute {
    /// Its name.
    #[schema(example = "model")]
    pub name: String,
    /// Its value.
    #[schema(example = "large")]
    pub value: String,
}

/// Whose usage a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All of the customer.
    Customer,
    /// That of an entity and of all below it.
    Entity,
    /// That with an attribute.
    Attribute,
}

/// A budget, and what counts toward it in the window of now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Budget<'a> {
    /// Its key.
    #[schema(value_type = schema::Key, example = "team-a-monthly")]
    pub budget: Key,
    /// Whose usage counts.
    pub level: Level,
    /// The entity, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// The attribute, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<BudgetAttribute>,
    /// Only usage of these features; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Cow<'a, [Key]>,
    /// When it starts again.
    #[schema(value_type = String, example = "month")]
    pub window: BudgetWindow,
    /// The quantity that is limited, unless credits are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Cow<'a, str>>,
    /// The type of the credits that are limited, unless a quantity is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// How much may be used in a window.
    #[schema(value_type = schema::Amount)]
    pub limit: Decimal,
    /// Whether what would exceed the limit is refused.
    pub hard: bool,
    /// The percentages that are reported.
    #[schema(value_type = Vec<u64>)]
    pub warn_at: Cow<'a, [u16]>,
    /// How much was used.
    #[schema(value_type = schema::Amount)]
    pub used: Decimal,
    /// How much open reservations hold.
    #[schema(value_type = schema::Amount)]
    pub held: Decimal,
    /// What is left of the limit; zero where more was used.
    #[schema(value_type = schema::Amount)]
    pub remaining: Decimal,
    /// When the window ends by itself; null for one that rolls or never ends.
    #[schema(value_type = Option<schema::Time>)]
    pub resets_at: Option<Timestamp>,
}

/// The budget that does not allow a usage, nearest to the entity first.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OverBudget<'a> {
    /// Of a usage that exceeds a budget: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>, example = "team-a-monthly")]
    pub budget: Option<Key>,
    /// Of a usage that exceeds a budget: whose usage that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Of a usage that exceeds a budget: the entity that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// Of a usage that exceeds a budget: the attribute that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<BudgetAttribute>,
    /// Of a usage that exceeds a budget: when that starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "month")]
    pub window: Option<BudgetWindow>,
    /// Of a usage that exceeds a budget: the quantity that is limited, unless credits are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Cow<'a, str>>,
    /// Of a usage that exceeds a budget: how much may be used in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Amount>)]
    pub limit: Option<Decimal>,
    /// Of a usage that exceeds a budget: how much was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Amount>)]
    pub used: Option<Decimal>,
    /// Of a usage that exceeds a budget: how much open reservations hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Amount>)]
    pub held: Option<Decimal>,
    /// Of a usage that exceeds a budget: what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Amount>)]
    pub remaining: Option<Decimal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_written_as_text() {
        for (text, window) in [
            ("hour", Some(Window::Hours(1))),
            ("hours:24", Some(Window::Hours(24))),
            ("week", Some(Window::Week)),
            ("period", Some(Window::Cycle)),
            ("lifetime", Some(Window::Lifetime)),
            ("hours:0", None),
            ("hours:745", None),
            ("fortnight", None),
        ] {
            let read: Option<BudgetWindow> = serde_json::from_value(text.into()).ok();
            assert_eq!(read.map(|window| window.0), window, "{text}");
            if let Some(window) = read {
                assert_eq!(serde_json::to_value(window).unwrap(), text);
            }
        }
    }

    #[test]
    fn limits_say_whether_they_were_numbers() {
        let read = |text: &str| serde_json::from_str::<Limit>(text).ok();
        assert_eq!(
            read("5").map(|limit| (limit.amount.to_string(), limit.is_number)),
            Some(("5".into(), true))
        );
        assert_eq!(
            read("\"0.5\"").map(|limit| (limit.amount.to_string(), limit.is_number)),
            Some(("0.5".into(), false))
        );
        for wrong in ["-1", "\"-1\"", "1.5", "\"1000000000000000\"", "null"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
