//! What the fold and the seal refuse at the edges: a clock that is behind, totals that would not fit, and a journal that
//! was forged by someone who can compute hashes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proviso_ledger::{
    fold::{SealError, Sealed},
    journal::{self, CloseReason, Entry, OpenReason, ReadError},
    model::{
        amounts::{Credits, Decimal, Quantity},
        answers::{Allowance, CloseOutcome, NewGrant, OpenOutcome, Rollover},
        counter::{Counter, Measure, Scope, Window},
        customer::Profile,
        grant::Category,
        period::{Interval, IntervalUnit},
        time::{Timestamp, Zone},
        view::Expiry,
    },
    rules::{
        bounds::{MOST_BYTES, MOST_CREDIT_TYPES},
        grants::{GrantRequest, GrantTerms},
        rejection::{Denied, Rejection},
    },
    state::{Account, CustomerState, GrantStatus},
};
use support::{customer, decision, key, usage};

const NOON: Timestamp = Timestamp(1_800_000_000_000_000);

fn request(amount: Credits) -> GrantRequest {
    GrantRequest {
        credit: key("credits"),
        amount,
        category: Category::Prepaid,
        priority: 0,
        effective_at: None,
        expires: Expiry::default(),
        features: Vec::new(),
        cost_basis: None,
        metadata: Vec::new(),
    }
}

fn grant(state: &mut CustomerState, at: Timestamp, amount: Credits) -> Result<Sealed, SealError> {
    let draft = state.give(at, request(amount), &GrantTerms::default()).unwrap();
    state.seal(at, draft)
}

fn charge(state: &mut CustomerState, cost: Credits, counters: Vec<Counter>) -> Result<Sealed, SealError> {
    let at = state.at;
    let counters = counters.into_iter().map(|counter| (counter, None)).collect();
    let mut usage = usage("chat", at);
    usage.quantities.push(("bytes".to_owned(), Quantity::LARGEST));
    let draft = state.charge(at, usage, decision("credits", cost, Vec::new(), None, counters)).unwrap();
    state.seal(at, draft)
}

#[test]
fn an_entry_by_a_clock_that_is_behind_takes_the_time_of_the_one_before() {
    let mut state = customer();
    grant(&mut state, NOON, Credits::from_whole(5)).unwrap();
    let late = state.close_customer().unwrap();
    assert_eq!(state.seal(NOON.plus_micros(-1), late).unwrap().entry.at, NOON);
}

#[test]
fn totals_that_would_not_fit_are_rejected_and_leave_no_trace() {
    let mut state = customer();
    grant(&mut state, NOON, Credits::from_whole(5)).unwrap();
    let units = Credits::from_units;
    let full = Credits::new(Decimal::MAX).saturating_sub(units(10));
    state.accounts.insert(key("credits"), Account { issued: full, voided: full, ..Account::default() });
    let before = state.clone();
    assert_eq!(grant(&mut state, NOON, units(11)), Err(SealError::Rejected(Rejection::TotalOutOfRange)));
    assert_eq!(state, before);
    grant(&mut state, NOON, units(10)).unwrap();
}

/// A customer of a plan by the month.
fn monthly() -> CustomerState {
    let mut state = customer();
    let profile = Profile {
        name: "Acme".to_owned(),
        plan: Some("pro".parse().unwrap()),
        plan_version: Some(1),
        interval: Some(Interval::new(IntervalUnit::Month, 1).unwrap()),
        time_zone: Zone::utc(),
        anchor: NOON,
        attributes: Vec::new(),
        external_ids: Vec::new(),
    };
    let draft = state.configure(NOON, profile).unwrap();
    state.seal(NOON, draft).unwrap();
    state
}

