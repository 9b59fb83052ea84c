//! Canaries: for whom they decide, and when; what takes their place once they were rolled back. Every entry is decided again and asked
//! of a twin, as in all scripts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::{check, play};

/// The customer's place under `plan/pro/terms_2` is 4,804 of 10,000.
#[test]
fn a_share_holds_a_customer_or_not_and_raising_it_only_adds() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         plan pro canary=48.04 {"price": "3"} -> plan/pro/terms_2
         charge 1 -> plan1:1
         check 1 -> true ok cost=1 available=999
         raise plan/pro/terms_2 48.05
         charge 1 -> plan1:3
         check 1 -> true ok cost=3 available=996
         # Newer terms of the whole plan take the canary's place.
         plan pro {"price": "7"}
         charge 1 -> plan1:7"#,
    );
}

#[test]
fn a_share_of_all_is_the_plans_terms() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         plan pro canary=1 {"price": "3"}
         charge 1 -> plan1:1
         raise plan/pro/terms_2 100
         charge 1 -> plan1:3
         # They are what later terms fall back to.
         plan pro on_fault=last_good {"faults": ["rate"]}
         charge 1 -> plan1:3 (trap by plan/pro/terms_3)"#,
    );
}

#[test]
fn what_a_canary_replaces_is_asked_beside_it() {
    let script = play(
        "2026-01-01T00:00:00Z",
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         plan pro canary=50 {"price": "3", "allowances": [{"amount": "500"}]}
         plan pro shadow {"price": "5"}
         charge 2
         at +31d
         raise plan/pro/terms_2 100
         charge 2"#,
    );
    let asked: Vec<(&str, Vec<String>)> = script
        .world
        .entries
        .iter()
        .filter_map(|written| {
            let record = written.entry.decision()?;
            let shadow = |shadow: &proviso_ledger::journal::ShadowRecord| {
                format!("{} {}", shadow.terms.id, shadow.cost.unwrap())
            };
            Some((written.entry.event.kind(), record.shadows.iter().map(shadow).collect()))
        })
        .collect();
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        asked,
        [
            ("period_opened", list(&[])),
            ("charged", list(&["terms_1 2", "terms_3 10"])),
            ("period_closed", list(&["terms_1 0", "terms_3 0"])),
            ("period_opened", list(&["terms_1 1000", "terms_3 0"])),
            // For all customers it replaces nothing any more.
            ("charged", list(&["terms_3 10"])),
        ]
    );
}

#[test]
fn a_canary_that_fails_leaves_the_decision_to_what_it_replaces() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         plan pro canary=50 on_fault=last_good {"faults": ["rate"]}
         charge 1 -> plan1:1 (trap by plan/pro/terms_2)
         plan free month {"price": "9"}
         plan pro canary=0.01 {"price": "5"}
         # And one that did not come to decide for all is not what others fall back to.
         plan pro on_fault=last_good {"faults": ["rate"]}
         charge 1 -> plan1:1 (trap by plan/pro/terms_4)"#,
    );
}

#[test]
fn a_period_is_closed_by_the_terms_before_its_end_and_opened_by_those_from_it() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "10"}}
         customer plan=pro
         plan pro canary=10 from=+31d {"allowances": [{"amount": "200"}], "rollover": {"percent": "50"}}
         raise plan/pro/terms_2 50
         at +31d -> closes 1 scheduled: plan1>rollover2 10, plan1>expired 90 | opens 2 scheduled: issued>plan2 200
         at +45d
         roll_back plan/pro/terms_2
         at +59d -> closes 2 scheduled: plan2>rollover3 20, rollover2>expired 10, plan2>expired 180 | opens 3 scheduled: issued>plan3 100"#,
    );
}

#[test]
fn what_was_rolled_back_decides_no_more_whatever_a_usage_is_about() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         at +1d
         plan pro canary=50 {"price": "10"}
         charge 1 -> plan1:10
         r: reserve 5 ttl=86400 -> plan1:50
         at +25h
         roll_back plan/pro/terms_2
         charge 1 -> plan1:1
         # Used while it decided, and reported late.
         charge 1 of=+1d -> plan1:1
         commit r 5 -> plan1:5 returned:45"#,
    );
}

#[test]
fn a_canary_that_a_caller_ended_decided_what_was_used_under_it() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         at +1d
         plan pro canary=50 to=+2d {"price": "10"}
         at +3d
         charge 1 -> plan1:1
         charge 1 of=+1d -> plan1:10"#,
    );
}

#[test]
fn a_period_that_a_canary_failed_to_open_is_made_good_after_its_rollback() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         plan pro canary=50 {"faults": ["close", "open"]}
         at +31d -> closes 1 scheduled: plan1>expired 100 (trap by plan/pro/terms_2) | opens 2 scheduled: nothing (trap by plan/pro/terms_2)
         missed -> close 1, open 2
         at +32d
         roll_back plan/pro/terms_2
         at +33d -> again closes 1 scheduled: expired>plan1 100, plan1>expired 100 | again opens 2 scheduled: issued>plan2 100
         missed -> nothing"#,
    );
}
