//! The pure core of Proviso: grants, burn-down, reservations, periods, counters, the journal and its fold. It reads no clock,
//! draws no random number, waits for nothing, and knows no SQL, HTTP or Wasm: the same arguments always give the same bytes.
//!
//! Layers, each of which knows only those before it: [`model`] (values and what policies answer), [`journal`] (entries as they
//! are stored), [`state`] (what is known of a customer), [`rules`] (a command and a decision become a draft or a refusal),
//! [`fold`] (a draft becomes an entry, an entry changes the state).

pub mod fold;
pub mod journal;
pub mod model;
pub mod rules;
pub mod state;
