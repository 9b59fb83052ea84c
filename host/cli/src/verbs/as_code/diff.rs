//! `proviso diff`: what a folder would change on a server, and what that would have come to in credits.

use super::{
    effect,
    folder::{Folder, Wanted},
    report,
    request::{Request, Signing},
};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::remote::{Server, client::Client},
};
use clap::Args;
use proviso_api::apply::{ApplyChange, ApplyReport};
use std::path::PathBuf;

/// What `diff` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    wanted: Wanted,
    /// Upload modules that the server does not have, so that it can say what terms with them change; they decide nothing until terms name them
    #[arg(long)]
    upload: bool,
    /// Sign what is uploaded with this secret key, as `policy key` makes one
    #[arg(long, value_name = "FILE", requires = "upload")]
    sign: Option<PathBuf>,
    /// Do not backtest terms that decide in the place of others
    #[arg(long)]
    no_backtest: bool,
    /// How many days backtests look back
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3_660))]
    days: u16,
    #[command(flatten)]
    server: Server,
}

/// Compares.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { wanted: Wanted { dir, prune }, upload, sign, no_backtest, days, server } = flags;
    let folder = Folder::read(dir)?;
    let client = Client::new(&server.server)?;
    let upload = upload.then_some(Signing(sign.as_deref()));
    let request = Request::of(&folder, &client, upload)?;
    let found = request.dry_run(&folder, &client, *prune)?;
    let verdict =
        if found.changes.is_empty() && request.missing.is_empty() { Verdict::Fine } else { Verdict::Differs };
    if server.json {
        let text = serde_json::to_string_pretty(&found).map_err(|error| Error::Server(error.to_string()))?;
        terminal::print(&format!("{text}\n"))?;
        return Ok(verdict);
    }
    let mut effects = Vec::new();
    if !no_backtest {
        for change in &found.changes {
            let effect = effect::of(&client, change, *days);
            // What would change is worth saying even where its effect can't be told.
            effects.push(effect.unwrap_or_else(|error| format!("    effect: not known: {error}\n")));
        }
    }
    let paint = Paint::for_stdout();
    let mut text = shown(&found, &request, paint, |change| {
        let place = found.changes.iter().position(|one| std::ptr::eq(one, change));
        place.and_then(|place| effects.get(place).cloned()).unwrap_or_default()
    });
    if verdict == Verdict::Differs && request.missing.is_empty() {
        let prune = if *prune { " --prune" } else { "" };
        text.push_str(&format!(
            "make exactly these changes: proviso apply {}{prune} --expect {}\n",
            dir.display(),
            found.digest
        ));
    }
    terminal::print(&text)?;
    Ok(verdict)
}

/// The changes, what waits for modules, and the sums.
pub(super) fn shown(
    found: &ApplyReport<'_>,
    request: &Request,
    paint: Paint,
    more: impl Fn(&ApplyChange<'_>) -> String,
) -> String {
    let mut text = report::changes(found, paint, more);
    for (policy, digest) in &request.missing {
        let line = format!("policy/{policy}");
        text.push_str(&format!("{} {}  a new version, {digest}\n", paint.good("+"), paint.strong(&line)));
    }
    for plan in &request.waiting {
        let line = format!("plan/{plan}");
        text.push_str(&format!(
            "{} {}  its terms need a module that is not uploaded: --upload does that, and says what they change\n",
            paint.bad("!"),
            paint.strong(&line)
        ));
    }
    if text.is_empty() {
        format!("{}: {} unchanged\n", paint.good("nothing to change"), terminal::count(found.unchanged))
    } else {
        text.push_str(&format!("{}\n", report::sums(found)));
        text
    }
}
