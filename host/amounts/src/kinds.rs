//! Decimals that mean different things and do not mix: credits, quantities, prices and percentages.

use crate::{
    decimal::{Decimal, ratio},
    error::{DecimalError, OutOfRange},
    rounding::Rounding,
    text::Buffer,
};
use core::{fmt, str::FromStr};

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(Decimal::ZERO);
            /// One whole.
            pub const ONE: Self = Self(Decimal::ONE);
            /// The largest single amount: the last value below 10^15.
            pub const LARGEST: Self = Self(Decimal::LARGEST);

            /// A decimal with this meaning.
            #[must_use]
            pub const fn new(decimal: Decimal) -> Self {
                Self(decimal)
            }

            /// The bare number.
            #[must_use]
            pub const fn decimal(self) -> Decimal {
                self.0
            }

            /// From units of 10^-12.
            #[must_use]
            pub const fn from_units(units: i128) -> Self {
                Self(Decimal::from_units(units))
            }

            /// In units of 10^-12.
            #[must_use]
            pub const fn units(self) -> i128 {
                self.0.units()
            }

            /// From a whole number, which always fits.
            #[must_use]
            pub const fn from_whole(whole: i64) -> Self {
                Self(Decimal::from_whole(whole))
            }

            /// `whole + part × 10^-12`; see [`Decimal::from_parts`].
            ///
            /// # Errors
            /// When `part` is 10^12 or more in size, or when `whole` and `part` differ in sign.
            pub const fn from_parts(whole: i64, part: i64) -> Result<Self, OutOfRange> {
                match Decimal::from_parts(whole, part) {
                    Ok(decimal) => Ok(Self(decimal)),
                    Err(error) => Err(error),
                }
            }

            /// The whole number and the rest in units of 10^-12; see [`Decimal::to_parts`].
            #[must_use]
            pub fn to_parts(self) -> (i64, i64) {
                self.0.to_parts()
            }

            /// Whether it is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0.is_zero()
            }

            /// Whether it is below zero.
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.0.is_negative()
            }

            /// Whether it is above zero.
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.0.is_positive()
            }

            /// Whether it may be a single amount: at most [`Self::LARGEST`] in size.
            #[must_use]
            pub const fn is_acceptable(self) -> bool {
                self.0.is_acceptable()
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
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, or none when it does not fit.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The opposite, or none for the least value.
            #[must_use]
            pub fn checked_neg(self) -> Option<Self> {
                self.0.checked_neg().map(Self)
            }

            /// The size, or none for the least value.
            #[must_use]
            pub fn checked_abs(self) -> Option<Self> {
                self.0.checked_abs().map(Self)
            }

            /// Adds up; none when the sum does not fit.
            #[must_use]
            pub fn checked_sum(values: impl IntoIterator<Item = Self>) -> Option<Self> {
                values.into_iter().try_fold(Self::ZERO, Self::checked_add)
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

            /// [`Self::checked_add`] for code that passes errors on with `?`.
            ///
            /// # Errors
            /// When the sum does not fit.
            pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
                self.checked_add(other).ok_or(OutOfRange)
            }

            /// [`Self::checked_sub`] for code that passes errors on with `?`.
            ///
            /// # Errors
            /// When the difference does not fit.
            pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
                self.checked_sub(other).ok_or(OutOfRange)
            }

            /// What of this lies above `floor`; zero when nothing does.
            #[must_use]
            pub fn above(self, floor: Self) -> Self {
                if self > floor { self.saturating_sub(floor) } else { Self::ZERO }
            }

            /// This many times over.
            ///
            /// # Errors
            /// When it does not fit.
            pub fn repeated(self, times: i64) -> Result<Self, OutOfRange> {
                self.0.repeated(times).map(Self)
            }

            /// This percentage of it, rounded once to 12 places.
            ///
            /// # Errors
            /// When it does not fit.
            pub fn percent(self, percent: Percent, rounding: Rounding) -> Result<Self, OutOfRange> {
                self.0.percent(percent, rounding).map(Self)
            }

            /// `self * part / whole`, rounded once to 12 places: a proportional share.
            ///
            /// Part and whole are of one kind, which need not be this one: 10 of 31 days, 30 of 100 credits.
            ///
            /// # Errors
            /// When `whole` is zero or the result does not fit.
            pub fn mul_div(
                self,
                part: Decimal,
                whole: Decimal,
                rounding: Rounding,
            ) -> Result<Self, OutOfRange> {
                self.0.mul_div(part, whole, rounding).map(Self)
            }

            /// How many times `size` goes into it, rounded to a whole number.
            ///
            /// # Errors
            /// When `size` is not above zero or the result does not fit.
            pub fn blocks(self, size: Self, rounding: Rounding) -> Result<Quantity, OutOfRange> {
                self.0.blocks(size.0, rounding).map(Quantity)
            }

            /// Rounded to a multiple of `step`.
            ///
            /// # Errors
            /// When `step` is not above zero or the result does not fit.
            pub fn round_to(self, step: Self, rounding: Rounding) -> Result<Self, OutOfRange> {
                self.0.round_to(step.0, rounding).map(Self)
            }

            /// Rounded to so many decimal places; 0 is a whole number, and 12 or more change nothing.
            ///
            /// # Errors
            /// When the result does not fit.
            pub fn round_to_places(self, places: u32, rounding: Rounding) -> Result<Self, OutOfRange> {
                self.0.round_to_places(places, rounding).map(Self)
            }

            /// Its text in a buffer on the stack.
            pub fn format(self, buffer: &mut Buffer) -> &str {
                self.0.format(buffer)
            }
        }

        impl FromStr for $name {
            type Err = DecimalError;
            fn from_str(text: &str) -> Result<Self, DecimalError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    };
}

