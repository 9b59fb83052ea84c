//! The cases, one file each. Each prints a table.

pub mod charges;
pub mod check;
pub mod growth;
pub mod latency;
pub mod policies;
pub mod replicas;
pub mod swap;
