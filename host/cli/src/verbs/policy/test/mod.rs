//! `proviso policy test`: plays case files on the code that decides on a server, through the built module and behind the server's
//! limits, in memory and under a clock that only the case moves. It reports what is not as a case says.

pub(super) mod format;
pub(super) mod observe;
pub(super) mod play;
pub(super) mod report;
#[cfg(test)]
mod tests;

use super::{runtime, source};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use format::{Case, CaseFile};
use play::{Play, Subject};
use report::{Failure, Ran};
use std::{
    fs,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// What `policy test` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    #[arg(default_value = ".")]
    policy: PathBuf,
    /// Case files, or folders of them [default: the folder `cases` beside the policy]
    cases: Vec<PathBuf>,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs the cases.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let read = read_cases(&flags.policy, &flags.cases)?;
    let component = source::load(&flags.policy)?;
    let module = runtime()?.admit(&component).map_err(Error::refused)?.module;
    let subject = Subject { digest: module.digest(), policy: module };
    let paint = Paint::for_stdout();
    let (mut passed, mut failed) = (0, 0);
    for (path, text, file) in &read {
        let wanted =
            |case: &&Spanned<Case>| flags.only.as_ref().is_none_or(|only| case.get_ref().name.contains(only));
        let cases: Vec<&Spanned<Case>> = file.cases.iter().filter(wanted).collect();
        if cases.is_empty() {
            continue;
        }
        let shown = path.display().to_string();
        terminal::print(&format!("{}\n", paint.strong(&shown)))?;
        for case in cases {
            let ran = run_case(&subject, text, file, case);
            *(if ran.failure.is_some() { &mut failed } else { &mut passed }) += 1;
            terminal::print(&report::case(&shown, &ran, paint))?;
        }
    }
    terminal::print(&report::summary(passed, failed, paint))?;
    Ok(Verdict::of(failed == 0 && passed > 0))
}

/// Reads the case files that are meant, with their texts. Verbs do so before anything is built: a typo should not cost a
/// compilation.
pub(super) fn read_cases(
    policy: &Path,
    cases: &[PathBuf],
) -> Result<Vec<(PathBuf, String, CaseFile)>, Error> {
    let files = case_files(policy, cases)?.into_iter().map(|path| {
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let file = format::parse(&text).map_err(|malformed| {
            Error::content(format!("{}:{}", path.display(), malformed.line))(malformed)
        })?;
        Ok((path, text, file))
    });
    files.collect()
}

/// The case files that are meant, sorted.
fn case_files(policy: &Path, cases: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let beside = if policy.is_dir() { Some(policy) } else { policy.parent() };
    let default = [beside.unwrap_or(Path::new("")).join("cases")];
    let named = if cases.is_empty() { default.as_slice() } else { cases };
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(Error::file(path))? {
                let path = entry.map_err(Error::file(path))?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    files.push(path);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    if files.is_empty() {
        let path = named.first().cloned().unwrap_or_default();
        return Err(Error::Content { path, detail: "there are no case files (*.toml) in it".to_owned() });
    }
    Ok(files)
}

/// Plays a case up to its end, or to the first step that is not as it says.
pub(super) fn run_case(subject: &Subject, text: &str, file: &CaseFile, case: &Spanned<Case>) -> Ran {
    let mut ran = Ran { name: case.get_ref().name.clone(), steps: 0, failure: None };
    let mut play = match Play::begin(subject, file, case.get_ref()) {
        Ok(play) => play,
        Err(mistake) => {
            let (line, mistake) = (format::line(text, case), Some(mistake.to_string()));
            ran.failure = Some(Failure { line, step: None, mismatches: Vec::new(), mistake });
            return ran;
        }
    };
    for (number, step) in (1..).zip(&case.get_ref().steps) {
        let (mismatches, mistake) = match play.step(step.get_ref()) {
            Ok(played) => (observe::compare(&step.get_ref().expect, &played), None),
            Err(mistake) => (Vec::new(), Some(mistake.to_string())),
        };
        if !mismatches.is_empty() || mistake.is_some() {
            let (line, title) = (format::line(text, step), step.get_ref().title());
            ran.failure = Some(Failure { line, step: Some((number, title)), mismatches, mistake });
            break;
        }
        ran.steps += 1;
    }
    ran
}
