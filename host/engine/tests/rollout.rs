//! Canaries on hosts: what is counted, the rollback when a limit is passed, once among hosts, and that all of it replays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proviso_engine::{
    AuditFilter, Desired, DesiredPlan, EngineError, Expected, ReplayOptions, Rollout, RolloutState,
    TermsInput,
};
use proviso_fixtures::{
    cluster::shared,
    host::{Host, input, key, reserve, settings},
    policies::runtime,
};
use proviso_ledger::model::{
    canary::{CanaryDraft, PassedLimit, RollbackLimits, Share},
    ids::TermsId,
    terms::TermsKey,
};
use proviso_store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// How long a rollback may take.
const WITHIN: Duration = Duration::from_secs(5);
const CANARY: TermsId = TermsId { entry: 2, index: 0 };

fn share(percent: &str) -> Share {
    Share::new(percent.parse().unwrap()).unwrap()
}

fn canary(percent: &str, price: &str, rollback: Option<RollbackLimits>) -> TermsInput {
    let canary = Some(CanaryDraft { share: share(percent), rollback });
    TermsInput { canary, ..input(settings(price, "1000")) }
}

fn drift(percent: &str, min_decisions: u64) -> Option<RollbackLimits> {
    Some(RollbackLimits {
        max_fault_percent: None,
        max_drift_percent: Some(percent.parse().unwrap()),
        min_decisions,
        within_seconds: Some(3_600),
    })
}

async fn bind(host: &Host, terms: TermsInput) -> Result<(), EngineError> {
    host.engine.bind_plan_terms(key("pro"), terms, Expected::Anything, None).await.map(drop)
}

async fn raise(host: &Host, percent: &str) -> Result<(), EngineError> {
    host.engine.raise_canary(key("pro"), CANARY, share(percent), Expected::Anything, None).await.map(drop)
}

async fn rollout(host: &Host) -> Rollout {
    host.engine.rollout(&key("pro"), CANARY, 1_000, None).await.unwrap()
}

/// Twenty customers, and those of them that the share holds.
async fn customers(host: &Host, percent: &str) -> (Vec<String>, Vec<String>) {
    let terms: TermsKey = "plan/pro/terms_2".parse().unwrap();
    let all: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for customer in &all {
        host.customer(customer, Some("pro")).await;
    }
    let held = all.iter().filter(|customer| share(percent).holds(&terms, &key(customer))).cloned().collect();
    (all, held)
}

