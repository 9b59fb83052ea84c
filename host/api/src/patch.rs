//! A field of a PUT: absent leaves what is in force, `null` clears it, a value replaces it. A field that can't be cleared is a
//! [`Given`]: an `Option` would take `null` for absent, and change nothing that the caller wanted changed. In the body of a POST, where
//! nothing is in force yet, an optional field that is `null` is as absent ([`null_is_default`]).

use proviso_ledger::model::grant::{CreditType, default_credit};
use serde::{Deserialize, Deserializer, de::Error};

/// What a request says of one field. Needs `#[serde(default)]` on the field, so that an absent one is [`Patch::Absent`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Leave it as it is.
    #[default]
    Absent,
    /// Clear it.
    Null,
    /// Replace it.
    Value(T),
}

impl<T> Patch<T> {
    /// `None` leaves it, `Some(None)` clears it.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// The value, if there is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The same with another value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Value(value) => Patch::Value(make(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// What a request says of a field that can't be cleared; `null` is an error. Needs `#[serde(default)]` on the field, so that an
/// absent one is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given<T>(Option<T>);

impl<T> Given<T> {
    /// The value that replaces what is in force; none leaves it.
    pub fn into_option(self) -> Option<T> {
        self.0
    }

    /// The value that replaces what is in force, if there is one.
    pub const fn value(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Given<T> {
    /// What was read of a field that is there; none is `null`.
    pub(crate) fn read<E: Error>(value: Option<T>) -> Result<Self, E> {
        match value {
            Some(value) => Ok(Self(Some(value))),
            None => Err(E::custom("can't be cleared: without it, what is in force stays")),
        }
    }
}

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Option::deserialize(deserializer)?)
    }
}

/// Reads a field of a POST that defaults to something, for `deserialize_with` beside `default`: many encoders write what is not set as
/// `null`.
///
/// # Errors
/// Those of the field's type.
pub fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The same for a credit type, which defaults to `credits`.
///
/// # Errors
/// Those of a credit type.
pub fn null_is_credits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CreditType, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(default_credit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_value_are_told_apart() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            name: Patch<String>,
        }
        for (text, expected) in [
            ("{}", Patch::Absent),
            (r#"{"name":null}"#, Patch::Null),
            (r#"{"name":"a"}"#, Patch::Value("a".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<Body>(text).unwrap().name, expected, "{text}");
        }
        for (text, expected) in
            [("{}", Some(None)), (r#"{"name":null}"#, None), (r#"{"name":1}"#, Some(Some(1)))]
        {
            #[derive(Deserialize)]
            struct Kept {
                #[serde(default)]
                name: Given<u8>,
            }
            let read = serde_json::from_str::<Kept>(text).ok();
            assert_eq!(read.map(|kept| kept.name.into_option()), expected, "{text}");
        }
        assert_eq!(Patch::<u8>::Absent.into_option(), None);
        assert_eq!(Patch::<u8>::Null.into_option(), Some(None));
        assert_eq!(Patch::Value(1).map(|n| n + 1).value(), Some(&2));
    }
}
