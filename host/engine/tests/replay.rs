//! Recorded decisions made again, and asked of other terms: the same terms come to the same in every bit, and what was doctored is
//! found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    BacktestOf, BacktestOptions, CandidateModule, EngineError, Expected, Replay, ReplayOptions, TermsInput,
    backtests::Report,
    command::{ActualUsage, Command},
};
use proviso_fixtures::{
    host::{Host, charge, input, key, reserve, settings, time},
    policies::{STANDARD, runtime},
};
use proviso_ledger::{
    journal::{ChainHash, chain, genesis},
    model::{
        amounts::{Credits, Quantity},
        ids::{ChargeId, ReservationId},
        terms::Mode,
    },
    rules::refund::{Portion, RefundRequest},
    state::Origin,
};
use proviso_policy::{Compiler, Limits, Runtime};
use proviso_store::{SqliteOptions, SqliteStore, Store};
use std::{num::NonZeroUsize, path::Path, sync::Arc};

const JOBS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Two customers, who did all that is done with a policy, over two months.
async fn busy() -> Host {
    let host = Host::start().await.with_plan().await;
    for customer in ["acme", "zenith"] {
        host.customer(customer, Some("pro")).await;
        let first = host.charge(customer, 1_200, Some("first")).await.entry.seq;
        // At one and the same instant some are decided by the old terms, and some by the new.
        host.put_plan(settings("0.002", "1000")).await;
        host.charge(customer, 100, None).await;
        host.put_plan(settings("0.001", "1000")).await;
        let held = host.entry(customer, reserve(100, 3_600), None).await.unwrap().entry.seq;
        let actual = ActualUsage {
            quantities: vec![("input_tokens".to_owned(), Quantity::from_whole(250))],
            attributes: None,
        };
        let commit = Command::Commit(ReservationId { entry: held, index: 0 }, Box::new(actual));
        host.entry(customer, commit, None).await.unwrap();
        host.grant(customer, "50").await;
        host.charge(customer, 2_000_000, None).await;
        let refund = RefundRequest { portion: Portion::Rest, reason: "r".to_owned(), reissue_expired: false };
        let id = ChargeId { entry: first, index: 0 };
        host.engine.refund(&key(customer), id, refund, Origin::default()).await.unwrap();
    }
    let shadow = TermsInput { mode: Mode::Shadow, ..input(settings("0.005", "10")) };
    host.engine.bind_plan_terms(key("pro"), shadow, Expected::Anything, None).await.unwrap();
    host.charge("acme", 300, None).await;
    let own = input(settings("0.004", "100"));
    host.engine.bind_customer_terms(key("zenith"), own, Expected::Anything, Origin::default()).await.unwrap();
    host.charge("zenith", 400, None).await;
    host.entry("acme", reserve(100, 60), None).await.unwrap();
    host.at("2026-03-20T00:00:00Z");
    host.engine.sweep().await.unwrap();
    for customer in ["acme", "zenith"] {
        host.charge(customer, 700, None).await;
        host.entry(customer, Command::Reset { anchor_now: false }, None).await.unwrap();
    }
    host.engine.delete_version(key("standard"), 1, Expected::Anything).await.unwrap();
    host
}

async fn reading(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open_read_only(SqliteOptions::new(dir.join("proviso.db"))).await.unwrap())
}

async fn replay_with(
    dir: &Path,
    runtime: Arc<Runtime>,
    customer: Option<&str>,
) -> Result<Replay, EngineError> {
    let options = ReplayOptions { customer: customer.map(key), jobs: JOBS };
    proviso_engine::replay(reading(dir).await, runtime, options, |_| {}).await
}

async fn replay(dir: &Path) -> Replay {
    replay_with(dir, runtime(), None).await.unwrap()
}

async fn backtest(dir: &Path, options: BacktestOptions) -> Result<Report, EngineError> {
    proviso_engine::backtest(reading(dir).await, runtime(), options, |_| {}).await
}

