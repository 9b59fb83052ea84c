//! Anchors that move earlier: a boundary comes before the end of what an allowance was for. What the time in between is worth comes with
//! the old end, and not before; so nothing is lost by it, and nothing gained by moving again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

/// All of January's is used; then a boundary comes on the 30th. The next one is on 28 February, 29 days later.
const MOVED: &str = r#"plan a month {"allowances": [{"amount": "2900"}]}
    plan b month {"allowances": [{"amount": "2900"}]}
    plan small month {"allowances": [{"amount": "290"}]}
    customer plan=a
    charge 2900
    at +19d
    customer anchor=2026-01-30T00:00:00Z
    at +29d -> closes 1 scheduled: nothing | opens 2 scheduled: issued>plan2b 2700
"#;

fn run(script: &str) {
    check(&format!("{MOVED}{script}"));
}

#[test]
fn the_time_after_the_old_end_has_its_share() {
    run("balance -> 0 of 0
         charge 1 -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-28T00:00:00Z
         at +31d
         balance -> 2700 of 2700
         charge 2700 -> plan2b:2700
         at 2026-02-28T00:00:00Z -> closes 2 scheduled: nothing | opens 3 scheduled: issued>plan3 2900
         at 2026-03-30T00:00:00Z -> closes 3 scheduled: plan3>expired 2900 | opens 4 scheduled: issued>plan4 2900");
}

#[test]
fn moved_again_before_it_has_given_nothing() {
    // The boundary after the 31st is 28 February again.
    run("at +29d12h
         customer anchor=2026-01-31T00:00:00Z
         at +30d -> closes 2 scheduled: plan2b>expired 2700 | opens 3 scheduled: issued>plan3b 2700
         balance -> 0 of 0
         at +31d
         charge 2699 -> plan3b:2699
         at 2026-02-28T00:00:00Z -> closes 3 scheduled: plan3b>expired 1 | opens 4 scheduled: issued>plan4 2900");
}

#[test]
fn moved_again_after_it_the_rest_is_for_later() {
    // In the middle of February, when all is given up to the 28th; then up to 10 March.
    run("at +35d
         charge 2700
         customer anchor=2026-02-10T00:00:00Z
         at 2026-02-10T00:00:00Z -> closes 2 scheduled: nothing | opens 3 scheduled: issued>plan3b 1035.714285714285
         balance -> 0 of 0
         at 2026-02-28T00:00:00Z
         balance -> 1035.714285714285 of 1035.714285714285
         at 2026-03-10T00:00:00Z -> closes 3 scheduled: plan3b>expired 1035.714285714285 | opens 4 scheduled: issued>plan4 2900");
}

#[test]
fn what_was_voided_of_it_is_not_given_again() {
    run("void plan2b -> plan2b>voided 2700
         customer plan=b -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         at +31d
         balance -> 0 of 0");
}

#[test]
fn flipping_plans_gives_no_more_of_it() {
    // Before the old end, and after it.
    run("customer plan=b -> closes 2 plan_changed: plan2b>expired 2700 | opens 3 plan_changed: issued>plan3b 2700
         balance -> 0 of 0
         at +40d
         charge 700 -> plan3b:700
         customer plan=a -> closes 3 plan_changed: plan3b>expired 2000 | opens 4 plan_changed: issued>plan4 2000
         customer plan=small -> closes 4 plan_changed: plan4>expired 2000 | opens 5 plan_changed: nothing
         customer plan=none
         customer plan=b -> opens 6 plan_changed: issued>plan6 2000
         at 2026-02-28T00:00:00Z -> closes 6 scheduled: plan6>expired 2000 | opens 7 scheduled: issued>plan7 2900");
}

#[test]
fn in_proportion_each_period_counts_by_its_time() {
    run("customer plan=b allowance=prorate -> closes 2 plan_changed: plan2b>expired 2700 | opens 3 plan_changed: issued>plan3b 2699.999999999999
         balance -> 0 of 0
         at +31d
         charge 700 -> plan3b:700
         # Ten of 29 days: 1000 belong to them.
         at +41d
         customer plan=small allowance=prorate -> closes 3 plan_changed: plan3b>expired 1999.999999999999 | opens 4 plan_changed: issued>plan4 170");
}

#[test]
fn an_anchor_that_moves_day_by_day_gives_as_much_as_time_passes() {
    let days: String = (2..=30)
        .map(|day| format!("customer anchor=2026-01-{day:02}T00:00:00Z\nat +{}d\n", day - 1))
        .collect();
    check(&format!(
        r#"plan a month {{"allowances": [{{"amount": "3100"}}]}}
         customer plan=a
         charge 3100
         {days}
         # January's is used, and nothing more has come.
         balance -> 0 of 0
         books -> issued=46300 spent=3100 expired=40500 voided=0 overage=0"#
    ));
}
