//! What is moved in from another system: credits stay what they were, usage is shown and moves nothing, and a period that ran there
//! goes on without giving anything twice.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn a_period_that_ran_elsewhere_goes_on_with_what_it_gave_there() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50"}}
         at +9d
         # Nothing is given: what the plan gave comes as grants.
         moves_in plan=pro anchor=+0d -> opens 1 started: nothing
         moved 1000 plan id=p used=400 with=0 -> issued>plan1 1000, plan1>spent 400
         moved 500 prepaid id=b used=120 voided=30 paid=50 never -> issued>prepaid1 500, prepaid1>spent 120, prepaid1>voided 30
         balance -> 950 of 1470
         grants -> plan1=600 until 2026-02-01T00:00:00Z, prepaid1=350 for 50 EUR
         charge 100 -> plan1:100
         # The next period is the plan's own.
         at +31d -> closes 1 scheduled: plan1>rollover2 250, plan1>expired 250 | opens 2 scheduled: issued>plan2 1000"#,
    );
}

#[test]
fn a_change_of_plan_gives_nothing_twice() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         plan max month {"allowances": [{"amount": "1500"}]}
         at +9d
         moves_in plan=pro anchor=+0d
         moved 1000 plan id=p used=400 with=0
         change max -> closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>plan2 1100"#,
    );
    // One that is no allowance stays beside what the plan gives.
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         plan max month {"allowances": [{"amount": "1500"}]}
         at +9d
         moves_in plan=pro anchor=+0d
         moved 1000 plan id=p used=400 with=0 allowance=false
         change max -> closes 1 plan_changed: plan1>expired 600 | opens 2 plan_changed: issued>plan2 1500"#,
    );
}

#[test]
fn a_plan_gives_those_who_move_in_neither_its_welcome_nor_its_trial_again() {
    let plans = r#"gives starter month {"grants": [{"key": "included", "amount": "12"}, {"key": "welcome", "amount": "3", "category": "promotional", "recurrence": "once"}], "trial": {"duration": {"unit": "day", "count": 20}, "grants": [{"key": "try", "amount": "2"}], "then": {"plan": "max"}}}
         gives max month {"grants": [{"key": "more", "amount": "40"}]}"#;
    check(&format!(
        "{plans}
         at +9d
         moves_in plan=starter anchor=+0d -> opens 1 started: nothing
         pending -> nothing
         at +31d -> closes 1 scheduled: nothing | opens 2 scheduled: issued>plan2 12"
    ));
    // A trial that goes on there ends when it would have.
    check(&format!(
        "{plans}
         at +9d
         moves_in plan=starter anchor=+0d trial=+15d -> opens 1 started: nothing
         pending -> change_2 to max at 2026-01-16T00:00:00Z
         at +15d -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 40"
    ));
    // Whoever is to begin as a new customer does.
    check(&format!(
        "{plans}
         at +9d
         moves_in plan=starter anchor=+0d opens -> opens 1 started: issued>plan1 12, issued>promotional1 3, issued>trial1 2"
    ));
}

#[test]
fn usage_is_shown_and_moves_nothing() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "counters": [{"window": "period"}, {"measure": "n", "window": "lifetime"}]}
         at +9d
         moves_in plan=pro anchor=+0d opens
         budget all window=lifetime limit=10
         used_there 60 id=u-1 of=2024-05-06T07:08:09Z cost=60 paid=50 entity=ann -> nothing
         used_there 60 id=u-2 of=+9d cost=60 -> nothing
         used_there 60 id=u-3 of=+9d cost=60 refund -> nothing
         balance -> 100 of 100
         budgets -> all=0
         counters -> none
         raised -> nothing
         charge 9 -> plan1:9
         budgets -> all=9"#,
    );
}

#[test]
fn overage_is_owed_here() {
    check(
        r#"plan pro month {"overage": {"allow": "100"}, "settle": "invoice"}
         at +9d
         moves_in plan=pro anchor=+0d
         owed 40 id=o-1 -> overage>spent 40
         balance -> 0 of 0, overage 40
         charge 70 -> 402 insufficient_credits required=70 available=0
         at +31d -> closes 1 scheduled: issued>overage 40 (invoice 40) | opens 2 scheduled: nothing"#,
    );
}

#[test]
fn what_can_not_have_been_is_refused() {
    check(
        r#"plan pro month {}
         plan max month {}
         at +9d
         moves_in plan=pro anchor=+0d
         moves_in plan=pro anchor=+0d -> nothing
         moves_in plan=max anchor=+0d -> error: the customer acme exists and is not as the import has it: an import changes no customer that exists
         moved 100 prepaid used=90 voided=11 -> error: used and voided together are more than the 100 that were granted
         moved 0 prepaid -> error: amount must be above 0 and below 1000000000000000
         moved 100 prepaid used=-1 -> error: used must be above 0 and below 1000000000000000
         moved 100 prepaid expires=+9d -> error: expires_at must be later than 2026-01-10T00:00:00Z
         moved 100 prepaid effective=2020-01-01T00:00:00Z used=100 -> issued>prepaid1 100, prepaid1>spent 100
         owed 0 -> error: amount must be above 0 and below 1000000000000000
         used_there 1 of=+10d -> error: occurred_at is over 5 minutes ahead of 2026-01-10T00:00:00Z
         used_there 1 cost=1 paid=2 -> error: what was paid is more than the 1 that it cost
         close
         moved 100 prepaid -> error: the customer is closed: no new charges, reservations or grants
         used_there 1 -> error: the customer is closed: no new charges, reservations or grants"#,
    );
}
