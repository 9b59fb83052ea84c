//! The journals of any number of hosts in one PostgreSQL database.
//!
//! Each question and each [commit] is one statement, so one round trip, over a small [pool] of [sessions](server). Apart
//! from the [last entries](heads) that it wrote itself, a store remembers nothing between two calls: it sees at once what
//! another host wrote.

mod anchors;
mod archive;
mod catalog;
mod claims;
mod commit;
mod heads;
mod hosts;
mod migrate;
mod pool;
mod reads;
mod redemptions;
mod rollups;
mod server;
mod store;

pub use server::PostgresOptions;
pub use store::PostgresStore;
