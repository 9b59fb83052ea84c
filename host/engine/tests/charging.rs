//! The main job in process: terms decide, the ledger keeps, time brings what is due, keys are used once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    DecideError, EngineError,
    command::{ActualUsage, Command, CustomerPlanChange, Reply},
};
use proviso_fixtures::host::{self, Host, charge, input, key, reserve, settings, summary, time};
use proviso_ledger::{
    journal::{Event, PlanChangeTime},
    model::{amounts::Quantity, answers::Allowance, entitlement::Entitlement, ids::ReservationId},
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_is_rated_drawn_and_explained() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let outcome = host.charge("acme", 1_200, Some("k1")).await;
    let Event::Charged(charged) = &outcome.entry.event else { panic!("{:?}", outcome.entry) };
    assert_eq!(charged.rated.cost.to_string(), "1.2");
    assert_eq!(charged.rated.lines[0].unit_cost.to_string(), "0.001");
    assert_eq!(outcome.entry.draws()[0].amount.to_string(), "1.2");
    assert!(charged.decision.fuel > 0);
    assert_eq!(host.balance("acme").await, "granted 1000 used 1.2 reserved 0 available 998.8 overage 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_once_for_ever() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let first = host.charge("acme", 100, Some("k1")).await;
    assert!(!first.replayed);
    let again = host.charge("acme", 100, Some("k1")).await;
    assert!(again.replayed);
    assert_eq!(again.entry, first.entry);
    let other = host.entry("acme", charge(101), Some("k1")).await;
    assert!(matches!(other, Err(EngineError::IdempotencyKeyReused)), "{other:?}");
    // The same key belongs to each customer separately.
    host.customer("other", Some("pro")).await;
    assert!(!host.charge("other", 100, Some("k1")).await.replayed);
    // A refusal is an outcome, too, and stays one when credits arrive.
    assert_eq!(
        summary(&host.charge("acme", 2_000_000, Some("k2")).await.entry),
        "refused insufficient_credits"
    );
    host.grant("acme", "5000").await;
    let refused = host.charge("acme", 2_000_000, Some("k2")).await;
    assert!(refused.replayed && summary(&refused.entry) == "refused insufficient_credits");
    let host = host.restart().await;
    let again = host.charge("acme", 100, Some("k1")).await;
    assert!(again.replayed);
    assert_eq!(again.entry, first.entry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_though_a_new_request_would_be_refused() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let held = host.entry("acme", reserve(100, 3_600), Some("hold")).await.unwrap();
    let release = Command::Release(ReservationId { entry: held.entry.seq, index: 0 });
    let released = host.entry("acme", release.clone(), Some("release")).await.unwrap();
    // The lane of another start remembers no key.
    let host = host.restart().await;
    let again = host.entry("acme", release.clone(), Some("release")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.entry, released.entry);
    let other = host.entry("acme", release, Some("release again")).await;
    assert!(matches!(other, Err(EngineError::Decide(DecideError::Rejected(_)))), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_once_is_charged_once() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let host = Arc::new(host);
    let mut charges = JoinSet::new();
    for _ in 0..50 {
        let host = host.clone();
        charges.spawn(async move { host.charge("acme", 100, Some("same")).await });
    }
    let outcomes = charges.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
    assert!(outcomes.iter().all(|outcome| outcome.entry == outcomes[0].entry));
    assert_eq!(host.balance("acme").await, "granted 1000 used 0.1 reserved 0 available 999.9 overage 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_the_same_early_or_late() {
    // One host is asked every day, the other after three months: the same journal up to what was asked.
    let mut journals = Vec::new();
    for visits in [["2026-02-15T10:00:00Z", "2026-03-15T10:00:00Z"].as_slice(), &[]] {
        let host = Host::start().await.with_plan().await;
        host.customer("acme", Some("pro")).await;
        host.entry("acme", reserve(5_000, 86_400), Some("r")).await.unwrap();
        host.charge("acme", 1_000, Some("c")).await;
        for visit in visits {
            host.at(visit);
            host.state("acme").await;
        }
        host.at("2026-04-20T00:00:00Z");
        host.state("acme").await;
        journals.push(host.journal("acme").await);
    }
    assert_eq!(journals[0], journals[1]);
    let story: Vec<String> =
        journals[0].iter().map(|(entry, _)| format!("{} {}", entry.at, summary(entry))).collect();
    assert_eq!(
        story,
        [
            "2026-01-15T10:00:00Z configured",
            "2026-01-15T10:00:00Z opened started 1",
            "2026-01-15T10:00:00Z reserved 5",
            "2026-01-15T10:00:00Z charged 1",
            "2026-01-16T10:00:00Z reservation expired",
            "2026-02-15T10:00:00Z closed scheduled 1",
            "2026-02-15T10:00:00Z opened scheduled 2",
            "2026-03-15T10:00:00Z closed scheduled 2",
            "2026-03-15T10:00:00Z opened scheduled 3",
            "2026-04-15T10:00:00Z closed scheduled 3",
            "2026-04-15T10:00:00Z opened scheduled 4",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_finds_nothing_due_puts_the_due_time_right() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let held = host.entry("acme", reserve(100, 60), Some("hold")).await.unwrap();
    let release = Command::Release(ReservationId { entry: held.entry.seq, index: 0 });
    host.entry("acme", release, Some("release")).await.unwrap();
    host.at("2026-01-15T10:05:00Z");
    host.engine.sweep().await.unwrap();
    host.engine.close().await;
    let (dir, now) = (host.dir.clone(), host.clock.now());
    drop(host);
    let due = host::open(dir.path()).await.due(now, 10, Duration::from_secs(60)).await;
    assert_eq!(due, Ok(vec![]), "the next sweep would find it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_finds_what_is_due() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    host.entry("acme", reserve(5_000, 60), Some("r")).await.unwrap();
    host.at("2026-02-20T00:00:00Z");
    host.engine.sweep().await.unwrap();
    // A sweep leaves nothing to find.
    let entries = host.journal("acme").await.len();
    host.engine.sweep().await.unwrap();
    assert_eq!(host.journal("acme").await.len(), entries);
    // Configured, opened, reserved, expired, closed and opened.
    assert_eq!(entries, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_finds_a_change_of_plan_that_is_due() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let change = CustomerPlanChange {
        plan: None,
        version: None,
        when: Some(PlanChangeTime::At(time("2026-01-20T00:00:00Z"))),
        allowance: Allowance::Carry,
        dry_run: false,
    };
    let preview = CustomerPlanChange { dry_run: true, ..change.clone() };
    let preview = host.execute("acme", Command::ChangePlan(Box::new(preview)), None).await.unwrap();
    assert!(matches!(preview, Reply::Preview(_)), "{preview:?}");
    let command = || Command::ChangePlan(Box::new(change.clone()));
    let scheduled = host.entry("acme", command(), Some("change")).await.unwrap();
    // What is pending survives the host, and its repeat is answered.
    let host = host.restart().await;
    let again = host.entry("acme", command(), Some("change")).await.unwrap();
    assert_eq!((again.replayed, &again.entry), (true, &scheduled.entry));
    host.at("2026-01-21T00:00:00Z");
    host.engine.sweep().await.unwrap();
    let entries = host.journal("acme").await;
    assert_eq!(entries.len(), 5, "configured, opened, scheduled, closed and configured");
    assert_eq!(entries[4].0.at, time("2026-01-20T00:00:00Z"));
    assert_eq!(host.state("acme").await.plan(), None);
    host.engine.sweep().await.unwrap();
    assert_eq!(host.journal("acme").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_of_a_customer_win_and_end() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    host.customer("other", Some("pro")).await;
    let terms = host.engine.prepare_terms(input(settings("0.0005", "1000"))).await.unwrap();
    let bound = host.entry("acme", Command::BindTerms(Box::new(terms)), None).await.unwrap();
    assert_eq!(summary(&host.charge("acme", 1_000, None).await.entry), "charged 0.5");
    assert_eq!(summary(&host.charge("other", 1_000, None).await.entry), "charged 1");
    let Event::TermsBound(terms) = &bound.entry.event else { panic!() };
    let end = Command::EndTerms {
        id: terms.key.id,
        ends_at: Some(time("2026-01-16T00:00:00Z")),
        expected: proviso_engine::Expected::Anything,
    };
    host.entry("acme", end, None).await.unwrap();
    assert_eq!(summary(&host.charge("acme", 1_000, None).await.entry), "charged 0.5");
    host.at("2026-01-16T00:00:00Z");
    assert_eq!(summary(&host.charge("acme", 1_000, None).await.entry), "charged 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_rated_by_the_terms_of_its_reservation() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let reserved = host.entry("acme", reserve(10_000, 900), Some("r")).await.unwrap();
    host.put_plan(settings("0.1", "1000")).await;
    let id = ReservationId { entry: reserved.entry.seq, index: 0 };
    let actual = ActualUsage {
        quantities: vec![("input_tokens".into(), Quantity::from_whole(4_000))],
        attributes: None,
    };
    let committed =
        host.entry("acme", Command::Commit(id, Box::new(actual.clone())), Some("c")).await.unwrap();
    assert_eq!(summary(&committed.entry), "committed 4");
    let again = host.entry("acme", Command::Commit(id, Box::new(actual)), None).await;
    assert!(matches!(again, Err(EngineError::Decide(DecideError::Rejected(_)))), "{again:?}");
    assert_eq!(host.balance("acme").await, "granted 1000 used 4 reserved 0 available 996 overage 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_changes_nothing() {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    let before = host.state("acme").await;
    for (tokens, allowed) in [(1_000, true), (2_000_000, false)] {
        match host.execute("acme", Command::Check(host::usage(tokens)), None).await.unwrap() {
            Reply::Check(check) => assert_eq!(check.allowed, allowed, "{check:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.state("acme").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_state_is_only_a_cache() {
    // Enough entries that snapshots are written and index rows merged; then a fresh process reads it all back.
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    for number in 0..700 {
        host.charge("acme", 1 + number % 7, Some(&format!("k{number}"))).await;
    }
    let live = host.state("acme").await;
    let host = host.restart().await;
    assert_eq!(host.state("acme").await, live);
    let past = host.engine.state_at(&key("acme"), host.clock.now()).await.unwrap();
    assert_eq!(past, *live);
    let store = host::open(host.dir.path());
    host.engine.close().await;
    let store = store.await;
    let verification =
        proviso_engine::verify(&*store, proviso_engine::Against::default(), |_| {}).await.unwrap();
    assert_eq!(verification.differences, []);
    assert!(verification.snapshots > 0 && verification.entries == 702, "{verification:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metered_feature_is_open_while_a_charge_would_be() {
    for (overage, open_at_first, reason) in [
        (serde_json::json!({"mode": "block"}), false, "insufficient_credits"),
        (serde_json::json!({"mode": "allow", "limit": "1"}), true, "insufficient_credits"),
        (
            serde_json::json!({"mode": "require_purchase", "offers": [
                {"code": "pack", "label": "100 credits", "credits": "100"},
            ]}),
            false,
            "purchase_required",
        ),
    ] {
        let host = Host::start().await.with_plan().await;
        let mut terms = settings("0.001", "10");
        terms["overage"] = overage.clone();
        let entitlements = [(key("chat"), Entitlement::Metered {})].into();
        let change = proviso_engine::PlanChange::replacing(
            "Metered".to_owned(),
            None,
            entitlements,
            Some(input(terms)),
        );
        host.engine.put_plan(key("metered"), change).await.unwrap();
        host.customer("acme", Some("metered")).await;
        let access = async || {
            let (answer, _) = host.engine.entitlement(&key("acme"), &key("chat")).await.unwrap();
            (answer.has_access, answer.reason)
        };
        assert_eq!(access().await, (true, "ok".to_owned()), "{overage}: credits are there");
        host.charge("acme", 10_000, None).await;
        let expected = if open_at_first { "ok" } else { reason };
        assert_eq!(access().await, (open_at_first, expected.to_owned()), "{overage}: no credits are left");
        host.charge("acme", 1_000, None).await;
        assert_eq!(access().await, (false, reason.to_owned()), "{overage}: the overage is used up, too");
    }
}
