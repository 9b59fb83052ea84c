//! Decimal text to scaled integers and back. In: text such as `12.5` and a number of places. Out: the exact integer
//! or why there is none. Never a float, never a rounding.

use core::fmt;

/// Why text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// Not digits with an optional sign and an optional fraction.
    Malformed,
    /// More decimal places than the type keeps; their number.
    TooPrecise(u32),
    /// Beyond what the type can hold.
    OutOfRange,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("must be a decimal such as \"12.5\""),
            Self::TooPrecise(places) => write!(f, "must have at most {places} decimal places"),
            Self::OutOfRange => f.write_str("is out of range"),
        }
    }
}

impl core::error::Error for DecimalError {}

/// The value of `text` × 10^`places`.
pub(crate) fn parse(text: &str, places: u32) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(DecimalError::Malformed),
        Some(parts) => parts,
        None => (digits, ""),
    };
    if whole.is_empty() {
        return Err(DecimalError::Malformed);
    }
    let mut value: i64 = 0;
    let mut push = |digit: u8| -> Result<(), DecimalError> {
        // Counting down from zero reaches i64::MIN too.
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_sub(i64::from(digit)))
            .ok_or(DecimalError::OutOfRange)?;
        Ok(())
    };
    for byte in whole.bytes() {
        push(digit(byte)?)?;
    }
    let mut kept = 0;
    for byte in fraction.bytes() {
        let digit = digit(byte)?;
        if kept < places {
            push(digit)?;
            kept += 1;
        } else if digit != 0 {
            return Err(DecimalError::TooPrecise(places));
        }
    }
    for _ in kept..places {
        push(0)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(DecimalError::OutOfRange) }
}

fn digit(byte: u8) -> Result<u8, DecimalError> {
    if byte.is_ascii_digit() { Ok(byte - b'0') } else { Err(DecimalError::Malformed) }
}

/// Prints `value` / 10^`places` without needless zeros.
pub(crate) fn print(value: i64, places: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = 10_u64.pow(places);
    let magnitude = value.unsigned_abs();
    if value < 0 {
        f.write_str("-")?;
    }
    write!(f, "{}", magnitude / unit)?;
    let mut rest = magnitude % unit;
    if rest > 0 {
        f.write_str(".")?;
    }
    let mut place = unit / 10;
    while rest > 0 {
        write!(f, "{}", rest / place)?;
        rest %= place;
        place /= 10;
    }
    Ok(())
}
