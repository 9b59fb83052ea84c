//! Terms as code: a server's plans become files, files become what a server has, and nothing happens that was not shown.

use crate::support::{ADMIN_KEY, BINARY, Host, STANDARD, settings};
use proviso_fixtures::guest::Draft;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// Runs a verb in a folder, against a host.
fn proviso(folder: &Path, host: &Host, words: &str) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.env("PROVISO_KEY", ADMIN_KEY).env("PROVISO_SERVER", format!("http://{}", host.address));
    let output = command.current_dir(folder).args(words.split(' ')).output().expect("the binary runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[track_caller]
fn expect(code: i32, parts: &[&str], (found, text): (Option<i32>, String)) -> String {
    assert_eq!(found, Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    text
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from}:\n{text}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// A plan with all that a plan may have.
fn everything() -> Value {
    let terms = json!({
        "policy": "standard", "settings": settings("0.001"), "on_fault": "last_good", "time_zone": "Europe/Berlin",
        "note": "say \"hi\"", "contract": {"id": "C-1", "start": "2026-01-01T00:00:00Z"},
    });
    json!({
        "name": "Pro – \u{1F680}", "interval": {"unit": "month", "count": 3},
        "entitlements": {"chat": {"type": "metered"}, "auth0|x/y": {"type": "static", "value": {"a": [1, {"b": 0.5}]}}},
        "grants": [{"key": "included", "amount": "10", "cost_basis": {"amount": "5", "currency": "EUR"}},
                   {"key": "once", "amount": "1.5", "recurrence": "once", "expires": {"after": "P30D"}}],
        "trial": {"duration": "P14D", "grants": [{"key": "try", "amount": "5"}], "then": {"plan": "bare"}},
        "terms": terms,
    })
}

#[tokio::test]
async fn what_is_pulled_differs_in_nothing_and_goes_to_another_server() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.upload("standard", &STANDARD).await;
    client.upload("standard", &Draft::good().build()).await;
    client.put("/v1/plans/bare", json!({})).await.expect(201);
    // TOML has no null.
    let odd = json!({"entitlements": {"x": {"type": "static", "value": {"a": [null]}}}});
    client.put("/v1/plans/odd", odd).await.expect(201);
    let mut plan = everything();
    plan["terms"]["version"] = json!(1);
    client.put("/v1/plans/pro", plan).await.expect(201);
    let more = [
        json!({"mode": "shadow", "settings": settings("0.002")}),
        json!({"effective_at": "2999-01-01T00:00:00Z", "ends_at": "2999-02-01T00:00:00Z", "settings": settings("0.003")}),
        json!({"canary": {"share_percent": "12.5", "rollback": {"max_fault_percent": "1"}}, "settings": settings("0.004")}),
    ];
    for mut terms in more {
        terms["policy"] = json!("standard");
        terms["version"] = json!(1);
        client.post("/v1/plans/pro/terms", terms).await.expect(201);
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, &["pulled 3 plans and 1 policy to terms"], proviso(folder, &host, "pull terms"));
    let mut files: Vec<String> = ["plans", "policies", ".schema"]
        .iter()
        .flat_map(|name| fs::read_dir(folder.join("terms").join(name)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["bare.toml", "odd.json", "plan.json", "policy.json", "pro.toml", "standard.toml"]);
    let text = fs::read_to_string(folder.join("terms/plans/pro.toml")).unwrap();
    assert!(text.starts_with("#:schema ../.schema/plan.json\n"), "{text}");
    expect(0, &["nothing to change: 5 unchanged"], proviso(folder, &host, "diff terms"));
    expect(0, &["nothing to change"], proviso(folder, &host, "apply terms"));
    assert_eq!(client.get("/v1/plans/pro/terms").await.expect(200)["data"].as_array().unwrap().len(), 4);

    // The modules' digests are the same everywhere; a server that lacks one is told so.
    let other = Host::start().await;
    expect(
        1,
        &["pro.toml:", "has no sha256:", "name the module's file"],
        proviso(folder, &other, "diff terms"),
    );
    let mut there = other.client().await;
    there.upload("standard", &Draft::good().build()).await;
    there.upload("standard", &STANDARD).await;
    expect(
        2,
        &["+ plan/pro\n", "a canary of 12.5 %", "a shadow", "from 2999-01-01"],
        proviso(folder, &other, "diff terms"),
    );
    expect(0, &["applied all of it in one step"], proviso(folder, &other, "apply terms"));
    expect(0, &["nothing to change"], proviso(folder, &other, "diff terms"));
    let again = tempfile::tempdir().unwrap();
    expect(0, &[], proviso(again.path(), &other, "pull terms"));
    expect(0, &["nothing to change"], proviso(again.path(), &other, "diff terms"));
    expect(1, &["there is no plan nope"], proviso(folder, &other, "pull terms --plan nope"));
}

#[tokio::test]
async fn a_change_is_shown_with_its_effect_and_made_as_shown() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.upload("standard", &STANDARD).await;
    let plan = json!({"interval": "month", "terms": {"policy": "standard", "settings": settings("0.001")}});
    client.put("/v1/plans/pro", plan).await.expect(201);
    client.customer("acme").await;
    let mut cost = async |key: &str| {
        let usage = json!({"feature": "chat", "quantities": {"input_tokens": 1_000}});
        client.post_once("/v1/customers/acme/charges", key, usage).await.expect(201)["cost"].clone()
    };
    assert_eq!(cost("1").await, "1");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    expect(0, &[], proviso(folder, &host, "pull terms"));
    let file = folder.join("terms/plans/pro.toml");
    edit(&file, "\"0.001\"", "\"0.003\"");
    let parts = [
        "+ plan/pro/terms_2  standard 1 from now, in the place of plan/pro/terms_1\n",
        "~ settings.rates[0].price.per_unit: \"0.001\" -> \"0.003\"\n",
        "effect: 1 decision of 1 customer in the last 30 days: charged 1, would be 3 (+2)\n",
        "customer acme: 1, would be 3\n",
        "1 to create, 0 to change, 0 to end, 2 unchanged\n",
    ];
    let shown = expect(2, &parts, proviso(folder, &host, "diff terms"));
    let digest = shown.trim().rsplit(' ').next().unwrap().to_owned();
    let quiet = expect(2, &[&digest], proviso(folder, &host, "diff terms --no-backtest"));
    assert!(!quiet.contains("effect"), "{quiet}");
    let (code, json) = proviso(folder, &host, "diff terms --json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, json["digest"].as_str(), &json["applied"]),
        (Some(2), Some(digest.as_str()), &json!(false))
    );

    // Nothing was changed by looking, and nothing is by what was not shown.
    assert_eq!(cost("2").await, "1");
    let other = digest.chars().rev().collect::<String>();
    let refused = ["is no longer what was shown", "Nothing was changed"];
    expect(1, &refused, proviso(folder, &host, &format!("apply terms --expect {other}")));
    assert_eq!(cost("3").await, "1");
    expect(0, &["applied all of it"], proviso(folder, &host, &format!("apply terms --expect {digest}")));
    assert_eq!(cost("4").await, "3");
    expect(0, &["nothing to change"], proviso(folder, &host, "diff terms"));

    // A module in a file: seen by a diff, sent by an apply.
    fs::write(folder.join("other.wasm"), Draft::good().build()).unwrap();
    fs::write(
        folder.join("terms/policies/other.toml"),
        "description = \"another\"\nmodule = \"../../other.wasm\"\n",
    )
    .unwrap();
    fs::write(folder.join("terms/plans/next.toml"), "[[terms]]\npolicy = \"other\"\n").unwrap();
    let parts = [
        "+ policy/other  a new version, sha256:",
        "! plan/next  its terms need a module that is not uploaded",
    ];
    expect(2, &parts, proviso(folder, &host, "diff terms"));
    let parts = ["uploaded other version 1", "+ plan/next/terms_1  other 1 from now\n"];
    expect(2, &parts, proviso(folder, &host, "diff terms --upload"));
    expect(0, &["~ policy/other", "applied all of it"], proviso(folder, &host, "apply terms"));
    fs::remove_file(folder.join("terms/plans/pro.toml")).unwrap();
    expect(0, &["nothing to change"], proviso(folder, &host, "diff terms"));
    expect(2, &["- plan/pro/terms_2  ends at "], proviso(folder, &host, "diff terms --prune"));
}

#[tokio::test]
async fn what_a_server_refuses_is_told_with_file_and_line() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.upload("standard", &STANDARD).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir_all(folder.join("plans")).unwrap();
    let plan = "name = \"Pro\"\n\n[[terms]]\npolicy = \"standard\"\nsettings_file = \"../settings.toml\"\n";
    fs::write(folder.join("settings.toml"), "rates = [\n    { feature = \"chat\" },\n]\n").unwrap();
    for (plan, said) in [
        (plan.to_owned(), "plans/../settings.toml:2: rates.0: field \"price\" is missing"),
        (
            format!("{plan}settings.rates = [{{ price.flat = \"x\" }}]\n"),
            "plans/pro.toml:6: terms.0.settings.rates.0.price.flat: ",
        ),
        (
            format!("{plan}settings.rates = []\nversion = 7\n"),
            "plans/pro.toml:7: terms.0.version: policy standard has no version 7",
        ),
        (
            "[trial]\nduration = \"P1D\"\nthen.plan = \"nope\"\n".to_owned(),
            "plans/pro.toml:3: trial.then.plan: there is no plan nope",
        ),
    ] {
        fs::write(folder.join("plans/pro.toml"), plan).unwrap();
        for words in ["diff .", "apply ."] {
            expect(1, &[said], proviso(folder, &host, words));
        }
    }
    client.get("/v1/plans/pro").await.expect(404);
    let empty = expect(
        1,
        &["has no folder plans and none policies", "proviso pull"],
        proviso(folder, &host, "diff plans"),
    );
    assert!(empty.starts_with("error: plans: "), "{empty}");
    let schema = expect(0, &["\"$defs\""], proviso(folder, &host, "policy schema plan"));
    assert!(serde_json::from_str::<Value>(&schema).unwrap()["properties"]["terms"].is_object());
}
