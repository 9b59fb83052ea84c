//! Version 1 of the interface: its text, its records, its exports, and what is checked of its results. Nothing outside this
//! folder knows how a policy's values are laid out, so that another version can stand beside it.

// The derived implementations are unsafe code of wasmtime's own making.
#![allow(unsafe_code)]

mod check;
mod exports;
mod lift;
mod lower;

pub(crate) use exports::Exports;

/// The interface's own text: the one source that guests and host are held to.
pub(crate) const WIT: &str = include_str!("../../../../wit/v1/policy.wit");
/// The instance of types that a component may import.
pub(crate) const TYPES: &str = "proviso:policy/types@1.0.0";
/// The world that a component is of.
pub(crate) const WORLD: &str = "proviso:policy/policy@1.0.0";
