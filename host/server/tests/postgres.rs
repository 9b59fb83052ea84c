//! What a customer's money does, once more with PostgreSQL under the server: the same tests, by the same requests.

#![allow(clippy::duplicate_mod, reason = "each file of tests has the module of what supports it")]

#[path = "budgets.rs"]
mod budgets;
#[path = "changes.rs"]
mod changes;
#[path = "charging.rs"]
mod charging;
#[path = "money.rs"]
mod money;
#[path = "outcomes.rs"]
mod outcomes;
#[path = "plan_changes.rs"]
mod plan_changes;
#[path = "refunds.rs"]
mod refunds;
#[path = "selling.rs"]
mod selling;
