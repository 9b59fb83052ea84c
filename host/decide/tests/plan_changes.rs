//! Plans moved back and forth: what a cycle gives is given once, whatever way leads through it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn an_allowance_is_what_exceeds_what_the_cycle_has_given() {
    check(
        r#"plan t0 month {}
         plan t1 month {"allowances": [{"amount": "1000"}]}
         plan t2 month {"allowances": [{"amount": "2500"}]}
         customer plan=t1
         charge 1000
         customer plan=t0 -> closes 1 plan_changed: nothing | opens 2 plan_changed: nothing
         customer plan=t1 -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         charge 1 -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-01T00:00:00Z
         at +10d
         customer plan=t2 -> closes 3 plan_changed: nothing | opens 4 plan_changed: issued>plan4 1500
         charge 600
         customer plan=t1 -> closes 4 plan_changed: plan4>expired 900 | opens 5 plan_changed: nothing
         customer plan=t2 -> closes 5 plan_changed: nothing | opens 6 plan_changed: issued>plan6 900
         at +31d -> closes 6 scheduled: plan6>expired 900 | opens 7 scheduled: issued>plan7 2500"#,
    );
}

#[test]
fn going_without_a_plan_in_between_changes_nothing() {
    check(
        r#"plan t1 month {"allowances": [{"amount": "1000"}]}
         customer plan=t1
         charge 700
         at +3d
         customer plan=none -> closes 1 plan_ended: plan1>expired 300
         at +5d -> nothing
         customer plan=t1 -> opens 2 plan_changed: issued>plan2 300
         charge 300
         customer plan=none
         at +20d
         customer plan=t1 -> opens 3 plan_changed: nothing
         at +31d -> closes 3 scheduled: nothing | opens 4 scheduled: issued>plan4 1000"#,
    );
}

#[test]
fn prorate_gives_the_rest_of_the_cycle_and_takes_back_what_was_used_ahead_of_time() {
    check(
        r#"plan small month {"allowances": [{"amount": "310"}]}
         plan large month {"allowances": [{"amount": "3100"}]}
         # Ten of 31 days, with 100 of 310 as the part that belongs to them.
         customer plan=small
         charge 100
         at +10d
         customer plan=large allowance=prorate -> closes 1 plan_changed: plan1>expired 210 | opens 2 plan_changed: issued>plan2 2100
         charge 600
         # Five days at 100 each belong to them: 100 were used ahead of time.
         at +15d
         customer plan=small allowance=prorate -> closes 2 plan_changed: plan2>expired 1500 | opens 3 plan_changed: issued>plan3 60
         # Back at once: 1600 belong to the 16 days that are left, less the 100.
         customer plan=large allowance=prorate -> closes 3 plan_changed: plan3>expired 60 | opens 4 plan_changed: issued>plan4 1500
         customer plan=small allowance=prorate -> closes 4 plan_changed: plan4>expired 1500 | opens 5 plan_changed: issued>plan5 60"#,
    );
}

/// Half a day on the yearly plan is worth 5 of its 3650, not half of them.
#[test]
fn prorate_counts_the_time_on_a_plan_of_a_longer_interval_by_that_interval() {
    check(
        r#"plan daily day {"allowances": [{"amount": "24", "allowance": "prorate"}]}
         plan yearly year {"allowances": [{"amount": "3650"}]}
         plan nothing day {}
         customer plan=daily
         charge 9
         customer plan=yearly -> closes 1 plan_changed: plan1>expired 15 | opens 2 plan_changed: issued>plan2 3641
         at +12h
         # 12 of 24 belong to what is left of the day; 4 of the 9 were used ahead of time.
         customer plan=daily -> closes 2 plan_changed: plan2>expired 3641 | opens 3 plan_changed: issued>plan3 8
         charge 8
         # Flipping brings nothing more.
         customer plan=nothing -> closes 3 plan_changed: nothing | opens 4 plan_changed: nothing
         customer plan=daily -> closes 4 plan_changed: nothing | opens 5 plan_changed: nothing
         customer plan=yearly -> closes 5 plan_changed: nothing | opens 6 plan_changed: issued>plan6 3633
         customer plan=daily -> closes 6 plan_changed: plan6>expired 3633 | opens 7 plan_changed: nothing
         at +24h -> closes 7 scheduled: nothing | opens 8 scheduled: issued>plan8 24"#,
    );
}

