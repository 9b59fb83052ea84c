//! Decimal text to units of 10^-12 and back, without allocation and without rounding.

use crate::{
    decimal::{Decimal, split, with_sign},
    error::DecimalError,
};
use core::{fmt, str::FromStr};

const PLACES: usize = Decimal::PLACES as usize;

/// The units of a text.
pub(crate) fn parse(text: &str) -> Result<i128, DecimalError> {
    match parse_short(text) {
        Some(units) => Ok(units),
        None => parse_any(text),
    }
}

/// Nearly every text is digits with or without a point, few enough for 64 bits. One pass over them costs a policy, which
/// reads its prices in every decision, a small part of the instructions of the other way. None for all other texts,
/// right or wrong.
fn parse_short(text: &str) -> Option<i128> {
    const DIGITS: usize = 18;
    if text.len() > DIGITS {
        return None;
    }
    let (mut value, mut digits, mut whole) = (0_u64, 0_u32, None);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'.' if whole.is_none() => whole = Some(digits),
            _ => return None,
        }
    }
    let places = match whole {
        None => 0,
        Some(whole) if 0 < whole && whole < digits => digits - whole,
        Some(_) => return None,
    };
    if digits == 0 {
        return None;
    }
    let scale = 10_u64.pow(Decimal::PLACES.checked_sub(places)?);
    Some(i128::from(value) * i128::from(scale))
}

fn parse_any(text: &str) -> Result<i128, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(DecimalError::Malformed),
        Some(parts) => parts,
        None => (digits, ""),
    };
    // Before anything else, so that a text which is no number at all is never called too precise.
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    let padding = PLACES.checked_sub(fraction.len()).ok_or(DecimalError::TooPrecise)?;
    let part = (0..padding).fold(short(fraction), |part, _| part * 10);
    let units = long(whole)
        .and_then(|whole| whole.checked_mul(u128::from(Decimal::SCALE_U64)))
        .and_then(|units| units.checked_add(u128::from(part)))
        .ok_or(DecimalError::OutOfRange)?;
    with_sign(units, negative).map_err(|_| DecimalError::OutOfRange)
}

/// The value of at most 19 digits.
fn short(digits: &str) -> u64 {
    digits.bytes().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'))
}

fn long(digits: &str) -> Option<u128> {
    if digits.len() <= 19 {
        return Some(u128::from(short(digits)));
    }
    digits.bytes().try_fold(0_u128, |value, byte| value.checked_mul(10)?.checked_add(u128::from(byte - b'0')))
}

/// A sign, 27 digits, the point and 12 digits.
const LONGEST: usize = 41;

/// Space on the stack for the text of one decimal.
#[derive(Debug, Clone)]
pub struct Buffer {
    bytes: [u8; LONGEST],
    start: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffer {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; LONGEST], start: LONGEST }
    }

    /// The shortest exact text of units.
    pub(crate) fn format(&mut self, units: i128) -> &str {
        self.start = LONGEST;
        let (whole, part) = split(units.unsigned_abs());
        if part != 0 {
            self.fraction(part);
        }
        self.whole(whole);
        if units < 0 {
            self.push(b'-');
        }
        self.bytes.get(self.start..).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// Writes from the end to the start.
    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }

    fn digit(&mut self, value: u64) {
        // Below ten, so no bit is cut off.
        self.push(b'0' + (value % 10) as u8);
    }

    fn fraction(&mut self, mut part: u64) {
        let mut places = PLACES;
        if part.is_multiple_of(1_000_000) {
            (part, places) = (part / 1_000_000, places - 6);
        }
        while part.is_multiple_of(10) {
            (part, places) = (part / 10, places - 1);
        }
        for _ in 0..places {
            self.digit(part);
            part /= 10;
        }
        self.push(b'.');
    }

    fn whole(&mut self, mut whole: u128) {
        // Only a total is longer than 64 bits.
        const DIGITS_18: u128 = 1_000_000_000_000_000_000;
        let mut rest = loop {
            match u64::try_from(whole) {
                Ok(rest) => break rest,
                Err(_) => {
                    let mut digits = u64::try_from(whole % DIGITS_18).unwrap_or_default();
                    for _ in 0..18 {
                        self.digit(digits);
                        digits /= 10;
                    }
                    whole /= DIGITS_18;
                }
            }
        };
        loop {
            self.digit(rest);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        parse(text).map(Self::from_units)
    }
}

impl Decimal {
    /// Its text in a buffer on the stack.
    pub fn format(self, buffer: &mut Buffer) -> &str {
        buffer.format(self.units())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Buffer::new();
        let text = buffer.format(self.units());
        // Not `pad`: that cuts off what exceeds a precision.
        f.pad_integral(!self.is_negative(), "", text.strip_prefix('-').unwrap_or(text))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Buffer::new().format(self.units()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_short_way_takes_what_is_short() {
        for (text, units) in [
            ("0", Some(0)),
            ("0.0000003", Some(300_000)),
            ("12345678901.123456", Some(12_345_678_901_123_456_000_000)),
            ("999999999999999999", Some(999_999_999_999_999_999 * Decimal::SCALE)),
            ("9999999999999999999", None),
            ("0.0000000000001", None),
            ("-1", None),
            ("5.", None),
            (".5", None),
            ("", None),
        ] {
            assert_eq!(parse_short(text), units, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(text in "[0-9]{0,19}(\\.[0-9]{0,13})?") {
            if let Some(units) = parse_short(&text) {
                prop_assert_eq!(parse_any(&text), Ok(units));
            }
        }
    }
}
