//! The shipped policies, tested as a contract engineer tests one: `proviso policy test` on its folder.

use crate::support::{BINARY, repository};
use std::process::Command;

fn test(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String) {
    let output =
        Command::new(BINARY).args(["policy", "test"]).args(arguments).output().expect("the binary runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn shipped_policies_pass_their_cases() {
    for policy in ["standard", "committed-use", "night-rates", "grace-pool"] {
        let folder = repository().join("policies").join(policy);
        let (code, text) = test(&[folder.as_os_str()]);
        assert_eq!(code, Some(0), "{policy}: {text}");
    }
}

#[test]
fn a_wrong_expectation_fails_and_says_where() {
    let folder = repository().join("policies/grace-pool");
    let case = std::fs::read_dir(folder.join("cases")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&case).unwrap();
    let line = text.lines().find(|line| line.contains("cost = \"")).expect("a case expects a cost");
    let wrong = tempfile::tempdir().unwrap();
    let file = wrong.path().join("wrong.toml");
    let place = line.find("cost = \"").unwrap() + "cost = \"".len();
    std::fs::write(&file, text.replacen(line, &format!("{}9{}", &line[..place], &line[place..]), 1)).unwrap();
    let (code, text) = test(&[folder.as_os_str(), file.as_os_str()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cost"), "{text}");
}