/// As a random history found it: of a cycle that gives 1, all of it is held, and a moment on a plan of another interval brought more.
#[test]
fn a_moment_on_a_longer_plan_gives_nothing_more_in_a_short_cycle() {
    check(
        r#"plan hourly hour {"allowances": [{"amount": "1", "allowance": "prorate"}]}
         plan weekly week {"allowances": [{"amount": "2"}]}
         customer plan=hourly
         grant 95
         r: reserve 1
         customer plan=weekly -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 1
         at +1s
         customer plan=hourly -> closes 2 plan_changed: plan2>expired 1 | opens 3 plan_changed: nothing
         release r -> r>plan1 1, plan1>expired 0.000277777778, plan1>plan3 0.999722222222"#,
    );
}

#[test]
fn prorate_is_not_fooled_by_several_allowances_of_one_credit() {
    check(
        r#"plan a month {"allowances": [{"amount": "310"}]}
         plan b month {"allowances": [{"amount": "155", "features": ["chat"]}, {"amount": "155"}]}
         customer plan=a
         at +1d
         charge 300
         at +10d
         # 210 belong to the rest of the cycle, of which 200 were used ahead of time.
         customer plan=b allowance=prorate -> closes 1 plan_changed: plan1>expired 10 | opens 2 plan_changed: issued>plan2 10"#,
    );
}

#[test]
fn full_is_for_those_who_ask_for_it() {
    check(
        r#"plan t1 month {"allowances": [{"amount": "1000"}]}
         plan always month {"allowances": [{"amount": "50", "allowance": "full"}]}
         customer plan=t1
         charge 1000
         customer plan=always -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 50
         charge 50
         customer plan=t1 allowance=full -> closes 2 plan_changed: nothing | opens 3 plan_changed: issued>plan3 1000"#,
    );
}

#[test]
fn an_allowance_of_any_category_is_given_once() {
    for category in ["plan", "trial", "contract", "promotional", "prepaid"] {
        check(&format!(
            r#"plan a month {{"allowances": [{{"amount": "1000", "category": "{category}"}}]}}
             plan b month {{"allowances": [{{"amount": "1000", "category": "{category}"}}]}}
             customer plan=a
             charge 900
             customer plan=b -> closes 1 plan_changed: {category}1>expired 100 | opens 2 plan_changed: issued>{category}2 100
             customer plan=a -> closes 2 plan_changed: {category}2>expired 100 | opens 3 plan_changed: issued>{category}3 100"#
        ));
    }
    // What is given in full beside the plan is no allowance.
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}, {"amount": "70", "category": "promotional", "allowance": "full", "priority": -1}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 170 -> promotional1:70 plan1:100
         customer plan=b -> closes 1 plan_changed: plan1>expired 900 | opens 2 plan_changed: issued>plan2 900"#,
    );
}

#[test]
fn an_allowance_that_outlives_its_period_is_not_given_again() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000", "with": null}]}
         plan b month {"allowances": [{"amount": "1200", "with": null}]}
         customer plan=a
         charge 300
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 200
         customer plan=a -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         customer plan=b -> closes 3 plan_changed: nothing | opens 4 plan_changed: nothing
         balance -> 900 of 1200
         at +31d -> closes 4 scheduled: nothing | opens 5 scheduled: issued>plan5 1200
         balance -> 2100 of 2400"#,
    );
}

#[test]
fn what_expires_of_an_older_allowance_of_the_cycle_was_not_given() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000", "with": null, "expires_after_hours": 240}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 100
         at +5d
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: nothing
         at +10d -> expires: plan1>expired 900
         customer plan=a -> closes 2 plan_changed: nothing | opens 3 plan_changed: issued>plan3 900"#,
    );
}

#[test]
fn voided_credits_are_not_given_back_by_a_change_of_plan() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 100
         adjust -50 -> plan1>voided 50
         customer plan=b -> closes 1 plan_changed: plan1>expired 850 | opens 2 plan_changed: issued>plan2 850
         void plan2 -> plan2>voided 850
         customer plan=a -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing"#,
    );
}

#[test]
fn more_grants_than_are_remembered_do_not_make_an_allowance_forgotten() {
    let grants = "grant 1 promotional priority=9\n".repeat(260);
    check(&format!(
        r#"plan a month {{"allowances": [{{"amount": "100"}}]}}
         plan b month {{"allowances": [{{"amount": "100"}}]}}
         customer plan=a
         {grants}
         charge 100 -> plan1:100
         charge 1
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: nothing"#
    ));
}

