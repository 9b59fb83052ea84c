//! How coverage reads: for people, file by file with what was missed, and as JSON.

use super::Measure;
use crate::{
    terminal::{Paint, plural},
    verbs::policy::cases::{Outcome, percent},
};
use proviso_ledger::model::ids::Digest;
use proviso_policy::probe::{Branch, Report};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

/// Branches that are listed where there are no lines to gather them by.
const LISTED: usize = 40;

/// What is shown.
pub struct Shown<'a> {
    pub report: &'a Report,
    pub outcome: Outcome,
    pub digest: Digest,
    /// The policy as it was named; files below it are shown from there.
    pub folder: &'a Path,
}

/// What of a file was reached.
#[derive(Default)]
struct FileSums {
    lines: (usize, usize),
    arms: (usize, usize),
    missed: Vec<u32>,
    /// By line: arms that were never taken, and all.
    partial: BTreeMap<u32, (usize, usize)>,
}

impl Shown<'_> {
    /// For machines.
    pub fn json(&self) -> Value {
        let Self { report, outcome, digest, .. } = self;
        let totals: serde_json::Map<String, Value> = Measure::ALL
            .iter()
            .map(|measure| {
                let (covered, all) = measure.of(report);
                (measure.name().to_owned(), json!({"covered": covered, "all": all}))
            })
            .collect();
        let place = |source: &Option<(String, u32)>| {
            source.as_ref().map(|(file, line)| json!({"file": file, "line": line})).unwrap_or_default()
        };
        json!({
            "policy": digest,
            "cases": {"passed": outcome.passed, "failed": outcome.failed},
            "has_lines": report.has_lines,
            "totals": totals,
            "functions": report.functions.iter().map(|function| json!({
                "name": function.name, "source": place(&function.source), "calls": function.calls,
            })).collect::<Vec<_>>(),
            "branches": report.branches.iter().map(|branch| json!({
                "function": branch.function,
                "source": place(&branch.source),
                "place": branch.place,
                "arms": branch.arms.iter().map(|arm| json!({"name": arm.name, "calls": arm.calls})).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "lines": report.lines,
        })
    }

    /// For people.
    pub fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text, paint);
        text
    }

    fn write(&self, text: &mut String, paint: Paint) -> std::fmt::Result {
        let Self { report, outcome, .. } = self;
        let failed = if outcome.failed > 0 { format!(", {} failed", outcome.failed) } else { String::new() };
        writeln!(
            text,
            "{}{}",
            paint.strong(&format!("{} passed", plural(outcome.passed, "case"))),
            paint.bad(&failed)
        )?;
        for measure in Measure::ALL {
            let (covered, all) = measure.of(report);
            if measure != Measure::Lines || report.has_lines {
                writeln!(text, "{:<10} {:>6}  {covered} of {all}", measure.name(), percent(covered, all))?;
            }
        }
        if !report.has_lines {
            writeln!(
                text,
                "{}",
                paint.faint(
                    "no line tables: libraries are counted, too; give the crate's folder for source lines"
                )
            )?;
        }
        let files = self.files();
        if !files.is_empty() {
            writeln!(
                text,
                "\n{}",
                paint.faint(&format!("{:<28} {:>7} {:>9}  never reached", "file", "lines", "branches"))
            )?;
        }
        for (file, sums) in &files {
            let (lines, arms) = (percent(sums.lines.0, sums.lines.1), percent(sums.arms.0, sums.arms.1));
            writeln!(text, "{file:<28} {lines:>7} {arms:>9}  {}", paint.bad(&ranges(&sums.missed)))?;
        }
        let partial: Vec<String> = files
            .iter()
            .flat_map(|(file, sums)| {
                sums.partial.iter().map(move |(line, (missed, all))| {
                    format!("{file}:{line}  {missed} of {all} ways never taken")
                })
            })
            .collect();
        heading(text, paint, "reached, and never left one of the ways", &partial)?;
        let entered: Vec<String> = report
            .functions
            .iter()
            .filter(|function| function.calls == 0)
            .map(|function| match &function.source {
                Some((file, line)) => format!("{}:{line}  {}", self.shown(file), function.name),
                None => function.name.clone(),
            })
            .collect();
        heading(text, paint, "functions never entered", &entered)
    }

    fn files(&self) -> BTreeMap<String, FileSums> {
        let mut files: BTreeMap<String, FileSums> = BTreeMap::new();
        for (file, lines) in &self.report.lines {
            let missed: Vec<u32> =
                lines.iter().filter(|(_, calls)| **calls == 0).map(|(line, _)| *line).collect();
            let sums = files.entry(self.shown(file)).or_default();
            sums.lines = (lines.len() - missed.len(), lines.len());
            sums.missed = missed;
        }
        for Branch { source, arms, .. } in &self.report.branches {
            let Some((file, line)) = source else { continue };
            let sums = files.entry(self.shown(file)).or_default();
            let taken = arms.iter().filter(|arm| arm.calls > 0).count();
            sums.arms = (sums.arms.0 + taken, sums.arms.1 + arms.len());
            // What was never reached stands among the lines.
            if taken > 0 && taken < arms.len() {
                let (missed, all) = sums.partial.entry(*line).or_default();
                *missed += arms.len() - taken;
                *all += arms.len();
            }
        }
        files
    }

    fn shown(&self, file: &str) -> String {
        let folder = self.folder.canonicalize().unwrap_or_default();
        let below = Path::new(file).strip_prefix(&folder).unwrap_or(Path::new(file));
        below.display().to_string()
    }
}

fn heading(text: &mut String, paint: Paint, heading: &str, items: &[String]) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", paint.strong(heading))?;
    for item in items.iter().take(LISTED) {
        writeln!(text, "  {item}")?;
    }
    if let Some(more) = items.len().checked_sub(LISTED).filter(|more| *more > 0) {
        writeln!(text, "  {}", paint.faint(&format!("and {more} more (--json)")))?;
    }
    Ok(())
}

/// Lines, those that follow each other as one: `3, 7-9`.
fn ranges(lines: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let shown = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        for (lines, shown) in [(&[][..], ""), (&[3], "3"), (&[3, 7, 8, 9], "3, 7-9"), (&[1, 2, 4], "1-2, 4")]
        {
            assert_eq!(ranges(lines), shown);
        }
    }
}
