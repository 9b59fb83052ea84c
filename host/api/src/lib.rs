//! The wire contract: what requests and answers are made of, and every code with which a request is refused. It knows
//! values (credits, times, keys) and their JSON; it decides nothing and knows neither HTTP libraries nor the engine.

pub mod access;
pub mod add_on;
pub mod any_json;
pub mod apply;
pub mod audit;
pub mod backtest;
pub mod balance;
pub mod balances;
pub mod budget;
pub mod canary;
pub mod charge;
pub mod codes;
pub mod customer;
pub mod decision;
pub mod entitlement;
pub mod entity;
pub mod focus;
pub mod grant;
pub mod import;
pub mod lease;
pub mod ledger;
pub mod maps;
pub mod operations;
pub mod page;
pub mod patch;
pub mod period;
pub mod plan;
pub mod plan_change;
pub mod plan_grant;
pub mod plan_version;
pub mod policy;
pub mod problem;
pub mod report;
pub mod reversal;
pub mod schema;
pub mod selling;
pub mod shadow;
pub mod terms;
pub mod top_up;
pub mod usage;

pub use codes::ProblemCode;
pub use page::Page;
pub use patch::{Given, Patch};
