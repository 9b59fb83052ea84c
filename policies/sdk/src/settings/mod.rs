//! Settings: JSON text when they are checked, a compact form in every decision.

pub(crate) mod form;
pub(crate) mod json;
pub mod schema;

pub use form::FormError;
