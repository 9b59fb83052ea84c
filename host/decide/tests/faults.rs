//! Policies that fail: what decides instead, and how the end or the beginning of a period is made good, once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::{START, check, play};

#[test]
fn a_usage_is_refused_or_decided_by_what_on_fault_names() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         terms {"faults": ["rate"]}
         charge 1 -> 402 policy_fault available=100 (trap by customer/terms_3)
         check 1 -> false policy_fault cost=unknown available=100 degraded
         terms on_fault=plan {"faults": ["rate"]}
         charge 1 -> plan1:1 (trap by customer/terms_5)
         terms {"price": "3"}
         terms on_fault=last_good {"faults": ["rate"]}
         charge 1 -> plan1:3 (trap by customer/terms_8)
         # Answers that break a rule of the ledger are faults.
         terms on_fault=last_good {"breaks": ["cost"]}
         charge 1 -> 402 policy_fault available=96 (invalid_output by customer/terms_10)
         terms on_fault=plan {"breaks": ["draw_order"]}
         charge 1 -> plan1:1 (invalid_output by customer/terms_12)
         terms on_fault=plan {"overage": {"top_up": "5"}, "breaks": ["top_up"]}
         charge 200 -> 402 insufficient_credits required=200 available=95 retry_at=2026-02-01T00:00:00Z (invalid_output by customer/terms_14)
         # A module that can't be loaded is a fault like others.
         terms policy=lost on_fault=plan {}
         module lost gone
         charge 1 -> plan1:1 (module_unavailable by customer/terms_16)"#,
    );
}

#[test]
fn an_end_and_a_beginning_are_decided_by_what_on_fault_names() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100"}}
         customer plan=pro
         terms on_fault=plan {"faults": ["close", "open"]}
         at +31d -> closes 1 scheduled: plan1>rollover2 100 (trap by customer/terms_3) | opens 2 scheduled: issued>plan2 100 (trap by customer/terms_3)
         missed -> nothing
         retry 2 -> error: period 2 has nothing that a fault left undone"#,
    );
}

