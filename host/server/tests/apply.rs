//! Plans, terms and policies as they shall be: what would change is told, made in one step or not at all, and recorded one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Server, settings};

const APPLY: &str = "/v1/apply";
const LATER: &str = "2027-01-01T00:00:00Z";

fn terms(price: &str) -> Value {
    json!({"policy": "standard", "version": 1, "settings": settings(price, "1000")})
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

/// A monthly plan with these terms.
fn plan(terms: &[Value]) -> Value {
    json!({"name": "Pro", "interval": "month", "entitlements": {"chat": {"type": "metered"}}, "terms": terms})
}

fn pro(terms: &[Value]) -> Value {
    json!({"plans": {"pro": plan(terms)}})
}

/// `type subject` of each change.
fn told(report: &Value) -> Vec<String> {
    let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    let changes = report["changes"].as_array().unwrap();
    changes.iter().map(|change| format!("{} {}", text(change, "type"), text(change, "subject"))).collect()
}

async fn dry(server: &Server, body: &Value) -> Value {
    let answer = server.post(APPLY, &with(body.clone(), "dry_run", json!(true))).await;
    let tag = answer.header("etag").unwrap().trim_matches('"').to_owned();
    let report = answer.expect(200);
    assert_eq!((&report["applied"], report["digest"].as_str().unwrap()), (&json!(false), tag.as_str()));
    report
}

/// Applies, after a dry run that must tell the same.
async fn apply(server: &Server, body: &Value) -> Vec<String> {
    let planned = dry(server, body).await;
    let done = server.post(APPLY, body).await.expect(200);
    assert_eq!((&done["applied"], &done["digest"]), (&json!(true), &planned["digest"]), "{done}");
    assert_eq!(told(&done), told(&planned));
    // What was applied is as it shall be.
    assert_eq!(told(&dry(server, body).await), [""; 0]);
    told(&done)
}

async fn expecting(server: &Server, body: &Value, digest: &Value) -> Answer {
    let tag = format!("\"{}\"", digest.as_str().unwrap());
    server.ask("POST", APPLY).header("if-match", &tag).json(body).send().await
}

async fn cost(server: &Server, key: &str) -> Value {
    server.charge(key, 1_000).await.expect(201)["cost"].clone()
}

#[tokio::test]
async fn all_is_made_in_one_step_and_recorded_one_by_one() {
    let server = Server::start().await;
    server.upload("standard").await.expect(201);
    let trial =
        json!({"duration": "P14D", "grants": [{"key": "try", "amount": "5"}], "then": {"plan": "zebra"}});
    let body = json!({
        "policies": {"standard": {"description": "all by settings"}, "other": {"description": "later"}},
        "plans": {
            // Its trial ends in a plan that comes with it.
            "apple": with(plan(&[]), "trial", trial),
            "zebra": plan(&[terms("0.001"), with(terms("0.002"), "effective_at", json!(LATER))]),
        },
    });
    let expected = [
        "policy_created policy/other",
        "policy_changed policy/standard",
        "plan_created plan/apple",
        "plan_created plan/zebra",
        "terms_bound plan/zebra/terms_1",
        "terms_bound plan/zebra/terms_2",
    ];
    let planned = dry(&server, &body).await;
    assert_eq!(told(&planned), expected);
    assert_eq!(planned["changes"][4]["pointer"], "/plans/zebra/terms/0");
    server.get("/v1/plans/zebra").await.refuses(404, "plan_not_found");

    let ask = || server.ask("POST", APPLY).key("once").json(&body);
    let done = ask().send().await;
    assert!(!done.is_replay());
    let again = ask().send().await;
    assert!(again.is_replay());
    assert_eq!(again.bytes, done.bytes);
    assert_eq!(told(&done.expect(200)), expected);
    let audit = server.get("/v1/audit?limit=6").await.expect(200);
    let recorded: Vec<String> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| {
            assert_eq!(entry["actor"], "key_1");
            format!("{} {}", entry["type"].as_str().unwrap(), entry["subject"].as_str().unwrap())
        })
        .collect();
    assert_eq!(recorded, expected);

    let same = dry(&server, &body).await;
    assert_eq!((told(&same), &same["unchanged"]), (Vec::new(), &json!(5)));
    // A field that is left out is what it defaults to.
    let bare = json!({"plans": {"apple": {"interval": "month"}}});
    let changed = dry(&server, &bare).await;
    assert_eq!(told(&changed), ["plan_changed plan/apple"]);
    assert_eq!(changed["changes"][0]["before"]["name"], "Pro");
    assert_eq!(changed["changes"][0]["after"]["trial"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_anywhere_keeps_everything_as_it_is() {
    let server = Server::with_acme().await;
    let good = plan(&[terms("0.001")]);
    let canary = json!({"share_percent": "5"});
    for (bad, status, code, pointer) in [
        (
            plan(&[with(terms("1"), "settings", json!({"rates": [{}]}))]),
            422,
            "settings_invalid",
            "/plans/b/terms/0/settings/rates/0",
        ),
        (
            plan(&[with(terms("1"), "policy", json!("nope"))]),
            422,
            "policy_not_found",
            "/plans/b/terms/0/policy",
        ),
        (
            plan(&[with(terms("1"), "version", json!(9))]),
            422,
            "version_not_found",
            "/plans/b/terms/0/version",
        ),
        (plan(&[terms("1"), terms("2")]), 400, "invalid_request", "/plans/b/terms/1"),
        (plan(&[with(terms("1"), "canary", canary.clone())]), 409, "canary_alone", "/plans/b/terms/0"),
        (
            plan(&[
                terms("1"),
                with(terms("2"), "canary", canary.clone()),
                with(terms("3"), "canary", canary),
            ]),
            400,
            "invalid_request",
            "/plans/b/terms/2",
        ),
        (
            plan(&[with(with(terms("1"), "effective_at", json!(LATER)), "ends_at", json!(LATER))]),
            400,
            "invalid_request",
            "/plans/b/terms/0/ends_at",
        ),
        (
            json!({"trial": {"duration": "P1D", "then": {"plan": "nope"}}}),
            422,
            "plan_not_found",
            "/plans/b/trial/then/plan",
        ),
        (
            json!({"grants": [{"key": "a", "amount": "0"}]}),
            400,
            "invalid_request",
            "/plans/b/grants/0/amount",
        ),
        (
            json!({"entitlements": {"x/y": {"type": "boolean"}}}),
            400,
            "invalid_request",
            "/plans/b/entitlements/x~1y/value",
        ),
        (json!({"nme": "B"}), 400, "invalid_request", "/plans/b/nme"),
    ] {
        let body = json!({"plans": {"a": good, "b": bad}});
        for dry_run in [true, false] {
            let answer = server.post(APPLY, &with(body.clone(), "dry_run", json!(dry_run))).await;
            assert_eq!(answer.pointers(), [pointer], "{}", answer.text());
            answer.refuses(status, code);
        }
        server.get("/v1/plans/a").await.refuses(404, "plan_not_found");
    }
    let fixed = server.post(APPLY, &json!({"plans": {"pro": {"interval": "day"}}})).await;
    assert_eq!(fixed.pointers(), ["/plans/pro/interval"]);
    fixed.refuses(409, "plan_interval_fixed");
}

#[tokio::test]
async fn exactly_what_was_shown_is_done_or_nothing() {
    let server = Server::with_acme().await;
    // A contract that begins when it is applied.
    let body = pro(&[with(terms("0.002"), "contract", json!({"id": "C-1"}))]);
    let planned = dry(&server, &body).await;
    assert_eq!(told(&planned), ["plan_changed plan/pro", "terms_bound plan/pro/terms_2"]);
    // Nothing that concerns it: another plan.
    server.put("/v1/plans/other", &json!({})).await.expect(201);
    assert_eq!(dry(&server, &body).await["digest"], planned["digest"]);
    // Time goes by.
    server.now("2026-01-16T10:00:00Z").await;
    assert_eq!(dry(&server, &body).await["digest"], planned["digest"]);
    // Somebody else binds terms.
    server.post("/v1/plans/pro/terms", &terms("0.003")).await.expect(201);
    expecting(&server, &body, &planned["digest"]).await.refuses(412, "changed_meanwhile");
    assert_eq!(cost(&server, "1").await, "3");
    let planned = dry(&server, &body).await;
    expecting(&server, &with(body.clone(), "prune", json!(true)), &planned["digest"]).await.expect(200);
    assert_eq!(cost(&server, "2").await, "2");
}

#[tokio::test]
async fn terms_become_those_of_the_list() {
    let server = Server::with_acme().await;
    let step = |price: &str, from: &str| with(terms(price), "effective_at", json!(from));
    // The plan's entitlements differ from those that the test's plan begins with.
    assert_eq!(apply(&server, &pro(&[terms("0.001")])).await, ["plan_changed plan/pro"]);
    // A ramp: what decides now, and what will.
    let ramp = pro(&[terms("0.001"), step("0.002", "2026-02-01T00:00:00Z"), step("0.003", LATER)]);
    assert_eq!(apply(&server, &ramp).await, ["terms_bound plan/pro/terms_2", "terms_bound plan/pro/terms_3"]);
    let seen = server.get("/v1/plans/pro").await.expect(200);
    assert_eq!(seen["scheduled"].as_array().unwrap().len(), 2);
    assert_eq!(cost(&server, "1").await, "1");
    // A step on the way is moved: the old one ends before it begins.
    let moved = pro(&[terms("0.001"), step("0.002", "2026-03-01T00:00:00Z"), step("0.003", LATER)]);
    assert_eq!(
        apply(&server, &moved).await,
        ["terms_changed plan/pro/terms_2", "terms_bound plan/pro/terms_4"]
    );
    server.now("2026-02-10T00:00:00Z").await;
    assert_eq!(cost(&server, "2").await, "1");
    // Once a step is taken, the same file changes nothing.
    server.now("2026-03-10T00:00:00Z").await;
    assert_eq!(cost(&server, "3").await, "2");
    assert_eq!(told(&dry(&server, &moved).await), [""; 0]);
    // Going back to what was before it is a change.
    assert_eq!(
        apply(&server, &pro(&[terms("0.001")])).await,
        ["terms_changed plan/pro/terms_3", "terms_bound plan/pro/terms_5"]
    );
    assert_eq!(cost(&server, "4").await, "1");
    // An end is given to what is in force, and taken back.
    let ending = pro(&[with(terms("0.001"), "ends_at", json!(LATER))]);
    assert_eq!(apply(&server, &ending).await, ["terms_changed plan/pro/terms_5"]);
    assert_eq!(apply(&server, &pro(&[terms("0.001")])).await, ["terms_changed plan/pro/terms_5"]);
    // A shadow comes and goes.
    let shadow = with(terms("0.004"), "mode", json!("shadow"));
    assert_eq!(apply(&server, &pro(&[terms("0.001"), shadow])).await, ["terms_bound plan/pro/terms_6"]);
    assert_eq!(apply(&server, &pro(&[terms("0.001")])).await, ["terms_changed plan/pro/terms_6"]);
    // Without a list they stay; with an empty one nothing decides any more, nor what decided before.
    let mut untold = pro(&[]);
    untold["plans"]["pro"].as_object_mut().unwrap().remove("terms");
    assert_eq!(told(&dry(&server, &untold).await), [""; 0]);
    let ended = apply(&server, &pro(&[])).await;
    assert!(ended.iter().all(|one| one.starts_with("terms_changed ")) && ended.len() > 1, "{ended:?}");
    server.charge("5", 1).await.refuses(409, "no_terms_in_force");
}

#[tokio::test]
async fn a_canary_begins_grows_and_is_promoted() {
    let server = Server::with_acme().await;
    let base = terms("0.001");
    let canary = |share: &str| {
        let limits = json!({"max_fault_percent": "1"});
        with(terms("0.002"), "canary", json!({"share_percent": share, "rollback": limits}))
    };
    apply(&server, &pro(std::slice::from_ref(&base))).await;
    assert_eq!(apply(&server, &pro(&[base.clone(), canary("5")])).await, ["terms_bound plan/pro/terms_2"]);
    assert_eq!(server.get("/v1/plans/pro").await.expect(200)["canary"]["id"], "terms_2");
    assert_eq!(apply(&server, &pro(&[base.clone(), canary("50")])).await, ["terms_changed plan/pro/terms_2"]);
    let lower = server.post(APPLY, &pro(&[base.clone(), canary("5")])).await;
    assert_eq!(lower.pointers(), ["/plans/pro/terms/1/canary/share_percent"]);
    lower.refuses(409, "canary_share_lower");
    // Other settings are another canary.
    let other = with(canary("5"), "settings", settings("0.003", "1000"));
    let replaced = apply(&server, &pro(&[base.clone(), other.clone()])).await;
    assert_eq!(replaced, ["terms_changed plan/pro/terms_2", "terms_bound plan/pro/terms_3"]);
    // All customers have it: what it replaced stays replaced, and is asked to be taken out.
    let all = with(
        other.clone(),
        "canary",
        json!({"share_percent": "100", "rollback": {"max_fault_percent": "1"}}),
    );
    assert_eq!(apply(&server, &pro(&[base.clone(), all.clone()])).await, ["terms_changed plan/pro/terms_3"]);
    let remarks = dry(&server, &pro(&[base.clone(), all])).await["remarks"].clone();
    assert_eq!(remarks[0]["subject"], "plan/pro/terms_3", "{remarks}");
    assert_eq!(cost(&server, "1").await, "3");
    let mut plain = other;
    plain.as_object_mut().unwrap().remove("canary");
    assert_eq!(told(&dry(&server, &pro(&[plain])).await), [""; 0]);
    // Terms of the plan that change end the canary beside them.
    apply(&server, &pro(&[base.clone(), canary("5")])).await;
    let promoted = apply(&server, &pro(&[terms("0.002")])).await;
    assert_eq!(promoted.len(), 2, "{promoted:?}");
    assert_eq!(server.get("/v1/plans/pro").await.expect(200)["canary"], Value::Null);
    assert_eq!(cost(&server, "2").await, "2");
}

#[tokio::test]
async fn plans_that_are_not_named_lose_their_terms_only_by_prune() {
    let server = Server::with_acme().await;
    let named = json!({"plans": {"starter": plan(&[terms("0.001")])}});
    assert_eq!(
        apply(&server, &named).await,
        ["plan_created plan/starter", "terms_bound plan/starter/terms_1"]
    );
    assert_eq!(cost(&server, "1").await, "1");
    assert_eq!(apply(&server, &with(named, "prune", json!(true))).await, ["terms_changed plan/pro/terms_1"]);
    server.charge("2", 1).await.refuses(409, "no_terms_in_force");
}

#[tokio::test]
async fn a_key_changes_only_what_its_scopes_and_policies_allow() {
    let server = Server::with_acme().await;
    server.upload("acme.rates").await.expect(201);
    let secret = async |scopes: &[&str], prefix: Value| {
        let mut key = json!({"name": "k", "scopes": scopes});
        if !prefix.is_null() {
            key["policy_prefix"] = prefix;
        }
        server.secret(&key).await
    };
    let manager = secret(&["manage"], Value::Null).await;
    let publisher = secret(&["manage", "policies"], Value::Null).await;
    let narrowed = secret(&["manage", "policies"], json!("acme.")).await;
    let reader = secret(&["read"], Value::Null).await;
    let by = async |secret: &str, body: Value| server.ask("POST", APPLY).by(secret).json(&body).send().await;
    let said = json!({"policies": {"standard": {"description": "d"}}});
    by(&reader, pro(&[])).await.refuses(403, "scope_missing");
    by(&manager, said.clone()).await.refuses(403, "scope_missing");
    by(&manager, pro(&[terms("0.002")])).await.expect(200);
    by(&publisher, said).await.expect(200);
    // Who may not set a class may say the one that is set.
    let class = |class: &str| json!({"policies": {"standard": {"resource_class": class}}});
    by(&publisher, class("default")).await.expect(200);
    by(&publisher, class("large")).await.refuses(403, "scope_missing");
    by(&narrowed, class("default")).await.refuses(403, "key_is_narrowed");
    by(&narrowed, pro(&[terms("0.002")])).await.refuses(403, "key_is_narrowed");
    // It would end terms of another policy.
    let own = with(terms("0.002"), "policy", json!("acme.rates"));
    by(&narrowed, pro(std::slice::from_ref(&own))).await.refuses(403, "key_is_narrowed");
    by(&narrowed, json!({"plans": {"new": plan(&[own])}})).await.expect(200);
    by(&narrowed, json!({"prune": true})).await.refuses(403, "key_is_narrowed");
    assert_eq!(cost(&server, "1").await, "2");
}
