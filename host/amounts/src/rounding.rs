//! The directions in which a result between two representable values may go.

use crate::{
    error::OutOfRange,
    wide::{Division, divide},
};
use core::cmp::Ordering;

/// Where a result between two steps goes.
///
/// Every direction treats a negative value as the mirror image of the positive one, so reversing a computation
/// gives exactly the opposite amount. That is why no direction goes toward an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Rounding {
    /// Away from zero: a cost is never below the exact one.
    #[default]
    Up,
    /// Toward zero: what is given or rolled over is never more than the exact value.
    Down,
    /// To the nearer value, and from the middle away from zero, as invoices and most tax rules do.
    HalfUp,
    /// To the nearer value, and from the middle to the even one: without bias over many results.
    HalfEven,
}

impl Rounding {
    /// Whether an inexact magnitude goes to the next greater one, given how its rest compares with one half.
    const fn increments(self, odd: bool, half: Ordering) -> bool {
        match self {
            Self::Up => true,
            Self::Down => false,
            Self::HalfUp => half.is_ge(),
            Self::HalfEven => half.is_gt() || (half.is_eq() && odd),
        }
    }

    /// The rounded quotient.
    pub(crate) fn round(self, division: Division) -> Result<u128, OutOfRange> {
        let Division { quotient, rest, divisor } = division;
        if rest == 0 {
            return Ok(quotient);
        }
        let up = self.increments(quotient % 2 == 1, rest.cmp(&(divisor - rest)));
        quotient.checked_add(u128::from(up)).ok_or(OutOfRange)
    }

    /// The multiple of `step` that a quotient rounds to, in one rounding.
    ///
    /// Dividing by `divisor * step` at once could overflow, and rounding twice would be wrong.
    pub(crate) fn round_to_multiple(self, division: Division, step: u128) -> Result<u128, OutOfRange> {
        let (steps, rest) = divide(division.quotient, step).ok_or(OutOfRange)?;
        if rest == 0 && division.rest == 0 {
            return Ok(division.quotient);
        }
        // The exact rest is `rest + division.rest / division.divisor`. In an even step one half is a whole number;
        // in an odd one it lies between two.
        let half = match rest.cmp(&(step - rest)) {
            Ordering::Equal if division.rest > 0 => Ordering::Greater,
            Ordering::Less if step - rest == rest + 1 => {
                division.rest.cmp(&(division.divisor - division.rest))
            }
            order => order,
        };
        let up = self.increments(steps % 2 == 1, half);
        steps.checked_add(u128::from(up)).and_then(|steps| steps.checked_mul(step)).ok_or(OutOfRange)
    }
}
