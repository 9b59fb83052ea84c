//! Changes of plan that are put off: due at their instant like all that time brings, read, called off, and tried beforehand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

const PLANS: &str = r#"plan a month {"allowances": [{"amount": "1000"}], "overage": {"allow": "500"}, "settle": "invoice"}
    plan b month {"allowances": [{"amount": "2500"}]}
    plan w week {"allowances": [{"amount": "300"}]}
    plan free {"allowances": [{"amount": "20"}]}
    plan rolls month {"allowances": [{"amount": "100"}], "rollover": {"percent": "50"}}
    customer plan=a"#;

fn on_plan_a(script: &str) {
    check(&format!("{PLANS}\n{script}"));
}

#[test]
fn a_change_at_the_periods_end_cuts_nothing_off() {
    on_plan_a(
        r#"charge 1100
         change b when=period_end -> pending until 2026-02-01T00:00:00Z
         pending -> change_4 to b at 2026-02-01T00:00:00Z
         charge 100
         # Found late, it still happens at its instant: the old terms close, the new ones open.
         at +33d -> closes 1 scheduled: issued>overage 200 (invoice 200) | opens 2 plan_changed: issued>plan2 2500
         period -> 2 from 2026-02-01T00:00:00Z to 2026-03-01T00:00:00Z
         pending -> nothing
         charge 2500
         at +59d -> closes 2 scheduled: nothing | opens 3 scheduled: issued>plan3 2500"#,
    );
}

#[test]
fn a_change_at_an_instant_ends_the_period_there() {
    on_plan_a(
        r#"charge 400
         change b when=+10d -> pending until 2026-01-11T00:00:00Z
         at +10d -> closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>plan2 2100
         # Several periods ahead.
         change a when=2026-03-11T00:00:00Z
         at +31d -> closes 2 scheduled: plan2>expired 2100 | opens 3 scheduled: issued>plan3 2500
         at +70d -> closes 3 scheduled: plan3>expired 2500 | opens 4 scheduled: issued>plan4 2500 | closes 4 plan_changed: plan4>expired 2500 | opens 5 plan_changed: issued>plan5 1000"#,
    );
}

#[test]
fn a_change_at_the_very_instant_of_the_end_is_one_at_the_end() {
    on_plan_a(
        r#"change b when=+31d -> pending until 2026-02-01T00:00:00Z
         at +31d -> closes 1 scheduled: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 2500"#,
    );
}

#[test]
fn the_allowance_is_as_was_asked_for() {
    for (allowance, issued) in [("carry", "2100"), ("prorate", "1712.903225806451"), ("full", "2500")] {
        on_plan_a(&format!(
            "charge 400\nchange b when=+8d allowance={allowance}
             at +8d -> closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>plan2 {issued}"
        ));
    }
}

#[test]
fn the_periods_end_is_where_it_is_in_the_end() {
    on_plan_a(
        r#"change b when=period_end
         at +19d
         customer anchor=2026-01-15T00:00:00Z -> nothing
         pending -> change_3 to b at 2026-02-15T00:00:00Z
         at +31d -> nothing
         customer zone=Asia/Kolkata
         pending -> change_3 to b at 2026-02-15T00:00:00Z
         # A reset begins a period anew on the same plan; the change comes with the end of that.
         reset -> closes 1 early: plan1>expired 1000 | opens 2 early: issued>plan2 1000
         pending -> change_3 to b at 2026-02-15T00:00:00Z
         reset anchor_now
         pending -> change_3 to b at 2026-03-01T00:00:00Z
         at +59d -> closes 3 scheduled: plan3>expired 1000 | opens 4 plan_changed: issued>plan4 2500"#,
    );
}

#[test]
fn the_last_word_on_the_plan_counts() {
    on_plan_a(
        r#"change b when=period_end
         change w when=+3d
         pending -> change_4 to w at 2026-01-04T00:00:00Z
         cancel change_3 -> error: the customer has no pending change of plan change_3
         # What is no change of the plan leaves it as it is.
         customer name=Ann plan=a
         pending -> change_4 to w at 2026-01-04T00:00:00Z
         customer plan=b -> closes 1 plan_changed: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 2500
         pending -> nothing
         change a when=period_end
         change w -> closes 2 plan_changed: plan2>expired 2500 | opens 3 plan_changed: issued>plan3 300
         pending -> nothing
         change a when=period_end
         customer plan=none
         pending -> nothing
         change a when=+30d
         close
         pending -> nothing
         at +40d -> nothing"#,
    );
}

