//! Terms that change while charges flow: no request fails, and none is decided on terms that were not in force.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_decide::catalog::Plans as _;
use proviso_engine::{Clock, Engine, Options, command::Command};
use proviso_fixtures::{
    host::{self, Host, START, input, key, settings, time},
    policies,
};
use proviso_ledger::{
    journal::Event,
    model::{
        ids::Key,
        terms::{self, Terms},
        time::Timestamp,
    },
};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};
use tokio::task::JoinSet;

const CUSTOMERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_charge_runs_on_the_terms_in_force_at_its_time() {
    // A clock that never gives the same time twice, so that before and after are always told apart.
    let ticks = Arc::new(AtomicI64::new(time(START).0));
    let clock = Clock::new(move || Timestamp(ticks.fetch_add(1, Ordering::SeqCst)));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let options = Options { lanes: NonZeroUsize::new(2).unwrap(), ..Options::default() };
    let store = host::open(dir.path()).await;
    let engine = Engine::start(store, policies::runtime(), clock.clone(), options).await.unwrap();
    let host = Arc::new(Host { engine, clock, dir }.with_plan().await);
    for customer in 0..CUSTOMERS {
        host.customer(&format!("c{customer}"), Some("pro")).await;
        host.grant(&format!("c{customer}"), "1000000").await;
    }

    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (host, done) = (host.clone(), done.clone());
        clients.spawn(async move {
            let mut charges = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let outcome = host.charge(&format!("c{}", client % CUSTOMERS), 1_000, None).await;
                assert!(matches!(outcome.entry.event, Event::Charged(_)), "{:?}", outcome.entry.event);
                charges += 1;
            }
            charges
        });
    }
    // Swaps of the plan's terms and of one customer's, back and forth; some end, some take effect a little later.
    for round in 0..12_i64 {
        let new = settings(&format!("0.00{}", round % 9 + 1), "1000");
        let later = host.clock.now().plus_micros(400);
        if round % 2 == 0 {
            let mut input = input(new);
            input.effective_at = (round % 4 == 0).then_some(later);
            let bound = host.engine.bind_plan_terms(key("pro"), input, None).await.unwrap();
            assert!(!bound.replayed);
        } else {
            let terms = host.engine.prepare_terms(input(new)).await.unwrap();
            let bound = host.entry("c1", Command::BindTerms(Box::new(terms)), None).await.unwrap();
            let Event::TermsBound(terms) = &bound.entry.event else { panic!() };
            if round % 4 == 1 {
                let end = Command::EndTerms {
                    id: terms.key.id,
                    ends_at: Some(later.plus_micros(400)),
                    expected: proviso_engine::Expected::Anything,
                };
                host.entry("c1", end, None).await.unwrap();
            }
        }
        for _ in 0..10 {
            host.charge("c0", 1_000, None).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let charges: u32 = clients.join_all().await.into_iter().sum();
    assert!(charges > 100, "only {charges} charges ran beside the swaps");

    let plan_terms = host.engine.catalog().terms_of(&key("pro")).to_vec();
    let mut used = std::collections::BTreeSet::new();
    for customer in 0..CUSTOMERS {
        let customer: Key = key(&format!("c{customer}"));
        let mut own: Vec<Arc<Terms>> = Vec::new();
        for (entry, _) in host.journal(customer.as_str()).await {
            match &entry.event {
                Event::TermsBound(terms) => own.push(terms.clone()),
                Event::TermsEnded { id, ends_at } => {
                    let terms = own.iter_mut().find(|terms| terms.key.id == *id).unwrap();
                    Arc::make_mut(terms).ends_at = Some(*ends_at);
                }
                Event::Charged(charged) => {
                    let in_force =
                        terms::in_force(&own, entry.at).or_else(|| terms::in_force(&plan_terms, entry.at));
                    assert_eq!(
                        charged.decision.terms,
                        in_force.unwrap().key,
                        "entry {} of {customer}",
                        entry.seq
                    );
                    used.insert(charged.decision.terms.to_string());
                }
                _ => {}
            }
        }
    }
    assert!(used.len() > 6, "hardly any terms were ever in force: {used:?}");
}
