//! Why something is not an amount.

use core::fmt;

/// A result that does not fit, or a division by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount is out of range")
    }
}

impl core::error::Error for OutOfRange {}

/// Why a text is not a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// Not `-?digits(.digits)?`.
    Malformed,
    /// More than 12 decimal places.
    TooPrecise,
    /// More than 128 bits hold.
    OutOfRange,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a decimal number such as \"12.5\"",
            Self::TooPrecise => "more than 12 decimal places",
            Self::OutOfRange => "out of range",
        })
    }
}

impl core::error::Error for DecimalError {}

/// Why something is not money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoneyError {
    /// Not an active ISO 4217 code in capital letters.
    UnknownCurrency,
    /// Below zero.
    Negative,
    /// Not below 10^15.
    OutOfRange,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCurrency => "not an active ISO 4217 currency code such as \"EUR\"",
            Self::Negative => "an amount of money must not be negative",
            Self::OutOfRange => "an amount of money must be below 1000000000000000",
        })
    }
}

impl core::error::Error for MoneyError {}
