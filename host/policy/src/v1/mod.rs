//! Version 1 of the interface, both ways: plain types of the ledger in, values of the component model out, and back.
//! Nothing outside this folder knows how a policy's values are laid out.

// The derived implementations are unsafe code of wasmtime's own making.
#![allow(unsafe_code)]

mod check;
mod lift;
mod lower;

pub(crate) use check::Invalid;
pub(crate) use lift::{Manifest, OverageOutcome, Prepared, Problem, Rating, Refusal, ResetOutcome, problems};
pub(crate) use lower::{Context, Filling, Period, RatingArgument, Usage};
