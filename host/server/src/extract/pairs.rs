//! The small maps of a usage: quantities and attributes. Names and sizes are checked as they are read, so that a problem
//! points at the entry.

use proviso_ledger::model::{amounts::Quantity, pairs};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor},
};
use std::{fmt, marker::PhantomData};

/// The most entries of one map.
pub const MOST: usize = 64;
/// The longest name.
const LONGEST_NAME: usize = 128;
/// The longest text of an attribute, in bytes.
const LONGEST_TEXT: usize = 512;

/// How much of what, sorted by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Quantities(pub Vec<(String, Quantity)>);

/// What else is known, sorted by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Attributes(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Quantities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Pairs::<Amount>(PhantomData))?;
        Ok(Self(pairs.into_iter().map(|(name, amount)| (name, amount.0)).collect()))
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Pairs::<Text>(PhantomData))?;
        Ok(Self(pairs.into_iter().map(|(name, text)| (name, text.0)).collect()))
    }
}

struct Pairs<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::with_capacity(4);
        while let Some(name) = map.next_key::<Name>()? {
            if pairs.len() == MOST {
                return Err(A::Error::custom(format_args!("more than {MOST} entries")));
            }
            pairs.push((name.0, map.next_value()?));
        }
        pairs::sort(&mut pairs)
            .map_err(|name| A::Error::custom(format_args!("{name:?} stands there twice")))?;
        Ok(pairs)
    }
}

/// A quantity of zero or more.
pub struct Amount(pub Quantity);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity::deserialize(deserializer)?;
        if quantity.is_negative() {
            Err(D::Error::custom("must not be negative"))
        } else {
            Ok(Self(quantity))
        }
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
                if is_name(name) {
                    Ok(Name(name.to_owned()))
                } else {
                    Err(E::custom("a name must be 1 to 128 characters of A-Z a-z 0-9 _ . : -"))
                }
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// Whether a quantity or an attribute may be called so.
pub fn is_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fine)
}

/// An attribute's value: a short text, or a whole number or truth value kept as text. Numbers with a fraction have no
/// one spelling, so they are refused.
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a whole number, true or false")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                if text.len() <= LONGEST_TEXT {
                    Ok(Text(text.to_owned()))
                } else {
                    Err(E::custom(format_args!("longer than {LONGEST_TEXT} bytes")))
                }
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
                Err(E::invalid_type(Unexpected::Float(value), &self))
            }
        }
        deserializer.deserialize_any(Read)
    }
}
