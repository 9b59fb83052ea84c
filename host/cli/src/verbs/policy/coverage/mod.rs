//! `proviso policy coverage`: runs a policy's case files and says which functions, branches and source lines of the compiled module
//! they reach. Decisions, fuel and limits are those of the module as it is; a copy with probes runs beside it.

mod lcov;
mod show;

use super::{
    cases::{self, Cases, CasesFlags},
    modules, source,
};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::{Args, ValueEnum};
use proviso_policy::{
    Limits,
    probe::{Coverage, Report},
};
use std::{fs, path::PathBuf, sync::Arc};

/// What `policy coverage` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    cases: CasesFlags,
    /// Fail when less than this share is covered
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    threshold: Option<u8>,
    /// What the threshold is about [default: lines where the module has line tables, else branches]
    #[arg(long, value_name = "WHAT", requires = "threshold")]
    of: Option<Measure>,
    /// Write LCOV, which editors and CI show, to a file
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What can be covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Functions,
    Branches,
    Lines,
}

impl Measure {
    const ALL: [Self; 3] = [Self::Functions, Self::Branches, Self::Lines];

    const fn name(self) -> &'static str {
        match self {
            Self::Functions => "functions",
            Self::Branches => "branches",
            Self::Lines => "lines",
        }
    }

    /// Covered, and all.
    fn of(self, report: &Report) -> (usize, usize) {
        match self {
            Self::Functions => report.functions_covered(),
            Self::Branches => report.arms_covered(),
            Self::Lines => report.lines_covered(),
        }
    }
}

/// Runs the cases and reports.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let CasesFlags { policy, cases } = &flags.cases;
    let cases = Cases::read(policy, cases)?;
    source::check_compiled(policy)?;
    let loaded = cases::load(policy)?;
    let plain = Arc::clone(&loaded.plain);
    let coverage =
        Coverage::new(&loaded.source, plain, &Limits::default(), modules::cache()).map_err(Error::refused)?;
    let outcome = cases.run(&loaded, coverage.policy())?;
    cases::agreed(coverage.disagreements())?;
    let report = coverage.report(|file| source::is_own(policy, file));
    if !report.has_lines && (flags.lcov.is_some() || flags.of == Some(Measure::Lines)) {
        let detail =
            "the module has no line tables; give the folder of its crate instead of the component".to_owned();
        return Err(Error::Content { path: policy.clone(), detail });
    }
    if let Some(path) = &flags.lcov {
        fs::write(path, lcov::text(&report)).map_err(Error::file(path))?;
    }
    let measure = flags.of.unwrap_or(if report.has_lines { Measure::Lines } else { Measure::Branches });
    let (covered, all) = measure.of(&report);
    let enough = flags.threshold.is_none_or(|percent| covered * 100 >= all * usize::from(percent));
    let shown = show::Shown { report: &report, outcome, digest: loaded.digest, folder: policy };
    if flags.json {
        terminal::print(&format!("{:#}\n", shown.json()))?;
    } else {
        terminal::print(&shown.text(Paint::for_stdout()))?;
    }
    if let Some(percent) = flags.threshold.filter(|_| !enough) {
        let share = cases::percent(covered, all);
        terminal::note(&format!("{share} of {} covered, the threshold is {percent}%", measure.name()));
    }
    Ok(Verdict::of(enough && outcome.failed == 0))
}
