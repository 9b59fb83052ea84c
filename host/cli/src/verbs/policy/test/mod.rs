//! `proviso policy test`: plays case files on the code that decides on a server, through the built module and behind the server's
//! limits, in memory and under a clock that only the case moves. It reports what is not as a case says.

mod diagnose;
pub mod files;
pub mod format;
mod machine;
pub(super) mod observe;
pub(in crate::verbs) mod play;
mod properties;
pub(super) mod report;
#[cfg(test)]
pub(in crate::verbs) mod tests;
mod update;
mod watch;

pub use play::{Loaded, Subject};

use super::modules::Modules;
use crate::{
    clock::Stopwatch,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::{Args, ValueEnum};
use files::Read;
use format::Case;
use play::Play;
use proviso_ledger::model::resources::ResourceClass;
use report::{Failure, Ran};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
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
    /// Run only cases whose name contains this; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Write what came in the place of expected values that differ, to be reviewed
    #[arg(long)]
    update: bool,
    /// Write a report for CI, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write JSON in the place of text
    #[arg(long)]
    json: bool,
    /// Try so many generated usages of each case file, and say when the policy fails, costs less than nothing, answers otherwise when
    /// asked twice, or costs less for more of what the file's [properties] name
    #[arg(long, value_name = "NUMBER")]
    properties: Option<u32>,
    /// From which number usages are generated
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How much the policies may use, as an operator sets it on a server [default: default, or large for a module that is too large for
    /// it]
    #[arg(long, value_name = "CLASS")]
    class: Option<Class>,
    /// Run again whenever the policy or a case file changes
    #[arg(long, conflicts_with_all = ["update", "json"])]
    watch: bool,
}

/// A resource class, in the words of the wire contract.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Class {
    /// A quarter of the fuel, half of the memory
    Small,
    /// What most policies have
    Default,
    /// Ten times the fuel, more memory, larger modules
    Large,
}

impl From<Class> for ResourceClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Small => Self::Small,
            Class::Default => Self::Default,
            Class::Large => Self::Large,
        }
    }
}

/// Runs the cases.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    if flags.watch { watch::run(flags) } else { once(flags) }
}

/// A case of a run.
struct Job<'a> {
    file: &'a Read,
    case: &'a Spanned<Case>,
}

fn once(flags: &Flags) -> Result<Verdict, Error> {
    let read = files::read(&flags.policy, &flags.cases)?;
    let wanted = |case: &&Spanned<Case>| {
        flags.only.as_ref().is_none_or(|pattern| matches(pattern, &case.get_ref().name))
    };
    let jobs: Vec<Job<'_>> = read
        .iter()
        .flat_map(|file| file.file.cases.iter().filter(wanted).map(move |case| Job { file, case }))
        .collect();
    if let (Some(pattern), true) = (&flags.only, jobs.is_empty()) {
        let detail = format!("no case has {pattern:?} in its name");
        return Err(Error::Setting { origin: "--only".to_owned(), detail });
    }
    let modules = Modules::of(flags.class.map(Into::into))?;
    let subject = modules.subject(&flags.policy)?;
    let subjects = subjects(&modules, &subject, &read)?;
    let subject_of = |job: &Job<'_>| {
        let place = read.iter().position(|file| std::ptr::eq(file, job.file));
        place.and_then(|place| subjects.get(place)).unwrap_or(&subject)
    };
    let started = Stopwatch::start();
    let mut ran = in_parallel(&jobs, |job| run_case(subject_of(job), job.file, job.case, flags.update));
    diagnose::explain(&flags.policy, &modules, &jobs, &subject_of, &mut ran);
    if flags.only.is_none() {
        ran.extend(tried(flags, &read, &subjects));
        // Behind the cases of their files.
        ran.sort_by(|one, other| one.file.cmp(&other.file));
    }
    let took = Duration::from_micros(started.micros());
    let failed = ran.iter().filter(|ran| ran.failure.is_some()).count();
    let paint = Paint::for_stdout();
    if flags.json {
        terminal::print(&format!("{:#}\n", machine::json(&ran, took)))?;
    } else {
        terminal::print(&report::all(&ran, took, paint))?;
    }
    if let Some(path) = &flags.junit {
        let text = machine::junit(&flags.policy.display().to_string(), &ran, took);
        fs::write(path, text.map_err(Error::content(path))?).map_err(Error::file(path))?;
    }
    if flags.update {
        for (path, text, changed) in update::all(&read, &ran)? {
            fs::write(&path, text).map_err(Error::file(&path))?;
            let values = terminal::plural(u64::try_from(changed).unwrap_or(u64::MAX), "value");
            terminal::note(&format!("updated {values} in {}: review them", path.display()));
        }
    }
    Ok(Verdict::of(failed == 0 && !ran.is_empty()))
}

