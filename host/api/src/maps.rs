//! Small maps: quantities, attributes and external ids. Names and sizes are checked as they are read, so that a problem
//! points at the entry.

use proviso_ledger::model::{amounts::Quantity, pairs};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Unexpected, Visitor},
};
use std::{collections::BTreeMap, fmt, marker::PhantomData};

/// The most entries of one map.
pub const MAX_ENTRIES: usize = 64;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The longest text of an attribute, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// How much of what, sorted by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Quantities(pub Vec<(String, Quantity)>);

/// Texts by name, sorted by name.
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

/// Ids in other systems by the system's name, sorted by it: at most 64 of 1 to 512 bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ExternalIds(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for ExternalIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Pairs::<ExternalId>(PhantomData))?;
        Ok(Self(pairs.into_iter().map(|(name, id)| (name, id.0)).collect()))
    }
}

/// Written as the objects they were read from.
macro_rules! written_as_objects {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                pairs::serialize(&self.0, serializer)
            }
        }

        impl $name {
            /// Whether there are none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }
    )+};
}
written_as_objects!(Quantities, Attributes, ExternalIds);

struct ExternalId(String);

impl<'de> Deserialize<'de> for ExternalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        if (1..=MAX_TEXT_BYTES).contains(&id.len()) {
            Ok(Self(id))
        } else {
            Err(D::Error::custom(format_args!("must be 1 to {MAX_TEXT_BYTES} bytes")))
        }
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
            if pairs.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format_args!("more than {MAX_ENTRIES} entries")));
            }
            pairs.push((name.0, map.next_value()?));
        }
        pairs::sort(&mut pairs)
            .map_err(|name| A::Error::custom(format_args!("{name:?} is a duplicate key")))?;
        Ok(pairs)
    }
}

/// An object of any size whose names differ: of one that comes twice it is not clear which is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct<K, V>(pub BTreeMap<K, V>);

impl<'de, K, V> Deserialize<'de> for Distinct<K, V>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<K, V>(PhantomData<(K, V)>);

        impl<'de, K, V> Visitor<'de> for Read<K, V>
        where
            K: Deserialize<'de> + Ord + fmt::Display,
            V: Deserialize<'de>,
        {
            type Value = BTreeMap<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = BTreeMap::new();
                while let Some(name) = map.next_key::<K>()? {
                    if read.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("\"{name}\" is a duplicate key")));
                    }
                    read.insert(name, map.next_value()?);
                }
                Ok(read)
            }
        }

        deserializer.deserialize_map(Read(PhantomData)).map(Self)
    }
}

/// Reads a [`Distinct`] object, for `deserialize_with` beside `default`; null is as absent.
///
/// # Errors
/// A name that comes twice, and those of names and values.
pub fn distinct<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<Distinct<K, V>>::deserialize(deserializer)?.map(|read| read.0).unwrap_or_default())
}

/// A quantity of zero or more.
pub struct Amount(pub Quantity);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity::deserialize(deserializer)?;
        if quantity.is_negative() {
            Err(D::Error::custom("must not be negative"))
        } else if !quantity.is_acceptable() {
            Err(D::Error::custom("must be less than 1,000,000,000,000,000"))
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

/// Whether a quantity or an attribute may have this name.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// An attribute's value: a short text, or a whole number or truth value kept as text. Numbers with a fraction have no
/// one spelling and are refused.
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
                if text.len() <= MAX_TEXT_BYTES {
                    Ok(Text(text.to_owned()))
                } else {
                    Err(E::custom(format_args!("longer than {MAX_TEXT_BYTES} bytes")))
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
