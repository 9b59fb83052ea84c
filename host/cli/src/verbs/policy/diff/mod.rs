//! `proviso policy diff`: searches for a case that two policies, or two settings of one policy, decide differently, makes it as small as
//! it can, and writes it as a case file that holds for the new one. The search is random, begins with what settings, cases and
//! modules name, and is bounded in time: when it finds nothing, that is all that it says.

mod facts;
mod prepared;
mod scenario;
mod search;
#[cfg(test)]
mod tests;
mod words;

use super::{
    modules::Modules,
    settings, source,
    test::{Loaded, Subject, files, format::CaseFile},
};
use crate::{
    clock::Stopwatch,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, count},
};
use clap::Args;
use facts::Difference;
use prepared::Remembering;
use scenario::{Base, Scenario};
use search::{Search, Sides};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use words::Words;

/// What `policy diff` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The policy as it was: a component, or the folder of a policy crate, which is built
    old: PathBuf,
    /// The policy as it is now; the same one, when only settings change
    new: PathBuf,
    /// Settings for both, JSON or TOML [default: those of the cases, else none]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Other settings for the old one
    #[arg(long, value_name = "FILE")]
    old_settings: Option<PathBuf>,
    /// Other settings for the new one
    #[arg(long, value_name = "FILE")]
    new_settings: Option<PathBuf>,
    /// Case files, or folders of them, whose inputs the search begins with
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// How long to search; making what is found smaller may take a third of that again
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u64,
    /// Another number searches in another order
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Where to put the case
    #[arg(short, long, value_name = "FILE.toml", default_value = "difference.toml")]
    output: PathBuf,
}

/// Searches.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let read = |path: &Option<PathBuf>| path.as_deref().map(read_settings).transpose();
    let both = read(&flags.settings)?;
    let old_settings = read(&flags.old_settings)?.or_else(|| both.clone());
    let new_settings = read(&flags.new_settings)?.or(both);
    let files: Vec<CaseFile> = if flags.cases.is_empty() {
        Vec::new()
    } else {
        files::read(&flags.new, &flags.cases)?.into_iter().map(|read| read.file).collect()
    };
    let (old_module, new_module) = (source::load(&flags.old)?, source::load(&flags.new)?);
    let modules = Modules::new()?;
    let take = |module: &[u8]| modules.take(module).map(subject);
    let new = take(&new_module)?;
    let old = if old_module == new_module { new.clone() } else { take(&old_module)? };
    let sides = Sides { old, new };
    let bases = Base::all(old_settings.as_ref(), new_settings.as_ref(), &files);
    let (words, seeds) = words(&sides, &bases, &files, [&old_module, &new_module]);
    let watch = Stopwatch::start();
    let mut search = Search::new(&sides, &bases, &words, flags.seed, flags.seconds.saturating_mul(1_000_000));
    let found = search.run(&seeds).map_err(Error::Instrument)?;
    let tried = search.tried();
    let Some((base, scenario, difference)) = found else {
        let text = format!(
            "none found in {} ({} s)\n",
            terminal::plural(tried, "scenario"),
            watch.micros() / 1_000_000
        );
        terminal::print(&text)?;
        return Ok(Verdict::Fine);
    };
    let case = facts::case(base, &scenario, &difference, &sides.new).map_err(Error::Instrument)?;
    fs::write(&flags.output, &case).map_err(Error::file(&flags.output))?;
    terminal::print(&text(&scenario, &difference, tried, &flags.output, Paint::for_stdout()))?;
    Ok(Verdict::Failed)
}

fn subject(loaded: Loaded) -> Subject {
    Subject::new(loaded.digest, Arc::new(Remembering::new(loaded.policy)))
}

/// What the search begins with.
fn words(
    sides: &Sides,
    bases: &[Base],
    files: &[CaseFile],
    modules: [&[u8]; 2],
) -> (Words, Vec<(usize, Scenario)>) {
    let mut words = Words::default();
    for base in bases {
        words.add_settings(&base.old_settings, &base.new_settings);
        for (subject, settings) in [(&sides.old, &base.old_settings), (&sides.new, &base.new_settings)] {
            // Settings that one side refuses are found to be a difference when they are played.
            if let Ok(prepared) = subject.main.policy.prepare(&settings.to_string())
                && let Ok(prepared) = prepared.value
            {
                words.add_prepared(&prepared);
            }
        }
    }
    let [old, new] = modules;
    words.add_modules(old, new);
    let seeds = scenario::of_cases(bases, files);
    seeds.iter().for_each(|(_, scenario)| words.add_scenario(scenario));
    words.finish();
    (words, seeds)
}

fn read_settings(path: &Path) -> Result<Value, Error> {
    let value = settings::read(path)?;
    if scenario::has_null(&value) {
        let detail = "holds a null, which a case file has no word for; leave the key out".to_owned();
        return Err(Error::Content { path: path.to_owned(), detail });
    }
    Ok(value)
}

fn text(scenario: &Scenario, difference: &Difference, tried: u64, output: &Path, paint: Paint) -> String {
    let mut text = format!("{} after {} scenarios\n", paint.strong("they differ"), count(tried));
    // Writing to a String does not fail.
    for step in scenario.steps.iter().take(difference.step + 1) {
        let _ = writeln!(text, "  {}", step.toml(&[]));
    }
    for (field, old, new) in difference.fields() {
        let _ = writeln!(text, "    {field}");
        let _ = writeln!(text, "      {}", paint.bad(&format!("old: {old}")));
        let _ = writeln!(text, "      {}", paint.good(&format!("new: {new}")));
    }
    let _ = writeln!(
        text,
        "{}",
        paint.faint(&format!("wrote {}, which holds for the new one", output.display()))
    );
    text
}
