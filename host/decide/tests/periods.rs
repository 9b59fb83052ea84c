//! Ends and beginnings of periods as customers see them: whose terms close, and where a moved boundary leaves an allowance.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn a_period_is_closed_by_the_terms_until_then_and_the_next_opened_by_those_from_then_on() {
    check(
        r#"plan pro month {"overage": {"allow": "5000"}, "commitment": "1000", "invoice_fees": true, "counters": [{"window": "period"}], "settle": "invoice"}
         plan pro from=2026-02-01T00:00:00Z {"overage": {"allow": "5000"}, "commitment": "5000", "invoice_fees": true, "counters": [{"window": "period"}], "settle": "invoice"}
         customer plan=pro -> opens 1 started: nothing
         charge 1000 -> overage:1000
         # Exactly what January was committed to; February's 5000 are no concern of January.
         at +31d -> closes 1 scheduled: issued>overage 1000 (invoice 1000) | opens 2 scheduled: nothing
         charge 400 -> overage:400
         at +59d -> closes 2 scheduled: overage>spent 4600, issued>overage 4600, issued>overage 400 (invoice 400) | opens 3 scheduled: nothing"#,
    );
}

#[test]
fn what_cuts_a_period_short_leaves_its_end_and_its_cycle_to_the_policy() {
    // 3100 in a cycle of 31 days: 100 for each day that a period ran, and 3100 in all, however often plans change.
    check(
        r#"plan pro month policy=bad {"overage": {"allow": "5000"}, "commitment": "3100", "invoice_fees": true, "counters": [{"window": "period"}], "settle": "invoice"}
         plan too month {"overage": {"allow": "5000"}, "commitment": "3100", "invoice_fees": true, "counters": [{"window": "period"}], "settle": "invoice"}
         customer plan=pro
         charge 400 -> overage:400
         at +10d
         customer plan=too -> closes 1 plan_changed: overage>spent 600, issued>overage 600, issued>overage 400 (invoice 400) | opens 2 plan_changed: nothing
         at +12d
         # Five days of a new cycle, which begins when it is asked for and ends with the month.
         reset -> closes 2 early: overage>spent 200, issued>overage 200 | opens 3 early: nothing
         customer plan=pro -> closes 3 plan_changed: nothing | opens 4 plan_changed: nothing
         at +17d
         module bad gone
         customer plan=none -> closes 4 plan_ended: nothing (module_unavailable by plan/pro/terms_1)
         module bad back
         retry 4 -> again closes 4 plan_ended: overage>spent 815.78947368421, issued>overage 815.78947368421"#,
    );
}

#[test]
fn terms_that_end_at_the_boundary_still_close_the_period() {
    check(
        r#"plan pro month to=+31d {"overage": {"allow": "5000"}, "commitment": "1000", "invoice_fees": true, "counters": [{"window": "period"}], "settle": "invoice", "allowances": [{"amount": "100"}]}
         customer plan=pro -> opens 1 started: issued>plan1 100
         charge 400 -> plan1:100 overage:300
         at +31d -> closes 1 scheduled: overage>spent 600, issued>overage 600, issued>overage 300 (invoice 300) | opens 2 scheduled: nothing
         charge 1 -> error: no terms are in force for this customer: bind a policy to it or to its plan
         balance -> 0 of 0"#,
    );
}

#[test]
fn own_terms_of_the_customer_close_what_they_were_in_force_for() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "settle": "waive", "overage": {"allow": "50"}}
         customer plan=pro
         terms to=+40d {"allowances": [{"amount": "7"}], "settle": "invoice", "overage": {"allow": "50"}}
         charge 110 -> plan1:100 overage:10
         at +31d -> closes 1 scheduled: issued>overage 10 (invoice 10) | opens 2 scheduled: issued>plan2 7
         charge 10 -> plan2:7 overage:3
         # From the fortieth day on the plan's terms are in force again.
         at +59d -> closes 2 scheduled: issued>overage 3 (waive 3) | opens 3 scheduled: issued>plan3 100"#,
    );
}

