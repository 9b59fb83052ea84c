//! Exact amounts: credits, quantities and prices, with every rounding named. No float comes near them.

use crate::decimal::{DecimalError, decimal_type};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

decimal_type! {
    /// Credits in microcredits (1 credit is 1,000,000). In JSON a decimal string such as `"12.5"`, and nothing else.
    Credits, 6
}
decimal_type! {
    /// How much was used, in millionths of its unit. In JSON a whole number or a decimal string.
    Quantity, 6
}
decimal_type! {
    /// A price in picocredits (10^-12 credit) for one whole unit. In JSON a decimal string.
    Price, 12
}

/// Adds up amounts.
///
/// Returns none when the sum does not fit.
pub fn sum(amounts: impl IntoIterator<Item = Credits>) -> Option<Credits> {
    amounts.into_iter().try_fold(Credits::ZERO, Credits::checked_add)
}

struct DecimalText<T> {
    whole_numbers: bool,
    make: fn(&str) -> Result<T, DecimalError>,
}

impl<T> DecimalText<T> {
    fn whole<E: Error>(&self, text: &str, found: Unexpected<'_>) -> Result<T, E> {
        if self.whole_numbers {
            (self.make)(text).map_err(E::custom)
        } else {
            Err(E::invalid_type(
                found,
                &"a decimal string such as \"12.5\" (numbers are refused: they lose exactness)",
            ))
        }
    }
}

impl<T> Visitor<'_> for DecimalText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.whole_numbers {
            "a whole number or a decimal string such as \"12.5\""
        } else {
            "a decimal string such as \"12.5\""
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.make)(text).map_err(|error| E::custom(format_args!("{error}: {text:.40?}")))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.whole(itoa::Buffer::new().format(value), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.whole(itoa::Buffer::new().format(value), Unexpected::Signed(value))
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalText { whole_numbers: false, make: str::parse })
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalText { whole_numbers: false, make: str::parse })
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalText { whole_numbers: true, make: str::parse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_read_and_print_exactly() {
        for (text, micros, printed) in [
            ("0", 0, "0"),
            ("12.5", 12_500_000, "12.5"),
            ("-0.000001", -1, "-0.000001"),
            ("1.100000000", 1_100_000, "1.1"),
            ("007", 7_000_000, "7"),
            ("9223372036854.775807", i64::MAX, "9223372036854.775807"),
            ("-9223372036854.775808", i64::MIN, "-9223372036854.775808"),
        ] {
            let credits: Credits = text.parse().unwrap();
            assert_eq!((credits.0, credits.to_string().as_str()), (micros, printed), "{text}");
        }
    }

    #[test]
    fn malformed_credits_are_refused() {
        for (text, error) in [
            ("", DecimalError::Malformed),
            (".5", DecimalError::Malformed),
            ("5.", DecimalError::Malformed),
            ("1e3", DecimalError::Malformed),
            ("+1", DecimalError::Malformed),
            ("1,5", DecimalError::Malformed),
            ("--1", DecimalError::Malformed),
            ("٣", DecimalError::Malformed),
            ("0.0000001", DecimalError::TooPrecise(6)),
            ("9223372036854.775808", DecimalError::OutOfRange),
            ("99999999999999999999999999999999999999999999", DecimalError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Credits>(), Err(error), "{text}");
        }
    }

    #[test]
    fn json_refuses_numbers_for_credits_and_floats_for_quantities() {
        let error = serde_json::from_str::<Credits>("1.5").unwrap_err().to_string();
        assert!(error.contains("decimal string"), "{error}");
        assert!(serde_json::from_str::<Credits>("1").is_err());
        assert!(serde_json::from_str::<Quantity>("1.5").is_err());
        assert_eq!(serde_json::from_str::<Quantity>("1200").unwrap(), Quantity(1_200_000_000));
        assert_eq!(serde_json::from_str::<Quantity>("\"0.5\"").unwrap(), Quantity(500_000));
        assert!(serde_json::from_str::<Quantity>("99999999999999").is_err());
    }
}
