//! What a customer's money does, once more with PostgreSQL under the server: the same tests, by the same requests.

#![allow(clippy::duplicate_mod, reason = "each file of tests has the module of what supports it")]

#[path = "money.rs"]
mod money;
#[path = "plan_changes.rs"]
mod plan_changes;
