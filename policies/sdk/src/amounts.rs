//! Exact amounts. In: integers of the policy interface or decimal text. Out: checked results whose rounding the
//! caller named. No float, no silent wrap, no unnamed rounding.

use crate::decimal::{self, DecimalError};
use alloc::string::ToString;
use core::{fmt, str::FromStr};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A result that does not fit into its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount is out of range")
    }
}

impl core::error::Error for OutOfRange {}

/// Where a result between two steps goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// To the greater value: never charges less than the exact cost.
    #[default]
    Up,
    /// To the lesser value.
    Down,
    /// To the nearer value, and from the middle to the even one.
    HalfEven,
}

impl Rounding {
    /// `value / divisor` for a divisor above zero.
    fn divide(self, value: i128, divisor: i128) -> Result<i64, OutOfRange> {
        // 128-bit division is slow in a module, and nearly every product fits into 64 bits.
        if let (Ok(value), Ok(divisor)) = (i64::try_from(value), i64::try_from(divisor)) {
            let (floor, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor));
            return Ok(floor + i64::from(self.goes_up(floor % 2 != 0, rest.cmp(&(divisor - rest)), rest > 0)));
        }
        let (floor, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor));
        let up = self.goes_up(floor % 2 != 0, rest.cmp(&(divisor - rest)), rest > 0);
        i64::try_from(floor + i128::from(up)).map_err(|_| OutOfRange)
    }

    fn goes_up(self, odd: bool, to_middle: core::cmp::Ordering, inexact: bool) -> bool {
        match self {
            Self::Up => inexact,
            Self::Down => false,
            Self::HalfEven => to_middle.is_gt() || (to_middle.is_eq() && odd),
        }
    }
}

impl<'de> Deserialize<'de> for Rounding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Rounding;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"up\", \"down\" or \"half_even\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Rounding, E> {
                match text {
                    "up" => Ok(Rounding::Up),
                    "down" => Ok(Rounding::Down),
                    "half_even" => Ok(Rounding::HalfEven),
                    _ => Err(E::unknown_variant(text, &["up", "down", "half_even"])),
                }
            }
        }
        deserializer.deserialize_str(Name)
    }
}

struct DecimalText {
    places: u32,
    whole_numbers: bool,
}

impl DecimalText {
    fn read<E: Error>(&self, text: &str) -> Result<i64, E> {
        decimal::parse(text, self.places).map_err(E::custom)
    }
}

impl Visitor<'_> for DecimalText {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal string such as \"12.5\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        self.read(text)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i64, E> {
        if self.whole_numbers {
            self.read(&value.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Unsigned(value), &self))
        }
    }
}

macro_rules! decimal_type {
    ($(#[$doc:meta])* $name:ident, $places:literal, $whole_numbers:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// One whole unit.
            pub const ONE: Self = Self(10_i64.pow($places));
            /// The most that can be held.
            pub const MAX: Self = Self(i64::MAX);

            /// The sum.
            ///
            /// # Errors
            /// When it does not fit.
            pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
                self.0.checked_add(other.0).map(Self).ok_or(OutOfRange)
            }

            /// The difference.
            ///
            /// # Errors
            /// When it does not fit.
            pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
                self.0.checked_sub(other.0).map(Self).ok_or(OutOfRange)
            }

            /// What of this lies above `floor`; zero when nothing does.
            #[must_use]
            pub fn above(self, floor: Self) -> Self {
                if self > floor { Self(self.0.saturating_sub(floor.0)) } else { Self::ZERO }
            }

            /// Whether it is above zero.
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.0 > 0
            }
        }

        impl FromStr for $name {
            type Err = DecimalError;
            fn from_str(text: &str) -> Result<Self, DecimalError> {
                decimal::parse(text, $places).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                decimal::print(self.0, $places, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer
                    .deserialize_any(DecimalText { places: $places, whole_numbers: $whole_numbers })
                    .map(Self)
            }
        }
    };
}

decimal_type! {
    /// Credits in microcredits: 1 credit is 1,000,000. In settings a decimal string such as `"12.5"`.
    Credits, 6, false
}
decimal_type! {
    /// How much was used, in millionths of its unit. In settings a decimal string or a whole number.
    Amount, 6, true
}
decimal_type! {
    /// A price in picocredits (10^-12 credit) for one whole unit. In settings a decimal string such as `"0.001"`.
    Price, 12, false
}
impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100_000_000);
}

decimal_type! {
    /// A percentage in millionths of a percent. In settings a decimal string or a whole number: `"12.5"` or `12`.
    Percent, 6, true
}

impl Price {
    /// What `amount` costs at this price.
    ///
    /// # Errors
    /// When the cost does not fit.
    pub fn times(self, amount: Amount, rounding: Rounding) -> Result<Credits, OutOfRange> {
        rounding.divide(i128::from(self.0) * i128::from(amount.0), 1_000_000_000_000).map(Credits)
    }

    /// How much can be had for `credits`: no more than they pay for. Everything when the price is not above zero.
    ///
    /// # Errors
    /// When the amount does not fit.
    pub fn affords(self, credits: Credits) -> Result<Amount, OutOfRange> {
        if self.0 <= 0 {
            return Ok(Amount::MAX);
        }
        Rounding::Down.divide(i128::from(credits.0) * 1_000_000_000_000, i128::from(self.0)).map(Amount)
    }

