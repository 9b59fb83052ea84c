//! `proviso replay` and `proviso backtest` as an operator uses them, also while a host runs.

use crate::support::{self, Host};
use serde_json::{Value, json};
use std::{ffi::OsStr, fs, path::Path};

/// A verb on a folder of data: its exit code, and what it said.
fn run(verb: &str, data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let place = [OsStr::new("--data-dir"), data.as_os_str()];
    let arguments: Vec<&OsStr> = place.into_iter().chain(arguments.iter().map(OsStr::new)).collect();
    support::run(verb, &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_decisions_are_made_again_and_asked_of_other_terms() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    client.customer("zenith").await;
    client.charge("acme", "a", 500_000).await.expect(201);
    client.charge("acme", "b", 400_000).await.expect(201);
    client.charge("zenith", "c", 1_000).await.expect(201);
    let data = host.data.clone();
    let files = tempfile::tempdir().unwrap();
    let dearer = files.path().join("dearer.json");
    fs::write(&dearer, support::settings("0.002").to_string()).unwrap();
    let dearer = dearer.to_str().unwrap();

    // While a host runs.
    let (code, said) = run("replay", data.path(), &["--jobs", "2"]);
    assert!(code == Some(0) && said.starts_with("replayed 5 decisions in "), "{said}");
    let (code, said) = run("replay", data.path(), &["--customer", "acme"]);
    assert!(code == Some(0) && said.starts_with("replayed 3 decisions in "), "{said}");
    let (code, said) = run("replay", data.path(), &["--customer", "nobody"]);
    assert!(code == Some(1) && said.contains("there is no customer nobody"), "{said}");

    let (code, said) = run("backtest", data.path(), &["--candidate", "standard@1"]);
    assert!(code == Some(0) && said.starts_with("same ") && said.contains("2 customers"), "{said}");
    let other = ["--candidate", "standard@1", "--plan", "pro", "--settings", dearer];
    let (code, said) = run("backtest", data.path(), &other);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("differs ") && said.contains("charged 901, would be "), "{said}");
    assert!(said.contains("largest changes") && said.contains("× 0.002 ="), "{said}");
    let (code, said) = run("backtest", data.path(), &[&other[..], &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["total"]["recorded"], "901", "{report}");
    assert_eq!(report["customers_changed"], 2);
    let module = files.path().join("standard.wasm");
    fs::write(&module, &*support::STANDARD).unwrap();
    let (code, said) =
        run("backtest", data.path(), &["--candidate", module.to_str().unwrap(), "--customer", "acme"]);
    assert!(code == Some(0) && said.starts_with("same "), "{said}");
    for (arguments, told) in [
        (&["--candidate", "standard@7"][..], "policy standard has no version 7"),
        (&["--candidate", "nonsense"], "neither a file nor a version"),
        (&["--candidate", module.to_str().unwrap()], "--customer or --plan"),
        (&["--candidate", "standard@1", "--plan", "none"], "there is no plan none"),
    ] {
        let (code, said) = run("backtest", data.path(), arguments);
        assert!(code == Some(1) && said.contains(told), "{said}");
    }
    // A job of the host, and the same report.
    let path = "/v1/policies/standard/versions/1/backtests";
    let started = client.post(path, json!({"plan": "pro", "settings": support::settings("0.002")})).await;
    let path = format!("{path}/{}", started.expect(202)["id"].as_str().unwrap());
    let mut job = client.get(&path).await.expect(200);
    while job["status"] == "waiting" || job["status"] == "running" {
        tokio::task::yield_now().await;
        job = client.get(&path).await.expect(200);
    }
    assert_eq!(job["report"], report, "{job}");
    assert!(host.terminate().await.success());
}
