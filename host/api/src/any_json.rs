//! JSON that someone else defines: settings of policies and values of entitlements. It is kept and handed out inside
//! other JSON (entries, audit records, answers), which is read by a parser that goes 128 deep. So what comes in is
//! bounded, and what was accepted can always be read again. Duplicate keys are refused, since readers differ in
//! which of the two they see.

use crate::patch::Given;
use proviso_ledger::model::json::MAX_DEPTH;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A value, for `deserialize_with`.
///
/// # Errors
/// More than [`MAX_DEPTH`] arrays and objects in one another; an object with a duplicate key.
pub fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Nested { depth: 0 }.deserialize(deserializer)
}

/// A value that may be absent, for `deserialize_with` beside `default`; null is absent, too.
///
/// # Errors
/// As [`value`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    value(deserializer).map(|value| Some(value).filter(|value| !value.is_null()))
}

/// A value of a PUT that can't be cleared, for `deserialize_with` beside `default`.
///
/// # Errors
/// As [`value`]; null.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<Value>, D::Error> {
    Given::read(option(deserializer)?)
}

/// Reads a value that stands in so many arrays and objects.
#[derive(Clone, Copy)]
struct Nested {
    depth: usize,
}

impl Nested {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("more than {MAX_DEPTH} arrays and objects in one another")));
        }
        Ok(Self { depth: self.depth.saturating_add(1) })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is a duplicate key")));
            }
            object.insert(name, fields.next_value_seed(inside)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        value(&mut serde_json::Deserializer::from_str(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "true",
            "-5",
            "18446744073709551615",
            "1e300",
            "0.1",
            r#""a\u0000é""#,
            r#"{"a": [1, {"b": null}, []], "c": {}}"#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_or_has_a_key_twice_is_refused() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for text in [nested(MAX_DEPTH), objects(MAX_DEPTH)] {
            read(&text).unwrap();
        }
        for text in [nested(MAX_DEPTH + 1), objects(MAX_DEPTH + 1), nested(100_000)] {
            assert!(read(&text).unwrap_err().starts_with("more than 64 arrays and objects in one another"));
        }
        let twice = read(r#"{"a": {"b": 1, "b": 2}}"#).unwrap_err();
        assert!(twice.starts_with(r#""b" is a duplicate key"#), "{twice}");
    }
}
