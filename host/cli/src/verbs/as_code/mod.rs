//! `proviso pull`, `diff` and `apply`: plans, their terms and policies as files of a folder, what they would change on a server, and the
//! change itself, in one step or not at all. `docs/terms-as-code.md` describes the folder.

pub mod apply;
pub mod diff;
mod document;
mod effect;
mod folder;
mod format;
pub mod pull;
mod report;
mod request;
mod toml_text;

pub use format::schemas;