#[test]
fn a_change_is_called_off() {
    on_plan_a(
        r#"change b when=+2d
         cancel -> cancelled
         cancel change_3 -> error: the customer has no pending change of plan change_3
         at +31d -> closes 1 scheduled: plan1>expired 1000 | opens 2 scheduled: issued>plan2 1000"#,
    );
}

#[test]
fn the_plan_is_taken_away_and_taken_again_at_a_date() {
    on_plan_a(
        r#"charge 300
         change none when=period_end
         at +31d -> closes 1 scheduled: plan1>expired 700
         period -> none
         change b when=+40d -> pending until 2026-02-10T00:00:00Z
         change b when=period_end -> error: no period of the customer ends by itself
         at +45d -> opens 2 plan_changed: issued>plan2 2500
         period -> 2 from 2026-02-10T00:00:00Z to 2026-03-01T00:00:00Z
         change none -> closes 2 plan_ended: plan2>expired 2500
         change none -> error: the customer is on that plan already"#,
    );
    // One that never had a plan.
    check(
        r#"plan a month {"allowances": [{"amount": "10"}]}
         customer name=Ann
         change a when=+5d
         at +6d -> opens 1 started: issued>plan1 10
         period -> 1 from 2026-01-06T00:00:00Z to 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn what_can_not_be_is_refused() {
    on_plan_a(
        r#"change a -> error: the customer is on that plan already
         change a when=period_end -> error: the customer is on that plan already
         change nope when=period_end -> error: there is no plan nope
         at +1d
         change b when=+1d -> error: when must be later than 2026-01-02T00:00:00Z
         change b when=+12h -> error: when must be later than 2026-01-02T00:00:00Z
         change free
         change a when=period_end -> error: no period of the customer ends by itself
         close
         change a -> error: the customer is closed: no new charges, reservations or grants
         preview a -> error: the customer is closed: no new charges, reservations or grants"#,
    );
}

#[test]
fn a_preview_says_what_will_happen_and_writes_nothing() {
    on_plan_a(
        r#"charge 1200
         preview b -> at 2026-01-01T00:00:00Z: closes 1 plan_changed: issued>overage 200 (invoice 200) | opens 2 plan_changed: issued>grant_6 1500
         preview b allowance=full -> at 2026-01-01T00:00:00Z: closes 1 plan_changed: issued>overage 200 (invoice 200) | opens 2 plan_changed: issued>grant_6 2500
         preview none -> at 2026-01-01T00:00:00Z: closes 1 plan_ended: issued>overage 200 (invoice 200)
         preview b when=period_end -> at 2026-02-01T00:00:00Z: closes 1 scheduled: issued>overage 200 (invoice 200) | opens 2 plan_changed: issued>grant_7 2500
         preview w when=+40d -> at 2026-02-10T00:00:00Z: closes 2 plan_changed: grant_6>expired 1000 | opens 3 plan_changed: issued>grant_9 300
         preview a when=period_end -> error: the customer is on that plan already
         pending -> nothing
         change b when=period_end
         preview w when=+2d -> at 2026-01-03T00:00:00Z: closes 1 plan_changed: issued>overage 200 (invoice 200) | opens 2 plan_changed: nothing
         pending -> change_4 to b at 2026-02-01T00:00:00Z
         customer plan=w
         preview b when=+400d -> error: lies too many periods ahead for a preview
         change b when=+400d"#,
    );
}

#[test]
fn what_rolls_over_at_the_end_does_so_on_the_new_plan_too() {
    check(
        r#"plan rolls month {"allowances": [{"amount": "100"}], "rollover": {"percent": "50"}}
         plan b month {"allowances": [{"amount": "2500"}]}
         customer plan=rolls
         r: reserve 40 ttl=86400
         change b when=period_end
         at +31d -> r expires: r>plan1 40 | closes 1 scheduled: plan1>rollover2 50, plan1>expired 50 | opens 2 plan_changed: issued>plan2 2500
         balance -> 2550 of 2550"#,
    );
}