fn version(of: BacktestOf) -> BacktestOptions {
    let candidate = CandidateModule::Version(key("standard"), 1);
    BacktestOptions { candidate, settings: None, of, from: None, to: None, jobs: JOBS, is_paced: false }
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// Changes what entries say, and chains the journal anew, as someone would who knows how.
fn doctor(dir: &Path, customer: &str, change: impl Fn(&str) -> String) {
    let database = rusqlite::Connection::open(dir.join("proviso.db")).unwrap();
    let mut select =
        database.prepare("SELECT pos, body FROM entries WHERE customer_id = $1 ORDER BY seq").unwrap();
    let rows: Vec<(i64, String)> = select
        .query_map([customer], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut hash: ChainHash = genesis(&key(customer));
    for (pos, body) in rows {
        let body = change(&body);
        hash = chain(&hash, &body);
        let update = "UPDATE entries SET body = ?2, hash = ?3 WHERE pos = ?1";
        database.execute(update, (pos, &body, hash)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_made_again_bit_for_bit() {
    let host = busy().await;
    let dir = host.dir.clone();
    let whole = replay(dir.path()).await;
    assert!(whole.is_clean(), "{whole:?}");
    assert_eq!((whole.customers, whole.skipped()), (2, 0));
    assert!(whole.decisions >= 24 && whole.entries > whole.decisions && whole.fuel > 0, "{whole:?}");
    let one = replay_with(dir.path(), runtime(), Some("acme")).await.unwrap();
    assert!(one.is_clean() && one.customers == 1 && one.decisions < whole.decisions, "{one:?}");
    let nobody = replay_with(dir.path(), runtime(), Some("acm")).await;
    assert!(matches!(nobody, Err(EngineError::Decide(_))), "{nobody:?}");
    host.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctored_entry_is_found() {
    let host = busy().await;
    let dir = host.dir.clone();
    host.engine.close().await;
    // The first charge, of 1.2: in its cost, its line, its movement and the balance.
    doctor(dir.path(), "acme", |body| {
        if body.contains("\"key\":\"first\"") {
            body.replace("\"fuel\":", "\"fuel\":1")
        } else {
            body.to_owned()
        }
    });
    let found = replay(dir.path()).await;
    assert!(!found.is_clean());
    assert_eq!((found.differ, found.differences.len()), (1, 1), "{found:?}");
    let difference = &found.differences[0];
    assert_eq!(difference.customer.as_str(), "acme");
    assert!(difference.detail.contains("fuel was 1"), "{difference:?}");
    // Without chaining it anew.
    let database = rusqlite::Connection::open(dir.path().join("proviso.db")).unwrap();
    let update = "UPDATE entries SET body = replace(body, '\"feature\":\"chat\"', '\"feature\":\"cha\"') \
                  WHERE customer_id = 'zenith' AND seq = 5";
    database.execute(update, []).unwrap();
    drop(database);
    let found = replay_with(dir.path(), runtime(), Some("zenith")).await.unwrap();
    assert!(found.differences.iter().any(|one| one.seq == 5 && one.detail.contains("the hash")), "{found:?}");
    assert!(found.skipped() > 0, "what follows is not looked at, and counted: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctored_or_missing_module_is_named() {
    let host = busy().await;
    let dir = host.dir.clone();
    host.engine.close().await;
    let database = rusqlite::Connection::open(dir.path().join("proviso.db")).unwrap();
    database.execute("UPDATE modules SET bytes = x'00'", []).unwrap();
    drop(database);
    // One that has no module in memory.
    let limits = Limits { instances: 8, ..Limits::default() };
    let fresh = Arc::new(Runtime::new(limits, None, Compiler::InProcess).unwrap());
    let found = replay_with(dir.path(), fresh, None).await.unwrap();
    assert!(!found.is_clean() && found.differ == 0 && found.decisions == 0, "{found:?}");
    let (why, count) = found.unrepeatable.first_key_value().unwrap();
    assert!(why.contains("has the digest") && *count >= 24, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_terms_make_exactly_no_difference() {
    let host = busy().await;
    let dir = host.dir.clone();
    for options in [
        version(BacktestOf::Policy(key("standard"))),
        version(BacktestOf::Plan(key("pro"))),
        version(BacktestOf::Customer(key("zenith"))),
        // Halfway, where a refund gives back what was charged before.
        BacktestOptions {
            from: Some(time("2026-01-15T10:00:00.000001Z")),
            ..version(BacktestOf::Policy(key("standard")))
        },
        BacktestOptions {
            to: Some(time("2026-02-20T00:00:00Z")),
            ..version(BacktestOf::Policy(key("standard")))
        },
        BacktestOptions {
            candidate: CandidateModule::Bytes(STANDARD.clone()),
            ..version(BacktestOf::Plan(key("pro")))
        },
    ] {
        let of = format!("{:?} {:?} {:?}", options.of, options.from, options.to);
        let report = backtest(dir.path(), options).await.unwrap();
        assert!(report.is_same() && report.customers > 0, "{of}: {report:?}");
        assert_eq!(report.sum().differ, 0, "{of}");
        assert_eq!(report.sum().recorded, report.sum().candidate, "{of}");
    }
    host.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_price_is_told_in_credits_by_feature_month_and_customer() {
    let host = Host::start().await.with_plan().await;
    for customer in ["acme", "zenith"] {
        host.customer(customer, Some("pro")).await;
    }
    host.charge("acme", 500_000, None).await;
    let second = host.charge("acme", 400_000, None).await.entry.seq;
    host.charge("zenith", 1_000, None).await;
    host.entry("zenith", charge(2_000_000), None).await.unwrap();
    let dir = host.dir.clone();
    let of = |settings, of| BacktestOptions { settings: Some(settings), ..version(of) };

    let dearer = of(settings("0.002", "1000"), BacktestOf::Plan(key("pro")));
    let report = backtest(dir.path(), dearer).await.unwrap();
    assert_eq!((report.customers, report.changed, report.failures), (2, 2, 0), "{report:?}");
    let (row, cell) = report.rows.first_key_value().unwrap();
    assert_eq!((report.rows.len(), row.feature.as_str(), row.month.as_str()), (1, "chat", "2026-01"));
    assert_eq!((cell.recorded, cell.candidate), (credits("901"), credits("1002")));
    assert_eq!((cell.decisions, cell.differ, cell.newly_refused, cell.newly_accepted), (4, 4, 1, 0));
    assert_eq!(report.refusals.get("insufficient_credits"), Some(&1));
    let (customer, acme) = &report.by_customer[0];
    assert_eq!((customer.as_str(), acme.total.candidate), ("acme", credits("1000")));
    let (was, would) = acme.left.values().next().unwrap();
    assert_eq!((was.available, would.available), (credits("100"), credits("0")));
    // The largest change, with what explains both sides: the half a thousand that was not charged twice.
    let largest = &report.changes[0];
    assert_eq!((largest.recorded.cost, largest.customer.as_str()), (Some(credits("500")), "acme"));
    assert_eq!(largest.candidate.as_ref().unwrap().lines[0].unit_cost.to_string(), "0.002");
    let refused = report.changes.iter().find(|change| change.entry == second).unwrap();
    assert_eq!(refused.candidate.as_ref().unwrap().code.as_deref(), Some("insufficient_credits"));

    let ampler = of(settings("0.001", "3000"), BacktestOf::Customer(key("zenith")));
    let report = backtest(dir.path(), ampler).await.unwrap();
    assert_eq!((report.customers, report.sum().newly_accepted), (1, 1), "{report:?}");
    assert_eq!((report.flows.0.issued, report.flows.1.issued), (credits("1000"), credits("3000")));

    let wrong = of(serde_json::json!({"rates": 7}), BacktestOf::Plan(key("pro")));
    let refused = backtest(dir.path(), wrong).await;
    assert!(
        matches!(&refused, Err(EngineError::CandidateRefused(detail)) if detail.contains("rates")),
        "{refused:?}"
    );
    let gone = BacktestOptions {
        candidate: CandidateModule::Version(key("standard"), 9),
        ..version(BacktestOf::Plan(key("pro")))
    };
    assert!(matches!(backtest(dir.path(), gone).await, Err(EngineError::VersionNotFound(..))));
    host.engine.close().await;
}