/// Each grant is found, carried over and put in its place without walking all the others.
#[test]
fn thousands_of_grants_end_with_one_period() {
    let mut state = monthly();
    let next = state.next_period(NOON, OpenReason::Started, Allowance::Carry).unwrap();
    let draft = state.open_period(NOON, next, None, OpenOutcome::default()).unwrap();
    state.seal(NOON, draft).unwrap();
    for n in 0..4_000 {
        let request = GrantRequest {
            expires: Expiry { at: None, with_period: Some(0) },
            // All over the burn-down order.
            priority: (n * 7_919) % 100,
            ..request(Credits::from_whole(2))
        };
        let draft = state.give(NOON, request, &GrantTerms::default()).unwrap();
        state.seal(NOON, draft).unwrap();
    }
    let end = state.next_reset_at().unwrap();
    let roll_over = state.grants.iter().map(|state| Rollover {
        grant: state.grant.id,
        amount: Credits::from_whole(1),
        held_share: Decimal::ZERO,
        held_limit: Credits::ZERO,
        priority: state.grant.priority,
        expires: Expiry { at: None, with_period: Some(0) },
    });
    let outcome = CloseOutcome { roll_over: roll_over.collect(), ..CloseOutcome::default() };
    let draft = state.close_period(end, CloseReason::Scheduled, None, outcome).unwrap();
    state.seal(end, draft).unwrap();
    let live: Vec<_> = state.grants.iter().filter(|one| one.status == GrantStatus::Live).collect();
    assert_eq!(live.len(), 4_000);
    assert!(live.is_sorted_by_key(|one| (one.grant.priority, one.grant.id)));
    assert_eq!(state.balance(&key("credits"), end).available, Credits::from_whole(4_000));
    let saved = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<CustomerState>(&saved).unwrap(), state);
}

/// A policy that makes a new name of a credit type for each usage, and for each fee.
#[test]
fn credit_types_are_bounded() {
    let mut state = customer();
    let at = NOON;
    for number in 0..MOST_CREDIT_TYPES {
        let credit = key(&format!("c{number}"));
        let draft = state.give(
            at,
            GrantRequest { credit, ..request(Credits::from_whole(1)) },
            &GrantTerms::default(),
        );
        state.seal(at, draft.unwrap()).unwrap();
    }
    let more = GrantRequest { credit: key("more"), ..request(Credits::from_whole(1)) };
    let refused = state.give(at, more, &GrantTerms::default()).unwrap_err();
    assert_eq!(refused, Rejection::TooMany(MOST_CREDIT_TYPES, "credit types"));
    let rated = |credit: &str| decision(credit, Credits::from_units(1), Vec::new(), None, Vec::new());
    let charged = |credit| state.charge(at, usage("chat", at), rated(credit));
    assert!(matches!(charged("more"), Err(Denied::InvalidDecision(_))));
    charged("c7").unwrap();
}

/// A policy that issues as much text as it may whenever a period begins.
#[test]
fn what_periods_issue_is_bounded_in_bytes() {
    let mut state = monthly();
    let new = NewGrant {
        credit: key("credits"),
        amount: Credits::from_whole(1),
        category: Category::Promotional,
        priority: 0,
        effective_at: None,
        expires: Expiry::default(),
        features: (0..64).map(|at| key(&format!("{at}{}", "x".repeat(250)))).collect(),
        cost_basis: None,
        allowance: Allowance::Full,
    };
    let mut rounds = 0;
    loop {
        let at = state.at;
        if state.period.is_some() {
            let draft = state.close_period(at, CloseReason::Early, None, CloseOutcome::default()).unwrap();
            state.seal(at, draft).unwrap();
        }
        let next = state.next_period(at, OpenReason::Started, Allowance::Carry).unwrap();
        let outcome = OpenOutcome { issue: vec![new.clone(); 100], ..OpenOutcome::default() };
        match state.open_period(at, next.clone(), None, outcome) {
            Ok(draft) => drop(state.seal(at, draft).unwrap()),
            Err(Denied::InvalidDecision(detail)) => {
                assert!(detail.contains("bytes"), "{detail}");
                // Without them it begins all the same.
                let draft = state.open_period(at, next, None, OpenOutcome::default()).unwrap();
                state.seal(at, draft).unwrap();
                break;
            }
            Err(other) => panic!("{other:?}"),
        }
        rounds += 1;
    }
    assert_eq!(rounds, 2 * MOST_BYTES / (100 * 64 * 252 - 1_000));
    assert!(serde_json::to_string(&state).unwrap().len() < 3 * MOST_BYTES);
}

