//! Instruments for authors: what of a compiled policy runs ([`Coverage`]), and where its fuel goes ([`Profile`]).
//!
//! Both work on the core module inside the component. It is rewritten with probes and wrapped again in a component that may also
//! import `probe`. The rewritten module runs beside the plain one: answers, fuel and limits are always those of the plain one,
//! so that nothing that is decided depends on being looked at. Servers never run a rewritten module.

mod core_module;
mod cover;
mod lines;
mod pair;
mod profile;
mod report;
mod rewrite;

pub use core_module::Source;
pub use cover::Coverage;
pub use profile::{Frame, Profile};
pub use report::{Arm, Branch, Function, Report};

use crate::fault::{PolicyError, Rejection};

/// What a module can't be rewritten for.
fn refused(detail: impl Into<String>) -> PolicyError {
    Rejection::one("not_instrumentable", "module", detail).into()
}