    /// This part of the price.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn percent(self, percent: Percent, rounding: Rounding) -> Result<Self, OutOfRange> {
        rounding.divide(i128::from(self.0) * i128::from(percent.0), 100_000_000).map(Self)
    }

    /// The price of a unit at which one costs exactly `credits`.
    ///
    /// # Errors
    /// When it does not fit: a price holds at most some 9 million credits.
    pub fn of_one(credits: Credits) -> Result<Self, OutOfRange> {
        credits.0.checked_mul(1_000_000).map(Self).ok_or(OutOfRange)
    }
}

impl Amount {
    /// A whole number of units.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn whole(units: i64) -> Result<Self, OutOfRange> {
        units.checked_mul(1_000_000).map(Self).ok_or(OutOfRange)
    }

    /// How many blocks of `size` this is; none when `size` is not above zero.
    ///
    /// # Errors
    /// When `size` is not above zero or the result does not fit.
    pub fn blocks(self, size: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        if !size.is_positive() {
            return Err(OutOfRange);
        }
        rounding.divide(i128::from(self.0), i128::from(size.0)).and_then(Self::whole)
    }
}

impl Credits {
    /// This many times over.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn repeated(self, times: i64) -> Result<Self, OutOfRange> {
        self.0.checked_mul(times).map(Self).ok_or(OutOfRange)
    }

    /// This part of it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn percent(self, percent: Percent, rounding: Rounding) -> Result<Self, OutOfRange> {
        rounding.divide(i128::from(self.0) * i128::from(percent.0), 100_000_000).map(Self)
    }
}

/// Adds up credits.
///
/// # Errors
/// When the sum does not fit.
pub fn sum(amounts: impl IntoIterator<Item = Credits>) -> Result<Credits, OutOfRange> {
    amounts.into_iter().try_fold(Credits::ZERO, Credits::plus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn every_rounding_is_named() {
        use Rounding::{Down, HalfEven, Up};
        for (price, amount, up, down, half_even) in [
            ("0.001", "1200", "1.2", "1.2", "1.2"),
            ("0.000001", "0.5", "0.000001", "0", "0"),
            ("0.000001", "1.5", "0.000002", "0.000001", "0.000002"),
            ("0.000001", "2.5", "0.000003", "0.000002", "0.000002"),
            ("0.000001", "-1.5", "-0.000001", "-0.000002", "-0.000002"),
            ("0.000000000001", "1", "0.000001", "0", "0"),
            ("1000000", "1000000", "1000000000000", "1000000000000", "1000000000000"),
        ] {
            let (price, amount): (Price, Amount) = (price.parse().unwrap(), amount.parse().unwrap());
            for (rounding, expected) in [(Up, up), (Down, down), (HalfEven, half_even)] {
                let cost = price.times(amount, rounding).unwrap();
                assert_eq!(format!("{cost}"), expected, "{price} x {amount} {rounding:?}");
            }
        }
        assert_eq!(Price::MAX.times(Amount::MAX, Up), Err(OutOfRange));
    }

    #[test]
    fn wide_and_narrow_division_agree() {
        for value in [-7_i64, -6, -5, 0, 1, 5, 6, 7, 9_000_000_000_000_000_000] {
            for rounding in [Rounding::Up, Rounding::Down, Rounding::HalfEven] {
                // Scaled by 2^64 both ways, the wide path must give what the narrow one gives.
                let wide = rounding.divide(i128::from(value) << 40, 4 << 40);
                assert_eq!(rounding.divide(i128::from(value), 4), wide, "{value} {rounding:?}");
            }
        }
    }

    #[test]
    fn decimals_read_and_print_exactly() {
        for (text, micros, printed) in [
            ("0", 0, "0"),
            ("007", 7_000_000, "7"),
            ("-0.000001", -1, "-0.000001"),
            ("1.100000000", 1_100_000, "1.1"),
            ("-9223372036854.775808", i64::MIN, "-9223372036854.775808"),
        ] {
            let credits: Credits = text.parse().unwrap();
            assert_eq!((credits.0, format!("{credits}").as_str()), (micros, printed));
        }
        for (text, error) in [
            ("", DecimalError::Malformed),
            (".5", DecimalError::Malformed),
            ("5.", DecimalError::Malformed),
            ("1e3", DecimalError::Malformed),
            ("+1", DecimalError::Malformed),
            ("0.0000001", DecimalError::TooPrecise(6)),
            ("9223372036854.775808", DecimalError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Credits>(), Err(error), "{text}");
        }
    }

    #[test]
    fn blocks_and_percents() {
        let size: Amount = "1000".parse().unwrap();
        let blocks = |text: &str| text.parse::<Amount>().unwrap().blocks(size, Rounding::Up).unwrap();
        assert_eq!(
            (blocks("1"), blocks("1000"), blocks("1000.000001")),
            (Amount::ONE, Amount::ONE, Amount(2_000_000))
        );
        assert_eq!(Amount::ONE.blocks(Amount::ZERO, Rounding::Up), Err(OutOfRange));
        let third: Percent = "33.333333".parse().unwrap();
        let price: Price = "0.003".parse().unwrap();
        assert_eq!(price.affords("0.01".parse().unwrap()), Ok(Amount(3_333_333)));
        assert_eq!(Price::ZERO.affords(Credits::ONE), Ok(Amount::MAX));
        assert_eq!(price.percent(third, Rounding::Up), Ok(Price(1_000_000_000 - 10)));
        assert_eq!(Credits(1_000_000).percent(third, Rounding::Down), Ok(Credits(333_333)));
    }
}
