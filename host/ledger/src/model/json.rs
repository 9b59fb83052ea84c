//! JSON that is kept and passed on but not looked into, as text: settings of a policy and the schema of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Value, value::RawValue};

/// How many arrays and objects of foreign JSON may stand in one another. What is kept stands in other JSON (an entry, an
/// audit record, an answer), of which `serde_json` reads 128.
pub const MAX_DEPTH: usize = 64;

/// How many arrays and objects of a value stand in one another at most.
#[must_use]
pub fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    deepest.unwrap_or(0).saturating_add(1)
}

/// A JSON value as its shortest text, with an object's names in order. A tree of many small objects takes several times
/// as much memory, and a host keeps the terms of every plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(Box<str>);

impl JsonText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Value> for JsonText {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&Value::deserialize(deserializer).map_err(D::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_counts_arrays_and_objects() {
        for (text, expected) in [("1", 0), ("[]", 1), (r#"{"a":[{}],"b":1}"#, 3), ("[[],[[1]]]", 3)] {
            assert_eq!(depth(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_value_keeps_its_text_wherever_it_stands() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        #[serde(tag = "type")]
        enum Tagged {
            Held { json: JsonText },
        }
        for text in
            [r#"{"a":[1,null,"é\n\"x\""],"b":0.1,"c":{}}"#, "[]", "null", "1e300", "18446744073709551615"]
        {
            let value: Value = serde_json::from_str(text).unwrap();
            let json = JsonText::from(&value);
            assert_eq!(serde_json::to_string(&json).unwrap(), value.to_string());
            assert_eq!(serde_json::to_value(&json).unwrap(), value);
            let tagged = Tagged::Held { json };
            let written = serde_json::to_string(&tagged).unwrap();
            assert_eq!(serde_json::from_str::<Tagged>(&written).unwrap(), tagged);
        }
        let [one, other]: [JsonText; 2] =
            [r#"{"b":1,"a":2}"#, r#"{ "a": 2, "b": 1 }"#].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(one, other);
    }
}