kind! {
    /// An amount of credits. In JSON a decimal string such as `"12.5"`, and nothing else.
    Credits
}
kind! {
    /// How much was used, in whole units of whatever is measured. In JSON a decimal string or a whole number.
    Quantity
}
kind! {
    /// A price of one whole unit, in credits. In JSON a decimal string such as `"0.0000003"`, and nothing else.
    Price
}
kind! {
    /// A percentage: 12.5 is one eighth. In JSON a decimal string or a whole number.
    Percent
}

impl Percent {
    /// All of it.
    pub const ALL: Self = Self::from_whole(100);
}

impl Price {
    /// What a quantity costs at this price, rounded once to 12 places; for whole units nothing is ever rounded.
    ///
    /// # Errors
    /// When the cost does not fit.
    pub fn times(self, quantity: Quantity, rounding: Rounding) -> Result<Credits, OutOfRange> {
        self.0.mul(quantity.0, rounding).map(Credits)
    }

    /// How much can be had for `credits`: no more than they pay for, and at most [`Quantity::LARGEST`], which is also
    /// what a price that is not above zero affords.
    #[must_use]
    pub fn affords(self, credits: Credits) -> Quantity {
        if !self.is_positive() {
            return Quantity::LARGEST;
        }
        // Toward zero; less than nothing affords nothing.
        let quantity = credits.max(Credits::ZERO).0.div(self.0, Rounding::Down);
        quantity.map_or(Quantity::LARGEST, Quantity).min(Quantity::LARGEST)
    }

    /// The price of a unit at which one costs exactly `credits`.
    #[must_use]
    pub const fn of_one(credits: Credits) -> Self {
        Self(credits.0)
    }
}

impl Decimal {
    /// This percentage of it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn percent(self, percent: Percent, rounding: Rounding) -> Result<Self, OutOfRange> {
        // Percentages are nearly always whole, and then all of it stays within 64 bits.
        match percent.decimal().to_parts() {
            (whole, 0) => ratio(i128::from(whole), self.units(), 100, rounding),
            _ => ratio(percent.units(), self.units(), 100 * Self::SCALE, rounding),
        }
        .map(Self::from_units)
    }
}
