//! What is wrong with settings.

use alloc::{borrow::ToOwned, string::String};

/// What is wrong with the settings, at a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `/rates/0/price`.
    pub pointer: String,
    /// For people.
    pub detail: String,
}

impl Problem {
    /// What is wrong at a JSON pointer into the settings.
    #[must_use]
    pub fn new(pointer: &str, detail: &str) -> Self {
        Self { pointer: pointer.to_owned(), detail: detail.to_owned() }
    }
}
