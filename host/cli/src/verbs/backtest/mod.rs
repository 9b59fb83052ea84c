//! `proviso backtest`: asks recorded commands of other terms, and says in credits what would change. A host may use the database
//! meanwhile. Nothing is written.

mod text;

use super::{policy::source, replay};
use crate::{
    config::Place,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::{BacktestOf, BacktestOptions, CandidateModule, EngineError, backtests::Report};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::{LocalDate, Timestamp, Zone},
};
use proviso_store::Access;
use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// What `backtest` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// What is tried: an uploaded version, deleted or not (`standard@4`), a module's file, or the folder of a policy crate
    #[arg(long, value_name = "POLICY@VERSION|FILE.wasm|DIR")]
    candidate: String,
    /// Its settings, JSON; without it, each of the terms that it stands in for keeps its own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Stand in for all terms that decide for this customer
    #[arg(long, value_name = "KEY", conflicts_with = "plan")]
    customer: Option<CustomerId>,
    /// Stand in for the terms of this plan [default, for an uploaded version: all terms that run its policy]
    #[arg(long, value_name = "NAME")]
    plan: Option<Name>,
    /// What was accepted at this time or later: RFC 3339, or a date in UTC [default: the beginning]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// What was accepted before this time: RFC 3339, or a date in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Customers that are followed at the same time [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
    /// Print JSON, as the API has it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Backtests. Fine when all that was asked for could be followed, whatever would change.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let jobs = flags.jobs.unwrap_or_else(replay::cores);
    let (candidate, policy) = candidate(&flags.candidate)?;
    let of = match (flags.customer, flags.plan, policy) {
        (Some(customer), ..) => BacktestOf::Customer(customer),
        (None, Some(plan), _) => BacktestOf::Plan(plan),
        (None, None, Some(policy)) => BacktestOf::Policy(policy),
        (None, None, None) => {
            let detail = "a module stands in for the terms of --customer or --plan: name one".to_owned();
            return Err(Error::Setting { origin: "--candidate".to_owned(), detail });
        }
    };
    let options = BacktestOptions {
        candidate,
        settings: flags.settings.as_deref().map(json).transpose()?,
        of,
        from: flags.from,
        to: flags.to,
        jobs,
        is_paced: false,
    };
    let report = replay::workers(jobs)?.block_on(async {
        let store = settings.database.open(Access::ReadOnly, None).await?;
        let bar = terminal::spinner("backtesting");
        let report = proviso_engine::backtest(store.clone(), replay::sandbox()?, options, |so_far| {
            bar.set_message(terminal::journals(so_far.entries, so_far.customers));
        })
        .await;
        bar.finish_and_clear();
        store.close().await;
        report.map_err(|error| match error {
            EngineError::PolicyRejected(rejection) => Error::Refused(rejection),
            other => other.into(),
        })
    })?;
    let printed = if flags.json { as_json(&report) } else { text::report(&report, Paint::for_stdout()) };
    terminal::print(&printed)?;
    Ok(Verdict::of(report.failures == 0))
}

/// A file or folder that is there, else a version with its policy.
fn candidate(text: &str) -> Result<(CandidateModule, Option<Name>), Error> {
    let path = Path::new(text);
    if path.exists() {
        return Ok((CandidateModule::Bytes(source::load(path)?), None));
    }
    let named = text
        .rsplit_once('@')
        .and_then(|(policy, version)| Some((policy.parse::<Name>().ok()?, version.parse::<u32>().ok()?)));
    match named {
        Some((policy, version)) => Ok((CandidateModule::Version(policy.clone(), version), Some(policy))),
        None => Err(Error::Setting {
            origin: "--candidate".to_owned(),
            detail: format!("{text} is neither a file nor a version such as standard@4"),
        }),
    }
}

fn json(path: &Path) -> Result<serde_json::Value, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text).map_err(Error::content(path))
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(date) = text.parse::<LocalDate>() {
        return Ok(Zone::utc().start_of(date));
    }
    text.parse()
        .map_err(|_| "takes a time such as 2026-11-01T00:00:00Z, or a date such as 2026-11-01".to_owned())
}

fn as_json(report: &Report) -> String {
    let text = serde_json::to_string_pretty(&proviso_server::backtest_report(report));
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_versions_or_files() {
        let (version, policy) = candidate("night-rates@12").unwrap();
        assert!(matches!(version, CandidateModule::Version(name, 12) if name.as_str() == "night-rates"));
        assert_eq!(policy.unwrap().as_str(), "night-rates");
        for wrong in ["standard", "standard@", "standard@x", "@1", "no/such/file.wasm"] {
            assert!(candidate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_be_dates() {
        assert_eq!(time("2026-11-01").unwrap(), time("2026-11-01T00:00:00Z").unwrap());
        assert!(time("November").is_err());
    }
}
