//! The shipped policies, tested as a contract engineer tests one: `proviso policy test` on its folder. And what that says of a case
//! file with a mistake, of a wrong expectation, and of a policy that fails.

use crate::support::{BINARY, repository};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn policy(arguments: &[&OsStr]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    // Crates outside the repository are built where those in it are, so that what they share is built once.
    command.env("CARGO_TARGET_DIR", Path::new(BINARY).ancestors().nth(2).expect("in a target folder"));
    let output = command.arg("policy").args(arguments).output().expect("the binary runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

fn test(arguments: &[&OsStr]) -> (Option<i32>, String) {
    policy(&[&[OsStr::new("test")], arguments].concat())
}

fn shipped(name: &str) -> PathBuf {
    repository().join("policies").join(name)
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn shipped_policies_pass_their_cases() {
    for name in ["standard", "committed-use", "night-rates", "grace-pool"] {
        let (code, text) = test(&[shipped(name).as_os_str()]);
        assert_eq!(code, Some(0), "{name}: {text}");
    }
}

#[test]
fn a_wrong_expectation_fails_and_says_where() {
    let folder = shipped("grace-pool");
    let case = fs::read_to_string(folder.join("cases/contract.toml")).unwrap();
    let line = case.lines().position(|line| line.contains("cost = \"")).expect("a case expects a cost");
    let wrong = tempfile::tempdir().unwrap();
    let path = file(wrong.path(), "wrong.toml", &case.replacen("cost = \"", "cost = \"9", 1));
    let (code, text) = test(&[folder.as_os_str(), path.as_os_str()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("wrong.toml:{}", line + 1)), "{text}");
    assert!(text.contains("cost\n         - 9"), "{text}");
}

#[test]
fn a_mistake_in_a_case_file_is_named_with_its_line_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "cases/odd.toml",
        "[[case]]\nname = \"x\"\nsteps = [\n    { chargge = {} },\n]\n",
    );
    let (code, text) = test(&[folder.path().as_os_str()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with(&format!("error: {}:4: unknown field `chargge`", path.display())), "{text}");
}

#[test]
fn a_policy_that_panics_at_a_periods_end_fails_the_case_with_the_whole_text() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"boom\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nproviso-sdk = {{ path = {:?} }}\n\
         serde = {{ version = \"1\", default-features = false, features = [\"alloc\", \"derive\"] }}\n",
        shipped("sdk")
    );
    file(folder.path(), "Cargo.toml", &manifest);
    // The same versions of everything, so that nothing has to be fetched.
    fs::copy(repository().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    file(folder.path(), "src/lib.rs", BOOM);
    let steps = "[[case]]\nname = \"x\"\nsteps = [{ at = 2026-02-01T00:00:00Z }]\n";
    file(folder.path(), "cases/x.toml", steps);
    let (code, text) = test(&[folder.path().as_os_str()]);
    assert_eq!(code, Some(1), "{text}");
    for part in ["degraded\n", "period 1 closed scheduled: plan/plan/terms_1 failed\n", "+ trap: trapped: "] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    file(folder.path(), "cases/x.toml", &steps.replace(" }]", ", expect.degraded = true }]"));
    let (code, text) = test(&[folder.path().as_os_str()]);
    assert_eq!(code, Some(0), "{text}");
}

const BOOM: &str = r#"
#![cfg_attr(target_arch = "wasm32", no_std)]
use proviso_sdk::prelude::*;

#[derive(serde::Deserialize)]
struct Boom {}

impl Policy for Boom {
    const ABOUT: About = About::new("boom", "1.0.0", "Fails at the end of a period.");

    fn rate(&self, _: &Usage, _: &Context) -> Result<Rating, Refusal> {
        Ok(Rating::of([])?)
    }

    fn close(&self, _: &Closing, _: &Context) -> CloseOutcome {
        panic!("boom")
    }
}

proviso_sdk::export!(Boom, no_std);
"#;

#[test]
fn a_policy_is_asked_about_a_usage_and_about_a_periods_end_and_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let settings = r#"{"rates": [{"feature": "chat", "quantity": "tokens", "price": {"per_unit": "0.01"}}],
        "overage": {"mode": "allow", "limit": "5"},
        "reset": {"allowance": [{"amount": "100"}], "rollover": {"percent": 50}}}"#;
    let settings = file(folder.path(), "settings.json", settings);
    let usage = file(folder.path(), "usage.json", r#"{"feature": "chat", "quantities": {"tokens": 300}}"#);
    let context = r#"{"now": "2026-02-01T00:00:00Z",
        "period": {"number": 1, "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "balances": {"credits": {"granted": "100", "used": "99", "available": "1"}},
        "grants": [{"id": "grant_2", "category": "plan", "amount": "100", "remaining": "40",
                    "effective_at": "2026-01-01T00:00:00Z", "expires_with_period": 0}]}"#;
    let context = file(folder.path(), "context.json", context);
    let standard = shipped("standard");
    let run = |more: &[&OsStr]| {
        let common = ["run".as_ref(), standard.as_os_str(), "--settings".as_ref(), settings.as_os_str()];
        policy(&[&common, ["--context".as_ref(), context.as_os_str()].as_slice(), more].concat())
    };
    for (more, parts) in [
        (
            ["--usage".as_ref(), usage.as_os_str()],
            &[
                "cost       3 credits\n",
                "line       tokens: 300 x 0.01 = 3\n",
                "shortfall  2\n",
                "overage    allow ",
            ][..],
        ),
        (["--call".as_ref(), "close".as_ref()], &["outcome    closed\n", "roll over  20 of grant_2"]),
        (["--call".as_ref(), "open".as_ref()], &["outcome    opened\n", "issue      100 credits plan"]),
    ] {
        let (code, text) = run(&more);
        assert_eq!(code, Some(0), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }
    let (code, text) = run(&["--call".as_ref(), "rate".as_ref()]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--usage"), "{text}");
}
