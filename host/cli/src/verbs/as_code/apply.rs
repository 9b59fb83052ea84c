//! `proviso apply`: brings a server to what a folder says, in one step or not at all.

use super::{
    diff,
    folder::{Folder, Wanted},
    request::{Request, Signing},
};
use crate::{
    error::Error,
    exit::Verdict,
    secrets,
    terminal::{self, Paint},
    verbs::policy::remote::{Server, client::Client},
};
use clap::Args;
use std::path::PathBuf;

/// What `apply` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    wanted: Wanted,
    /// Make exactly the changes that `proviso diff` showed with this digest, or none
    #[arg(long, value_name = "DIGEST")]
    expect: Option<String>,
    /// Sign modules that are uploaded with this secret key, as `policy key` makes one
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Applies.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { wanted: Wanted { dir, prune }, expect, sign, server } = flags;
    let folder = Folder::read(dir)?;
    let client = Client::new(&server.server)?;
    // Modules decide nothing until terms name them.
    let request = Request::of(&folder, &client, Some(Signing(sign.as_deref())))?;
    let planned = request.dry_run(&folder, &client, *prune)?;
    if let Some(expect) = expect.as_deref().filter(|expect| *expect != planned.digest) {
        return Err(Error::Server(format!(
            "{}: what would change is no longer what was shown as {expect}: look at `proviso diff` again. Nothing was changed",
            server.server
        )));
    }
    let paint = Paint::for_stdout();
    let mut done = planned;
    if !done.changes.is_empty() {
        let key = format!("apply-{}{}", secrets::new_instance(), secrets::new_instance());
        done = request.apply(&folder, &client, *prune, &done.digest, &key)?;
    }
    if server.json {
        let text = serde_json::to_string_pretty(&done).map_err(|error| Error::Server(error.to_string()))?;
        terminal::print(&format!("{text}\n"))?;
        return Ok(Verdict::Fine);
    }
    let mut text = diff::shown(&done, &request, paint, |_| String::new());
    if done.applied {
        text.push_str(&format!("{} all of it in one step\n", paint.good("applied")));
    }
    terminal::print(&text)?;
    Ok(Verdict::Fine)
}
