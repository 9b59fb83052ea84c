//! The entity of an event, as far as it can be read. A usage was made whether or not its attribution is valid, so an invalid
//! one is repaired where that is clear, else left out; either way with a warning.

use proviso_api::decision::Warning;
use proviso_ledger::model::ids::Key;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// How much of an invalid entity a warning repeats, in characters.
const MAX_ECHO: usize = 64;

/// An entity, or what is wrong with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Attribution {
    /// Null or absent.
    #[default]
    Absent,
    /// Valid as it was sent.
    Valid(Key),
    /// Valid after a repair.
    Repaired(Key, String),
    /// Not usable.
    Dropped(String),
}

impl Attribution {
    /// The entity; what was done about an invalid one goes to `warnings`.
    pub fn key(self, pointer: &str, warnings: &mut Vec<Warning>) -> Option<Key> {
        let mut warn = |detail| warnings.push(Warning { pointer: pointer.to_owned(), detail });
        match self {
            Self::Absent => None,
            Self::Valid(key) => Some(key),
            Self::Repaired(key, detail) => {
                warn(detail);
                Some(key)
            }
            Self::Dropped(detail) => {
                warn(detail);
                None
            }
        }
    }

    fn of_text(text: &str) -> Self {
        if let Ok(key) = text.parse() {
            return Self::Valid(key);
        }
        let printable: String = text.chars().filter(|one| !one.is_control()).collect();
        let trimmed = printable.trim();
        let mut end = trimmed.len().min(Key::MAX_BYTES);
        while !trimmed.is_char_boundary(end) {
            end -= 1;
        }
        let repaired = trimmed.get(..end).unwrap_or_default().trim_end();
        match repaired.parse() {
            Ok(key) => Self::Repaired(key, format!("{} was taken as {}", echo(text), echo(repaired))),
            Err(error) => Self::Dropped(format!("{} was left out: an entity {error}", echo(text))),
        }
    }
}

fn echo(text: &str) -> String {
    let short: String = text.chars().take(MAX_ECHO).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

impl<'de> Deserialize<'de> for Attribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl Read {
    /// A number or a truth value: users' ids are often numbers.
    fn bare(value: impl fmt::Display) -> Attribution {
        match value.to_string().parse() {
            Ok(key) => Attribution::Repaired(key, format!("{value} was taken as \"{value}\"")),
            Err(error) => Attribution::Dropped(format!("{value} was left out: an entity {error}")),
        }
    }
}

impl<'de> Visitor<'de> for Read {
    type Value = Attribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_unit<E: Error>(self) -> Result<Attribution, E> {
        Ok(Attribution::Absent)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Attribution, E> {
        Ok(Attribution::of_text(text))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Attribution, E> {
        Ok(Self::bare(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Attribution, E> {
        Ok(Self::bare(value))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Attribution, E> {
        Ok(Self::bare(value))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Attribution, E> {
        Ok(Attribution::Dropped("a number with a fraction was left out: an entity is a text".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Attribution, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Attribution::Dropped("an array was left out: an entity is a text".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Attribution, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Attribution::Dropped("an object was left out: an entity is a text".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_taken_repaired_or_left_out() {
        let long = format!("\"{}é\"", "x".repeat(255));
        for (json, key, warned) in [
            ("null", None, false),
            ("\"ann@example.com\"", Some("ann@example.com"), false),
            ("\"Zoë\"", Some("Zoë"), false),
            ("\" ann\\n\"", Some("ann"), true),
            ("\"a\\u0000b\"", Some("ab"), true),
            (long.as_str(), Some(&*"x".repeat(255)), true),
            ("42", Some("42"), true),
            ("-7", Some("-7"), true),
            ("true", Some("true"), true),
            ("\"\"", None, true),
            ("\" \"", None, true),
            ("1.5", None, true),
            ("[1, {}]", None, true),
            ("{\"id\": 1}", None, true),
        ] {
            let mut warnings = Vec::new();
            let read: Attribution = serde_json::from_str(json).unwrap();
            let found = read.key("/data/entity", &mut warnings);
            assert_eq!((found.as_ref().map(Key::as_str), !warnings.is_empty()), (key, warned), "{json}");
        }
    }
}
