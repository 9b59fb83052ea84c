//! Small maps as JSON objects: sorted by name, each name once, cheap to walk.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// Writes the pairs as an object.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Serialize, S: Serializer>(
    pairs: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Reads an object; a name that comes twice is refused.
///
/// # Errors
/// Those of the deserializer, and a name that comes twice.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, T)>, D::Error> {
    struct Pairs<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(4));
            while let Some(name) = map.next_key::<String>()? {
                pairs.push((name, map.next_value()?));
            }
            sort(&mut pairs).map_err(|name| A::Error::custom(format_args!("{name:?} is given twice")))?;
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Pairs(PhantomData))
}

/// Sorts by name.
///
/// # Errors
/// The name that is given twice.
pub fn sort<T>(pairs: &mut [(String, T)]) -> Result<(), String> {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    match pairs.windows(2).find(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
        Some([twice, ..]) => Err(twice.0.clone()),
        _ => Ok(()),
    }
}
