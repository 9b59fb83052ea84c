//! Clients that hang up, on a real database file: a use case is dropped after each number of polls that it can have, and
//! the host goes on writing as if nothing had been.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_decide::catalog::Plans as _;
use proviso_engine::{
    Change, EngineError, Expected, GroupBy, NewApiKey, PlanChange, UsageReport, catalog::Catalog,
    command::Command,
};
use proviso_fixtures::{
    host::{self, Host, charge, grant, hang_up_after, input, key, reserve, settings},
    policies::STANDARD,
};
use proviso_ledger::model::ids::Digest;
use std::{sync::Arc, time::Duration};

/// How long the host may take to write again.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is dropped, each under a name of its own that nothing else has used.
const USE_CASES: [&str; 16] = [
    "put plan",
    "put plan with terms",
    "bind terms",
    "end terms",
    "put policy",
    "upload",
    "delete version",
    "add key",
    "revoke key",
    "bind terms to a customer",
    "configure",
    "charge",
    "reserve",
    "grant",
    "state",
    "usage",
];

fn plan(terms: Option<serde_json::Value>, name: &str) -> PlanChange {
    PlanChange::replacing(name.to_owned(), None, Default::default(), terms.map(input))
}

/// What must be there before.
async fn prepare(host: &Host, use_case: &str, name: &str) -> Result<(), EngineError> {
    let engine = &host.engine;
    match use_case {
        "bind terms" | "end terms" => {
            engine.put_plan(key(name), plan(Some(settings("0.001", "1")), name)).await?;
        }
        "delete version" => {
            engine.upload(key(name), STANDARD.clone(), || 0).await?;
        }
        "revoke key" => {
            let name = name.to_owned();
            let new = NewApiKey { name: name.clone(), scopes: [].into(), ..NewApiKey::default() };
            engine.add_api_key(&name, new, None).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn act(host: &Host, use_case: &str, name: &str) -> Result<(), EngineError> {
    let engine = &host.engine;
    let once = || Some((name.parse().unwrap(), Digest::of(name.as_bytes())));
    let new = settings("0.003", &(1 + name.len()).to_string());
    let of_customer = |command| host.execute("acme", command, Some(name));
    match use_case {
        "put plan" => drop(engine.put_plan(key(name), plan(None, name)).await?),
        "put plan with terms" => drop(engine.put_plan(key(name), plan(Some(new), name)).await?),
        "bind terms" => drop(engine.bind_plan_terms(key(name), input(new), once()).await?),
        "end terms" => {
            let id = engine.catalog().terms_of(&key(name))[0].key.id;
            engine.end_plan_terms(key(name), id, None, Expected::Anything, once()).await?;
        }
        "put policy" => {
            drop(engine.put_policy(key(name), Change::Clear, Change::Keep, Expected::Anything).await?)
        }
        "upload" => drop(engine.upload(key(name), STANDARD.clone(), || 0).await?),
        "delete version" => engine.delete_version(key(name), 1).await?,
        "add key" => {
            let new = NewApiKey { name: name.to_owned(), scopes: [].into(), ..NewApiKey::default() };
            engine.add_api_key(name, new, once()).await?;
        }
        "revoke key" => {
            let id = engine.catalog().api_keys.values().find(|key| key.name == name).unwrap().id.clone();
            engine.revoke_api_key(id).await?;
        }
        "bind terms to a customer" => {
            let terms = engine.prepare_terms(input(new)).await?;
            of_customer(Command::BindTerms(Box::new(terms))).await?;
        }
        "configure" => drop(host.customer(name, Some("pro")).await),
        "charge" => drop(of_customer(charge(1)).await?),
        "reserve" => drop(of_customer(reserve(1, 60)).await?),
        "grant" => drop(of_customer(Command::Grant(Box::new(grant("1")))).await?),
        "state" => drop(engine.state(&key("acme")).await?),
        "usage" => {
            let (from, to) = (host::time(host::START), host::time("2026-02-01T00:00:00Z"));
            let group_by = vec![GroupBy::Feature];
            let report = UsageReport { from, to, feature: None, entity: None, group_by, zone: None };
            engine.usage(&key("acme"), report, None, None, 10).await?;
        }
        other => panic!("{other}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_stops_no_host() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let mut hang_ups = 0;
    for use_case in USE_CASES {
        for polls in 1.. {
            let name = format!("{}-{polls}", use_case.replace(' ', "-"));
            prepare(&host, use_case, &name).await.unwrap();
            let ended = hang_up_after(polls, act(&host, use_case, &name)).await;
            // First what only a catalog that is up to date lets through, then a change of the catalog.
            let goes_on = async {
                let charged = host.entry("acme", charge(1), None).await;
                charged.unwrap_or_else(|error| panic!("after {polls} polls of '{use_case}': {error}"));
                let change = plan(None, &name);
                host.engine.put_plan(key("afterwards"), change).await.unwrap();
            };
            tokio::time::timeout(PATIENCE, goes_on).await.expect("the host writes on");
            if let Some(outcome) = ended {
                outcome.unwrap_or_else(|error| panic!("'{use_case}': {error}"));
                break;
            }
            hang_ups += 1;
            // What was begun is done, though nobody waits for it: closing below waits for it, and a repeat finds it.
        }
    }
    assert!(hang_ups >= USE_CASES.len(), "only {hang_ups} hang-ups");
    let (engine, dir) = (host.engine.clone(), host.dir.clone());
    engine.close().await;
    drop(host);
    let store = host::open(dir.path()).await;
    let stored = Catalog::default().updated(store.catalog(0).await.unwrap()).unwrap();
    let known = engine.catalog();
    assert_eq!(known.revision, stored.revision);
    assert_eq!(known.plans, stored.plans);
    assert_eq!(known.plan_terms, stored.plan_terms);
    assert_eq!(known.policies, stored.policies);
    assert_eq!(known.versions, stored.versions);
    assert_eq!(known.api_keys, stored.api_keys);
    // Every change that was begun was made: with the first poll, it was handed to a task of its own.
    let name = |use_case: &str| key(&format!("{}-1", use_case.replace(' ', "-")));
    for use_case in ["put plan", "put plan with terms", "bind terms", "end terms"] {
        assert!(stored.plans.contains_key(&name(use_case)), "{use_case}");
    }
    assert_eq!(stored.terms_of(&name("put plan with terms")).len(), 1);
    assert_eq!(stored.terms_of(&name("bind terms")).len(), 2);
    assert!(stored.terms_of(&name("end terms"))[0].ends_at.is_some());
    assert!(stored.policies.contains_key(&name("put policy")));
    assert_eq!(stored.versions[&name("upload")].len(), 1);
    assert!(stored.versions[&name("delete version")][0].deleted);
    let with_name = |use_case| {
        let name = name(use_case);
        stored.api_keys.values().find(move |key| key.name == name.as_str())
    };
    assert!(with_name("add key").is_some());
    assert!(with_name("revoke key").is_some_and(|key| key.revoked_at.is_some()));
    let verification =
        proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verification.differences, []);
    drop::<Arc<_>>(dir);
}
