//! The same commands under other terms. A customer's journal is followed from some entry on; beside it runs a twin whose terms run
//! another policy, version or settings. Whatever is recorded is asked of the twin at the same instant: usage is rated and drawn by
//! the other terms, periods end and begin by them; profiles, grants and corrections are the same.

pub mod report;
pub mod substitute;
pub mod twin;

pub use report::{Answer, Cell, Change, CustomerReport, Flow, Report, RowKey};
pub use substitute::{Scope, Substitute};
pub use twin::Twin;
