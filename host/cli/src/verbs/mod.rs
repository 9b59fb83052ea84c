//! One file, or folder, for each verb.

pub mod archive;
pub mod as_code;
pub mod backtest;
pub mod backup;
pub mod checkpoint;
pub mod compile_worker;
pub mod copy;
pub mod demo;
pub mod estimate;
pub mod export;
pub mod import;
pub mod policy;
pub mod prices;
pub mod replay;
pub mod serve;
pub mod simulate;
pub mod verify;

use crate::error::Error;

/// Runs what needs no further thread.
fn on_this_thread<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("starting threads"))?
        .block_on(work)
}