const FAILS: &str = r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": -1}, "overage": {"allow": "1000"}, "settle": "invoice"}
    customer plan=pro
    charge 200
    grant 300 prepaid priority=9
    terms policy=bad on_fault=deny {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": -1}, "overage": {"allow": "1000"}, "settle": "invoice"}
    module bad gone"#;

#[test]
fn a_period_that_opened_without_its_policy_is_made_good_by_command() {
    check(&format!(
        r#"{FAILS}
         at +31d -> closes 1 scheduled: plan1>expired 800 (module_unavailable by customer/terms_5) | opens 2 scheduled: nothing (module_unavailable by customer/terms_5)
         missed -> close 1, open 2
         module bad back
         at +33d
         # Used meanwhile: what the allowance should have given came from what was bought, and from overage.
         charge 500 -> prepaid1:300 overage:200
         retry 3 -> error: period 3 has nothing that a fault left undone
         # The end first, by the terms of then: half of what was left rolled over, and is drawn first.
         retry 1 -> again closes 1 scheduled: expired>plan1 800, plan1>rollover2 400, plan1>expired 400, spent>prepaid1 300, rollover2>spent 300, rollover2>overage 100
         retry 1 -> error: period 1 has nothing that a fault left undone
         grants -> prepaid1=300
         # And then the beginning; what is owed is paid from it as if it had been there.
         retry 2 -> again opens 2 scheduled: issued>plan2 1000, plan2>overage 100
         retry 2 -> error: period 2 has nothing that a fault left undone
         missed -> nothing
         grants -> plan2=900 until 2026-03-01T00:00:00Z, prepaid1=300
         books -> issued=2300 spent=700 expired=400 voided=0 overage=0
         at +59d -> closes 2 scheduled: plan2>rollover3 450, plan2>expired 450 | opens 3 scheduled: issued>plan3 1000"#
    ));
}

#[test]
fn a_beginning_that_failed_may_be_made_good_before_the_end_that_failed() {
    check(&format!(
        r#"{FAILS}
         at +31d
         module bad back
         at +33d
         charge 500 -> prepaid1:300 overage:200
         retry 2 -> again opens 2 scheduled: issued>plan2 1000, spent>prepaid1 300, plan2>spent 300, plan2>overage 200
         # As if the rollover had been there: it comes before the allowance.
         retry 1 -> again closes 1 scheduled: expired>plan1 800, plan1>rollover2 400, plan1>expired 400, spent>plan2 400, rollover2>spent 400
         grants -> plan2=900 until 2026-03-01T00:00:00Z, prepaid1=300
         books -> issued=2300 spent=700 expired=400 voided=0 overage=0"#
    ));
}

#[test]
fn while_the_terms_still_fail_nothing_happens() {
    check(&format!(
        r#"{FAILS}
         at +31d
         retry 1 -> error: the terms in force still fail for period 1: module_unavailable: the module is gone
         retry 2 -> error: the terms in force still fail for period 2: module_unavailable: the module is gone
         missed -> close 1, open 2
         balance -> 300 of 300"#
    ));
}

#[test]
fn better_terms_make_it_good_by_themselves_once() {
    check(&format!(
        r#"{FAILS}
         at +31d
         at +32d
         charge 1 -> 402 policy_fault available=300 (module_unavailable by customer/terms_5)
         terms {{"allowances": [{{"amount": "700"}}], "rollover": {{"percent": "100"}}}}
         at +32d1s -> again closes 1 scheduled: expired>plan1 800, plan1>rollover2 800 (module_unavailable by customer/terms_5) | nothing
         missed -> nothing"#
    )
    .replace(" (module_unavailable by customer/terms_5) | nothing", " | again opens 2 scheduled: issued>plan2 700"));
}

#[test]
fn terms_that_were_agreed_before_do_not_close_what_they_were_not_in_force_for() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "100"}, "faults": ["close"]}
         plan pro from=+33d {"allowances": [{"amount": "1000"}], "rollover": {"percent": "1"}}
         customer plan=pro
         at +31d -> closes 1 scheduled: plan1>expired 1000 (trap by plan/pro/terms_1) | opens 2 scheduled: issued>plan2 1000
         at +34d -> nothing
         missed -> close 1
         retry 1 -> error: the terms in force still fail for period 1: trap: close was made to fail
         # Terms that are bound for it may.
         plan pro {"allowances": [{"amount": "1000"}], "rollover": {"percent": "10"}}
         at +34d1s -> again closes 1 scheduled: expired>plan1 1000, plan1>rollover2 100, plan1>expired 900"#,
    );
}

#[test]
fn an_end_is_made_good_by_the_terms_of_its_own_plan() {
    check(
        r#"plan a month policy=bad {"allowances": [{"amount": "1000"}], "rollover": {"percent": "100"}}
         plan b month {"allowances": [{"amount": "1500"}], "rollover": {"percent": "1"}}
         customer plan=a
         at +3d
         module bad gone
         customer plan=b -> closes 1 plan_changed: plan1>expired 1000 (module_unavailable by plan/a/terms_1) | opens 2 plan_changed: issued>plan2 1500
         module bad back
         at +4d
         # The new plan's allowance stands in the place of what expired, so nothing is left to roll over.
         retry 1 -> again closes 1 plan_changed: nothing
         missed -> nothing
         balance -> 1500 of 1500"#,
    );
}

#[test]
fn what_is_made_good_does_not_touch_what_came_after() {
    check(
        r#"plan pro month policy=bad {"allowances": [{"amount": "100"}], "fee": "30", "settle": "deduct"}
         customer plan=pro
         charge 80
         module bad gone
         at +31d -> closes 1 scheduled: plan1>expired 20 (module_unavailable by plan/pro/terms_1) | opens 2 scheduled: nothing (module_unavailable by plan/pro/terms_1)
         module bad back
         retry 2 -> again opens 2 scheduled: issued>plan2 100
         # The fee of January is not paid from February's allowance; it is owed.
         retry 1 -> again closes 1 scheduled: expired>plan1 20, plan1>expired 20, overage>spent 30
         balance -> 100 of 100, overage 30"#,
    );
}

