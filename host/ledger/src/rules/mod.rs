//! What a command and a decision come to: a draft of an entry, or the reason why not. Nothing here changes a state.

pub mod add_on;
pub mod bounds;
pub mod budgeting;
pub mod charge;
pub mod closing;
pub mod context;
pub mod counting;
pub mod customer;
pub mod cycle;
pub mod draw;
pub mod due;
pub mod entity;
pub mod grants;
pub mod importing;
mod late;
pub mod lease;
pub mod opening;
pub mod plan_change;
pub mod refund;
pub mod rejection;
pub mod repeat;
pub mod reservation;
pub mod retry;
mod scratch;
pub mod selling;
mod thresholds;
pub mod top_up;