#[test]
fn monthly_weekly_and_hourly_plans_count_in_their_own_cycles() {
    check(
        r#"plan m month {"allowances": [{"amount": "1000"}]}
         plan w week {"allowances": [{"amount": "300"}]}
         plan h hour {"allowances": [{"amount": "10"}]}
         # A Thursday. All boundaries are counted from here.
         customer plan=m
         charge 600
         # In the same instant all three cycles have just begun.
         customer plan=w -> closes 1 plan_changed: plan1>expired 400 | opens 2 plan_changed: nothing
         customer plan=h -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         at +1h -> closes 3 scheduled: nothing | opens 4 scheduled: issued>plan4 10
         charge 10
         customer plan=m -> closes 4 plan_changed: nothing | opens 5 plan_changed: issued>plan5 390
         charge 90
         # Of this hour, 10 and 90 were given already.
         customer plan=h -> closes 5 plan_changed: plan5>expired 300 | opens 6 plan_changed: nothing
         customer plan=w -> closes 6 plan_changed: nothing | opens 7 plan_changed: nothing
         at +7d -> closes 7 scheduled: nothing | opens 8 scheduled: issued>plan8 300
         charge 300
         customer plan=m -> closes 8 plan_changed: nothing | opens 9 plan_changed: nothing
         at +7d1h
         customer plan=h -> closes 9 plan_changed: nothing | opens 10 plan_changed: issued>plan10 10
         charge 10
         customer plan=m -> closes 10 plan_changed: nothing | opens 11 plan_changed: nothing
         customer plan=h -> closes 11 plan_changed: nothing | opens 12 plan_changed: nothing
         customer plan=m
         at +31d -> closes 13 scheduled: nothing | opens 14 scheduled: issued>plan14 1000"#,
    );
}

#[test]
fn a_long_cycle_is_remembered_over_short_ones() {
    check(
        r#"plan y year {"allowances": [{"amount": "12000"}]}
         plan m month {"allowances": [{"amount": "10"}]}
         customer plan=y
         charge 12000
         at +10d
         customer plan=m -> closes 1 plan_changed: nothing | opens 2 plan_changed: nothing
         at +150d
         # Far beyond the late window, and still in the year of which everything was given.
         customer plan=y -> closes 6 plan_changed: plan6>expired 10 | opens 7 plan_changed: nothing
         at +365d -> closes 7 scheduled: nothing | opens 8 scheduled: issued>plan8 12000"#,
    );
}

#[test]
fn a_plan_whose_periods_never_end_gives_its_allowance_once() {
    check(
        r#"plan free {"allowances": [{"amount": "100"}]}
         plan m month {"allowances": [{"amount": "10"}]}
         customer plan=free -> opens 1 started: issued>plan1 100
         charge 60
         at +3d
         customer plan=m -> closes 1 plan_changed: plan1>expired 40 | opens 2 plan_changed: nothing
         at +300d
         customer plan=free -> closes 11 plan_changed: plan11>expired 10 | opens 12 plan_changed: issued>plan12 40
         charge 40
         customer plan=m
         at +600d
         customer plan=free -> closes 23 plan_changed: plan23>expired 10 | opens 24 plan_changed: nothing
         # Two of them, merged: what they gave counts for ever.
         given -> 1=100 22=0 23=0"#,
    );
}

#[test]
fn an_anchor_that_moves_the_end_beyond_the_cycle_leaves_no_gap_to_flip_in() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 1000
         at +19d
         # The period lasts until 15 February now; the cycle would have ended on the 1st.
         customer anchor=2026-01-15T00:00:00Z
         at +35d
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: nothing
         customer plan=none
         customer plan=a -> opens 3 plan_changed: nothing
         at +45d -> closes 3 scheduled: nothing | opens 4 scheduled: issued>plan4 1000"#,
    );
    // Moved there and back again, it changes nothing.
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 1000
         at +19d
         customer anchor=2026-01-15T00:00:00Z
         customer anchor=2026-01-01T00:00:00Z
         at +31d -> closes 1 scheduled: nothing | opens 2 scheduled: issued>plan2 1000"#,
    );
}

#[test]
fn anchor_and_plan_moved_together_give_nothing_twice() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 1000
         at +19d
         # From 1 February on, 19 days of an interval of 31.
         customer plan=b anchor=2026-01-20T00:00:00Z -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2b 612.903225806451
         period -> 2 from 2026-01-20T00:00:00Z to 2026-02-20T00:00:00Z
         customer plan=a anchor=2026-01-21T00:00:00Z -> closes 2 plan_changed: plan2b>expired 612.903225806451 | opens 3 plan_changed: issued>plan3b 612.903225806451
         period -> 3 from 2026-01-20T00:00:00Z to 2026-01-21T00:00:00Z
         # A day more in the place of that.
         at +20d -> closes 3 scheduled: plan3b>expired 612.903225806451 | opens 4 scheduled: issued>plan4b 645.16129032258
         balance -> 0 of 0
         at +31d
         balance -> 645.16129032258 of 645.16129032258
         at +51d -> closes 4 scheduled: plan4b>expired 645.16129032258 | opens 5 scheduled: issued>plan5 1000"#,
    );
}

