//! `proviso policy push`: uploads a policy as a new version. What the server would refuse for its size, shape or interface is said
//! before anything is sent.

use super::{Server, client};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::source,
};
use clap::Args;
use proviso_ledger::model::ids::Name;
use proviso_policy::{Limits, inspect};
use serde_json::Value;
use std::path::PathBuf;

/// What `policy push` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    file: PathBuf,
    /// The policy that it becomes a version of; it is created when there is none
    #[arg(long, value_name = "NAME")]
    policy: Name,
    #[command(flatten)]
    server: Server,
}

/// Uploads.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let client = client::Client::new(&flags.server.server)?;
    let component = source::load(&flags.file)?;
    inspect(&component, &Limits::default()).map_err(Error::Refused)?;
    let path = format!("/v1/policies/{}/versions", client::segment(flags.policy.as_str()));
    let (status, version): (u16, Value) = client.post(&path, "application/wasm", &component)?;
    if flags.server.json {
        terminal::print(&format!("{version:#}\n"))?;
        return Ok(Verdict::Fine);
    }
    let paint = Paint::for_stdout();
    let field = |name: &str| version.get(name).map(|value| value.to_string()).unwrap_or_default();
    let what = if status == 201 { paint.good("pushed") } else { paint.strong("known already") };
    let digest = field("digest");
    let digest = paint.faint(digest.trim_matches('"'));
    terminal::print(&format!("{what} {} version {}  {digest}\n", flags.policy, field("version")))?;
    Ok(Verdict::Fine)
}
