//! Fixed-point decimals: text in, text out, six to twelve places, never a float.

/// Why a decimal text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not `-?digits(.digits)?`.
    #[error("not a decimal number such as \"12.5\"")]
    Malformed,
    /// More decimal places than the type holds.
    #[error("more than {0} decimal places")]
    TooPrecise(u32),
    /// Does not fit 64 bits.
    #[error("out of range")]
    OutOfRange,
}

/// Parses `text` into units of 10^-`places`.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse(text: &str, places: u32) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let ends_in_point = digits.ends_with('.');
    if whole.is_empty() || ends_in_point || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return Err(DecimalError::Malformed);
    }
    let significant = fraction.trim_end_matches('0');
    let used = u32::try_from(significant.len()).map_err(|_| DecimalError::TooPrecise(places))?;
    let padding = places.checked_sub(used).ok_or(DecimalError::TooPrecise(places))?;
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(significant.bytes()) {
        value = value.checked_mul(10).ok_or(DecimalError::OutOfRange)? + i128::from(byte - b'0');
    }
    value = value.checked_mul(10_i128.pow(padding)).ok_or(DecimalError::OutOfRange)?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| DecimalError::OutOfRange)
}

/// Appends units of 10^-`places` to `out` as the shortest exact decimal text.
pub fn write(out: &mut String, value: i64, places: u32) {
    let scale = 10_u64.pow(places);
    let magnitude = value.unsigned_abs();
    if value < 0 {
        out.push('-');
    }
    let mut buffer = itoa::Buffer::new();
    out.push_str(buffer.format(magnitude / scale));
    let mut fraction = magnitude % scale;
    if fraction == 0 {
        return;
    }
    out.push('.');
    let mut digit_scale = scale / 10;
    while fraction > 0 {
        out.push(char::from(b'0' + u8::try_from(fraction / digit_scale).unwrap_or(0)));
        fraction %= digit_scale;
        digit_scale = (digit_scale / 10).max(1);
    }
}

/// Defines a 64-bit fixed-point number that is a decimal string in JSON.
macro_rules! decimal_type {
    ($(#[$meta:meta])* $name:ident, $places:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// Decimal places that the type holds.
            pub const PLACES: u32 = $places;

            /// The sum, or none when it does not fit.
            #[must_use]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, or none when it does not fit.
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// Whether it is below zero.
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }

            /// Whether it is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::decimal::DecimalError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::decimal::parse(text, $places).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut text = String::with_capacity(24);
                $crate::decimal::write(&mut text, self.0, $places);
                f.pad(&text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = String::with_capacity(24);
                $crate::decimal::write(&mut text, self.0, $places);
                serializer.serialize_str(&text)
            }
        }
    };
}
pub(crate) use decimal_type;
