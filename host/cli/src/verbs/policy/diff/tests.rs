//! Changes are planted in settings, and each must be found, with a case that holds for the new version and not for the old one.

use super::{
    facts,
    scenario::Base,
    search::{Search, Sides},
    words,
};
use crate::verbs::policy::{
    runtime,
    test::{self, Loaded, Subject, files},
};
use proviso_fixtures::policies::STANDARD;
use serde_json::{Value, json};
use std::path::Path;

/// The verb's default.
const MOST_US: u64 = 30_000_000;

fn subject(module: &[u8]) -> Subject {
    let module = runtime().unwrap().admit(module).unwrap().module;
    super::subject(Loaded { digest: module.digest(), policy: module })
}

/// Settings with something of everything.
fn settings() -> Value {
    json!({
        "rates": [
            {"feature": "chat", "quantity": "input_tokens", "less": ["cached_tokens"], "price": {"per_unit": "0.001"}},
            {"feature": "chat", "quantity": "cached_tokens", "price": {"per_unit": "0.0001"}},
            {"feature": "chat", "quantity": "input_tokens", "less": ["cached_tokens"], "when": {"model": "large*"},
                "price": {"per_unit": "0.01"}},
            {"feature": "search", "quantity": "queries", "price": {"graduated": {"per": "period", "tiers": [
                {"up_to": 1000, "per_unit": "0.02"}, {"up_to": 5000, "per_unit": "0.015"}, {"per_unit": "0.01"}]}}},
            {"feature": "storage", "quantity": "gigabytes", "price": {"per_block": {"size": 10, "price": "5"}}},
            {"feature": "mail", "quantity": "messages", "included": {"units": 100, "per": "month"},
                "price": {"per_unit": "0.5"}},
        ],
        "multipliers": [{"when": {"batch": "true"}, "times": "0.5"}],
        "discounts": [
            {"hours": {"from": "22:00", "to": "06:30"}, "percent": 40},
            {"feature": "chat", "spend": {"per": "period", "from": "200"}, "percent": 10},
        ],
        "minimum_charge": "0.01",
        "maximum_charge": "900",
        "overage": {"mode": "allow", "limit": "50"},
        "reset": {"allowance": [{"amount": "1000"}], "rollover": {"percent": 50, "cap": "300", "expires_after_periods": 1},
            "overage": "invoice"},
    })
}

/// Searches, and holds what is found to both sides. Returns the case.
fn found(sides: &Sides, modules: [&[u8]; 2], old: &Value, new: &Value) -> Result<String, String> {
    let bases = Base::all(Some(old), Some(new), &[]);
    let (words, seeds) = words(sides, &bases, &[], modules);
    let mut search = Search::new(sides, &bases, &words, 1, MOST_US);
    let Some((base, scenario, difference)) = search.run(&seeds)? else {
        return Err(format!("none found in {}", search.tried()));
    };
    println!("{} scenarios, with those to make it smaller", search.tried());
    let text = facts::case(base, &scenario, &difference, &sides.new)?;
    let fails = |subject: &Subject, text: &str| {
        let read =
            files::Read::alone(Path::new("x.toml"), text.to_owned()).map_err(|error| error.to_string())?;
        Ok::<_, String>(test::run_case(subject, &read, &read.file.cases[0], false).failure.is_some())
    };
    // With its own settings the old side is the new one where only settings differ, so it is asked with the old ones.
    let old_text = text.replacen(&base.head(&base.new_settings), &base.head(&base.old_settings), 1);
    if fails(&sides.new, &text)? || !fails(&sides.old, &old_text)? {
        return Err(format!("the case does not tell them apart:\n{text}"));
    }
    Ok(text)
}

#[test]
fn each_of_20_changes_of_settings_is_found() {
    let policy = subject(&STANDARD);
    let sides = Sides { old: policy.clone(), new: policy };
    let old = settings();
    let mut missed = Vec::new();
    for (pointer, value) in [
        ("/rates/0/price/per_unit", json!("0.00101")),
        ("/rates/0/less", json!([])),
        ("/rates/1/price/per_unit", json!("0.0002")),
        ("/rates/2/when/model", json!("larger*")),
        ("/rates/2/price/per_unit", json!("0.011")),
        ("/rates/3/price/graduated/tiers/0/up_to", json!(1001)),
        ("/rates/3/price/graduated/tiers/2/per_unit", json!("0.009")),
        ("/rates/4/price/per_block/size", json!(11)),
        ("/rates/5/included/units", json!(101)),
        ("/multipliers/0/times", json!("0.6")),
        ("/multipliers/0/when/batch", json!("yes")),
        ("/discounts/0/hours/from", json!("21:00")),
        ("/discounts/0/hours/to", json!("06:31")),
        ("/discounts/0/percent", json!(41)),
        ("/minimum_charge", json!("0.02")),
        ("/maximum_charge", json!("901")),
        ("/reset/allowance/0/amount", json!("1001")),
        ("/reset/rollover/percent", json!(51)),
        ("/reset/rollover/cap", json!("301")),
        ("/reset/rollover/expires_after_periods", json!(2)),
    ] {
        let mut new = old.clone();
        *new.pointer_mut(pointer).expect(pointer) = value;
        match found(&sides, [&STANDARD, &STANDARD], &old, &new) {
            Ok(case) => {
                let steps = case.lines().filter(|line| line.starts_with("    {")).count();
                println!("{pointer}: {steps} steps");
                if steps > 3 {
                    missed.push(format!("{pointer}: is not small:\n{case}"));
                }
            }
            Err(error) => missed.push(format!("{pointer}: {error}")),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_does_not_differ_is_never_called_equal() {
    let policy = subject(&STANDARD);
    let sides = Sides { old: policy.clone(), new: policy };
    let settings = settings();
    let bases = Base::all(Some(&settings), Some(&settings), &[]);
    let (words, seeds) = words(&sides, &bases, &[], [&STANDARD, &STANDARD]);
    let mut search = Search::new(&sides, &bases, &words, 7, 1_000_000);
    assert_eq!(search.run(&seeds).map(|found| found.is_none()), Ok(true));
    assert!(search.tried() > 0);
}
