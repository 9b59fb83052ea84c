//! `proviso simulate` and `proviso estimate` from the outside, with the standard policy: the workload that ships with it, its page, and
//! a price that comes out of a database's journals.

use crate::support::{BINARY, STANDARD};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// The same with fewer customers and less usage, as a debug build takes long.
fn saas() -> String {
    let whole = include_str!("../policies/standard/workloads/saas.toml");
    let less = [
        ("customers = 60", "customers = 6"),
        ("customers = 25", "customers = 3"),
        ("customers = 4\n", "customers = 1\n"),
        ("min = 250, p50 = 500, p95 = 900, max = 1500", "min = 20, p50 = 40, p95 = 90, max = 150"),
    ];
    less.into_iter().fold(whole.to_owned(), |text, (one, other)| {
        assert!(text.contains(one), "{one}");
        text.replace(one, other)
    })
}

fn proviso(folder: &Path, words: &str) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).current_dir(folder).args(words.split_whitespace()).output();
    let output = output.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn decimal(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn the_workload_that_ships_is_played_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("standard.wasm"), STANDARD.as_slice()).unwrap();
    fs::write(folder.join("saas.toml"), saas()).unwrap();
    let play = |jobs: u32| {
        let words = format!(
            "simulate saas.toml --policy standard.wasm --months 1 --jobs {jobs} --json --html {jobs}.html"
        );
        let (code, text, error) = proviso(folder, &words);
        assert_eq!(code, Some(0), "{error}");
        text
    };
    let (one, two) = (play(1), play(2));
    assert_eq!(one, two);
    let report: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(report["policy"]["name"].as_str().unwrap().split(' ').next(), Some("standard"));
    let segments = report["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 3);
    for segment in segments {
        let total = &segment["total"];
        let all = ["charged", "refused", "invalid"].map(|name| total[name].as_u64().unwrap());
        assert_eq!(total["usages"].as_u64().unwrap(), all.iter().sum::<u64>(), "{segment}");
        assert_eq!((all[2], total["degraded"].as_u64()), (0, Some(0)), "all usage has a price");
        let money = &total["money"];
        let left = decimal(&money["revenue"]) - decimal(&money["cost"]);
        assert!((left - decimal(&money["margin"])).abs() < 1e-6, "{money}");
    }
    assert_eq!(report["declined"], serde_json::json!({}));
    let page = fs::read_to_string(folder.join("1.html")).unwrap();
    assert_eq!(page, fs::read_to_string(folder.join("2.html")).unwrap());
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("http"));
}

#[test]
fn proposed_prices_leave_the_margin_when_they_are_played() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("standard.wasm"), STANDARD.as_slice()).unwrap();
    fs::write(folder.join("saas.toml"), saas()).unwrap();
    let (code, text, error) = proviso(folder, "estimate saas.toml --margin 60 --json");
    assert_eq!(code, Some(0), "{error}");
    let estimate: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(estimate["usages_without_cost"], 0);
    assert!(estimate["buffers"].as_array().unwrap().iter().any(|one| one["segment"] == "automation"));
    // All is sold for what it is worth: nothing is included, and all overage is invoiced.
    let mut settings = estimate["settings"]["per_unit"].clone();
    settings["overage"] = serde_json::json!({ "mode": "allow" });
    settings["reset"] = serde_json::json!({ "allowance": [], "overage": "invoice" });
    fs::write(folder.join("priced.json"), settings.to_string()).unwrap();
    let workload = saas().split("[plans.plan]").next().unwrap().to_owned()
        + "[[segment]]\nname = \"one\"\ncustomers = 2\nusages_per_day = 5\n\
           [[segment.usage]]\nfeature = \"chat\"\nattributes = { model = \"large\" }\n\
           quantities = { input_tokens = 1000, output_tokens = 100 }\n\
           [[cost]]\nquantity = \"input_tokens\"\nwhen = { model = \"large\" }\nper_million = \"2.5\"\n\
           [[cost]]\nquantity = \"output_tokens\"\nwhen = { model = \"large\" }\nper_million = \"10\"\n";
    fs::write(folder.join("one.toml"), workload).unwrap();
    let words = "simulate one.toml --policy standard.wasm --settings priced.json --months 1 --json";
    let (code, text, error) = proviso(folder, words);
    assert_eq!(code, Some(0), "{error}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let money = &report["total"]["money"];
    assert_eq!(
        (money["cost"].as_str(), money["margin_percent"].as_str()),
        (Some("1.085"), Some("60")),
        "{money}"
    );
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_mend() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("standard.wasm"), STANDARD.as_slice()).unwrap();
    let segment =
        "[[segment]]\nname = \"a\"\ncustomers = 1\nusages_per_day = 1\nusage = [{ feature = \"chat\" }]\n";
    for (text, words, named) in [
        ("months = 1\nsegments = 3\n", "simulate x.toml", "x.toml:2: unknown field `segments`"),
        (segment, "simulate x.toml", "names no policy: add policy ="),
        (segment, "simulate x.toml --policy standard.wasm --months 0", "must be 1 to 120"),
        (segment, "estimate x.toml", "add a [[cost]]"),
        (
            "settings = { rates = 1 }\n",
            "simulate x.toml --policy standard.wasm",
            "x.toml:1: missing field `segment`",
        ),
    ] {
        fs::write(folder.join("x.toml"), text).unwrap();
        let (code, _, error) = proviso(folder, words);
        assert_eq!(code, Some(1), "{words}");
        assert!(error.contains(named), "{words}: {error}");
    }
    fs::write(folder.join("x.toml"), format!("settings = {{ rates = 1 }}\n{segment}")).unwrap();
    let (code, _, error) = proviso(folder, "simulate x.toml --policy standard.wasm");
    assert!(code == Some(1) && error.contains("plan plan: the policy refuses these settings"), "{error}");
    fs::write(folder.join("t.csv"), "tokens\n1\nx\n").unwrap();
    let rows = segment.replace("feature = \"chat\"", "feature = \"chat\", rows = \"t.csv\"");
    fs::write(folder.join("x.toml"), rows).unwrap();
    let (_, _, error) = proviso(folder, "simulate x.toml --policy standard.wasm");
    assert!(error.contains("t.csv:3: \"x\" for tokens"), "{error}");
}
