//! A contract engineer's way: a policy made from a template is built, tested, changed, pushed to a running host, activated, charged
//! and rolled back, all by the binary. And what it says when something is missing.

use crate::support::{ADMIN_KEY, BINARY, Host, repository};
use proviso_fixtures::guest::Draft;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `proviso policy …` in a folder, with a key or none: the exit code, what went to stdout, and what went to stderr.
fn policy_as(folder: &Path, key: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(BINARY);
    // Crates outside the repository are built where those in it are, so that what they share is built once.
    command.env("CARGO_TARGET_DIR", Path::new(BINARY).ancestors().nth(2).expect("in a target folder"));
    command.env_remove("PROVISO_KEY").env_remove("PROVISO_SERVER").env("XDG_CACHE_HOME", cache());
    if let Some(key) = key {
        command.env("PROVISO_KEY", key);
    }
    let output = command.current_dir(folder).arg("policy").args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn policy(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    policy_as(folder, None, arguments)
}

/// Native code of these tests, away from the user's own.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("authoring-cache")
}

/// Runs a verb that must end with this code, and returns what it printed.
#[track_caller]
fn expect(code: i32, (found, stdout, stderr): (Option<i32>, String, String)) -> String {
    assert_eq!(found, Some(code), "{stdout}{stderr}");
    format!("{stdout}{stderr}")
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn each_template_passes_its_cases_as_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for template in ["blank", "standard", "volume-tiers", "commitment"] {
        let made = expect(0, policy(folder.path(), &["new", template, "--template", template]));
        assert!(made.contains(&format!("next: proviso policy test {template}")), "{made}");
        let tested = expect(0, policy(folder.path(), &["test", template]));
        assert!(tested.contains(" passed"), "{template}: {tested}");
    }
    let again = expect(1, policy(folder.path(), &["new", "blank"]));
    assert!(again.contains("blank: is not empty"), "{again}");
    let sdk = expect(1, policy(folder.path(), &["new", "other", "--sdk", "blank"]));
    assert!(sdk.contains("is not the sdk"), "{sdk}");
    expect(2, policy(folder.path(), &["new", "other", "--template", "nope"]));
}

#[test]
fn cases_that_differ_are_reported_and_can_be_updated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, policy(folder, &["new", "mine"]));
    expect(0, policy(folder, &["build", "mine", "-o", "mine.wasm"]));
    let cases = folder.join("mine/cases/first.toml");
    replace(&cases, "cost = \"1.5\"", "cost = \"1\"");
    let (code, stdout, _) =
        policy(folder, &["test", "mine.wasm", "mine/cases", "--json", "--junit", "junit.xml"]);
    assert_eq!(code, Some(1), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(0), &json!(1)));
    assert_eq!(
        report["cases"][0]["failure"]["mismatches"],
        json!([{"field": "cost", "expected": ["1"], "got": ["1.5"]}])
    );
    let junit = fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert!(
        junit.contains("<testsuite ") && junit.contains("failures=\"1\"") && junit.contains("+ 1.5"),
        "{junit}"
    );
    let updated = expect(0, policy(folder, &["test", "mine.wasm", "mine/cases", "--update"]));
    assert!(updated.contains("updated 1 value in mine/cases/first.toml"), "{updated}");
    expect(0, policy(folder, &["test", "mine.wasm", "mine/cases", "--only", "token*price"]));
    let none = expect(1, policy(folder, &["test", "mine.wasm", "mine/cases", "--only", "nothing"]));
    assert!(none.contains("no case has \"nothing\" in its name"), "{none}");
    let schema = expect(0, policy(folder, &["schema"]));
    assert!(schema.contains("\"$defs\""), "{schema}");
}

/// A policy that panics on images, and reads balances without saying so.
const ODD: &str = r#"
    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        if usage.feature == "images" {
            panic!("no price for {}", usage.feature);
        }
        let available = context.balance(CREDITS).map_or(Credits::ZERO, |balance| balance.available);
        Ok(Rating::of([Line::fixed("a tenth of all", if available.is_positive() { Credits::ONE } else { Credits::ZERO })])?)
    }
}

proviso_sdk::export!(Contract, no_std);
"#;

