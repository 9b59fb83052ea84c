//! A planted bad version as a canary: rolled back within 5 seconds of its first traffic, once among hosts, with every entry that it
//! decided named. And modules that must be signed.

use crate::support::{
    ADMIN_KEY, BINARY, Client, Host, STANDARD, Setup, cluster::shared, repository, settings, verify_database,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How long it may take from a canary's first traffic to its end.
const WITHIN: Duration = Duration::from_secs(5);

/// Runs a verb of `policy` against a host.
fn policy(host: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.env("CARGO_TARGET_DIR", Path::new(BINARY).ancestors().nth(2).expect("in a target folder"));
    command.env("PROVISO_KEY", ADMIN_KEY).env("PROVISO_SERVER", format!("http://{host}"));
    let output = command.arg("policy").args(arguments).output().expect("the binary runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// So many customers of the plan.
async fn customers(client: &mut Client, many: usize) -> Vec<String> {
    let names: Vec<String> = (0..many).map(|number| format!("c{number}")).collect();
    for name in &names {
        client.customer(name).await;
    }
    names
}

async fn rollout(client: &mut Client, id: &str) -> Value {
    client.get(&format!("/v1/plans/pro/terms/{id}/rollout?limit=1000")).await.expect(200)
}

/// Charges in turns until the canary is rolled back; says how long that took from the first of its decisions.
async fn until_rolled_back(
    clients: &mut [Client],
    id: &str,
    customers: &[String],
    usage: impl Fn(usize) -> Value,
) -> Duration {
    let mut first = None;
    for round in 0.. {
        let count = clients.len();
        let client = &mut clients[round % count];
        let customer = &customers[round % customers.len()];
        let key = format!("round {round}");
        let answer = client.post_once(&format!("/v1/customers/{customer}/charges"), &key, usage(round)).await;
        assert!(matches!(answer.status, 201 | 402), "{}", answer.body);
        if round % 20 == 19 {
            let report = rollout(client, id).await;
            if first.is_none() && report["decisions"] != json!(0) {
                first = Some(Instant::now());
            }
            if report["state"] == "rolled_back" {
                return first.expect("it decided something").elapsed();
            }
            assert!(first.is_none_or(|first| first.elapsed() < WITHIN), "{report}");
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_ten_times_too_high_is_rolled_back_on_two_hosts() {
    let url = shared().url(&shared().create_database());
    let hosts = [Setup::on(&url).start().await, Setup::on(&url).start().await];
    let mut clients = vec![hosts[0].client().await, hosts[1].client().await];
    clients[0].set_up().await;
    let names = customers(&mut clients[0], 40).await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.json");
    fs::write(&wrong, settings("0.01").to_string()).unwrap();
    let (code, said) = policy(
        &hosts[0].address,
        &[
            "activate",
            "--plan",
            "pro",
            "--policy",
            "standard",
            "--settings",
            wrong.to_str().unwrap(),
            "--canary",
            "20%",
            "--max-drift",
            "25%",
            "--max-faults",
            "1%",
            "--min-decisions",
            "10",
        ],
    );
    assert!(code == Some(0) && said.contains("terms_2") && said.contains("canary of 20 %"), "{said}");
    let usage = |_| json!({"feature": "chat", "quantities": {"input_tokens": 100}});
    let took = until_rolled_back(&mut clients, "terms_2", &names, usage).await;
    assert!(took < WITHIN, "{took:?}");
    println!("rolled back {took:?} after its first decisions were seen");

    // At each host the same: why, and every entry that it decided, each with what it should have been.
    let report = rollout(&mut clients[0], "terms_2").await;
    let other = rollout(&mut clients[1], "terms_2").await;
    assert_eq!(report, other);
    let ended = &report["canary"]["rolled_back"];
    assert_eq!(ended["limit"], "drift", "{report}");
    assert!(ended["reason"].as_str().unwrap().contains("more than 25 %"), "{ended}");
    let affected = report["affected"].as_array().unwrap();
    assert_eq!(report["decisions"], affected.len(), "{report}");
    let mut found = 0;
    for name in &names {
        for entry in client_ledger(&mut clients[0], name).await {
            let terms = entry["decision"]["terms"].as_str().unwrap_or_default().to_owned();
            let named =
                affected.iter().find(|one| one["customer"] == **name && one["entry"] == entry["entry"]);
            assert_eq!(named.is_some(), terms == "plan/pro/terms_2", "{entry}");
            if let Some(named) = named {
                assert_eq!(
                    (&named["cost"], &named["replaced_cost"]),
                    (&json!("1"), &json!("0.1")),
                    "{named}"
                );
                found += 1;
            }
        }
    }
    assert_eq!(found, affected.len());
    // Recorded once, by nobody's key.
    let audit = clients[1].get("/v1/audit?type=canary_rolled_back").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 1, "{audit}");
    assert_eq!(audit["data"][0]["after"]["canary"]["rolled_back"]["reason"], ended["reason"], "{audit}");
    let (code, said) = policy(&hosts[1].address, &["rollout", "pro"]);
    assert!(code == Some(1) && said.starts_with("rolled back plan/pro/terms_2"), "{said}");
    let (code, said) = policy(&hosts[1].address, &["history", "--plan", "pro"]);
    assert!(code == Some(0) && said.contains("canary, rolled back: decisions came to"), "{said}");
    for host in hosts {
        assert!(host.terminate().await.success());
    }
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}

async fn client_ledger(client: &mut Client, customer: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/customers/{customer}/ledger?limit=1000")).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

const TRAPS: &str = r#"
#![cfg_attr(target_arch = "wasm32", no_std)]
use proviso_sdk::prelude::*;

#[derive(serde::Deserialize)]
struct Traps {}

impl Policy for Traps {
    const ABOUT: About = About::new("traps", "1.0.0", "Fails for one model.");

    fn rate(&self, usage: &Usage, _: &Context) -> Result<Rating, Refusal> {
        assert!(usage.attribute("model") != Some("rare"), "no price for this model");
        let price: Price = "0.001".parse().unwrap();
        Ok(Rating::of([Line::priced("tokens", usage.quantity("input_tokens"), price, Rounding::Up)?])?)
    }
}

proviso_sdk::export!(Traps, no_std);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_for_one_model_in_a_hundred_usages_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"traps\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nproviso-sdk = {{ path = {:?} }}\n\
         serde = {{ version = \"1\", default-features = false, features = [\"alloc\", \"derive\"] }}\n",
        repository().join("policies/sdk")
    );
    fs::create_dir_all(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::copy(repository().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), TRAPS).unwrap();
    let nothing = folder.path().join("nothing.json");
    fs::write(&nothing, "{}").unwrap();

    let host = Host::start().await;
    let mut clients = vec![host.client().await];
    clients[0].set_up().await;
    let names = customers(&mut clients[0], 20).await;
    let path = folder.path().to_str().unwrap();
    let (code, said) = policy(&host.address, &["push", path, "--policy", "traps"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = policy(
        &host.address,
        &[
            "activate",
            "--plan",
            "pro",
            "--policy",
            "traps",
            "--settings",
            nothing.to_str().unwrap(),
            "--canary",
            "50%",
            "--max-faults",
            "0%",
            "--min-decisions",
            "1",
            "--on-fault",
            "last-good",
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    let usage = |round: usize| {
        let model = if round % 100 == 57 { "rare" } else { "usual" };
        json!({"feature": "chat", "quantities": {"input_tokens": 100}, "attributes": {"model": model}})
    };
    // One whom the share holds, and who pays the right price all the while.
    let took = until_rolled_back(&mut clients, "terms_2", &names[4..5], usage).await;
    println!("rolled back {took:?} after its first decisions were seen");
    let report = rollout(&mut clients[0], "terms_2").await;
    assert_eq!(report["canary"]["rolled_back"]["limit"], "faults", "{report}");
    let failed: Vec<&Value> =
        report["affected"].as_array().unwrap().iter().filter(|one| one["fault"] == "trap").collect();
    assert!(!failed.is_empty() && report["faults"] == failed.len(), "{report}");
    let balance = clients[0].get(&format!("/v1/customers/{}/balance", names[4])).await.expect(200);
    let charges = client_ledger(&mut clients[0], &names[4]).await;
    let charges = charges.iter().filter(|entry| entry["type"] == "charged").count();
    let used = balance["balances"][0]["used"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((used - 0.1 * charges as f64).abs() < 1e-6, "{balance}: {charges}");
    assert!(host.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_keys_takes_what_they_signed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ann, eve, module) = (path("ann.key"), path("eve.key"), path("standard.wasm"));
    fs::write(&module, STANDARD.as_slice()).unwrap();
    let (code, line) = policy("", &["key", &ann, "--name", "ann"]);
    let line =
        line.lines().find(|line| line.starts_with("ann ")).unwrap_or_else(|| panic!("{line}")).to_owned();
    assert!(code == Some(0) && line.len() == 4 + 64, "{line}");
    let again = policy("", &["key", &ann, "--name", "ann"]);
    assert_eq!(again, (Some(0), format!("{line}\n")));
    policy("", &["key", &eve]);
    let keys = path("signing-keys");
    fs::write(&keys, format!("# who may ship\n{line}\n")).unwrap();
    let host = Setup::new().variable("PROVISO_POLICY_SIGNING_KEYS", &keys).start().await;
    let push = |more: &[&str]| {
        policy(&host.address, &[&["push", module.as_str(), "--policy", "standard"], more].concat())
    };
    let (code, said) = push(&[]);
    assert!(code == Some(1) && said.contains("422 signature_required"), "{said}");
    let (code, said) = push(&["--sign", &eve]);
    assert!(code == Some(1) && said.contains("422 signature_invalid"), "{said}");
    let (code, signature) = policy("", &["sign", &module, "--key", &ann]);
    assert_eq!(code, Some(0), "{signature}");
    let (code, said) = push(&["--signature", signature.trim()]);
    assert!(
        code == Some(0) && said.starts_with("pushed standard version 1") && said.contains("signed by ann"),
        "{said}"
    );
    let (code, said) = push(&["--sign", &ann]);
    assert!(code == Some(0) && said.starts_with("known already"), "{said}");
    let (code, said) = policy(&host.address, &["history", "standard"]);
    assert!(code == Some(0) && said.contains("signed by ann"), "{said}");
    assert!(host.terminate().await.success());
}
