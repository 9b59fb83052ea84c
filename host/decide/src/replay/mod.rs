//! Deciding again what was decided: recorded entries by the very terms that decided them (replay), and the same commands under
//! other terms (backtest). Pure, as all of this crate: whoever calls reads journals and loads modules.

pub mod again;
pub mod backtest;
mod difference;
pub mod history;

pub use again::{Again, Outcome, Unrepeatable, again};
pub use history::History;
