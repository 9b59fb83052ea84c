//! x
use crate::{error::Error, exit::Verdict};
/// F
#[derive(Debug, clap::Args)]
pub struct Flags {}
/// R
pub fn run(_: Flags) -> Result<Verdict, Error> {
    Ok(Verdict::Fine)
}
