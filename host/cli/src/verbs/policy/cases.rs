//! Case files that are run to see how a policy does it, not whether it is right. A case that fails is named all the same, since what
//! was seen of it is then worth less.

use super::{
    modules::Modules,
    source,
    test::{self, Subject, files, report},
};
use crate::{
    error::Error,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_decide::policy::Policy;
use proviso_ledger::model::ids::Digest;
use proviso_policy::probe::Source;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The policy and its cases.
#[derive(Debug, Args)]
pub struct CasesFlags {
    /// A component, or the folder of a policy crate, which is built
    #[arg(default_value = ".")]
    pub policy: PathBuf,
    /// Case files, or folders of them [default: the folder `cases` beside the policy]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub cases: Vec<PathBuf>,
}

/// Case files that have been read.
pub struct Cases(Vec<files::Read>);

/// How a run of them ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Cases that went as they say.
    pub passed: u64,
    /// And those that did not, which have been named on stderr.
    pub failed: u64,
}

impl Cases {
    /// Reads them.
    pub fn read(policy: &Path, cases: &[PathBuf]) -> Result<Self, Error> {
        files::read(policy, cases).map(Self)
    }

    /// Runs them all on a form of a loaded policy; other policies that files name are as they are.
    pub fn run(&self, loaded: &Loaded, policy: Arc<dyn Policy>) -> Result<Outcome, Error> {
        let subjects = self.subjects(loaded, policy)?;
        let jobs: Vec<_> = self
            .0
            .iter()
            .zip(&subjects)
            .flat_map(|(read, subject)| read.file.cases.iter().map(move |case| (read, subject, case)))
            .collect();
        let mut outcome = Outcome::default();
        for ran in
            test::in_parallel(&jobs, |(read, subject, case)| test::run_case(subject, read, case, false))
        {
            outcome.count(&ran);
        }
        Ok(outcome)
    }

    /// The same, one after another: `before` is told the file and the name of each.
    pub fn run_one_by_one(
        &self,
        loaded: &Loaded,
        policy: Arc<dyn Policy>,
        mut before: impl FnMut(&Path, &str),
    ) -> Result<Outcome, Error> {
        let subjects = self.subjects(loaded, policy)?;
        let mut outcome = Outcome::default();
        for (read, subject) in self.0.iter().zip(&subjects) {
            for case in &read.file.cases {
                before(&read.path, &case.get_ref().name);
                outcome.count(&test::run_case(subject, read, case, false));
            }
        }
        Ok(outcome)
    }

    fn subjects(&self, loaded: &Loaded, policy: Arc<dyn Policy>) -> Result<Vec<Subject>, Error> {
        test::subjects(&loaded.modules, &Subject::new(loaded.digest, policy), &self.0)
    }
}

impl Outcome {
    /// Counts a case, and names it if it failed.
    fn count(&mut self, ran: &report::Ran) {
        if ran.failure.is_some() {
            self.failed += 1;
            terminal::note(report::case(ran, Paint::none()).trim_end());
        } else {
            self.passed += 1;
        }
    }
}

/// A policy as a server would run it, and what is needed to look into it.
pub struct Loaded {
    pub source: Source,
    pub digest: Digest,
    pub plain: Arc<dyn Policy>,
    modules: Modules,
}

/// Builds or reads a policy, and admits it as a server would.
pub fn load(policy: &Path) -> Result<Loaded, Error> {
    let source = source::instrumented(policy)?;
    let modules = Modules::new()?;
    let test::Loaded { digest, policy } = modules.take(source.component())?;
    Ok(Loaded { source, digest, plain: policy, modules })
}

/// Says that what a rewritten module did can't be relied on, if it answered otherwise than the plain one.
pub fn agreed(disagreements: u64) -> Result<(), Error> {
    if disagreements == 0 {
        return Ok(());
    }
    Err(Error::Instrument(format!(
        "a defect of proviso: the module with probes answered otherwise in {}, so nothing can be said of it",
        terminal::plural(disagreements, "call")
    )))
}

/// A part of a whole in percent, to a tenth, rounded down: what is not all is never 100.
pub fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = part * 1000 / whole;
    format!("{}.{}%", tenths / 10, tenths % 10)
}