async fn rolled_back(host: &Host) -> Rollout {
    let wait = async {
        loop {
            let found = rollout(host).await;
            if found.state == RolloutState::RolledBack {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WITHIN, wait).await.expect("it is rolled back in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_ends_a_canary_and_every_entry_replays() {
    let host = Host::start().await.with_plan().await;
    let (all, held) = customers(&host, "40").await;
    assert!(held.len() > 3 && held.len() < 15, "{held:?}");
    let terms: TermsKey = "plan/pro/terms_2".parse().unwrap();
    let early = held.iter().filter(|one| share("5").holds(&terms, &key(one))).count();
    // Not before all of it was counted.
    let affected = 2 * held.len() + early;
    bind(&host, canary("5", "0.01", drift("50", affected as u64))).await.unwrap();
    assert!(matches!(bind(&host, canary("5", "0.02", None)).await, Err(EngineError::CanaryRunning(CANARY))));
    // All at one and the same instant: before the share is raised, and after.
    for customer in &all {
        host.charge(customer, 100, None).await;
    }
    raise(&host, "40").await.unwrap();
    assert!(matches!(raise(&host, "5").await, Err(EngineError::CanaryShareLower(_))));
    raise(&host, "40").await.unwrap();
    for customer in &all {
        host.charge(customer, 100, None).await;
        host.entry(customer, reserve(10, 3_600), None).await.unwrap();
    }
    let found = rolled_back(&host).await;
    let ended = found.terms.canary.as_ref().unwrap().rolled_back.clone().unwrap();
    assert_eq!((ended.limit, ended.faults), (PassedLimit::Drift, 0), "{ended:?}");
    assert_eq!((ended.decisions, found.terms.ends_at), (affected as u64, Some(ended.at)), "{ended:?}");
    // Every entry that it decided is named, with what it should have been; and no other.
    assert_eq!(found.affected.len(), affected, "{:?}", found.affected);
    assert_eq!(found.counts.decisions, found.affected.len() as u64);
    for entry in &found.affected {
        assert!(held.iter().any(|customer| *customer == entry.customer.to_string()), "{entry:?}");
        let (cost, replaced) = (entry.cost.unwrap(), entry.replaced_cost.unwrap());
        assert_eq!(cost, replaced.repeated(10).unwrap(), "{entry:?}");
    }
    // In pages of two: the same.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = host.engine.rollout(&key("pro"), CANARY, 2, after).await.unwrap();
        assert!(page.affected.len() <= 2);
        paged.extend(page.affected);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, found.affected);
    // Still at the same instant.
    for customer in &all {
        let made = host.charge(customer, 100, None).await.entry;
        assert_eq!(made.decision().unwrap().terms.to_string(), "plan/pro/terms_1");
    }
    let filter = AuditFilter { kind: Some("canary_rolled_back".to_owned()), ..AuditFilter::default() };
    let audit = host.engine.audit(&filter, None, 10).await.unwrap();
    assert_eq!(audit.entries.len(), 1);
    let after = audit.entries[0].after.as_ref().unwrap();
    assert_eq!(after["canary"]["rolled_back"]["reason"], ended.reason, "{after}");
    assert!(audit.entries[0].actor.is_none());
    assert!(matches!(raise(&host, "80").await, Err(EngineError::Decide(_))));
    // A list of terms that still has it does not begin it again; with other settings it is another one.
    for (price, changes, remarks) in [("0.01", 0, 1), ("0.02", 1, 0)] {
        let list = vec![input(settings("0.001", "1000")), canary("40", price, drift("50", affected as u64))];
        let plan = DesiredPlan { terms: Some(list), ..DesiredPlan::default() };
        let desired = Desired { plans: [(key("pro"), plan)].into(), ..Desired::default() };
        let told = host.engine.apply(desired, true, Expected::Anything, None).await.unwrap().value;
        assert_eq!((told.changes.len(), told.remarks.len()), (changes, remarks), "{told:?}");
        assert!(told.remarks.iter().all(|remark| remark.detail.contains(&ended.reason)), "{told:?}");
    }
    // The next canary is on its own.
    bind(&host, canary("10", "0.001", drift("50", 1))).await.unwrap();
    let dir = host.dir.clone();
    host.engine.close().await;
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open_read_only(SqliteOptions::new(dir.path().join("proviso.db"))).await.unwrap(),
    );
    let options = ReplayOptions { customer: None, jobs: NonZeroUsize::MIN };
    let replayed = proviso_engine::replay(store, runtime(), options, |_| {}).await.unwrap();
    assert!(replayed.is_clean() && replayed.skipped() == 0, "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_before_a_restart_counts() {
    let host = Host::start().await.with_plan().await;
    let (_, held) = customers(&host, "50").await;
    bind(&host, canary("50", "0.01", drift("50", 2 * held.len() as u64))).await.unwrap();
    for customer in &held {
        host.charge(customer, 100, None).await;
    }
    let counts = rollout(&host).await.counts;
    assert_eq!(counts.decisions, held.len() as u64);
    let host = host.restart().await;
    assert_eq!(rollout(&host).await.counts, counts);
    assert_eq!(rollout(&host).await.state, RolloutState::Running);
    for customer in &held {
        host.charge(customer, 100, None).await;
    }
    let found = rolled_back(&host).await;
    assert_eq!(found.counts.decisions, 2 * held.len() as u64);
    host.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_of_all_is_complete_and_ends_no_more() {
    let host = Host::start().await.with_plan().await;
    let alone = TermsInput { effective_at: None, ..canary("5", "0.01", None) };
    host.engine.put_plan(key("bare"), Default::default()).await.unwrap();
    let refused = host.engine.bind_plan_terms(key("bare"), alone, Expected::Anything, None).await;
    assert!(matches!(refused, Err(EngineError::CanaryAlone(_))), "{refused:?}");
    host.customer("acme", Some("pro")).await;
    bind(&host, canary("0.01", "0.01", drift("1", 1))).await.unwrap();
    raise(&host, "100").await.unwrap();
    assert_eq!(rollout(&host).await.state, RolloutState::Complete);
    let made = host.charge("acme", 100, None).await.entry;
    let decision = made.decision().unwrap();
    assert_eq!((decision.terms.to_string().as_str(), decision.shadows.len()), ("plan/pro/terms_2", 0));
    // The same PUT changes nothing: it is what is in force.
    host.put_plan(settings("0.01", "1000")).await;
    assert_eq!(host.engine.catalog().plan_terms.values().map(Vec::len).sum::<usize>(), 2);
    let none = host.engine.rollout(&key("pro"), TermsId { entry: 1, index: 0 }, 10, None).await;
    assert!(matches!(none, Err(EngineError::NotACanary)), "{none:?}");
    host.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_add_up_what_they_count_and_one_of_them_ends_the_canary() {
    let url = shared().url(&shared().create_database());
    let options = || PostgresOptions::new(&url).unwrap();
    let one = Host::on(Arc::new(PostgresStore::open(options()).await.unwrap()), "2026-01-15T10:00:00Z").await;
    let one = one.with_plan().await;
    let other =
        Host::on(Arc::new(PostgresStore::open(options()).await.unwrap()), "2026-01-15T10:00:00Z").await;
    let (_, held) = customers(&one, "50").await;
    // More than either of them sees.
    bind(&one, canary("50", "0.01", drift("50", 2 * held.len() as u64))).await.unwrap();
    for customer in &held {
        one.charge(customer, 100, None).await;
        other.charge(customer, 100, None).await;
    }
    let found = rolled_back(&other).await;
    assert_eq!(found.counts.decisions, 2 * held.len() as u64);
    assert_eq!(found.affected.len(), 2 * held.len());
    assert_eq!(one.engine.stats().rollbacks() + other.engine.stats().rollbacks(), 1);
    let filter = AuditFilter { kind: Some("canary_rolled_back".to_owned()), ..AuditFilter::default() };
    assert_eq!(one.engine.audit(&filter, None, 10).await.unwrap().entries.len(), 1);
    for host in [one, other] {
        let made = host.charge(&held[0], 100, None).await.entry;
        assert_eq!(made.decision().unwrap().terms.to_string(), "plan/pro/terms_1");
        host.engine.close().await;
    }
}
