//! The instruments of contract engineers on the shipped policies: `proviso policy coverage`, `profile`, `bench` and `diff`.

use crate::support::{BINARY, STANDARD, repository};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs a verb in a folder: its exit code, what it says, and what it notes.
fn policy(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(BINARY);
    // Crates outside the repository are built where those in it are, so that what they share is built once.
    command.env("CARGO_TARGET_DIR", Path::new(BINARY).ancestors().nth(2).expect("in a target folder"));
    let output = command.current_dir(folder).arg("policy").args(arguments).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn write(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

/// A folder with the standard policy's component and its cases.
fn standard() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("standard.wasm"), &*STANDARD).unwrap();
    let cases = repository().join("policies/standard/cases");
    fs::create_dir(folder.path().join("cases")).unwrap();
    for case in fs::read_dir(&cases).unwrap() {
        let case = case.unwrap();
        fs::copy(case.path(), folder.path().join("cases").join(case.file_name())).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn coverage_tells_functions_branches_and_lines_of_the_crate() {
    let folder = tempfile::tempdir().unwrap();
    let crate_folder = repository().join("policies/grace-pool");
    let named = crate_folder.to_str().unwrap();
    let (code, text, notes) =
        policy(folder.path(), &["coverage", named, "--json", "--lcov", "out.lcov", "--threshold", "50"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["has_lines"], &report["cases"]["failed"]), (&json!(true), &json!(0)));
    let source = fs::read_to_string(crate_folder.join("src/lib.rs")).unwrap();
    let files = report["lines"].as_object().unwrap();
    assert_eq!(files.len(), 1, "only the crate's own file: {files:?}");
    let (file, lines) = files.iter().next().unwrap();
    assert!(file.ends_with("grace-pool/src/lib.rs"), "{file}");
    let calls = |line: &str| lines.get(line).and_then(Value::as_u64);
    // The line that prices is reached by every usage of the cases, and no comment is a line of code.
    let rate = 1 + source.lines().position(|line| line.contains("fn rate(")).expect("it prices usages");
    let of_rate = (rate..rate + 5).filter_map(|line| calls(&line.to_string())).max();
    assert!(of_rate > Some(3), "{of_rate:?} calls of rate in {lines:?}");
    for (line, text) in (1..).zip(source.lines()).filter(|(_, text)| text.trim_start().starts_with("//")) {
        assert_eq!(calls(&format!("{line}")), None, "{text}");
    }
    for what in ["functions", "branches", "lines"] {
        let total = &report["totals"][what];
        let (covered, all) = (total["covered"].as_u64().unwrap(), total["all"].as_u64().unwrap());
        assert!(covered > 0 && covered <= all, "{what}: {total}");
    }
    let lcov = fs::read_to_string(folder.path().join("out.lcov")).unwrap();
    let field =
        |name: &str| lcov.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u64>().unwrap();
    let counted = lcov.lines().filter(|line| line.starts_with("DA:")).count();
    assert_eq!(field("LF:"), u64::try_from(counted).unwrap());
    assert_eq!(json!(field("LH:")), report["totals"]["lines"]["covered"]);
    assert_eq!(json!(field("BRF:")), report["totals"]["branches"]["all"]);

    let (code, text, notes) =
        policy(folder.path(), &["coverage", named, "--threshold", "100", "--of", "branches"]);
    assert_eq!(code, Some(1), "{text}{notes}");
    assert!(notes.contains("of branches covered, the threshold is 100%"), "{notes}");
    assert!(text.contains("src/lib.rs:"), "{text}");
}

#[test]
fn a_component_without_lines_is_covered_by_branches_and_says_so() {
    let (_folder, path) = standard();
    let (code, text, notes) = policy(&path, &["coverage", "standard.wasm"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    assert!(text.contains("no line tables") && text.contains("branches"), "{text}");
    let (code, _, notes) = policy(&path, &["coverage", "standard.wasm", "--lcov", "x.lcov"]);
    assert_eq!(code, Some(1));
    assert!(
        notes.contains("standard.wasm: the module has no line tables; give the folder of its crate"),
        "{notes}"
    );
    // A case that fails is named, and fails the run.
    let case =
        "[settings]\nrates = []\n[[case]]\nname = \"wrong\"\nsteps = [{ charge = { feature = \"chat\" } }]\n";
    fs::write(path.join("wrong.toml"), case).unwrap();
    let (code, _, notes) = policy(&path, &["coverage", "standard.wasm", "--cases", "wrong.toml"]);
    assert_eq!(code, Some(1));
    assert!(notes.contains("FAILED wrong") && notes.contains("feature_not_rated"), "{notes}");
    fs::write(path.join("no.wasm"), b"nothing").unwrap();
    let (code, _, notes) = policy(&path, &["coverage", "no.wasm"]);
    assert_eq!(code, Some(1));
    assert!(notes.contains("is no WebAssembly module: it is text"), "{notes}");
}

#[test]
fn a_profile_and_a_bench_account_for_the_same_fuel() {
    let (_folder, path) = standard();
    let (code, text, notes) = policy(&path, &["bench", "standard.wasm", "--baseline", "base.json"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    assert!(text.contains("rate") && notes.contains("wrote base.json"), "{text}{notes}");
    let kept = read(&path.join("base.json"));
    let cases = kept["cases"].as_object().unwrap();
    let fuel: u64 = cases.values().map(|fuel| fuel.as_u64().unwrap()).sum();
    assert!(fuel > 1_000_000);

    let arguments = ["profile", "standard.wasm", "--json", "--folded", "f.txt", "--speedscope", "s.json"];
    let (code, text, notes) = policy(&path, &arguments);
    assert_eq!(code, Some(0), "{text}{notes}");
    let profile: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(profile["fuel"], json!(fuel));
    let folded = fs::read_to_string(path.join("f.txt")).unwrap();
    let sum: u64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, fuel);
    assert_eq!(read(&path.join("s.json"))["profiles"][0]["endValue"], json!(fuel));

    // The same again; then a baseline that was lower.
    let (code, text, notes) =
        policy(&path, &["bench", "standard.wasm", "--baseline", "base.json", "--tolerance", "0"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    let mut lower = kept.clone();
    let (case, before) = cases.iter().next().unwrap();
    lower["cases"][case] = json!(before.as_u64().unwrap() * 9 / 10);
    write(&path, "base.json", &lower);
    let (code, _, notes) = policy(&path, &["bench", "standard.wasm", "--baseline", "base.json"]);
    assert_eq!(code, Some(1));
    assert!(notes.contains("takes") && notes.contains(case.split_once(": ").unwrap().1), "{notes}");
    let (code, ..) =
        policy(&path, &["bench", "standard.wasm", "--baseline", "base.json", "--tolerance", "20"]);
    assert_eq!(code, Some(0));
    let (code, ..) = policy(&path, &["bench", "standard.wasm", "--baseline", "base.json", "--update"]);
    assert_eq!((code, read(&path.join("base.json"))), (Some(0), kept));
}

#[test]
fn one_decision_is_profiled_as_policy_run_makes_it() {
    let (_folder, path) = standard();
    write(&path, "settings.json", &json!({"rates": [{"quantity": "tokens", "price": {"per_unit": "0.5"}}]}));
    write(&path, "usage.json", &json!({"feature": "chat", "quantities": {"tokens": "3"}}));
    write(&path, "context.json", &json!({"now": "2026-01-01T00:00:00Z"}));
    let files = [
        "standard.wasm",
        "--settings",
        "settings.json",
        "--usage",
        "usage.json",
        "--context",
        "context.json",
        "--json",
    ];
    let (_, text, notes) = policy(&path, &[&["run"], &files[..]].concat());
    let run: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{notes}"));
    let (code, text, notes) = policy(&path, &[&["profile"], &files[..]].concat());
    assert_eq!(code, Some(0), "{text}{notes}");
    let profile: Value = serde_json::from_str(&text).unwrap();
    let total = |name: &str| {
        let functions = profile["functions"].as_array().unwrap();
        functions
            .iter()
            .find(|function| function["name"] == name)
            .map(|function| function["total_fuel"].clone())
    };
    assert_eq!(total("call rate"), Some(run["fuel"].clone()));
    assert!(total("call prepare").is_some() && total("call overage").is_none());
    let (code, _, notes) = policy(&path, &["profile", "standard.wasm", "--settings", "settings.json"]);
    assert_eq!(code, Some(1));
    assert!(notes.contains("--settings: needs --usage, or --call close or open"), "{notes}");
}

#[test]
fn a_difference_becomes_a_case_that_holds_for_the_new_version() {
    let (_folder, path) = standard();
    let settings = |price: &str| json!({"rates": [{"feature": "chat", "quantity": "tokens", "price": {"per_unit": price}}]});
    write(&path, "old.json", &settings("0.5"));
    write(&path, "new.json", &settings("0.6"));
    let arguments = [
        "diff",
        "standard.wasm",
        "standard.wasm",
        "--settings",
        "old.json",
        "--new-settings",
        "new.json",
        "-o",
        "found.toml",
    ];
    let (code, text, notes) = policy(&path, &arguments);
    assert_eq!(code, Some(1), "{text}{notes}");
    assert!(text.contains("they differ") && text.contains("old: 0.5") && text.contains("new: 0.6"), "{text}");
    let (code, text, notes) = policy(&path, &["test", "standard.wasm", "found.toml"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    let case = fs::read_to_string(path.join("found.toml")).unwrap();
    fs::write(path.join("found.toml"), case.replace("per_unit = \"0.6\"", "per_unit = \"0.5\"")).unwrap();
    let (code, ..) = policy(&path, &["test", "standard.wasm", "found.toml"]);
    assert_eq!(code, Some(1), "with the old price the case does not hold");

    let (code, text, notes) =
        policy(&path, &["diff", "standard.wasm", "standard.wasm", "--cases", "cases", "--seconds", "1"]);
    assert_eq!(code, Some(0), "{text}{notes}");
    assert!(text.starts_with("none found in ") && !text.contains("equal"), "{text}");
}

/// Lines of the source of night-rates, and what they are changed to.
const PLANTED: [(&str, &str); 2] = [
    // Exactly at the cap.
    ("plus(rating.cost)? <= cap {", "plus(rating.cost)? < cap {"),
    // The dearest tariff instead of the cheapest, which is the same by day.
    (".min_by_key(|(_, percent)| *percent)", ".max_by_key(|(_, percent)| *percent)"),
];

#[test]
fn changes_of_the_source_are_found() {
    let original = repository().join("policies/night-rates");
    let source = fs::read_to_string(original.join("src/lib.rs")).unwrap();
    let manifest = format!(
        "[package]\nname = \"planted\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nproviso-sdk = {{ path = {:?} }}\n\
         serde = {{ version = \"1\", default-features = false, features = [\"alloc\", \"derive\"] }}\n",
        repository().join("policies/sdk").canonicalize().unwrap()
    );
    let folder = tempfile::tempdir().unwrap();
    let crate_folder = folder.path().join("planted");
    fs::create_dir_all(crate_folder.join("src")).unwrap();
    fs::write(crate_folder.join("Cargo.toml"), &manifest).unwrap();
    fs::copy(original.join("settings.schema.json"), crate_folder.join("settings.schema.json")).unwrap();
    for (line, other) in PLANTED {
        assert_eq!(source.matches(line).count(), 1, "{line}");
        fs::write(crate_folder.join("src/lib.rs"), source.replace(line, other)).unwrap();
        let cases = original.join("cases");
        let arguments = [
            "diff",
            original.to_str().unwrap(),
            "planted",
            "--cases",
            cases.to_str().unwrap(),
            "--seconds",
            "120",
            "-o",
            "found.toml",
        ];
        let (code, text, notes) = policy(folder.path(), &arguments);
        assert_eq!(code, Some(1), "{other}: {text}{notes}");
        let (code, text, notes) = policy(folder.path(), &["test", "planted", "found.toml"]);
        assert_eq!(code, Some(0), "{other}: {text}{notes}");
        let (code, text, _) = policy(folder.path(), &["test", original.to_str().unwrap(), "found.toml"]);
        assert_eq!(code, Some(1), "{other}: {text}");
    }
}
