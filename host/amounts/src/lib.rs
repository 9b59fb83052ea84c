//! The exact numbers of Proviso: decimals, credits, quantities, prices, percentages and money, with every rounding named.
//!
//! # Units and bounds
//! A [`Decimal`] is a 128-bit count of 10^-12. [`Credits`], [`Quantity`], [`Price`] (of one whole unit) and
//! [`Percent`] are decimals that the compiler tells apart; [`Money`] is a decimal of an ISO 4217 [`Currency`] and
//! never converts to credits.
//!
//! A *single amount* (of one grant, charge or price; one quantity of one usage) must lie strictly between -10^15 and
//! 10^15 whole units. Parsing and arithmetic do not enforce this, since totals use the same types; whoever takes an
//! amount in calls [`Credits::accepted`] (or [`Credits::is_acceptable`]) before anything is changed. A sum of single
//! amounts cannot overflow with fewer than 1.7 × 10^11 of them, which no customer's history reaches, so code that
//! adds up accepted amounts may treat an overflow as damage.
//!
//! # Errors
//! [`DecimalError`] says why a text is no decimal, [`OutOfRange`] that a result does not fit (or that a divisor is
//! zero), [`MoneyError`] why something is not money. Nothing panics and nothing wraps.
//!
//! # Rounding
//! Addition, subtraction and a price times whole units are exact. Everything that may round takes a [`Rounding`],
//! computes with a 256-bit intermediate and rounds once.
//!
//! # Text
//! `-?digits(.digits)?` with at most 12 places that are not trailing zeros; printed as the shortest exact text. In
//! JSON (feature `serde`, on by default) every amount is such a string; quantities and percentages are also read from
//! whole JSON numbers. Formats that are not text hold the 128-bit units.
//!
//! # Example
//! ```
//! use proviso_amounts::{Credits, Currency, Money, OutOfRange, Price, Quantity, Rounding};
//!
//! let price: Price = "0.0000003".parse()?;
//! let tokens = Quantity::from_whole(25);
//! let cost = price.times(tokens, Rounding::Up)?;
//! assert_eq!(cost.to_string(), "0.0000075");
//! assert_eq!(cost.repeated(1_000)?.to_string(), "0.0075");
//!
//! // What 30 of 100 credits that were bought for 99.99 cost.
//! let paid = Money::new("99.99".parse()?, "EUR".parse()?)?;
//! let share = paid.share(Credits::from_whole(30), Credits::from_whole(100), Rounding::HalfEven)?;
//! assert_eq!(share.to_string(), "30 EUR");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod currency;
mod decimal;
mod error;
#[cfg(feature = "serde")]
mod json;
mod kinds;
mod money;
mod rounding;
mod text;
mod wide;

pub use currency::Currency;
pub use decimal::Decimal;
pub use error::{DecimalError, MoneyError, OutOfRange};
pub use kinds::{Credits, Percent, Price, Quantity};
pub use money::{Money, Shares};
pub use rounding::Rounding;
pub use text::Buffer;
