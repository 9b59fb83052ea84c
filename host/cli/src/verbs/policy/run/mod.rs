//! `proviso policy run`: asks a policy once, about a usage or about the end or the beginning of a period, and shows the answer, the
//! fuel that it took, and what the policy logged. No ledger is involved.

mod answer;
mod files;

use super::{limits, needs, runtime, settings, source};
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
use proviso_policy::class_for;
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
    #[command(flatten)]
    decision: Decision,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// The files of one decision.
#[derive(Debug, Args)]
pub struct Decision {
    /// The settings, JSON or TOML; of a case file, what stands under [settings]
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// What the policy is asked [default: rate]
    #[arg(long, value_name = "CALL")]
    pub call: Option<Call>,
    /// The usage to rate, JSON: the body of a charge, and purpose, period, late, entities
    #[arg(long, value_name = "FILE", required_unless_present = "call", required_if_eq("call", "rate"))]
    pub usage: Option<PathBuf>,
    /// What else the policy is shown, JSON: now, time_zone, customer, plan, attributes, period, terms_effective_at, contract,
    /// balances, grants, counters, closing, opening
    #[arg(long, value_name = "FILE")]
    pub context: Option<PathBuf>,
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Call {
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

/// A decision whose files have been read.
pub struct ReadDecision {
    files: Decision,
    settings: String,
    question: Question,
    context: ContextFile,
}

/// Runs.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let decision = flags.decision.read()?;
    let component = source::load(&flags.file)?;
    let class = class_for(&component, &limits()).map_err(Error::Refused)?;
    let module = runtime()?.admit_in(class, &component).map_err(Error::refused)?.module.in_class(class);
    let (Decided { value, fuel, log }, undeclared) = decision.ask(&module)?;
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

impl Decision {
    /// Reads all files. Verbs do so before anything is built: a typo should not cost a compilation.
    pub fn read(self) -> Result<ReadDecision, Error> {
        let settings = settings::read(&self.settings)?.to_string();
        let question = match self.call.unwrap_or(Call::Rate) {
            Call::Rate => {
                // The command line has demanded it.
                let path = self.usage.clone().unwrap_or_default();
                let usage = json_file(&path)?;
                Question::Rate(path, usage)
            }
            Call::Close => Question::Close,
            Call::Open => Question::Open,
        };
        let context = self.context.as_deref().map(json_file).transpose()?.unwrap_or_default();
        Ok(ReadDecision { files: self, settings, question, context })
    }
}

impl ReadDecision {
    /// Asks a policy, and says what of the context the answer would depend on although the policy does not declare it, which only
    /// policies can be asked that can show themselves more. It is now unless the context names another time.
    pub fn ask(self, policy: &dyn Policy) -> Result<(Decided<Said>, Vec<&'static str>), Error> {
        let Self { files, settings, question, context } = self;
        let prepared = policy.prepare(&settings)?.value.map_err(|problems| {
            let list: String = problems
                .iter()
                .map(|problem| format!("\n  {}: {}", problem.pointer, problem.detail))
                .collect();
            let detail = format!("the policy refuses these settings:{list}");
            Error::Content { path: files.settings.clone(), detail }
        })?;
        let shown = context
            .shown(clock::now(), &prepared.counters)
            .map_err(Error::content(files.context.unwrap_or_default()))?;
        Ok(match question {
            Question::Rate(path, usage) => {
                let usage = usage.reported(shown.context.now.at).map_err(Error::content(path))?;
                let view = usage.view(&shown);
                let ask = |policy: &dyn Policy| rate(policy, &view, &shown.context, &prepared);
                let said = ask(policy)?;
                // What a server would not show must not be what the answer depends on.
                let undeclared = needs::undeclared(policy, |policy| {
                    ask(&*policy).map_or(true, |other| other.value != said.value)
                });
                (said, undeclared)
            }
            Question::Close => {
                let closed = policy.close(&shown.closing(), &shown.context, &prepared.form)?;
                let said = Said::Closed(closed.value);
                (Decided { value: said, fuel: closed.fuel, log: closed.log }, Vec::new())
            }
            Question::Open => {
                let opened = policy.open(&shown.opening(), &shown.context, &prepared.form)?;
                let said = Said::Opened(opened.value);
                (Decided { value: said, fuel: opened.fuel, log: opened.log }, Vec::new())
            }
        })
    }
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