#[test]
fn a_change_of_plan_settles_by_the_old_terms_first() {
    check(
        r#"plan pro month {"overage": {"allow": "1000"}, "settle": "invoice"}
         plan free month {"settle": "waive"}
         customer plan=pro
         charge 500 -> overage:500
         at +10d
         customer plan=free -> closes 1 plan_changed: issued>overage 500 (invoice 500) | opens 2 plan_changed: nothing
         # As of the same instant, and with nothing left to settle.
         customer plan=free -> nothing"#,
    );
}

#[test]
fn the_end_of_a_plan_and_the_customers_closing_settle_too() {
    for (command, closes) in [
        ("customer plan=none", "closes 1 plan_ended: plan1>expired 30, issued>overage 20 (invoice 20)"),
        ("close", "closes 1 closed: plan1>expired 30, issued>overage 20 (invoice 20)"),
    ] {
        check(&format!(
            r#"plan pro month {{"allowances": [{{"amount": "50", "features": ["chat"]}}], "overage": {{"allow": "1000"}}, "settle": "invoice"}}
             customer plan=pro
             charge 20
             charge 20 feature=image -> overage:20
             at +10d
             {command} -> {closes}
             period -> none
             # Nothing begins or ends any more.
             at +99d -> nothing
             balance -> 0 of 0"#
        ));
    }
}

#[test]
fn what_begins_and_ends_at_one_instant_is_closed_by_what_it_began_with() {
    check(
        r#"plan pro month {"overage": {"allow": "1000"}, "settle": "invoice", "allowances": [{"amount": "10"}]}
         customer plan=pro
         charge 15 -> plan1:10 overage:5
         grant 3 promotional with=0
         # Terms that have been in force for no time are the only ones there were.
         reset -> closes 1 early: promotional1>expired 3, issued>overage 5 (invoice 5) | opens 2 early: issued>plan2 10
         reset -> closes 2 early: plan2>expired 10 | opens 3 early: issued>plan3 10"#,
    );
}

/// Allowance 1,000, of which everything that is left rolls over.
const ROLLS: &str = r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "100"}}"#;

#[test]
fn an_allowance_follows_a_moved_boundary() {
    check(&format!(
        r#"{ROLLS}
         customer plan=pro
         charge 300
         at +19d
         customer anchor=2026-01-15T00:00:00Z
         period -> 1 from 2026-01-01T00:00:00Z to 2026-02-15T00:00:00Z
         grants -> plan1=700 until 2026-02-15T00:00:00Z
         # No gap on the first of February, where the period would have ended.
         at +40d -> nothing
         charge 100 -> plan1:100
         # Nothing is lost, and the next allowance is a whole one.
         at +45d -> closes 1 scheduled: plan1>rollover2 600 | opens 2 scheduled: issued>plan2 1000
         grants -> rollover2=600 until 2026-03-15T00:00:00Z, plan2=1000 until 2026-03-15T00:00:00Z"#
    ));
}

#[test]
fn several_moves_in_one_period_lose_nothing_and_give_nothing_twice() {
    check(&format!(
        r#"{ROLLS}
         customer plan=pro
         charge 300
         at +2d
         customer anchor=2026-01-20T00:00:00Z
         period -> 1 from 2026-01-01T00:00:00Z to 2026-01-20T00:00:00Z
         at +5d
         customer anchor=2026-01-10T00:00:00Z
         # A shorter period, but one cycle: what is left stays, and nothing more is given before the first of February; from then on the
         # nine days' share of an interval of 31.
         at +9d -> closes 1 scheduled: plan1>rollover2 700 | opens 2 scheduled: issued>plan2b 290.322580645161
         period -> 2 from 2026-01-10T00:00:00Z to 2026-02-10T00:00:00Z
         charge 100 -> rollover2:100
         at +12d
         customer anchor=2026-01-14T00:00:00Z
         at +13d -> closes 2 scheduled: rollover2>expired 600, plan2b>expired 290.322580645161 | opens 3 scheduled: issued>plan3 600, issued>plan3b 419.354838709677
         charge 600
         at +44d -> closes 3 scheduled: plan3b>rollover4b 419.354838709677 | opens 4 scheduled: issued>plan4 1000"#
    ));
}