/// What came of generated usages, for each file that is to have some.
fn tried(flags: &Flags, read: &[Read], subjects: &[Subject]) -> Vec<Ran> {
    let of_file = |(file, subject): (&Read, &Subject)| {
        let wanted = &file.file.properties;
        let runs = flags.properties.or(wanted.runs).filter(|runs| *runs > 0)?;
        properties::run(subject, file, runs, flags.seed.or(wanted.seed).unwrap_or(1))
    };
    read.iter().zip(subjects).filter_map(of_file).collect()
}

/// The policy under test with the others that each case file names.
pub(super) fn subjects(modules: &Modules, subject: &Subject, read: &[Read]) -> Result<Vec<Subject>, Error> {
    let others = others(modules, read)?;
    let of_file = |file: &Read| {
        let named = file.policies.iter();
        let loaded = named.filter_map(|(name, path)| Some((name.clone(), others.get(path)?.clone())));
        Subject { others: loaded.collect(), ..subject.clone() }
    };
    Ok(read.iter().map(of_file).collect())
}

/// The other policies that case files name, each built and loaded once.
fn others(modules: &Modules, read: &[Read]) -> Result<BTreeMap<PathBuf, Loaded>, Error> {
    let mut loaded = BTreeMap::new();
    for path in read.iter().flat_map(|file| file.policies.values()) {
        if !loaded.contains_key(path) {
            loaded.insert(path.clone(), modules.load(path)?);
        }
    }
    Ok(loaded)
}

/// Whether a name contains a pattern, in which `*` stands for any text.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = Some(name);
    for part in pattern.split('*') {
        rest = rest.and_then(|rest| rest.find(part).and_then(|at| rest.get(at + part.len()..)));
    }
    rest.is_some()
}

/// Plays cases on all processors; the results come in the order of the cases.
pub(super) fn in_parallel<J: Sync>(jobs: &[J], play: impl Fn(&J) -> Ran + Sync) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else { return done };
            done.push((place, play(job)));
        }
    };
    // No more than instances that the runtime has.
    let threads = thread::available_parallelism().map_or(1, usize::from).min(16).min(jobs.len());
    let mut done: Vec<(usize, Ran)> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for worker in workers {
            match worker.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, ran)| ran).collect()
}

/// Plays a case up to its end, or to the first step that is not as it says. With `update` it goes on behind steps whose expected
/// values can be replaced by what came.
pub(super) fn run_case(subject: &Subject, read: &Read, case: &Spanned<Case>, update: bool) -> Ran {
    let started = Stopwatch::start();
    let mut ran = Ran {
        file: read.path.display().to_string(),
        name: case.get_ref().name.clone(),
        line: format::line(&read.text, case),
        steps: 0,
        took: Duration::ZERO,
        failure: None,
        edits: Vec::new(),
    };
    play_case(subject, read, case, update, &mut ran);
    ran.took = Duration::from_micros(started.micros());
    ran
}

fn play_case(subject: &Subject, read: &Read, case: &Spanned<Case>, update: bool, ran: &mut Ran) {
    let mut play = match Play::begin(subject, &read.file, case.get_ref()) {
        Ok(play) => play,
        Err(mistake) => {
            ran.failure = Some(Failure::of_case(ran.line, mistake.to_string()));
            return;
        }
    };
    for (number, step) in (1..).zip(&case.get_ref().steps) {
        let (mismatches, mistake) = match play.step(step.get_ref()) {
            Ok(played) => (observe::compare(&step.get_ref().expect, &played), None),
            Err(mistake) => (Vec::new(), Some(mistake.to_string())),
        };
        if update && mistake.is_none() && mismatches.iter().all(update::can_replace) {
            ran.edits.extend(mismatches.into_iter().map(|mismatch| update::Edit::of(step.span(), mismatch)));
        } else if !mismatches.is_empty() || mistake.is_some() {
            let (line, title) = (format::line(&read.text, step), step.get_ref().title());
            ran.failure =
                Some(Failure { line, step: Some((number, title)), mismatches, mistake, hints: Vec::new() });
            return;
        }
        ran.steps += 1;
    }
}
