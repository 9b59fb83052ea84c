//! `proviso prices` from the outside: a file in the form of models.dev becomes settings that the standard policy takes and that a
//! real usage is billed by.

use crate::support::{BINARY, STANDARD};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

fn proviso(folder: &Path, words: &str) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).current_dir(folder).args(words.split_whitespace()).output();
    let output = output.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

#[test]
fn a_price_book_becomes_settings_that_bill_as_the_provider_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cost = json!({ "input": 1.25, "output": 10, "cache_read": 0.0625,
                       "tiers": [{ "input": 2.5, "output": 15, "cache_read": 0.125, "tier": { "type": "context", "size": 600_000 } }] });
    write(folder, "api.json", &json!({ "openai": { "models": { "gpt-5": { "cost": cost }, "free": {} } } }));
    write(
        folder,
        "terms.json",
        &json!({ "rates": [{ "feature": "search", "price": { "flat": "1" } }],
                 "multipliers": [{ "when": { "service_tier": "batch" }, "times": "0.5" }] }),
    );
    fs::write(folder.join("standard.wasm"), STANDARD.as_slice()).unwrap();

    let (code, text, notes) =
        proviso(folder, "prices api.json --provider openai --settings terms.json -o settings.json");
    assert_eq!(code, Some(0), "{notes}");
    assert_eq!(text, "wrote settings.json  10 rates of 1 model\n");
    assert_eq!(notes, "note: 1 model of openai has no price in the book, and no rates\n");

    let usage = |cached: u64, tier: &str| {
        json!({
            "feature": "chat", "attributes": { "model": "gpt-5", "service_tier": tier },
            "quantities": { "input_tokens": 262_960, "cache_read_input_tokens": cached, "output_tokens": 1_744 }
        })
    };
    for (usage, cost) in [
        (usage(257_955, "default"), "0.3622621875"),
        (usage(257_955, "batch"), "0.18113109375"),
        // 600,001 tokens of input.
        (usage(337_041, "default"), "0.725690125"),
        (json!({ "feature": "search", "attributes": {}, "quantities": {} }), "1"),
    ] {
        write(folder, "usage.json", &usage);
        let words = "policy run standard.wasm --settings settings.json --usage usage.json --json";
        let (code, text, error) = proviso(folder, words);
        assert_eq!(code, Some(0), "{error}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["cost"], cost, "{usage}");
    }
}

#[test]
fn a_book_that_is_wrong_is_named_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "api.json",
        &json!({ "openai": { "models": { "gpt-5": { "cost": { "input": "x", "output": 1 } } } } }),
    );
    let (code, text, error) = proviso(folder, "prices api.json --provider openai");
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert_eq!(
        error,
        "error: api.json: /openai/models/gpt-5/cost/input: must be a price that is not negative\n"
    );
    write(folder, "terms.json", &json!({ "rates": 1 }));
    write(
        folder,
        "good.json",
        &json!({ "p": { "models": { "m": { "cost": { "input": 1, "output": 1 } } } } }),
    );
    let (code, _, error) = proviso(folder, "prices good.json --provider p --settings terms.json");
    assert_eq!((code, error.as_str()), (Some(1), "error: terms.json: /rates: must be a list\n"));
    let (code, _, error) = proviso(folder, "prices none.json --provider p");
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: none.json: "), "{error}");
}