/// A policy that burns about a million units of fuel for each usage passes its cases in the class that may, and in no other.
#[test]
fn cases_run_with_what_their_class_may_use() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[], &[]);
    let burn = "(local $left i32) (local.set $left (i32.const 200000)) \
                (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    fs::write(folder.join("slow.wasm"), draft.body("rate", &format!("{burn} (i32.const {rating})")).build())
        .unwrap();
    let case =
        "[[case]]\nname = \"x\"\nsteps = [{ charge = { feature = \"chat\" }, expect = { cost = \"0\" } }]\n";
    fs::write(folder.join("case.toml"), case).unwrap();
    let test = |class: &[&str]| policy(folder, &[&["test", "slow.wasm", "case.toml"], class].concat());
    expect(0, test(&[]));
    expect(0, test(&["--class", "large"]));
    let failed = expect(1, test(&["--class", "small"]));
    assert!(failed.contains("out_of_fuel") && failed.contains("750000"), "{failed}");
    expect(2, test(&["--class", "huge"]));
}

#[test]
fn panics_are_told_and_what_is_not_declared_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, policy(folder, &["new", "odd"]));
    let source = folder.join("odd/src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    let begin = text.find("\n    fn rate").expect("the template rates");
    fs::write(&source, format!("{}{ODD}", &text[..begin])).unwrap();
    let case = |step: &str| {
        format!("[[case]]\nname = \"x\"\nsteps = [{{ grant = {{ amount = \"5\" }} }}, {{ {step} }}]\n")
    };
    fs::write(folder.join("odd/cases/first.toml"), case("charge = { feature = \"images\" }")).unwrap();
    let panicked = expect(1, policy(folder, &["test", "odd"]));
    assert!(panicked.contains("trap: ") && panicked.contains("no price for images"), "{panicked}");
    fs::write(
        folder.join("odd/cases/first.toml"),
        case("charge = { feature = \"chat\" }, expect = { cost = \"1\" }"),
    )
    .unwrap();
    let undeclared = expect(1, policy(folder, &["test", "odd"]));
    assert!(undeclared.contains("hint: ") && undeclared.contains("needs(&[Need::Balances])"), "{undeclared}");
    fs::write(folder.join("usage.json"), r#"{"feature": "chat"}"#).unwrap();
    fs::write(folder.join("context.json"), r#"{"balances": {"credits": {"available": "5"}}}"#).unwrap();
    let settings = "odd/cases/defaults.toml";
    let run = ["run", "odd", "--settings", settings, "--usage", "usage.json", "--context", "context.json"];
    let warned = expect(0, policy(folder, &run));
    assert!(warned.contains("warning: ") && warned.contains("needs(&[Need::Balances])"), "{warned}");
}

#[test]
fn what_is_missing_is_named_with_the_file_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, policy(folder, &["new", "mine"]));
    fs::write(folder.join("usage.json"), r#"{"feature": "chat", "quantities": {"tokens": 5.5}}"#).unwrap();
    fs::write(folder.join("late.json"), r#"{"feature": "chat", "late": 1}"#).unwrap();
    let settings = "mine/cases/defaults.toml";
    for (arguments, parts) in [
        (
            &["run", "mine", "--settings", settings, "--usage", "usage.json"][..],
            &["usage.json: quantities.tokens: invalid type: floating point `5.5`"][..],
        ),
        (
            &["run", "mine", "--settings", settings, "--usage", "late.json"],
            &["late.json: late: invalid type: integer `1`, expected a boolean"],
        ),
        (&["test", "e1"][..], &["e1: there is no such policy"][..]),
        (
            &["inspect", "mine/settings.schema.json"],
            &["settings.schema.json: is no WebAssembly module: it is JSON"],
        ),
        (&["test", "mine/cases/first.toml"], &["there is no such file or folder of cases"]),
        (&["build", "mine/cases"], &["mine/cases: no policy: there is no Cargo.toml", "proviso policy new"]),
    ] {
        let said = expect(1, policy(folder, arguments));
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }
    replace(&folder.join("mine/src/lib.rs"), "proviso_sdk::export!(Contract, no_std);", "");
    replace(&folder.join("mine/src/lib.rs"), "#![cfg_attr(target_arch = \"wasm32\", no_std)]", "");
    let unexported = expect(1, policy(folder, &["build", "mine"]));
    assert!(
        unexported.contains("mine/src/lib.rs: exports no policy: add `proviso_sdk::export!"),
        "{unexported}"
    );
    let manifest = folder.join("mine/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let sdk = repository().join("policies/sdk").canonicalize().unwrap();
    fs::write(&manifest, text.replace(&sdk.display().to_string(), "/nowhere/sdk")).unwrap();
    let moved = expect(1, policy(folder, &["build", "mine"]));
    assert!(moved.contains("Cargo.toml: the path of proviso-sdk must be the folder policies/sdk"), "{moved}");
}

#[tokio::test]
async fn a_policy_goes_from_a_template_to_charges_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, policy(folder, &["new", "tiers", "--template", "volume-tiers"]));
    expect(0, policy(folder, &["test", "tiers"]));
    expect(0, policy(folder, &["build", "tiers", "-o", "tiers.wasm"]));
    let host = Host::start().await;
    let server = format!("http://{}", host.address);
    let run = |arguments: &[&str]| {
        policy_as(folder, Some(ADMIN_KEY), &[arguments, &["--server", &server]].concat())
    };
    let mut client = host.client().await;
    client.put("/v1/plans/pro", json!({"name": "Pro", "interval": "month"})).await.expect(201);
    client.customer("acme").await;
    client
        .post_once("/v1/customers/acme/grants", "g", json!({"amount": "1000", "category": "prepaid"}))
        .await
        .expect(201);
    let pushed = expect(0, run(&["push", "tiers.wasm", "--policy", "tiers"]));
    assert!(pushed.contains("pushed tiers version 1  sha256:"), "{pushed}");
    let again = expect(0, run(&["push", "tiers.wasm", "--policy", "tiers"]));
    assert!(again.contains("known already tiers version 1"), "{again}");

    let bare = expect(1, run(&["activate", "--plan", "pro", "--policy", "tiers"]));
    assert!(bare.contains("--settings: is needed: plan pro has no terms of tiers in force"), "{bare}");
    let settings = "tiers/cases/defaults.toml";
    let bound = expect(0, run(&["activate", "--plan", "pro", "--policy", "tiers", "--settings", settings]));
    assert!(bound.contains("bound plan pro  terms_") && bound.contains("tiers 1  from "), "{bound}");
    let mut cost = async |key: &str| {
        let body = json!({"feature": "chat", "quantities": {"tokens": 100_000}});
        client.post_once("/v1/customers/acme/charges", key, body).await.expect(201)["cost"].clone()
    };
    assert_eq!(cost("1").await, "1");

    fs::write(folder.join("dear.json"), r#"{"quantity": "tokens", "tiers": [{"price": "0.001"}]}"#).unwrap();
    // What is activated twice, as by a job that is run again, is undone by one rollback.
    let dear =
        ["activate", "--plan", "pro", "--policy", "tiers", "--version", "1", "--settings", "dear.json"];
    expect(0, run(&dear));
    expect(0, run(&dear));
    assert_eq!(cost("2").await, "100");
    let undone = expect(0, run(&["rollback", "--plan", "pro"]));
    assert!(undone.contains("rollback of terms_"), "{undone}");
    assert_eq!(cost("3").await, "1");
    let nothing = expect(1, run(&["rollback", "--plan", "pro"]));
    assert!(nothing.contains("no terms before terms_4, which decide now, say anything else"), "{nothing}");
    let later = ["activate", "--plan", "pro", "--policy", "tiers", "--at", "2999-01-01T00:00:00Z"];
    let planned = expect(0, run(&later));
    assert!(planned.contains("from 2999-01-01T00:00:00Z"), "{planned}");
    assert_eq!(cost("4").await, "1");
    let terms = expect(0, run(&["history", "--plan", "pro"]));
    assert_eq!((terms.lines().count(), terms.matches(" * ").count()), (5, 1), "{terms}");
    let versions = expect(0, run(&["history", "tiers", "--json"]));
    assert_eq!(serde_json::from_str::<Value>(&versions).unwrap()[0]["version"], 1);

    fs::write(folder.join("wrong.json"), r#"{"quantity": "tokens", "tiers": []}"#).unwrap();
    for (arguments, parts) in [
        (
            &["activate", "--plan", "pro", "--policy", "tiers", "--settings", "wrong.json"][..],
            &["422 settings_invalid", "/tiers: the last tier must have no up_to"][..],
        ),
        (
            &["activate", "--plan", "nope", "--policy", "tiers", "--settings", "dear.json"],
            &["404 plan_not_found"],
        ),
        (&["rollback", "--customer", "acme"], &["customer acme: no terms decide now"]),
        (&["history", "nope"], &["404 policy_not_found"]),
    ] {
        let said = expect(1, run(arguments));
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }
    let history: &[&str] = &["history", "tiers", "--server", &server];
    let wrong_key = expect(1, policy_as(folder, Some("not-a-key"), history));
    assert!(wrong_key.contains("401 ") && wrong_key.contains("PROVISO_KEY must hold"), "{wrong_key}");
    let no_key = expect(1, policy(folder, history));
    assert!(no_key.contains("PROVISO_KEY: is not set"), "{no_key}");
    let nobody = expect(
        1,
        policy_as(folder, Some(ADMIN_KEY), &["history", "tiers", "--server", "http://127.0.0.1:9"]),
    );
    assert!(nobody.contains("is a server running there?"), "{nobody}");
    expect(2, run(&["activate", "--policy", "tiers"]));
}
