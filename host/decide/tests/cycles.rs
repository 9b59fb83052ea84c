//! What counts by cycle: one total for all the periods of a cycle, whatever cuts it into periods, and none across two cycles.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

/// Two plans that price alike: ten units of a cycle cost 1, all others 10. Periods are counted beside.
const PLANS: &str = r#"plan a month {"tier": "10", "counters": [{"measure": "n", "window": "cycle"}, {"measure": "n", "window": "period"}]}
         plan b month {"tier": "10", "counters": [{"measure": "n", "window": "cycle"}, {"measure": "n", "window": "period"}]}
         plan weekly week {"tier": "10", "counters": [{"measure": "n", "window": "cycle"}]}
         plan endless {"tier": "10", "counters": [{"measure": "n", "window": "cycle"}]}
         plan none month {"counters": [{"measure": "n", "window": "day"}]}
"#;

fn run(script: &str) {
    check(&format!("{PLANS}customer plan=a\ngrant 100000\n{script}"));
}

#[test]
fn flipping_plans_goes_on_counting_and_a_scheduled_period_begins_anew() {
    run("charge 10 -> promotional1:10
         charge 1 -> promotional1:10
         at +3d
         customer plan=b
         charge 1 -> promotional1:10
         customer plan=a
         charge 1 -> promotional1:10
         at +10d
         customer plan=b
         charge 1 -> promotional1:10
         customer plan=a
         charge 1 -> promotional1:10
         customer plan=none
         at +20d
         customer plan=b
         charge 1 -> promotional1:10
         counters -> period:1=11 period:2=1 period:3=1 period:4=1 period:5=1 period:6=1 cycle:1767225600000000=16
         at +31d
         charge 10 -> promotional1:10
         charge 1 -> promotional1:10");
}

#[test]
fn a_cycle_goes_on_wherever_an_anchor_moves_and_whatever_zone_there_is() {
    run("charge 10
         customer anchor=+14d
         at +14d -> closes 1 scheduled: nothing | opens 2 scheduled: nothing
         charge 1 -> promotional1:10
         customer zone=Asia/Tokyo
         charge 1 -> promotional1:10
         at +31d
         charge 1 -> promotional1:10
         at +45d -> closes 2 scheduled: nothing | opens 3 scheduled: nothing
         charge 1 -> promotional1:1");
}

#[test]
fn a_reset_on_request_begins_a_cycle_for_every_plan() {
    for reset in ["reset", "reset anchor_now"] {
        run(&format!(
            "charge 12
             at +10d
             {reset}
             charge 10 -> promotional1:10
             charge 1 -> promotional1:10
             customer plan=b
             charge 1 -> promotional1:10
             customer plan=a
             charge 1 -> promotional1:10"
        ));
    }
    // The cycle of another plan that goes on counts from the reset on, too.
    run("charge 12
         at +8d
         customer plan=weekly
         charge 2 -> promotional1:2
         at +9d
         reset
         charge 6 -> promotional1:6
         customer plan=a
         charge 4 -> promotional1:4
         charge 1 -> promotional1:10
         customer plan=weekly
         charge 1 -> promotional1:10
         counters -> period:1=12 period:4=5 cycle:1767225600000000=12 cycle:1767916800000000=2 cycle:1768003200000000=12");
}

#[test]
fn plans_of_other_intervals_leave_a_cycle_as_it_is() {
    run("charge 12
         at +8d
         customer plan=weekly
         charge 10 -> promotional1:10
         charge 1 -> promotional1:10
         customer plan=b
         charge 1 -> promotional1:10
         # One that never ends takes in what the cycle counted that it comes into, and is found again.
         customer plan=endless
         charge 1 -> promotional1:10
         at +40d
         customer plan=a
         charge 10 -> promotional1:10
         at +200d
         customer plan=endless
         charge 1 -> promotional1:10");
}

#[test]
fn late_usage_counts_in_the_cycle_of_its_time() {
    run("charge 5
         at +3d
         customer plan=b
         charge 4 of=+2d -> promotional1:4 late:1
         charge 1 -> promotional1:1
         charge 1 -> promotional1:10
         charge 1 of=+1d -> promotional1:10 late:1
         at +31d
         charge 1 of=+2d -> promotional1:10 late:1
         charge 1 of=+30d -> promotional1:10 late:2
         charge 10 -> promotional1:10
         customer plan=a
         charge 1 of=+30d -> promotional1:10 late:2
         counters -> period:1=11 period:2=4 period:3=10 cycle:1767225600000000=15 cycle:1769904000000000=10
         # Once no usage can belong to it any more, it is forgotten.
         at +91d
         counters -> cycle:1769904000000000=10");
}

#[test]
fn what_is_held_is_committed_and_given_back_where_it_was_held() {
    run("first: charge 6
         r: reserve 3 ttl=86400
         customer plan=b
         s: reserve 4 ttl=86400
         charge 3
         charge 1 -> promotional1:1
         commit s 3
         charge 1 -> promotional1:10
         refund first
         charge 1 -> promotional1:1
         counters -> period:1=0+3 period:2=9 cycle:1767225600000000=9+3
         at +12h
         release r
         counters -> period:2=9 cycle:1767225600000000=9");
    run("at +30d12h
         r: reserve 3 ttl=86400
         at +31d
         charge 2
         commit r 4
         counters -> period:1=4 period:2=2 cycle:1767225600000000=4 cycle:1769904000000000=2");
}

#[test]
fn the_end_of_a_period_is_shown_all_of_its_cycle() {
    // 310 for a month, of which each period owes its days' part less what the counter shows.
    let script = |window: &str| {
        format!(
            r#"plan a month {{"commitment": "310", "counters": [{{"window": "{window}"}}]}}
             plan b month {{"commitment": "310", "counters": [{{"window": "{window}"}}]}}
             customer plan=a
             grant 1000
             charge 60
             at +10d
             customer plan=b -> closes 1 plan_changed: promotional1>spent 40 | opens 2 plan_changed: nothing
             charge 30
             at +20d"#
        )
    };
    check(&format!(
        "{}\ncustomer plan=a -> closes 2 plan_changed: promotional1>spent 70 | opens 3 plan_changed: nothing",
        script("period")
    ));
    check(&format!(
        "{}\ncustomer plan=a -> closes 2 plan_changed: promotional1>spent 10 | opens 3 plan_changed: nothing
         charge 5
         at +31d -> closes 3 scheduled: promotional1>spent 15 | opens 4 scheduled: nothing
         charge 300
         at +59d -> closes 4 scheduled: promotional1>spent 10 | opens 5 scheduled: nothing",
        script("cycle")
    ));
}

#[test]
fn an_end_that_is_made_good_is_shown_its_own_cycle() {
    check(
        r#"plan a month policy=bad {"commitment": "310", "counters": [{"window": "cycle"}]}
         customer plan=a
         grant 1000
         charge 300
         module bad gone
         at +31d
         module bad back
         charge 100
         retry 1 -> again closes 1 scheduled: promotional1>spent 10"#,
    );
}

#[test]
fn a_budget_of_a_cycle_is_not_refilled_by_flipping_plans() {
    run("budget all window=cycle limit=10 quantity=n
         charge 10
         customer plan=b
         charge 1 -> 402 budget_exceeded required=10 available=99990 retry_at=2026-02-01T00:00:00Z all/customer=10+0 of 10
         customer plan=a
         charge 1 -> 402 budget_exceeded required=10 available=99990 retry_at=2026-02-01T00:00:00Z all/customer=10+0 of 10
         # Where an anchor moves, it opens with the first period that the cycle does not reach.
         customer anchor=+14d
         charge 1 -> 402 budget_exceeded required=10 available=99990 retry_at=2026-02-15T00:00:00Z all/customer=10+0 of 10
         at 2026-02-14T23:00:00Z
         charge 1 -> 402 budget_exceeded required=10 available=99990 retry_at=2026-02-15T00:00:00Z all/customer=10+0 of 10
         at 2026-02-15T00:00:00Z
         charge 1 -> promotional1:1
         budgets -> all=1
         at +50d
         reset
         budgets -> all=0");
}
