//! What authors of Proviso policies use: a policy is a type with its settings and a way to rate, and [`export!`] makes it
//! a component of the world `proviso:policy/policy@1.0.0`. A policy has no clock, no file and no network: everything it
//! knows is in its arguments.
//!
//! This is a whole one:
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

mod boundary;
pub mod calendar;
mod context;
mod counter;
#[cfg(target_arch = "wasm32")]
mod memory;
mod overage;
mod policy;
mod prices;
mod problem;
mod rating;
mod settings;
pub mod testing;
mod usage;
#[doc(hidden)]
pub mod v1;

pub use boundary::{
    Allowance, CloseOutcome, CloseReason, Closing, Fee, FeeMethod, Given, NewGrant, OpenOutcome, OpenReason,
    Opening, Rollover, Settlement, SettlementMethod,
};
pub use calendar::{Cycle, Expiry, Instant, Moment, Period, TimeOfDay};
pub use context::{Balance, Category, Context, Contract, Customer, Grant};
pub use counter::{Counted, Counter, Scope, Window};
pub use overage::{Offer, OverageOutcome, TopUp};
pub use policy::{
    About, Manifest, Module, Need, Policy, Prepared, PricedFeature, SettleOverageFrom, damaged, form_without,
    read_form, read_settings,
};
pub use prices::{PriceList, Priced, UnitPrice};
pub use problem::Problem;
pub use proviso_amounts::{
    Credits, Currency, Decimal, DecimalError, Money, MoneyError, OutOfRange, Percent, Price, Quantity,
    Rounding,
};
pub use rating::{CREDITS, Line, Rating, Refusal, RefusalKind, Suggestion};
pub use settings::FormError;
#[doc(hidden)]
pub use settings::schema;
pub use usage::{Attribute, Entity, NamedQuantity, Purpose, Usage};

/// What nearly every policy needs.
pub mod prelude {
    pub use crate::{
        About, Allowance, CREDITS, Category, CloseOutcome, CloseReason, Closing, Context, Counter, Credits,
        Cycle, Decimal, Expiry, Fee, Line, Money, Need, NewGrant, Offer, OpenOutcome, OpenReason, Opening,
        OutOfRange, OverageOutcome, Percent, Period, Policy, Price, PriceList, Priced, PricedFeature,
        Problem, Purpose, Quantity, Rating, Refusal, Rollover, Rounding, Scope, SettleOverageFrom,
        Settlement, Suggestion, TopUp, Usage, Window,
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

/// Keeps the guide compiling.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-policies.md")]
struct Guide;

/// Leaves a line with the decision. Bounded in number and length; the rest is dropped. Natively it does nothing.
///
/// A module whose code reaches this imports the host's `log`, which makes each of its decisions a little slower.
pub fn log(message: &str) {
    #[cfg(target_arch = "wasm32")]
    v1::bindings::log(message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = message;
}

/// Makes a type that is a [`Policy`] or a [`Module`] the policy of this crate, whose crate type must be `cdylib`.
///
/// `export!(MyPolicy)` works in every crate. `export!(MyPolicy, no_std)` is for crates that say
/// `#![cfg_attr(target_arch = "wasm32", no_std)]`: their module is smaller. A panic stops the decision, which the host
/// records as a fault; with `export!(MyPolicy, no_std, log_panics)` its message is left in the log, at the cost of the
/// import and of the text in the module.
#[macro_export]
macro_rules! export {
    ($policy:ident) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)] // Generated: the component's entry points.
        const _: () = {
    $crate::v1::bindings::export_component_v1!($policy with_types_in $crate::v1::bindings);
        };
    };
    ($policy:ident, no_std) => {
        $crate::export!($policy);

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panicked(info: &::core::panic::PanicInfo<'_>) -> ! {
            // Set by `proviso policy test` when it builds once more to look at a fault. Without it nothing of the message is left in
            // the module.
            if ::core::option_env!("PROVISO_LOG_PANICS").is_some() {
                $crate::log_panic(info)
            }
            ::core::arch::wasm32::unreachable()
        }
    };
    ($policy:ident, no_std, log_panics) => {
        $crate::export!($policy);

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panicked(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::log_panic(info)
        }
    };
}

/// The message of a panic in the log, then a trap.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub fn log_panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log(&alloc::format!("{info}"));
    core::arch::wasm32::unreachable()
}
