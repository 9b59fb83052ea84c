//! `proviso policy profile`: where the fuel goes, by function: of one decision, as `policy run` makes it, or of all decisions of the
//! case files. What is attributed adds up to what the module burns without being looked at.

mod write;

use super::{
    cases::{self, Cases, CasesFlags},
    modules,
    run::{Call, Decision},
    source,
};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, count},
};
use clap::Args;
use proviso_policy::{
    Limits,
    probe::{Frame, Profile},
};
use serde_json::json;
use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

/// What `policy profile` takes: the files of a decision, or none for the case files.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    cases: CasesFlags,
    /// One decision instead of the case files: its settings, JSON or TOML
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    settings: Option<PathBuf>,
    /// What the policy is asked [default: rate]
    #[arg(long, value_name = "CALL", requires = "settings")]
    call: Option<Call>,
    /// The usage to rate, JSON, as `policy run` takes it
    #[arg(long, value_name = "FILE", requires = "settings")]
    usage: Option<PathBuf>,
    /// What else the policy is shown, JSON, as `policy run` takes it
    #[arg(long, value_name = "FILE", requires = "settings")]
    context: Option<PathBuf>,
    /// Write folded stacks, which flame graphs are drawn of, to a file
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    /// Write a profile for speedscope.app to a file
    #[arg(long, value_name = "FILE")]
    speedscope: Option<PathBuf>,
    /// The functions that are listed, those with the most fuel of their own
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    top: usize,
    /// Write JSON, with all functions
    #[arg(long)]
    json: bool,
}

/// Profiles.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let Flags { cases: CasesFlags { policy, cases }, settings, call, usage, context, .. } = flags;
    let question = match settings {
        Some(_) if usage.is_none() && matches!(call, None | Some(Call::Rate)) => {
            return Err(Error::Setting {
                origin: "--settings".to_owned(),
                detail: "needs --usage, or --call close or open".to_owned(),
            });
        }
        Some(settings) => Question::One(Box::new(Decision { settings, call, usage, context }.read()?)),
        None => Question::Cases(Cases::read(&policy, &cases)?),
    };
    source::check_compiled(&policy)?;
    let loaded = cases::load(&policy)?;
    let plain = Arc::clone(&loaded.plain);
    let profile =
        Profile::new(&loaded.source, plain, &Limits::default(), modules::cache()).map_err(Error::refused)?;
    let failed = match question {
        Question::One(decision) => decision.ask(&*profile.policy()).map(|_| 0)?,
        Question::Cases(cases) => cases.run(&loaded, profile.policy())?.failed,
    };
    cases::agreed(profile.disagreements())?;
    let stacks = profile.stacks();
    if let Some(path) = &flags.folded {
        fs::write(path, write::folded(&stacks)).map_err(Error::file(path))?;
    }
    if let Some(path) = &flags.speedscope {
        let title = format!("{} fuel", policy.display());
        fs::write(path, write::speedscope(&title, &stacks).to_string()).map_err(Error::file(path))?;
    }
    let frames = profile.frames();
    let text = if flags.json {
        format!("{:#}\n", json(&frames))
    } else {
        table(&frames, flags.top, Paint::for_stdout())
    };
    terminal::print(&text)?;
    Ok(Verdict::of(failed == 0))
}

/// What is profiled.
enum Question {
    One(Box<super::run::ReadDecision>),
    Cases(Cases),
}

fn fuel(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.self_fuel).sum()
}

fn json(frames: &[Frame]) -> serde_json::Value {
    let functions = frames.iter().map(|frame| {
        let source = frame.source.as_ref().map(|(file, line)| json!({"file": file, "line": line}));
        json!({
            "name": frame.name,
            "source": source,
            "calls": frame.calls,
            "self_fuel": frame.self_fuel,
            "total_fuel": frame.total_fuel,
        })
    });
    json!({"fuel": fuel(frames), "functions": functions.collect::<Vec<_>>()})
}

fn table(frames: &[Frame], top: usize, paint: Paint) -> String {
    let all = fuel(frames);
    let share =
        |part: u64| cases::percent(usize::try_from(part).unwrap_or(0), usize::try_from(all).unwrap_or(0));
    let mut text = format!("{} {}\n", paint.strong(&count(all)), "fuel");
    let heading = format!("{:>12} {:>7} {:>12} {:>7} {:>9}  function", "self", "", "total", "", "calls");
    // Writing to a String does not fail.
    let _ = writeln!(text, "{}", paint.faint(&heading));
    for Frame { name, calls, self_fuel, total_fuel, .. } in frames.iter().take(top) {
        let _ = writeln!(
            text,
            "{:>12} {:>7} {:>12} {:>7} {:>9}  {name}",
            count(*self_fuel),
            share(*self_fuel),
            count(*total_fuel),
            share(*total_fuel),
            count(*calls),
        );
    }
    if let Some(more) = frames.len().checked_sub(top).filter(|more| *more > 0) {
        let _ = writeln!(text, "{}", paint.faint(&format!("and {more} more (--top, --json)")));
    }
    text
}
