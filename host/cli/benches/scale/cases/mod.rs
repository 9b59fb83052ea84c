//! The cases, one file each: options in, a printed table out.

pub mod charges;
pub mod check;
pub mod growth;
pub mod latency;
pub mod policies;
pub mod replicas;
pub mod swap;
