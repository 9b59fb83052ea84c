//! The pure core of Proviso: exact credits, grants, burn-down, reservations, periods, counters, the journal and its
//! fold.
//!
//! In come a customer's [`CustomerState`](state::CustomerState), a command and what a policy decided; out come an
//! entry for the journal or a refusal. Nothing here reads a clock, draws a random number, waits, or knows of SQL, HTTP
//! or Wasm: `now` is an argument, and the same arguments always give the same bytes.

mod base64_bytes;
pub mod charge;
pub mod context;
pub mod counters;
pub mod credits;
pub mod customer;
pub mod decimal;
pub mod decision;
pub mod draw;
pub mod due;
pub mod entitlement;
pub mod error;
pub mod fold;
pub mod grant;
pub mod grants;
pub mod ids;
pub mod journal;
pub mod json;
pub mod pairs;
pub mod period;
pub mod reservation;
pub mod reset;
pub mod state;
pub mod terms;
pub mod time;
pub mod transfer;
