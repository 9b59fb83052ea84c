//! `proviso simulate`: plays months of made-up or recorded usage under a policy, on the code that decides on a server, in memory: what is
//! charged, refused, owed and earned, by segment and month.

mod chart;
pub(super) mod costs;
mod html;
mod play;
mod report;
pub(super) mod rows;
pub(super) mod spread;
pub(super) mod stream;
mod tally;
#[cfg(test)]
mod tests;
pub(super) mod workload;

use crate::{
    clock::Stopwatch,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::{
        modules::Modules,
        settings,
        test::{
            Subject,
            format::{IntervalSetup, PLAN, Settings},
            play::{Catalog, set_up},
        },
    },
};
use clap::Args;
use costs::Costs;
use play::{World, play};
use proviso_ledger::model::{
    amounts::Decimal,
    period::{Interval, IntervalUnit},
    time::{Timestamp, Zone},
};
use report::Report;
use rows::Files;
use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use stream::{Source, Time, months_after};
use tally::Tally;
use toml::Spanned;
use workload::Workload;

/// When a simulation begins whose file does not say.
const START: &str = "2026-01-01T00:00:00Z";
/// No more threads than instances that the runtime has.
const MOST_JOBS: usize = 16;

/// What `simulate` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The workload, TOML: segments of customers, what they use, and what that costs
    workload: PathBuf,
    /// A component, or the folder of a policy crate, which is built [default: the workload's `policy`]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Settings, JSON or TOML, that are laid over the workload's
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// From which number all chance comes [default: the workload's `seed`, or 1]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many months are played [default: the workload's `months`, or 12]
    #[arg(long, value_name = "NUMBER")]
    months: Option<u16>,
    /// Customers that are played at the same time [default: as many as there are processors]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Write a page with charts, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write JSON in the place of text
    #[arg(long)]
    json: bool,
}

/// Simulates.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let mut workload = read(&flags.workload, true)?;
    if let Some(seed) = flags.seed {
        workload.seed = seed;
    }
    if let Some(months) = flags.months {
        if !(1..=workload::MOST_MONTHS).contains(&months) {
            let detail = format!("must be 1 to {}", workload::MOST_MONTHS);
            return Err(Error::Setting { origin: "--months".to_owned(), detail });
        }
        workload.months = months;
    }
    let mut settings = file_settings(&workload, &flags.workload)?;
    if let Some(path) = &flags.settings {
        settings = settings.with(&Settings(settings::read(path)?));
    }
    let named =
        flags.policy.clone().or_else(|| workload.policy.as_ref().map(|path| beside(&flags.workload, path)));
    let Some(policy) = named else {
        let detail =
            "names no policy: add policy = \"the folder of its crate, or a module\", or give --policy";
        return Err(Error::Content { path: flags.workload.clone(), detail: detail.to_owned() });
    };
    // Files are read before anything is built: a typo should not cost a compilation.
    let sources = sources(&mut workload, &flags.workload)?;
    let modules = Modules::new()?;
    let mut subject = modules.subject(&policy)?;
    for (name, path) in &workload.policies {
        subject.others.insert(name.clone(), modules.load(&beside(&flags.workload, path))?);
    }
    let started = Stopwatch::start();
    let world = world(workload, subject, sources, &settings).map_err(Error::content(&flags.workload))?;
    let jobs = flags.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, usize::from);
    let tally = all(&world, jobs.min(MOST_JOBS))?;
    let report = Report::new(&world, tally);
    if let Some(path) = &flags.html {
        fs::write(path, html::page(&report)).map_err(Error::file(path))?;
    }
    if flags.json {
        terminal::print(&format!("{:#}\n", report.json()))?;
    } else {
        terminal::print(&report.text(Paint::for_stdout(), started.micros()))?;
    }
    Ok(Verdict::Fine)
}

/// Reads a workload file, which may have no segments where usage comes from elsewhere.
pub(super) fn read(path: &Path, needs_segments: bool) -> Result<Workload, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    workload::parse(&text, needs_segments)
        .map_err(|wrong| Error::content(format!("{}:{}", path.display(), wrong.line))(wrong.detail))
}

/// A path that a file names, which is looked for beside that file.
fn beside(file: &Path, named: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}

fn file_settings(workload: &Workload, path: &Path) -> Result<Settings, Error> {
    let Some(named) = &workload.settings_file else { return Ok(workload.settings.clone()) };
    let place = beside(path, named);
    if !place.is_file() {
        let detail =
            format!("settings_file: there is no {}; it is looked for beside this file", place.display());
        return Err(Error::Content { path: path.to_owned(), detail });
    }
    Ok(Settings(settings::read(&place)?).with(&workload.settings))
}

