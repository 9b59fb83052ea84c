//! The counters that settings need, each of them once.

use alloc::vec::Vec;
use proviso_sdk::Counter;

/// The place of a counter, which is added when there is none like it.
pub(crate) fn place(counter: Counter, counters: &mut Vec<Counter>) -> usize {
    let known = counters.iter().position(|known| *known == counter);
    known.unwrap_or_else(|| {
        counters.push(counter);
        counters.len() - 1
    })
}
