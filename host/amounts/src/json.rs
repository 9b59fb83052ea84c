//! How amounts are read and written through serde: strings in JSON, 128-bit units in formats that are not text.

use crate::{
    currency::Currency,
    decimal::Decimal,
    error::MoneyError,
    kinds::{Credits, Percent, Price, Quantity},
    money::Money,
    text::Buffer,
};
use core::fmt;
use serde::{
    de::{Deserialize, Deserializer, Error, Unexpected, Visitor},
    ser::{Serialize, Serializer},
};

struct DecimalText {
    whole_numbers: bool,
}

const NUMBER_REFUSED: &str = "a decimal string such as \"12.5\" (numbers are refused: they lose exactness)";
const FRACTION_REFUSED: &str = "a whole number or a decimal string such as \"12.5\" (numbers with a fraction are refused: they lose exactness)";

impl DecimalText {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Decimal, D::Error> {
        if deserializer.is_human_readable() {
            // Any, not a string: so that a number is refused with the reason.
            deserializer.deserialize_any(self)
        } else {
            i128::deserialize(deserializer).map(Decimal::from_units)
        }
    }

    fn whole<E: Error>(&self, value: i128, found: Unexpected<'_>) -> Result<Decimal, E> {
        if self.whole_numbers {
            // 64 bits and 12 places fit into 128 bits.
            Ok(Decimal::from_units(value.saturating_mul(Decimal::SCALE)))
        } else {
            Err(E::invalid_type(found, &NUMBER_REFUSED))
        }
    }
}

impl Visitor<'_> for DecimalText {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.whole_numbers {
            "a whole number or a decimal string such as \"12.5\""
        } else {
            "a decimal string such as \"12.5\""
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
        text.parse().map_err(|error| E::custom(format_args!("{error}: {:?}", start_of(text))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Decimal, E> {
        self.whole(value.into(), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Decimal, E> {
        self.whole(value.into(), Unexpected::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Decimal, E> {
        let expected = if self.whole_numbers { FRACTION_REFUSED } else { NUMBER_REFUSED };
        Err(E::invalid_type(Unexpected::Float(value), &expected))
    }
}

/// As much of a refused text as a message should repeat.
fn start_of(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.format(&mut Buffer::new()))
        } else {
            serializer.serialize_i128(self.units())
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DecimalText { whole_numbers: false }.read(deserializer)
    }
}

macro_rules! through_decimal {
    ($name:ident, whole_numbers: $whole_numbers:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.decimal().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                DecimalText { whole_numbers: $whole_numbers }.read(deserializer).map(Self::new)
            }
        }
    };
}
through_decimal!(Credits, whole_numbers: false);
through_decimal!(Price, whole_numbers: false);
through_decimal!(Quantity, whole_numbers: true);
through_decimal!(Percent, whole_numbers: true);

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Code;
        impl Visitor<'_> for Code {
            type Value = Currency;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 4217 code such as \"EUR\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Currency, E> {
                text.parse().map_err(|error| E::custom(format_args!("{error}: {:?}", start_of(text))))
            }
        }
        deserializer.deserialize_str(Code)
    }
}

/// The fields of [`Money`] before they are checked together.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoneyFields {
    amount: Decimal,
    currency: Currency,
}

impl From<Money> for MoneyFields {
    fn from(money: Money) -> Self {
        Self { amount: money.amount(), currency: money.currency() }
    }
}

impl TryFrom<MoneyFields> for Money {
    type Error = MoneyError;
    fn try_from(fields: MoneyFields) -> Result<Self, MoneyError> {
        Self::new(fields.amount, fields.currency)
    }
}