/// The segments with what their files hold.
pub(super) fn sources(workload: &mut Workload, path: &Path) -> Result<Vec<Source>, Error> {
    let mut files = Files::default();
    let months = u32::from(workload.months);
    let segments = std::mem::take(&mut workload.segments).into_iter().map(Spanned::into_inner);
    segments
        .map(|mut segment| {
            let mut uses = Vec::new();
            for one in std::mem::take(&mut segment.uses) {
                let rows = one.rows.as_ref().map(|rows| files.read(&beside(path, rows))).transpose()?;
                uses.push((one, rows));
            }
            let joining = segment.new_per_month.saturating_mul(months);
            let customers = segment.customers.saturating_add(joining);
            let mut trace = None;
            if let Some(named) = &segment.trace {
                let file = beside(path, &named.file);
                let rows = files.read(&file)?;
                let wrong = |detail: &str| Err(Error::Content { path: file.clone(), detail: detail.to_owned() });
                if !rows.has_time {
                    return wrong("has no column time, so it can't be a trace; rows without times may be drawn from by a usage's rows");
                }
                if !rows.has_feature && uses.is_empty() {
                    return wrong("has no column feature: add a [[segment.usage]] that names it");
                }
                let places = rows.by_customer(customers);
                trace = Some((rows, places));
            }
            Ok(Source { segment, uses, trace, customers })
        })
        .collect()
}

/// From when to when.
pub(super) fn time(workload: &Workload) -> Result<Time, String> {
    let start = workload.start.map_or_else(|| START.parse().map_err(|_| START.to_owned()), |at| Ok(at.0))?;
    let end = months_after(start, workload.months).ok_or("start: is too late")?;
    Ok(Time { start, end, seed: workload.seed })
}

/// Where calendar months begin between two times.
fn boundaries(time: Time) -> Vec<Timestamp> {
    let zone = Zone::utc();
    let first = zone.month(time.start) + 1;
    let months = first..=zone.month(time.end.plus_micros(-1));
    months.map(|month| zone.start_of_month(month)).collect()
}

/// What all customers share. An error is a mistake of the workload.
fn world(
    workload: Workload,
    subject: Subject,
    sources: Vec<Source>,
    settings: &Settings,
) -> Result<World, String> {
    let time = time(&workload)?;
    let month = Interval::new(IntervalUnit::Month, 1).map_err(|error| error.to_string())?;
    let interval = workload.interval.unwrap_or(IntervalSetup(Some(month)));
    let main = "policy".parse().map_err(|error| format!("{error}"))?;
    let mut setups = workload.plans.clone();
    setups.entry(PLAN.parse().map_err(|error| format!("{error}"))?).or_default();
    let used = |name: &str| {
        sources.iter().any(|source| source.segment.plan.as_ref().map_or(PLAN, |plan| plan.as_str()) == name)
    };
    let mut plans = Catalog::default();
    for (name, setup) in setups {
        // The plan that is always there need not have settings that can be read when nobody is on it.
        if workload.plans.contains_key(&name) || used(name.as_str()) {
            let (plan, terms) = set_up(&subject, &main, settings, &name, setup, interval, time.start)
                .map_err(|mistake| mistake.to_string())?;
            plans.0.insert(name, (plan, vec![terms]));
        }
    }
    Ok(World {
        subject,
        plans,
        sources,
        costs: Costs::new(workload.costs.into_iter().map(Spanned::into_inner)),
        currency: workload.currency.map_or_else(|| "USD".parse(), Ok).map_err(|error| format!("{error}"))?,
        credit_price: workload.credit_price.unwrap_or(Decimal::ZERO),
        time,
        boundaries: boundaries(time),
    })
}

/// Plays all customers, on so many threads.
fn all(world: &World, jobs: usize) -> Result<Tally, Error> {
    let customers = world.sources.iter().enumerate();
    let customers =
        customers.flat_map(|(segment, source)| (0..source.customers).map(move |number| (segment, number)));
    // Eight bytes each: a million customers take less than what is played at a time.
    let customers: Vec<(usize, u32)> = customers.collect();
    let next = AtomicUsize::new(0);
    let bar = terminal::spinner("simulating");
    let work = || {
        let mut tally = Tally::new(world.sources.len(), world.boundaries.len() + 1);
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((segment, number)) = customers.get(place).copied() else { return Ok(tally) };
            play(world, segment, number, &mut tally)?;
            bar.set_message(format!("customer {} of {}", place + 1, customers.len()));
        }
    };
    let mut tally = thread::scope(|scope| {
        let workers: Vec<_> = (1..jobs.min(customers.len())).map(|_| scope.spawn(work)).collect();
        let mut tally = work();
        for worker in workers {
            let theirs: Result<Tally, Error> = match worker.join() {
                Ok(theirs) => theirs,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            tally = tally.and_then(|mut tally| {
                tally.add(theirs?);
                Ok(tally)
            });
        }
        tally
    })?;
    bar.finish_and_clear();
    tally = tally.finished();
    Ok(tally)
}