/// A petabyte at a time, more than the 64 bits of earlier totals could hold; and grants of almost 10^15 each.
#[test]
fn a_lifetime_of_the_largest_amounts_fits() {
    let mut state = customer();
    let counter = Counter {
        name: "bytes".to_owned(),
        measure: Measure::Quantity("bytes".to_owned()),
        features: Vec::new(),
        scope: Scope::Customer,
        window: Window::Lifetime,
    };
    for _ in 0..200 {
        grant(&mut state, NOON, Credits::LARGEST).unwrap();
        charge(&mut state, Credits::LARGEST, vec![counter.clone()]).unwrap();
    }
    assert_eq!(state.balance(&key("credits"), NOON).available, Credits::ZERO);
    let used = state.counters.value(&counter.key(None), 0, "").used;
    assert_eq!(used, Quantity::LARGEST.decimal().repeated(200).unwrap());
    state.check_books().unwrap();
}

#[test]
fn a_newer_format_is_not_damage() {
    let mut state = customer();
    let sealed = grant(&mut state, NOON, Credits::from_whole(5)).unwrap();
    let error = |body: &str| {
        let mut fresh = customer();
        let hash = journal::chain(&fresh.hash, body);
        (Entry::parse(body).unwrap_err(), fresh.fold(1, body, &hash).unwrap_err())
    };
    // Of the same shape by accident, with parts that this host does not know, and of another shape altogether.
    let same_shape = sealed.body.replacen(r#"{"v":1"#, r#"{"v":2"#, 1);
    let more = sealed.body.replacen(r#"{"v":1"#, r#"{"v":2,"tenant":"x""#, 1);
    for (body, format) in [
        (same_shape.as_str(), 2),
        (more.as_str(), 2),
        (r#"{"v":3,"seq":1,"at":"2027-01-15T08:00:00Z","event":{"teleported":{"to":["moon"]}}}"#, 3),
        (r#"{"seq":"one","v":17}"#, 17),
    ] {
        let (read, fold) = error(body);
        assert_eq!(read, ReadError::Newer(format), "{body}");
        assert!(fold.is_newer(), "{fold}");
        assert_eq!(fold.to_string(), format!("entry 1 has the format {format}, this host reads up to 1"));
    }
    for damaged in [
        r#"{"v":1,"seq":1,"at":"2027-01-15T08:00:00Z","event":{"teleported":{}}}"#,
        r#"{"v":1"#,
        r#"{"seq":1}"#,
        "",
    ] {
        let (read, fold) = error(damaged);
        assert!(matches!(read, ReadError::Unreadable(_)) && !fold.is_newer(), "{damaged}: {read:?}");
    }
}

#[test]
fn nothing_is_written_that_a_live_host_does_not_read() {
    use journal::{FIRST_FORMAT, FORMAT, writable_format};
    for (oldest_live, writable) in [
        (Some(FORMAT - 1), FORMAT - 1),
        (Some(FORMAT), FORMAT),
        // Hosts that read more do not make this one write more than it knows.
        (Some(FORMAT + 1), FORMAT),
        (Some(u32::MAX), FORMAT),
        (None, FIRST_FORMAT),
    ] {
        assert_eq!(writable_format(oldest_live), writable, "{oldest_live:?}");
    }
    // An entry needs no newer format than its event does.
    let sealed = grant(&mut customer(), NOON, Credits::from_whole(5)).unwrap();
    assert_eq!((sealed.entry.format, sealed.entry.event.format()), (1, 1));
}

#[test]
fn a_forged_journal_with_right_hashes_is_found() {
    let mut state = customer();
    let mut sealed = vec![grant(&mut state, NOON, Credits::from_whole(5)).unwrap()];
    sealed.push(charge(&mut state, Credits::from_whole(2), Vec::new()).unwrap());
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
            "after entry 2 the books of credits don't balance: issued + overage = 5, the other books = 3",
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
