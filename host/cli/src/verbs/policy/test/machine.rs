//! What a run of cases looks like to machines: JSON, and JUnit's XML.

use super::{
    observe::Mismatch,
    report::{Failure, Ran},
};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use std::time::Duration;

/// JSON: how many passed and failed, and every case.
pub fn json(ran: &[Ran], took: Duration) -> Value {
    let failed = ran.iter().filter(|ran| ran.failure.is_some()).count();
    let cases: Vec<Value> = ran
        .iter()
        .map(|ran| {
            json!({
                "file": ran.file,
                "line": ran.line,
                "name": ran.name,
                "passed": ran.failure.is_none(),
                "steps": ran.steps,
                "took_us": micros(ran.took),
                "failure": ran.failure.as_ref().map(failure),
            })
        })
        .collect();
    json!({"passed": ran.len() - failed, "failed": failed, "took_us": micros(took), "cases": cases})
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn failure(failure: &Failure) -> Value {
    let Failure { line, step, mismatches, mistake, hints } = failure;
    let mismatch = |mismatch: &Mismatch| {
        let Mismatch { field, expected, got, value: _ } = mismatch;
        json!({"field": field, "expected": expected, "got": got})
    };
    json!({
        "line": line,
        "step": step.as_ref().map(|(number, _)| number),
        "action": step.as_ref().map(|(_, title)| title),
        "mismatches": mismatches.iter().map(mismatch).collect::<Vec<_>>(),
        "mistake": mistake,
        "hints": hints,
    })
}

/// JUnit: a suite for each file.
pub fn junit(policy: &str, ran: &[Ran], took: Duration) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new(policy);
    report.set_time(took);
    for of_file in ran.chunk_by(|one, next| one.file == next.file) {
        let file = of_file.first().map_or("", |ran| ran.file.as_str());
        let mut suite = TestSuite::new(file);
        for ran in of_file {
            let status = ran.failure.as_ref().map_or_else(TestCaseStatus::success, |failure| {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(format!("{file}:{}", failure.line));
                status.set_description(super::report::case(ran, crate::terminal::Paint::none()));
                status
            });
            let mut case = TestCase::new(ran.name.as_str(), status);
            case.set_classname(file).set_time(ran.took);
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string()
}
