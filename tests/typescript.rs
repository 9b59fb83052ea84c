//! Policies in TypeScript: the template and the example pass their cases, and what JavaScript makes easy to get wrong is a fault, never
//! a wrong amount. What builds needs Node.js and, once, npm's registry: without them these tests say so and end.

use crate::support::{BINARY, repository};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// `proviso policy …` in a folder, and the folders of programs that it finds: whether it went well, and what it printed.
fn policy(folder: &Path, arguments: &[&str], programs: Option<&Path>) -> (bool, String) {
    let mut command = Command::new(BINARY);
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript-cache"));
    if let Some(programs) = programs {
        command.env("PATH", programs);
    }
    let output = command.current_dir(folder).arg("policy").args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

#[track_caller]
fn passes(folder: &Path, arguments: &[&str]) -> String {
    let (fine, said) = policy(folder, arguments, None);
    assert!(fine, "{said}");
    said
}

fn example() -> PathBuf {
    repository().join("policies/typescript")
}

/// Whether there is what it takes to build. The packages are those of the example, which are installed once.
static CAN_BUILD: LazyLock<bool> = LazyLock::new(|| {
    let (fine, said) = policy(repository(), &["build", "policies/typescript", "-o", "/dev/null"], None);
    let lacks = ["Node.js is missing", "Node.js is v", "the first build needs a network"];
    if !fine && lacks.iter().any(|lack| said.contains(lack)) {
        eprintln!("SKIPPED: no policy in TypeScript was built or tested here: {said}");
        return false;
    }
    assert!(fine, "{said}");
    assert!(said.contains("an operator gives the policy the class large"), "{said}");
    true
});

/// A folder as `policy new` makes it, with the example's packages.
fn made(folder: &Path, name: &str) -> PathBuf {
    let said = passes(folder, &["new", name, "--template", "typescript"]);
    assert!(said.contains(&format!("next: proviso policy test {name}")), "{said}");
    let made = folder.join(name);
    std::os::unix::fs::symlink(example().join("node_modules"), made.join("node_modules")).unwrap();
    made
}

#[test]
fn the_example_decides_what_the_one_in_rust_does() {
    if !*CAN_BUILD {
        return;
    }
    let cases = "policies/night-rates/cases";
    let said = passes(repository(), &["test", "policies/typescript", cases]);
    assert!(said.contains(" passed"), "{said}");
    // What is in it is the same bytes as long as its sources are, so that it stays the same version.
    let component = example().join("dist/policy.wasm");
    let built = fs::read(&component).unwrap();
    passes(repository(), &["test", "policies/typescript", cases]);
    assert!(fs::read(&component).unwrap() == built, "it was built again");
    let (fine, said) =
        policy(repository(), &["test", "policies/typescript", cases, "--class", "default"], None);
    assert!(!fine && said.contains("the limit is 1048576"), "{said}");
    let (fine, said) = policy(repository(), &["coverage", "policies/typescript", "--cases", cases], None);
    assert!(!fine && said.contains("is in TypeScript"), "{said}");
}

#[test]
fn the_template_passes_its_cases_and_names_what_is_wrong() {
    if !*CAN_BUILD {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = made(folder.path(), "acme");
    let said = passes(folder.path(), &["test", "acme"]);
    assert!(said.contains("1 passed") || said.contains("1 case passed"), "{said}");
    let source = made.join("src/policy.ts");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("usage.quantity(\"tokens\")", "usage.quantity(5)")).unwrap();
    let (fine, said) = policy(folder.path(), &["build", "acme"], None);
    assert!(!fine && said.contains("tsc says") && said.contains("src/policy.ts"), "{said}");
}

#[test]
fn what_javascript_makes_easy_to_get_wrong_is_a_fault() {
    if !*CAN_BUILD {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = made(folder.path(), "hazards");
    let own = repository().join("tests/typescript");
    fs::copy(own.join("policy.ts"), made.join("src/policy.ts")).unwrap();
    let said = passes(folder.path(), &["test", "hazards", &own.join("cases.toml").display().to_string()]);
    assert!(said.contains(" passed"), "{said}");
}

/// Needs no Node.js, and a machine that has it is told to look where there is none.
#[test]
fn a_missing_node_is_named() {
    let folder = tempfile::tempdir().unwrap();
    passes(folder.path(), &["new", "acme", "--template", "typescript"]);
    let (fine, said) = policy(folder.path(), &["build", "acme"], Some(folder.path()));
    assert!(!fine && said.contains("Node.js is missing: there is no `node`"), "{said}");
}
