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
         at +31d -> closes 1 scheduled: issued>rollover2 250, plan1>expired 250 | opens 2 scheduled: issued>plan2 1000"#,
    );
}
