//! What a run of cases looks like: a line for each case, and under one that failed what was expected and what came.

use super::{observe::Mismatch, update::Edit};
use crate::terminal::{Paint, plural};
use std::{fmt::Write as _, time::Duration};

/// Why a case did not pass, at one of its steps.
#[derive(Debug)]
pub struct Failure {
    /// The line of the step, or of the case.
    pub line: usize,
    /// The step: its number from 1, and what it does. None when the case could not begin.
    pub step: Option<(usize, String)>,
    /// What differs.
    pub mismatches: Vec<Mismatch>,
    /// What kept the step from being played.
    pub mistake: Option<String>,
    /// What else is known of it.
    pub hints: Vec<String>,
}

impl Failure {
    /// A case that could not begin.
    pub fn of_case(line: usize, mistake: String) -> Self {
        Self { line, step: None, mismatches: Vec::new(), mistake: Some(mistake), hints: Vec::new() }
    }
}

/// A case that was run.
#[derive(Debug)]
pub struct Ran {
    /// Its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Its line.
    pub line: usize,
    /// How long it took.
    pub took: Duration,
    /// How many steps were played.
    pub steps: usize,
    /// The step at which it failed, if it did.
    pub failure: Option<Failure>,
    /// Expected values that are to be replaced.
    pub edits: Vec<Edit>,
}

/// All cases under their files, and how many passed in which time.
pub fn all(ran: &[Ran], took: Duration, paint: Paint) -> String {
    let (mut text, mut file) = (String::new(), "");
    for ran in ran {
        if ran.file != file {
            file = &ran.file;
            let _ = writeln!(text, "{}", paint.strong(file));
        }
        text.push_str(&case(ran, paint));
    }
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let failed = ran.iter().filter(|ran| ran.failure.is_some()).count();
    text.push_str(&summary(many(ran.len() - failed), many(failed), took, paint));
    text
}

/// A case, for people.
pub fn case(ran: &Ran, paint: Paint) -> String {
    let Some(failure) = &ran.failure else {
        let steps = plural(u64::try_from(ran.steps).unwrap_or(u64::MAX), "step");
        return format!("  {} {} {}\n", paint.good("ok"), ran.name, paint.faint(&format!("({steps})")));
    };
    let mut text = format!("  {} {}\n", paint.bad("FAILED"), paint.strong(&ran.name));
    let step =
        failure.step.as_ref().map(|(number, title)| format!("  step {number}: {title}")).unwrap_or_default();
    let place = paint.faint(&format!("{}:{}", ran.file, failure.line));
    // Writing to a String does not fail.
    let _ = writeln!(text, "     {place}{step}");
    if let Some(mistake) = &failure.mistake {
        for line in mistake.lines() {
            let _ = writeln!(text, "       {}", paint.bad(line));
        }
    }
    for Mismatch { field, expected, got, value: _ } in &failure.mismatches {
        let _ = writeln!(text, "       {field}");
        for line in difference(expected, got, paint) {
            let _ = writeln!(text, "         {line}");
        }
    }
    for hint in &failure.hints {
        for (number, line) in hint.lines().enumerate() {
            let _ = writeln!(text, "       {}{line}", if number == 0 { "hint: " } else { "" });
        }
    }
    text
}

/// Lines that both have stand once; of the others, the expected ones before those that came.
fn difference(expected: &[String], got: &[String], paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut wanted, mut came) = (expected, got);
    loop {
        match (wanted.split_first(), came.split_first()) {
            (Some((want, wanted_later)), Some((have, came_later))) if want == have => {
                lines.push(paint.faint(&format!("  {want}")));
                (wanted, came) = (wanted_later, came_later);
            }
            // A line that comes later is skipped to; one that never comes is missing.
            (Some((want, later)), _) if !came.contains(want) => {
                lines.push(paint.good(&format!("- {want}")));
                wanted = later;
            }
            (_, Some((have, later))) => {
                lines.push(paint.bad(&format!("+ {have}")));
                came = later;
            }
            (_, None) => break,
        }
    }
    lines
}

/// The last line of a run.
fn summary(passed: u64, failed: u64, took: Duration, paint: Paint) -> String {
    let took = paint.faint(&format!(" in {} ms", took.as_millis()));
    if failed == 0 {
        return format!("{}{took}\n", paint.good(&format!("{} passed", plural(passed, "case"))));
    }
    let legend = paint.faint("  (- expected, + came)");
    format!("{}, {passed} passed{took}{legend}\n", paint.bad(&format!("{} failed", plural(failed, "case"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_line_by_line() {
        let lines = |text: &str| {
            text.split(' ').filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        for (expected, got, shown) in [
            ("1.2", "1.3", "- 1.2,+ 1.3"),
            ("a b c", "a c", "  a,- b,  c"),
            ("a c", "a b c", "  a,+ b,  c"),
            ("", "a", "+ a"),
            ("a", "", "- a"),
        ] {
            let shown: Vec<&str> = shown.split(',').collect();
            assert_eq!(
                difference(&lines(expected), &lines(got), Paint::plain()),
                shown,
                "{expected} / {got}"
            );
        }
    }

    #[test]
    fn a_failed_case_says_where_and_what() {
        let mismatch = Mismatch {
            field: "cost".to_owned(),
            expected: vec!["1".to_owned()],
            got: vec!["2".to_owned()],
            value: None,
        };
        let failure = Failure {
            line: 7,
            step: Some((2, "charge chat".to_owned())),
            mismatches: vec![mismatch],
            mistake: None,
            hints: vec!["look there".to_owned()],
        };
        let ran = Ran {
            file: "cases/x.toml".to_owned(),
            name: "one".to_owned(),
            line: 5,
            steps: 1,
            took: Duration::ZERO,
            failure: Some(failure),
            edits: Vec::new(),
        };
        assert_eq!(
            case(&ran, Paint::plain()),
            "  FAILED one\n     cases/x.toml:7  step 2: charge chat\n       cost\n         - 1\n         + 2\n       \
             hint: look there\n"
        );
        assert_eq!(summary(1, 0, Duration::from_millis(12), Paint::plain()), "1 case passed in 12 ms\n");
    }
}