#[test]
fn a_hold_over_an_end_that_failed_comes_back_into_what_was_made_good() {
    check(
        r#"plan pro month policy=bad {"allowances": [{"amount": "100"}], "rollover": {"percent": "100", "priority": 3}}
         customer plan=pro
         at +30d23h
         r: reserve 60 ttl=86400
         s: reserve 40 ttl=86400
         module bad gone
         at +31d -> closes 1 scheduled: nothing (module_unavailable by plan/pro/terms_1) | opens 2 scheduled: nothing (module_unavailable by plan/pro/terms_1)
         release s -> s>plan1 40, plan1>expired 40
         module bad back
         retry 1 -> again closes 1 scheduled: expired>plan1 40, plan1>rollover2 40
         release r -> r>plan1 60, plan1>rollover2 60
         retry 2 -> again opens 2 scheduled: issued>plan2 100
         balance -> 200 of 200"#,
    );
}

#[test]
fn a_beginning_that_failed_counts_what_the_cycle_gave() {
    check(
        r#"plan a month {"allowances": [{"amount": "100"}]}
         plan b month policy=bad {"allowances": [{"amount": "250"}]}
         customer plan=a
         charge 30
         r: reserve 50
         module bad gone
         customer plan=b -> closes 1 plan_changed: plan1>expired 20 | opens 2 plan_changed: nothing (module_unavailable by plan/b/terms_1)
         module bad back
         retry 2 -> again opens 2 plan_changed: issued>plan2 170
         release r -> r>plan1 50, plan1>plan2 50
         balance -> 220 of 220
         # It was a whole allowance of 250, of which a part of the cycle belonged to b.
         at +15d12h
         customer plan=a allowance=prorate -> closes 2 plan_changed: plan2>expired 220 | opens 3 plan_changed: issued>plan3 50"#,
    );
}

#[test]
fn late_usage_of_before_is_not_drawn_from_what_is_made_good() {
    check(
        r#"plan pro month policy=bad {"allowances": [{"amount": "100"}]}
         customer plan=pro
         grant 500 prepaid priority=5
         charge 100
         at +30d
         module bad gone
         at +31d
         charge 40 of=+30d12h -> 402 policy_fault available=500 late:1 (module_unavailable by plan/pro/terms_1)
         module bad back
         charge 40 of=+30d12h -> prepaid1:40 late:1
         charge 30 -> prepaid1:30
         retry 2 -> again opens 2 scheduled: issued>plan2 100, spent>prepaid1 30, plan2>spent 30
         grants -> plan2=70 until 2026-03-01T00:00:00Z, prepaid1=460"#,
    );
}

#[test]
fn a_period_that_has_ended_without_its_allowance_stays_listed() {
    check(
        r#"plan pro day policy=bad {"allowances": [{"amount": "100"}]}
         customer plan=pro
         module bad gone
         at +1d
         at +2d
         module bad back
         missed -> close 1, open 2, close 2, open 3
         retry 2 -> again closes 2 scheduled: nothing
         # Its beginning is past making good: what it would have given would have expired with it.
         retry 2 -> error: period 2 has nothing that a fault left undone
         retry 3 -> again opens 3 scheduled: issued>plan3 100
         missed -> close 1, open 2
         at +40d
         missed -> nothing"#,
    );
}

#[test]
fn shadows_are_recorded_and_touch_nothing() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "counters": [{"window": "day"}]}
         customer plan=pro
         terms shadow {"price": "5", "faults": ["open"], "counters": [{"measure": "n", "window": "month"}]}
         charge 3 -> plan1:3
         # A shadow's counters run beside, so that it may take over.
         counters -> day:20454=3 month:24312=3
         at +31d -> closes 1 scheduled: plan1>expired 97 | opens 2 scheduled: issued>plan2 100
         missed -> nothing"#,
    );
}

/// A policy may refuse with the name of any fault; the record says which it was.
#[test]
fn a_shadow_that_fails_is_told_from_one_that_refuses() {
    let script = r#"
        plan pro month {"allowances": [{"amount": "20"}]}
        customer plan=pro
        terms shadow {"faults": ["rate"]}
        terms shadow {"counters": [{"measure": "n", "window": "day", "cap": "1"}]}
        terms shadow {"price": "2"}
        charge 5
    "#;
    let world = play(START, script).world;
    let record = world.entries.last().unwrap().entry.decision().unwrap().clone();
    let said: Vec<_> = record.shadows.iter().map(|one| (one.code.is_some(), one.failed)).collect();
    assert_eq!(said, [(true, true), (true, false), (false, false)]);
}