/// The new plan's allowance is a hundred more.
const HELD: &str = r#"plan a month {"allowances": [{"amount": "1000"}]}
    plan b month {"allowances": [{"amount": "1100"}]}
    plan c month {"allowances": [{"amount": "400"}]}
    customer plan=a
    charge 50
    at +1d
    r: reserve 900 ttl=86400"#;

#[test]
fn what_is_held_over_a_change_of_plan_comes_back_as_if_it_had_not_been() {
    for (flips, end, available) in [
        // 1100 - 50 used.
        ("customer plan=b", "release r", "1050"),
        ("customer plan=b", "commit r 300", "750"),
        ("customer plan=b", "commit r 900", "150"),
        // Beyond the hold: what is missing is drawn from what there is.
        ("customer plan=b", "commit r 1000", "50"),
        ("customer plan=b", "at +2d", "1050"),
        // Twice, thrice, by way of no plan, and down.
        ("customer plan=b\ncustomer plan=a", "release r", "950"),
        ("customer plan=b\ncustomer plan=a\ncustomer plan=b", "release r", "1050"),
        ("customer plan=b\ncustomer plan=a\ncustomer plan=b", "commit r 300", "750"),
        ("customer plan=none\ncustomer plan=b", "release r", "1050"),
        ("customer plan=c", "release r", "350"),
        ("customer plan=c", "commit r 300", "50"),
        ("customer plan=c", "commit r 500", "0"),
        // An allowance that was too small to take all of it does not swallow the rest.
        ("customer plan=c\ncustomer plan=b", "release r", "1050"),
        ("customer plan=c\ncustomer plan=none\ncustomer plan=c\ncustomer plan=b", "commit r 300", "750"),
    ] {
        let world = check_balance(&format!("{HELD}\n{flips}\n{end}"));
        assert_eq!(world, available, "{flips}, then {end}");
        // And after yet another change of plan.
        let after = check_balance(&format!("{HELD}\n{flips}\n{end}\ncustomer plan=none\ncustomer plan=b"));
        let used = if end == "commit r 500" { 550 } else { 50 + used(end) };
        assert_eq!(after, (1100 - used).to_string(), "{flips}, then {end}, then b");
    }
}

fn used(end: &str) -> i64 {
    end.strip_prefix("commit r ").map_or(0, |used| used.parse().unwrap())
}

fn check_balance(script: &str) -> String {
    let world = support::script::check_from(support::script::START, script).world;
    world.state.balance(&support::key("credits"), world.now).available.to_string()
}

#[test]
fn what_is_held_comes_back_to_several_allowances() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "100", "priority": 1}, {"amount": "1000", "priority": 2}]}
         customer plan=a
         r: reserve 500
         customer plan=b -> closes 1 plan_changed: plan1>expired 500 | opens 2 plan_changed: issued>plan2 600
         release r -> r>plan1 500, plan1>plan2 500
         balance -> 1100 of 1100"#,
    );
}

#[test]
fn what_rolls_over_in_part_and_is_held_goes_both_ways() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": 5}}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         r: reserve 900
         # Had it not been held, 500 would have rolled over, and 500 be the new allowance.
         customer plan=b -> closes 1 plan_changed: plan1>rollover2 50, plan1>expired 50 | opens 2 plan_changed: issued>plan2 50
         release r -> r>plan1 900, plan1>plan2 450, plan1>rollover2 450
         grants -> plan2=500 until 2026-02-01T00:00:00Z, rollover2=500 until 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn a_reduced_allowance_carries_its_share_of_the_cost() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000", "cost": {"amount": "99.99", "currency": "EUR"}}]}
         plan b month {"allowances": [{"amount": "1000", "cost": {"amount": "99.99", "currency": "EUR"}}]}
         customer plan=a
         charge 900
         customer plan=b
         grants -> plan2=100 until 2026-02-01T00:00:00Z for 10 EUR"#,
    );
}

#[test]
fn what_a_hold_gives_back_through_an_ended_allowance_is_not_given_twice() {
    check(
        r#"plan big month {"allowances": [{"amount": "200"}]}
         plan same month {"allowances": [{"amount": "200"}]}
         plan small month {"allowances": [{"amount": "100"}]}
         customer plan=big
         r: reserve 99
         customer plan=same
         charge 100
         customer plan=small
         release r
         customer plan=big
         balance -> 100 of 100"#,
    );
}
