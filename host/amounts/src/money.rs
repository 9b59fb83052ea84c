//! Real money: what credits cost, never what they are.

use crate::{
    currency::Currency,
    decimal::{self, Decimal},
    error::{MoneyError, OutOfRange},
    kinds::Credits,
    rounding::Rounding,
};
use core::fmt;

/// An amount of a currency: not negative, and below 10^15.
///
/// The amount may have more decimal places than the currency's minor unit, since a price of 0.0035 USD is a price
/// that people agree on; nothing rounds it on the way in. What this type computes from it as a share is rounded to
/// the minor unit. In JSON `{"amount": "99.9", "currency": "EUR"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(into = "crate::json::MoneyFields", try_from = "crate::json::MoneyFields")
)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// Checks the bounds.
    ///
    /// # Errors
    /// When the amount is negative, or 10^15 or more.
    pub const fn new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        if amount.is_negative() {
            Err(MoneyError::Negative)
        } else if !amount.is_acceptable() {
            Err(MoneyError::OutOfRange)
        } else {
            Ok(Self { amount, currency })
        }
    }

    /// In whole units of the currency.
    #[must_use]
    pub const fn amount(self) -> Decimal {
        self.amount
    }

    /// What it is an amount of.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it costs nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// This many times over: the price of several packs. Exact.
    ///
    /// # Errors
    /// When `times` is negative or the result is 10^15 or more.
    pub fn repeated(self, times: i64) -> Result<Self, OutOfRange> {
        self.with(self.amount.repeated(times)?)
    }

    /// Rounded to the currency's minor unit, as it can be paid.
    ///
    /// # Errors
    /// When the result is 10^15 or more.
    pub fn rounded(self, rounding: Rounding) -> Result<Self, OutOfRange> {
        self.with(self.amount.round_to(self.currency.minor_unit(), rounding)?)
    }

    /// What `part` of `whole` credits cost when all of them cost this, rounded once to the minor unit.
    ///
    /// The share of everything is the amount itself, unrounded, and no share is more than the amount. To divide an
    /// amount among several parts without losing or gaining a cent, use [`Self::shares`].
    ///
    /// # Errors
    /// When `whole` is not above zero, or `part` is not between zero and `whole`.
    pub fn share(self, part: Credits, whole: Credits, rounding: Rounding) -> Result<Self, OutOfRange> {
        if !whole.is_positive() || part.is_negative() || part > whole {
            return Err(OutOfRange);
        }
        if part == whole {
            return Ok(self);
        }
        let step = self.currency.minor_unit();
        let share = decimal::share(self.amount, part.decimal(), whole.decimal(), step, rounding)?;
        self.with(share.min(self.amount))
    }

    /// Divides this among parts of `whole` credits.
    ///
    /// # Errors
    /// When `whole` is not above zero.
    pub const fn shares(self, whole: Credits, rounding: Rounding) -> Result<Shares, OutOfRange> {
        if !whole.is_positive() {
            return Err(OutOfRange);
        }
        let given = Self { amount: Decimal::ZERO, currency: self.currency };
        Ok(Shares { money: self, whole, rounding, taken: Credits::ZERO, given })
    }

    fn with(self, amount: Decimal) -> Result<Self, OutOfRange> {
        Self::new(amount, self.currency).map_err(|_| OutOfRange)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

/// An amount of money that is being divided in proportion to credits, so that the shares add up to it exactly.
///
/// Each share is the difference between the rounded share of everything taken so far and that of everything taken
/// before (a running difference). So it is at most one minor unit away from its exact value, it is never negative,
/// the shares of any first parts add up to the rounded share of their sum, and once all credits are taken the shares
/// add up to the amount. Places beyond the minor unit go with the last part. It needs no list of the parts beforehand,
/// unlike the largest-remainder method.
#[derive(Debug, Clone)]
pub struct Shares {
    money: Money,
    whole: Credits,
    rounding: Rounding,
    taken: Credits,
    given: Money,
}

impl Shares {
    /// The share of the next `part` credits.
    ///
    /// # Errors
    /// When `part` is negative or more than what is left of the whole; then nothing is taken.
    pub fn take(&mut self, part: Credits) -> Result<Money, OutOfRange> {
        if part.is_negative() {
            return Err(OutOfRange);
        }
        let taken = self.taken.plus(part)?;
        let given = self.money.share(taken, self.whole, self.rounding)?;
        let share = given.with(given.amount.checked_sub(self.given.amount).ok_or(OutOfRange)?)?;
        (self.taken, self.given) = (taken, given);
        Ok(share)
    }

    /// What no part has taken yet.
    #[must_use]
    pub const fn rest(&self) -> Money {
        // At most the amount was given.
        Money { amount: self.money.amount.saturating_sub(self.given.amount), currency: self.money.currency }
    }
}
