//! Values that all layers share: names, times, grants, terms, usages, and what policies are shown and answer.

pub mod add_on;
pub mod answers;
mod base64_bytes;
pub mod budget;
pub mod canary;
pub mod counter;
pub mod customer;
pub mod entitlement;
pub mod entity;
pub mod grant;
pub mod ids;
pub mod json;
pub mod lease;
pub mod pairs;
pub mod period;
pub mod plan_grant;
pub mod resources;
pub mod terms;
pub mod time;
pub mod top_up;
pub mod transfer;
pub mod usage;
pub mod view;

pub use proviso_amounts as amounts;
