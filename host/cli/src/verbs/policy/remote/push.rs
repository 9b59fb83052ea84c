//! `proviso policy push`: uploads a policy as a new version. What the server would refuse for its size, shape or interface is said
//! before anything is sent.

use super::{Server, client};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::{fitting, sign, source},
};
use clap::Args;
use proviso_engine::ModuleSignature;
use proviso_ledger::model::ids::Name;
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
    /// Sign it with this secret key, as `policy key` makes one
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    sign: Option<PathBuf>,
    /// Send this signature, as `policy sign` prints it
    #[arg(long, value_name = "SIGNATURE")]
    signature: Option<ModuleSignature>,
    #[command(flatten)]
    server: Server,
}

/// Uploads.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let client = client::Client::new(&flags.server.server)?;
    let component = source::load(&flags.file)?;
    fitting(&component)?;
    let path = format!("/v1/policies/{}/versions", client::segment(flags.policy.as_str()));
    let signature = match &flags.sign {
        Some(key) => Some(sign::signature(key, &component)?),
        None => flags.signature,
    };
    let signature = signature.map(|signature| ("proviso-signature", signature.to_string()));
    let (status, version): (u16, Value) =
        client.post_with(&path, "application/wasm", signature.as_slice(), &component)?;
    if flags.server.json {
        terminal::print(&format!("{version:#}\n"))?;
        return Ok(Verdict::Fine);
    }
    let paint = Paint::for_stdout();
    let field = |name: &str| version.get(name).map(|value| value.to_string()).unwrap_or_default();
    let what = if status == 201 { paint.good("pushed") } else { paint.strong("known already") };
    let digest = field("digest");
    let digest = paint.faint(digest.trim_matches('"'));
    let signer = version.pointer("/signed_by/name").and_then(Value::as_str);
    let signer = signer.map(|name| format!("  signed by {name}")).unwrap_or_default();
    terminal::print(&format!("{what} {} version {}  {digest}{signer}\n", flags.policy, field("version")))?;
    Ok(Verdict::Fine)
}
