//! `proviso policy run`: asks a policy once, about a usage or about the end or the beginning of a period, and shows the answer, the
//! fuel that it took, and what the policy logged. No ledger is involved.

mod answer;
mod files;

use super::{needs, runtime, settings, source};
use crate::{
    clock,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use answer::{Answer, Said};
use clap::{Args, ValueEnum};
use files::{ContextFile, UsageFile};
use proviso_decide::policy::{Decided, Failure, Policy};
use proviso_ledger::model::{
    answers::{Prepared, Rating, Refusal},
    view::{Context, UsageView},
};
use serde::de::DeserializeOwned;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What `policy run` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    file: PathBuf,
    /// The settings, JSON or TOML; of a case file, what stands under [settings]
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// What the policy is asked [default: rate]
    #[arg(long, value_name = "CALL")]
    call: Option<Call>,
    /// The usage to rate, JSON: the body of a charge, and purpose, period, late, entities
    #[arg(long, value_name = "FILE", required_unless_present = "call", required_if_eq("call", "rate"))]
    usage: Option<PathBuf>,
    /// What else the policy is shown, JSON: now, time_zone, customer, plan, attributes, period, terms_effective_at, contract,
    /// balances, grants, counters, closing, opening
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Call {
    /// What a usage costs, and what happens when that is more than is available
    Rate,
    /// What the end of a period does
    Close,
    /// What the beginning of a period does
    Open,
}

/// A call with what only that call is given.
enum Question {
    Rate(PathBuf, UsageFile),
    Close,
    Open,
}

/// Runs.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    // All is read before anything is built: a typo should not cost a compilation.
    let settings = settings::read(&flags.settings)?.to_string();
    let question = match flags.call.unwrap_or(Call::Rate) {
        Call::Rate => {
            // The command line has demanded it.
            let path = flags.usage.unwrap_or_default();
            let usage = json_file(&path)?;
            Question::Rate(path, usage)
        }
        Call::Close => Question::Close,
        Call::Open => Question::Open,
    };
    let context: ContextFile = flags.context.as_deref().map(json_file).transpose()?.unwrap_or_default();
    let component = source::load(&flags.file)?;
    let module = runtime()?.admit(&component).map_err(Error::refused)?.module;
    let prepared = module.prepare(&settings)?.value.map_err(|problems| {
        let list: String =
            problems.iter().map(|problem| format!("\n  {}: {}", problem.pointer, problem.detail)).collect();
        let detail = format!("the policy refuses these settings:{list}");
        Error::Content { path: flags.settings.clone(), detail }
    })?;
    let shown = context
        .shown(clock::now(), &prepared.counters)
        .map_err(Error::content(flags.context.clone().unwrap_or_default()))?;
    let mut undeclared = Vec::new();
    let Decided { value, fuel, log } = match question {
        Question::Rate(path, usage) => {
            let usage = usage.reported(shown.context.now.at).map_err(Error::content(path))?;
            let view = usage.view(&shown);
            let ask = |policy: &dyn Policy| rate(policy, &view, &shown.context, &prepared);
            let said = ask(&*module)?;
            // What a server would not show must not be what the answer depends on.
            undeclared = needs::undeclared(&*module, |policy| {
                ask(&*policy).map_or(true, |other| other.value != said.value)
            });
            said
        }
        Question::Close => {
            let closed = module.close(&shown.closing(), &shown.context, &prepared.form)?;
            Decided { value: Said::Closed(closed.value), fuel: closed.fuel, log: closed.log }
        }
        Question::Open => {
            let opened = module.open(&shown.opening(), &shown.context, &prepared.form)?;
            Decided { value: Said::Opened(opened.value), fuel: opened.fuel, log: opened.log }
        }
    };
    if !undeclared.is_empty() {
        let named: Vec<String> = undeclared.iter().map(|need| format!("Need::{need}")).collect();
        terminal::note(&format!(
            "warning: the policy would answer otherwise if it were shown what it does not declare; a server leaves that out: \
             About::new(…).needs(&[{}])",
            named.join(", ")
        ));
    }
    let answer = Answer { said: value, fuel, log, undeclared };
    let text = if flags.json { format!("{:#}\n", answer.json()) } else { answer.text(Paint::for_stdout()) };
    terminal::print(&text)?;
    Ok(Verdict::Fine)
}

/// Asks what a usage costs, and about overage when that is more than is available.
fn rate(
    policy: &dyn Policy,
    usage: &UsageView<'_>,
    context: &Context,
    prepared: &Prepared,
) -> Result<Decided<Said>, Failure> {
    let rated: Decided<Result<Rating, Refusal>> = policy.rate(usage, context, &prepared.form)?;
    let Decided { value, mut fuel, mut log } = rated;
    let rating = match value {
        Ok(rating) => rating,
        Err(refusal) => return Ok(Decided { value: Said::Refused(refusal), fuel, log }),
    };
    // Without balances nothing is known of what is available, so there is nothing to ask about overage.
    let balance = context.balances.iter().find(|balance| balance.credit == rating.credit);
    let shortfall = balance.map(|balance| rating.cost.above(balance.available));
    let mut overage = None;
    if let Some(shortfall) = shortfall.filter(|shortfall| !shortfall.is_zero()) {
        let decided = policy.overage(usage, &rating, shortfall, context, &prepared.form)?;
        fuel += decided.fuel;
        log.extend(decided.log);
        overage = Some((shortfall, decided.value));
    }
    Ok(Decided { value: Said::Rated(rating, overage), fuel, log })
}

fn json_file<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text).map_err(Error::content(path))
}
