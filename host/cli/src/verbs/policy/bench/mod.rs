//! `proviso policy bench`: the fuel that the decisions of the case files take, which is the same on every machine, and, for
//! information, the time. Compared with a baseline it fails when fuel has grown.

mod baseline;

use super::cases::{self, Cases, CasesFlags};
use crate::{
    clock::Stopwatch,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, count, plural},
};
use baseline::{Baseline, Figures, Growth};
use clap::Args;
use proviso_decide::policy::{Answer, Around, Policy};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What `policy bench` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    cases: CasesFlags,
    /// Compare with the figures in this file; written if it is not there yet
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much more fuel than the baseline's is no regression
    #[arg(long, value_name = "PERCENT", default_value_t = 5, requires = "baseline")]
    tolerance: u64,
    /// Write the baseline anew
    #[arg(long, requires = "baseline")]
    update: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// A call that was made.
struct Made {
    call: &'static str,
    fuel: u64,
    time_ns: u64,
}

/// Measures.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let CasesFlags { policy, cases } = &flags.cases;
    let cases = Cases::read(policy, cases)?;
    let kept = match &flags.baseline {
        Some(path) if path.exists() && !flags.update => Some(Baseline::read(path)?),
        _ => None,
    };
    let loaded = cases::load(policy)?;
    let metered = Arc::new(Metered { policy: Arc::clone(&loaded.plain), made: Mutex::default() });
    let mut begun: Vec<(String, usize)> = Vec::new();
    let outcome = cases.run_one_by_one(&loaded, Arc::clone(&metered) as Arc<dyn Policy>, |path, case| {
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        begun.push((format!("{file}: {case}"), metered.count()));
    })?;
    let made = metered.made.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Baseline::new(loaded.digest, &made, &begun);
    let growth = kept.as_ref().map(|kept| now.growth(kept, flags.tolerance));
    if flags.json {
        terminal::print(&format!("{:#}\n", now.json(growth.as_deref())?))?;
    } else {
        let times = times(&made);
        terminal::print(&text(&now, kept.as_ref(), &times, Paint::for_stdout()))?;
        for Growth { what, before, now } in growth.iter().flatten() {
            terminal::note(&format!("{what} takes {} fuel, {} before", count(*now), count(*before)));
        }
    }
    if let Some(path) = flags.baseline.as_deref().filter(|_| kept.is_none()) {
        write(path, &now)?;
    }
    Ok(Verdict::of(outcome.failed == 0 && growth.is_none_or(|growth| growth.is_empty())))
}

fn write(path: &Path, baseline: &Baseline) -> Result<(), Error> {
    fs::write(path, format!("{:#}\n", baseline.json(None)?)).map_err(Error::file(path))?;
    terminal::note(&format!("wrote {}", path.display()));
    Ok(())
}

/// The median time of each kind of call, in nanoseconds.
fn times(made: &[Made]) -> BTreeMap<&'static str, u64> {
    let mut times: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    for Made { call, time_ns, .. } in made {
        times.entry(call).or_default().push(*time_ns);
    }
    times.into_iter().map(|(call, mut times)| (call, baseline::quantile(&mut times, 50))).collect()
}

fn text(
    now: &Baseline,
    kept: Option<&Baseline>,
    times: &BTreeMap<&'static str, u64>,
    paint: Paint,
) -> String {
    let heading = format!(
        "{:<10} {:>7} {:>12} {:>12} {:>12} {:>11}",
        "call", "calls", "fuel p50", "p99", "max", "time p50"
    );
    let mut text = format!("{}\n", paint.faint(&heading));
    for (call, figures) in &now.calls {
        let Figures { calls, p50, p99, max } = figures;
        let time = times.get(call.as_str()).copied().unwrap_or(0);
        let time = format!("{}.{} µs", time / 1000, time % 1000 / 100);
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{call:<10} {:>7} {:>12} {:>12} {:>12} {}",
            count(*calls),
            count(*p50),
            count(*p99),
            count(*max),
            paint.faint(&format!("{time:>11}")),
        );
        if let Some(before) = kept.and_then(|kept| kept.calls.get(call)).filter(|before| *before != figures) {
            let was = format!(
                "{:<10} {:>7} {:>12} {:>12} {:>12}",
                "  before",
                count(before.calls),
                count(before.p50),
                count(before.p99),
                count(before.max)
            );
            let _ = writeln!(text, "{}", paint.faint(&was));
        }
    }
    let cases = u64::try_from(now.cases.len()).unwrap_or(u64::MAX);
    let _ = writeln!(
        text,
        "{}",
        paint.faint(&format!("of {}; times are of this machine and this build", plural(cases, "case")))
    );
    text
}

/// A policy that notes what each call takes.
struct Metered {
    policy: Arc<dyn Policy>,
    made: Mutex<Vec<Made>>,
}

impl Metered {
    fn count(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Around for Metered {
    fn inner(&self) -> &dyn Policy {
        &*self.policy
    }

    fn around<T: PartialEq>(
        &self,
        export: &'static str,
        ask: impl Fn(&dyn Policy) -> Answer<T>,
    ) -> Answer<T> {
        let watch = Stopwatch::start();
        let answer = ask(self.inner());
        let time_ns = watch.nanos();
        let fuel = answer.as_ref().map_or_else(|failure| failure.fuel, |decided| decided.fuel);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(Made { call: export, fuel, time_ns });
        answer
    }
}