#[test]
fn moves_without_rollover_keep_the_rest_of_the_cycles_allowance() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         charge 300
         at +5d
         customer anchor=2026-01-10T00:00:00Z
         at +9d -> closes 1 scheduled: plan1>expired 700 | opens 2 scheduled: issued>plan2 700, issued>plan2b 290.322580645161
         charge 100
         at +12d
         customer anchor=2026-01-14T00:00:00Z
         at +13d -> closes 2 scheduled: plan2>expired 600, plan2b>expired 290.322580645161 | opens 3 scheduled: issued>plan3 600, issued>plan3b 419.354838709677
         period -> 3 from 2026-01-14T00:00:00Z to 2026-02-14T00:00:00Z
         charge 600
         charge 1 -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-14T00:00:00Z
         # A whole interval after the cycle began, the next may begin.
         at +44d -> closes 3 scheduled: plan3b>expired 419.354838709677 | opens 4 scheduled: issued>plan4 1000
         books -> issued=4009.677419354838 spent=1000 expired=2009.677419354838 voided=0 overage=0"#,
    );
}

#[test]
fn a_zone_that_moves_the_end_takes_the_allowance_along() {
    check(&format!(
        r#"{ROLLS}
         customer plan=pro anchor=2026-01-31T12:00:00Z
         at +5d
         # Local noon is another instant, but the anchor is one: only its local calendar counts on.
         customer zone=America/New_York
         at +40d
         period -> 2 from 2026-01-31T12:00:00Z to 2026-02-28T12:00:00Z
         charge 100
         # 31 January in Kiritimati is a day later: 1 February, so months are counted from the first there.
         customer zone=Pacific/Kiritimati
         period -> 2 from 2026-01-31T12:00:00Z to 2026-02-28T12:00:00Z
         at +59d
         period -> 3 from 2026-02-28T12:00:00Z to 2026-03-31T12:00:00Z
         grants -> rollover3=1000 until 2026-03-31T12:00:00Z, plan3=1000 until 2026-03-31T12:00:00Z"#
    ));
}

#[test]
fn a_reset_on_request_begins_a_cycle_and_leaves_the_next_allowance_whole() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         charge 1000
         at +19d
         reset -> closes 1 early: nothing | opens 2 early: issued>plan2 1000
         period -> 2 from 2026-01-20T00:00:00Z to 2026-02-01T00:00:00Z
         charge 800
         # The boundary stays, and so does what it brings.
         at +31d -> closes 2 scheduled: plan2>expired 200 | opens 3 scheduled: issued>plan3 1000"#,
    );
}

#[test]
fn a_reset_with_the_anchor_set_to_now_begins_a_whole_period() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         charge 1000
         at +19d
         reset anchor_now -> closes 1 early: nothing | opens 2 early: issued>plan2 1000
         period -> 2 from 2026-01-20T00:00:00Z to 2026-02-20T00:00:00Z
         at +50d -> closes 2 scheduled: plan2>expired 1000 | opens 3 scheduled: issued>plan3 1000
         period -> 3 from 2026-02-20T00:00:00Z to 2026-03-20T00:00:00Z"#,
    );
}

#[test]
fn a_change_of_plan_after_a_reset_counts_from_the_reset() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         plan max month {"allowances": [{"amount": "1500"}]}
         customer plan=pro
         charge 1000
         at +19d
         reset
         charge 400
         customer plan=max -> closes 2 plan_changed: plan2>expired 600 | opens 3 plan_changed: issued>plan3 1100
         customer plan=pro -> closes 3 plan_changed: plan3>expired 1100 | opens 4 plan_changed: issued>plan4 600"#,
    );
}
