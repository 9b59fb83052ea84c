//! The decimal with 12 places that every amount is made of.

use crate::{
    error::OutOfRange,
    rounding::Rounding,
    wide::{Division, divide, multiply_divide},
};

/// A number with 12 decimal places in 128 bits: up to 1.7 × 10^26 in size.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

impl Decimal {
    /// Decimal places.
    pub const PLACES: u32 = 12;
    /// Units in one whole.
    pub const SCALE: i128 = 1_000_000_000_000;
    pub(crate) const SCALE_U64: u64 = 1_000_000_000_000;
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One whole.
    pub const ONE: Self = Self(Self::SCALE);
    /// The most that can be held.
    pub const MAX: Self = Self(i128::MAX);
    /// The least that can be held.
    pub const MIN: Self = Self(i128::MIN);
    /// The largest single amount: the last value below 10^15.
    pub const LARGEST: Self = Self(1_000_000_000_000_000 * Self::SCALE - 1);

    /// From units of 10^-12.
    #[must_use]
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// In units of 10^-12.
    #[must_use]
    pub const fn units(self) -> i128 {
        self.0
    }

    /// From a whole number, which always fits.
    #[must_use]
    pub const fn from_whole(whole: i64) -> Self {
        Self(whole as i128 * Self::SCALE)
    }

    /// `whole + part × 10^-12`.
    ///
    /// # Errors
    /// When `part` is 10^12 or more in size, or when `whole` and `part` differ in sign.
    pub const fn from_parts(whole: i64, part: i64) -> Result<Self, OutOfRange> {
        let opposed = (whole < 0 && part > 0) || (whole > 0 && part < 0);
        if opposed || part.unsigned_abs() >= Self::SCALE_U64 {
            return Err(OutOfRange);
        }
        Ok(Self(whole as i128 * Self::SCALE + part as i128))
    }

    /// The whole number and the rest in units of 10^-12, with the same sign.
    ///
    /// This is how numbers cross the policy interface. A language whose numbers are 64-bit floats reads both parts
    /// exactly as long as the whole number is below 2^53, as it is in every single amount. Only a total can exceed
    /// the 64 bits of the whole number; then the nearest pair is returned.
    #[must_use]
    pub fn to_parts(self) -> (i64, i64) {
        const SCALE: i64 = Decimal::SCALE as i64;
        if let Ok(units) = i64::try_from(self.0) {
            return (units / SCALE, units % SCALE);
        }
        match (i64::try_from(self.0 / Self::SCALE), i64::try_from(self.0 % Self::SCALE)) {
            (Ok(whole), Ok(part)) => (whole, part),
            _ if self.0 < 0 => (i64::MIN, 1 - SCALE),
            _ => (i64::MAX, SCALE - 1),
        }
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is above zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Whether it may be a single amount: at most [`Self::LARGEST`] in size.
    #[must_use]
    pub const fn is_acceptable(self) -> bool {
        -Self::LARGEST.0 <= self.0 && self.0 <= Self::LARGEST.0
    }

    /// Itself when it may be a single amount.
    ///
    /// # Errors
    /// When it is larger than [`Self::LARGEST`] in size.
    pub const fn accepted(self) -> Result<Self, OutOfRange> {
        if self.is_acceptable() { Ok(self) } else { Err(OutOfRange) }
    }

    /// The sum, or none when it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The difference, or none when it does not fit.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The opposite, or none for [`Self::MIN`].
    #[must_use]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The size, or none for [`Self::MIN`].
    #[must_use]
    pub const fn checked_abs(self) -> Option<Self> {
        match self.0.checked_abs() {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The sum, or the nearest value that fits.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or the nearest value that fits.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This many times over.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn repeated(self, times: i64) -> Result<Self, OutOfRange> {
        self.0.checked_mul(i128::from(times)).map(Self).ok_or(OutOfRange)
    }

    /// `self * by`, rounded once to 12 places.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn mul(self, by: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        ratio(self.0, by.0, Self::SCALE, rounding).map(Self)
    }

    /// `self / by`, rounded once to 12 places.
    ///
    /// # Errors
    /// When `by` is zero or the result does not fit.
    pub fn div(self, by: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        ratio(Self::SCALE, self.0, by.0, rounding).map(Self)
    }

    /// `self * part / whole`, rounded once to 12 places: a proportional share.
    ///
    /// # Errors
    /// When `whole` is zero or the result does not fit.
    pub fn mul_div(self, part: Self, whole: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        ratio(self.0, part.0, whole.0, rounding).map(Self)
    }

    /// How many times `size` goes into it, rounded to a whole number.
    ///
    /// # Errors
    /// When `size` is not above zero or the result does not fit.
    pub fn blocks(self, size: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        if !size.is_positive() {
            return Err(OutOfRange);
        }
        let count = ratio(1, self.0, size.0, rounding)?;
        count.checked_mul(Self::SCALE).map(Self).ok_or(OutOfRange)
    }

    /// Rounded to a multiple of `step`.
    ///
    /// # Errors
    /// When `step` is not above zero or the result does not fit.
    pub fn round_to(self, step: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
        if !step.is_positive() {
            return Err(OutOfRange);
        }
        let count = ratio(1, self.0, step.0, rounding)?;
        count.checked_mul(step.0).map(Self).ok_or(OutOfRange)
    }

    /// Rounded to so many decimal places; 0 is a whole number, and 12 or more change nothing.
    ///
    /// # Errors
    /// When the result does not fit.
    pub fn round_to_places(self, places: u32, rounding: Rounding) -> Result<Self, OutOfRange> {
        self.round_to(Self::step(places), rounding)
    }

    /// 10^-`places`; 10^-12 when that is smaller.
    pub(crate) const fn step(places: u32) -> Self {
        Self(10_i128.pow(Self::PLACES.saturating_sub(places)))
    }
}

/// `a * b / c` in units, rounded once.
pub(crate) fn ratio(a: i128, b: i128, c: i128, rounding: Rounding) -> Result<i128, OutOfRange> {
    let magnitude = rounding.round(magnitudes(a, b, c)?)?;
    with_sign(magnitude, (a < 0) ^ (b < 0) ^ (c < 0))
}

fn magnitudes(a: i128, b: i128, c: i128) -> Result<Division, OutOfRange> {
    multiply_divide(a.unsigned_abs(), b.unsigned_abs(), c.unsigned_abs()).ok_or(OutOfRange)
}

pub(crate) fn with_sign(magnitude: u128, negative: bool) -> Result<i128, OutOfRange> {
    let units =
        if negative { 0_i128.checked_sub_unsigned(magnitude) } else { i128::try_from(magnitude).ok() };
    units.ok_or(OutOfRange)
}

/// `amount * part / whole` rounded once to a multiple of `step`, for values that are not negative.
pub(crate) fn share(
    amount: Decimal,
    part: Decimal,
    whole: Decimal,
    step: Decimal,
    rounding: Rounding,
) -> Result<Decimal, OutOfRange> {
    let division = magnitudes(amount.0, part.0, whole.0)?;
    let magnitude = rounding.round_to_multiple(division, step.0.unsigned_abs())?;
    with_sign(magnitude, false).map(Decimal)
}

/// The whole number and the rest in units of a magnitude in units.
pub(crate) fn split(units: u128) -> (u128, u64) {
    let (whole, part) = divide(units, Decimal::SCALE.unsigned_abs()).unwrap_or_default();
    (whole, u64::try_from(part).unwrap_or_default())
}
