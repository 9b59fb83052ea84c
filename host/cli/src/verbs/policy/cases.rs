//! Case files that are run to see how a policy does it, not whether it is right. A case that fails is named all the same, since what
//! was seen of it is then worth less.

use super::{
    runtime, source,
    test::{self, format::CaseFile, play::Subject, report},
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
pub struct Cases(Vec<(PathBuf, String, CaseFile)>);

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
        test::read_cases(policy, cases).map(Self)
    }

    /// Runs them all. `before` is told the file and the name of each.
    pub fn run(
        &self,
        policy: Arc<dyn Policy>,
        digest: Digest,
        mut before: impl FnMut(&Path, &str),
    ) -> Outcome {
        let subject = Subject { digest, policy };
        let mut outcome = Outcome::default();
        for (path, text, file) in &self.0 {
            for case in &file.cases {
                before(path, &case.get_ref().name);
                let ran = test::run_case(&subject, text, file, case);
                if ran.failure.is_some() {
                    outcome.failed += 1;
                    terminal::note(
                        report::case(&path.display().to_string(), &ran, Paint::plain()).trim_end(),
                    );
                } else {
                    outcome.passed += 1;
                }
            }
        }
        outcome
    }
}

/// A policy as a server would run it, and what is needed to look into it.
pub struct Loaded {
    pub source: Source,
    pub digest: Digest,
    pub plain: Arc<dyn Policy>,
}

/// Builds or reads a policy, and admits it as a server would.
pub fn load(policy: &Path) -> Result<Loaded, Error> {
    let source = source::instrumented(policy)?;
    let module = runtime()?.admit(source.component()).map_err(Error::refused)?.module;
    Ok(Loaded { source, digest: module.digest(), plain: module })
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
