//! What the fold and the seal refuse at the edges: a clock that is behind, totals that would not fit, and a journal that
//! was forged by someone who can compute hashes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proviso_ledger::{
    counters::Totals,
    credits::Credits,
    decision::{Counter, Measure, Scope, Window},
    error::Rejection,
    fold::{SealError, Sealed},
    grant::{Category, Grant},
    ids::GrantId,
    journal,
    state::{Account, CustomerState},
    time::Timestamp,
};
use std::collections::BTreeMap;
use support::{customer, decision, key, usage};

const NOON: Timestamp = Timestamp(1_800_000_000_000_000);

fn grant(state: &mut CustomerState, at: Timestamp, micros: i64) -> Result<Sealed, SealError> {
    let grant = Grant {
        id: GrantId { entry: 0, index: 0 },
        credit: key("credits"),
        amount: Credits(micros),
        category: Category::Prepaid,
        priority: 0,
        effective_at: at,
        expires_at: None,
        features: Vec::new(),
        cost_basis: None,
        metadata: Vec::new(),
    };
    let draft = state.give(at, grant).unwrap();
    state.seal(at, draft)
}

fn charge(state: &mut CustomerState, micros: i64, counters: Vec<Counter>) -> Result<Sealed, SealError> {
    let at = state.at;
    let decision = decision("credits", Credits(micros), Vec::new(), None, counters);
    let draft = state.charge(at, usage("chat", at), decision).unwrap();
    state.seal(at, draft)
}

#[test]
fn an_entry_by_a_clock_that_is_behind_takes_the_time_of_the_one_before() {
    let mut state = customer();
    grant(&mut state, NOON, 5).unwrap();
    let late = state.close().unwrap();
    assert_eq!(state.seal(NOON.plus_micros(-1), late).unwrap().entry.at, NOON);
}

#[test]
fn totals_that_would_not_fit_are_rejected_and_leave_no_trace() {
    let mut state = customer();
    grant(&mut state, NOON, 5).unwrap();
    let full = Credits(i64::MAX - 10);
    state.accounts.insert(key("credits"), Account { issued: full, voided: full, ..Account::default() });
    let before = state.clone();
    assert_eq!(grant(&mut state, NOON, 11), Err(SealError::Rejected(Rejection::TotalOutOfRange)));
    assert_eq!(state, before);
    grant(&mut state, NOON, 10).unwrap();
}

#[test]
fn a_counter_that_would_not_fit_is_rejected_and_leaves_no_trace() {
    let mut state = customer();
    grant(&mut state, NOON, 50).unwrap();
    let counter = Counter {
        name: "all".to_owned(),
        measure: Measure::Cost,
        features: Vec::new(),
        scope: Scope::Customer,
        window: Window::Lifetime,
    };
    let by_subject = BTreeMap::from([(String::new(), i64::MAX - 10)]);
    let totals = Totals { window: Timestamp(0), by_subject };
    state.counters.insert(proviso_ledger::counters::id(&counter), totals);
    let before = state.clone();
    let refused = charge(&mut state, 11, vec![counter.clone()]);
    assert_eq!(refused, Err(SealError::Rejected(Rejection::TotalOutOfRange)));
    assert_eq!(state, before);
    charge(&mut state, 10, vec![counter]).unwrap();
}

#[test]
fn a_forged_journal_with_right_hashes_is_found() {
    let mut state = customer();
    let mut sealed = vec![grant(&mut state, NOON, 5_000_000).unwrap()];
    sealed.push(charge(&mut state, 2_000_000, Vec::new()).unwrap());
    for (from, to, found) in [
        (r#""seq":2"#, r#""seq":3"#, "entry 3 stands where 2 was due"),
        (
            "2027-01-15T08:00:00Z\",\"event",
            "2027-01-15T07:59:59Z\",\"event",
            "entry 2 is earlier than the one before it",
        ),
        (r#""from":"grant/grant_1""#, r#""from":"issued""#, "entry 2: no movement goes from issued to spent"),
        (r#""from":"grant/grant_1""#, r#""from":"grant/grant_7""#, "entry 2: no grant grant_7"),
        (r#""amount":"2""#, r#""amount":"6""#, "entry 2: a book that holds 5 can't give 6"),
        (r#""amount":"2""#, r#""amount":"-2""#, "entry 2: a transfer of -2"),
        (r#""amount":"2""#, r#""amount":"1""#, "entry 2 records another balance than its movements give"),
        (
            r#""available":"3""#,
            r#""available":"4""#,
            "entry 2 records another balance than its movements give",
        ),
        (
            r#"[{"credit":"credits""#,
            r#"[{"credit":"gpu""#,
            "after entry 2 the books of credits don't balance: issued + overage = 5000000, the other books = 3000000",
        ),
    ] {
        let mut state = customer();
        let mut result = Ok(());
        for Sealed { entry, body, .. } in &sealed {
            let forged = if entry.seq == 2 { body.replacen(from, to, 1) } else { body.clone() };
            assert!(entry.seq == 1 || forged != *body, "{from} does not occur in {body}");
            let hash = journal::chain(&state.hash, &forged);
            result = state.fold_verified(entry.seq, &forged, &hash).map(drop);
        }
        assert_eq!(result.unwrap_err().to_string(), found, "{to}");
    }
}
