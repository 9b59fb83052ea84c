//! LCOV: one record for each source file, as `geninfo` writes it. Counts are calls of the policy that reached a thing.

use proviso_policy::probe::Report;
use std::{collections::BTreeMap, fmt::Write as _};

/// The report of a module that has line tables.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for (file, lines) in &report.lines {
        // Writing to a String does not fail.
        let _ = record(&mut text, report, file, lines);
    }
    text
}

fn record(text: &mut String, report: &Report, file: &str, lines: &BTreeMap<u32, u64>) -> std::fmt::Result {
    writeln!(text, "TN:\nSF:{file}")?;
    let functions: Vec<_> = report
        .functions
        .iter()
        .filter_map(|function| {
            let (of, line) = function.source.as_ref()?;
            // Names are the last of the fields, but a comma in one is more than some readers expect.
            (of == file).then(|| (*line, function.name.replace(',', ";"), function.calls))
        })
        .collect();
    for (line, name, _) in &functions {
        writeln!(text, "FN:{line},{name}")?;
    }
    for (_, name, calls) in &functions {
        writeln!(text, "FNDA:{calls},{name}")?;
    }
    let hit = functions.iter().filter(|(_, _, calls)| *calls > 0).count();
    writeln!(text, "FNF:{}\nFNH:{hit}", functions.len())?;
    let (mut found, mut taken) = (0, 0);
    for branch in &report.branches {
        let Some((_, line)) = branch.source.as_ref().filter(|(of, _)| of == file) else { continue };
        let is_reached = branch.arms.iter().any(|arm| arm.calls > 0);
        for (nth, arm) in branch.arms.iter().enumerate() {
            found += 1;
            taken += usize::from(arm.calls > 0);
            // A branch that was never reached is told from one that never went this way.
            let calls = if is_reached { arm.calls.to_string() } else { "-".to_owned() };
            writeln!(text, "BRDA:{line},{},{nth},{calls}", branch.place)?;
        }
    }
    writeln!(text, "BRF:{found}\nBRH:{taken}")?;
    for (line, calls) in lines {
        writeln!(text, "DA:{line},{calls}")?;
    }
    let reached = lines.values().filter(|calls| **calls > 0).count();
    writeln!(text, "LF:{}\nLH:{reached}\nend_of_record", lines.len())
}
