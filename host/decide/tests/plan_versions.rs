//! Versions of plans: a customer stays on the one that it was sold until it is moved.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

const PRO: &str = r#"plan pro month {}
    gives pro month {"grants": [{"key": "included", "amount": "1000"}]}
    customer plan=pro -> opens 1 started: issued>plan1 1000"#;

fn on_pro(script: &str) {
    check(&format!("{PRO}\n{script}"));
}

#[test]
fn a_customer_stays_on_the_version_that_it_was_sold() {
    on_pro(
        r#"at +1d
         sells pro metered=chat {"grants": [{"key": "included", "amount": "1500"}]} -> version 2
         access chat -> error: neither the plan, nor an add-on, nor an override knows feature chat
         at +31d -> closes 1 scheduled: plan1>expired 1000 | opens 2 scheduled: issued>plan2 1000
         reset -> closes 2 early: plan2>expired 1000 | opens 3 early: issued>plan3 1000
         # The same plan again is no change. Who leaves and takes it again takes what is sold now.
         customer plan=pro -> nothing
         change pro -> error: the customer is on that plan already
         customer plan=none
         customer plan=pro -> opens 4 plan_changed: issued>plan4 1500
         access chat -> true ok in credits"#,
    );
}

#[test]
fn a_move_gives_what_the_version_gives_beyond_what_the_cycle_gave() {
    for (allowance, issued) in [("carry", "1100"), ("prorate", "970.967741935483"), ("full", "1500")] {
        on_pro(&format!(
            r#"charge 400
             at +8d
             sells pro {{"grants": [{{"key": "included", "amount": "1500"}}]}}
             would_migrate pro 2 allowance={allowance} -> at 2026-01-09T00:00:00Z: closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>grant_6 {issued}
             migrate pro 2 allowance={allowance} -> closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>plan2 {issued}
             # Whoever asks again moves nobody twice.
             migrate pro 2 allowance={allowance} -> not concerned
             migrate pro 1-2 -> not concerned
             would_migrate pro 2 -> not concerned
             at +31d -> closes 2 scheduled: plan2>expired {issued} | opens 3 scheduled: issued>plan3 1500"#
        ));
    }
}

#[test]
fn moves_back_and_forth_give_no_allowance_twice() {
    on_pro(
        r#"sells pro {"grants": [{"key": "included", "amount": "1500"}]}
         charge 1000
         migrate pro 2 -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 500
         migrate pro 1 -> closes 2 plan_changed: plan2>expired 500 | opens 3 plan_changed: nothing
         migrate pro 2 -> closes 3 plan_changed: nothing | opens 4 plan_changed: issued>plan4 500
         change pro version=1 -> closes 4 plan_changed: plan4>expired 500 | opens 5 plan_changed: nothing
         change pro version=1 -> error: the customer is on that plan already
         change pro version=9 -> error: plan pro has no version 9"#,
    );
}

#[test]
fn where_only_entitlements_differ_the_period_goes_on() {
    on_pro(
        r#"charge 400
         sells pro metered=chat {"grants": [{"key": "included", "amount": "1000"}]}
         would_migrate pro 2 -> at 2026-01-01T00:00:00Z: nothing
         migrate pro 2 -> nothing
         access chat -> true ok in credits
         balance -> 600 of 1000
         period -> 1 from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn a_move_at_the_periods_end_cuts_nothing_off() {
    on_pro(
        r#"sells pro metered=chat {"grants": [{"key": "included", "amount": "1500"}]}
         would_migrate pro 2 period_end -> at 2026-02-01T00:00:00Z: closes 1 scheduled: plan1>expired 1000 | opens 2 plan_changed: issued>grant_6 1500
         migrate pro 2 period_end -> pending until 2026-02-01T00:00:00Z
         pending -> change_3 to pro at 2026-02-01T00:00:00Z
         # Asked again, it is the same one.
         migrate pro 2 period_end -> pending until 2026-02-01T00:00:00Z
         pending -> change_3 to pro at 2026-02-01T00:00:00Z
         access chat -> error: neither the plan, nor an add-on, nor an override knows feature chat
         # A newer one takes its place, and what was put off for the one before is what is sold then.
         sells pro {"grants": [{"key": "included", "amount": "2000"}]}
         migrate pro 3 period_end -> pending until 2026-02-01T00:00:00Z
         pending -> change_4 to pro at 2026-02-01T00:00:00Z
         at +33d -> closes 1 scheduled: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 2000"#,
    );
}

#[test]
fn a_move_now_calls_off_one_that_is_to_come_but_no_change_to_another_plan() {
    on_pro(
        r#"plan basic month {}
         sells pro {"grants": [{"key": "included", "amount": "1500"}]}
         sells pro {"grants": [{"key": "included", "amount": "2000"}]}
         migrate pro 2 period_end
         migrate pro 3 -> closes 1 plan_changed: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 2000
         pending -> nothing
         change basic when=period_end
         migrate pro 2 period_end -> error: a change to another plan is pending: cancel it first
         migrate pro 2 -> closes 2 plan_changed: plan2>expired 2000 | opens 3 plan_changed: issued>plan3 1500
         pending -> change_7 to basic at 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn one_time_grants_and_trials_are_for_those_who_take_the_plan() {
    on_pro(
        r#"sells pro {"grants": [{"key": "included", "amount": "1000"}, {"key": "welcome", "amount": "50", "recurrence": "once"}], "trial": {"duration": {"unit": "day", "count": 7}, "grants": [{"key": "try", "amount": "9"}], "then": "stay"}}
         migrate pro 2 -> closes 1 plan_changed: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 1000
         pending -> nothing
         customer plan=none
         customer plan=pro -> opens 3 plan_changed: issued>plan3 1000, issued>plan3b 50, issued>trial3 9"#,
    );
}

#[test]
fn a_trial_leads_to_the_version_that_was_sold_when_it_began() {
    check(
        r#"gives pro month {"grants": [{"key": "included", "amount": "1000"}]}
         gives try month {"trial": {"duration": {"unit": "day", "count": 14}, "grants": [{"key": "try", "amount": "200"}], "then": {"plan": "pro"}}}
         customer plan=try
         sells pro {"grants": [{"key": "included", "amount": "700"}]}
         # A trial that is shortened is so for those who begin it later.
         sells try {"trial": {"duration": {"unit": "day", "count": 3}, "grants": [{"key": "try", "amount": "5"}], "then": "end"}}
         migrate try 2 -> nothing
         pending -> change_2 to pro at 2026-01-15T00:00:00Z
         at +14d -> closes 1 plan_changed: nothing | expires: trial1>expired 200 | opens 2 plan_changed: issued>plan2 1000
         migrate pro 2 -> closes 2 plan_changed: plan2>expired 1000 | opens 3 plan_changed: issued>plan3 700"#,
    );
}

#[test]
fn what_is_due_takes_the_version_of_its_instant_however_late_it_is_found() {
    check(
        r#"gives pro month {"grants": [{"key": "included", "amount": "1000"}]}
         gives free month {}
         gives try month {"trial": {"duration": {"unit": "day", "count": 7}, "grants": [], "then": {"plan": "pro"}}}
         customer plan=free
         change try when=+2d
         at +1d
         sells pro {"grants": [{"key": "included", "amount": "700"}]}
         sells try {"trial": {"duration": {"unit": "day", "count": 7}, "grants": [], "then": "stay"}}
         at +30d
         period -> 3 from 2026-01-10T00:00:00Z to 2026-02-01T00:00:00Z
         grants -> plan3=700 until 2026-02-01T00:00:00Z"#,
    );
}
