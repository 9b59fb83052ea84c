//! What authors of Proviso policies use. In: a type that says what a usage costs, what happens when credits run out
//! and what a reset does. Out: a component of the world `proviso:policy/policy@1.0.0`, or a native test of it.
//! Nothing here reads a clock, a file or the network, and a policy cannot either.
//!
//! A policy is its settings: a type that serde reads, with a way to rate. This is a whole one:
//!
//! ```
//! use proviso_sdk::prelude::*;
//!
//! /// One price for each token.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct PerToken {
//!     price: Price,
//! }
//!
//! impl Policy for PerToken {
//!     const ABOUT: About = About::new("per-token", "1.0.0", "One price for each token.");
//!
//!     fn rate(&self, usage: &Usage, _: &Context) -> Result<Rating, Refusal> {
//!         let tokens = usage.quantity("tokens");
//!         Ok(Rating::of([Line::priced("tokens", tokens, self.price, Rounding::Up)?])?)
//!     }
//! }
//!
//! proviso_sdk::export!(PerToken);
//!
//! // In a test:
//! use proviso_sdk::testing::{Terms, context, show, usage};
//! let terms = Terms::<PerToken>::new(r#"{"price": "0.002"}"#);
//! let rating = terms.rate(&usage("chat").quantity("tokens", "1500"), &context("2026-11-23T10:00:00Z"));
//! assert_eq!(show(&rating), "tokens: 1500 x 0.002 = 3\n3 credits");
//! ```
#![no_std]

extern crate alloc;

mod amounts;
pub mod bindings;
pub mod calendar;
mod decimal;
pub mod form;
mod json;
#[cfg(target_arch = "wasm32")]
mod memory;
mod outcome;
mod policy;
mod prices;
pub mod testing;
mod usage;

pub use amounts::{Amount, Credits, OutOfRange, Percent, Price, Rounding, sum};
pub use decimal::DecimalError;
pub use outcome::CREDITS;
pub use policy::{About, Module, Policy, damaged, read_form, read_settings};
pub use prices::{PriceList, Priced, UnitPrice};
pub use usage::{Scope, Window};

/// The records of the interface. Their amounts are bare integers in the units that `wit/v1` names; [`Credits`],
/// [`Amount`] and [`Price`] wrap them.
pub mod types {
    pub use crate::bindings::proviso::policy::types::*;
}

/// What nearly every policy needs.
pub mod prelude {
    pub use crate::{
        About, Amount, CREDITS, Credits, OutOfRange, Percent, Policy, Price, PriceList, Priced, Rounding,
        Scope, Window, sum,
        types::{
            Context, Counter, Fee, Line, Money, NewGrant, Offer, OverageOutcome, Period, Problem, Rating,
            Refusal, ResetOutcome, Rollover, Settlement, TopUp, Usage,
        },
    };
    pub use alloc::{
        borrow::ToOwned,
        boxed::Box,
        format,
        string::{String, ToString},
        vec,
        vec::Vec,
    };
}

/// Keeps the example for authors compiling.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Leaves a line with the decision. Bounded in number and length; the rest is dropped. Outside a module it does nothing.
pub fn log(message: &str) {
    #[cfg(target_arch = "wasm32")]
    bindings::log(message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = message;
}

/// Makes a type that is a [`Policy`] or a [`Module`] the policy of this crate, whose crate type must be `cdylib`.
///
/// `export!(MyPolicy)` works in every crate. `export!(MyPolicy, no_std)` is for crates that say
/// `#![cfg_attr(target_arch = "wasm32", no_std)]`: their module is smaller, and a panic's message is left in the log.
#[macro_export]
macro_rules! export {
    ($policy:ident) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)] // Generated: the component's entry points.
        const _: () = {
    $crate::bindings::export_component!($policy with_types_in $crate::bindings);
        };
    };
    ($policy:ident, no_std) => {
        $crate::export!($policy);

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panicked(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panicked(info)
        }
    };
}

/// Where a panic ends in modules without std: its message in the log, then a trap.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    log(&alloc::format!("{info}"));
    core::arch::wasm32::unreachable()
}
