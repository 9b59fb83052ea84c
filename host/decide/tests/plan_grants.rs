//! What plans give whatever their policies do: grants of each period, one-time grants, and trials.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn a_plan_gives_without_any_policy() {
    check(
        r#"gives pro month {"grants": [{"key": "included", "amount": "100"}, {"key": "welcome", "amount": "50", "category": "promotional", "recurrence": "once"}]}
         customer plan=pro -> opens 1 started: issued>plan1 100, issued>promotional1 50
         grants -> plan1=100 until 2026-02-01T00:00:00Z, promotional1=50
         charge 1 -> error: no terms are in force for this customer: bind a policy to it or to its plan
         at +31d -> closes 1 scheduled: plan1>expired 100 | opens 2 scheduled: issued>plan2 100
         # The customer's own terms may draw them.
         terms {}
         charge 120 -> plan2:100 promotional1:20
         reset -> closes 2 early: nothing | opens 3 early: issued>plan3 100
         balance -> 130 of 150"#,
    );
}

#[test]
fn it_gives_beside_what_the_policy_issues() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50"}}
         gives pro month {"grants": [{"key": "included", "amount": "100", "category": "contract", "priority": -1, "features": ["chat"], "cost_basis": {"amount": "9.99", "currency": "EUR"}}]}
         customer plan=pro -> opens 1 started: issued>contract1 100, issued>plan1 1000
         grants -> contract1=100 until 2026-02-01T00:00:00Z for 9.99 EUR, plan1=1000 until 2026-02-01T00:00:00Z
         charge 40 feature=image -> plan1:40
         # A rollover takes it along like any other.
         at +31d -> closes 1 scheduled: contract1>rollover2 50, plan1>rollover2b 480, contract1>expired 50, plan1>expired 480 | opens 2 scheduled: issued>contract2 100, issued>plan2 1000"#,
    );
}

#[test]
fn no_way_through_plans_gives_an_allowance_twice() {
    for category in ["plan", "prepaid", "promotional"] {
        check(&format!(
            r#"gives a month {{"grants": [{{"key": "a", "amount": "1000", "category": "{category}"}}]}}
             gives b month {{"grants": [{{"key": "b", "amount": "2500", "category": "{category}"}}]}}
             terms {{}}
             customer plan=a
             terms {{}}
             charge 1000
             customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>{category}2 1500
             customer plan=a -> closes 2 plan_changed: {category}2>expired 1500 | opens 3 plan_changed: nothing
             customer plan=none -> closes 3 plan_ended: nothing
             at +10d
             customer plan=b -> opens 4 plan_changed: issued>{category}4 1500
             charge 100
             # Also what was given in full, when it was asked for or begun anew, counts.
             reset -> closes 4 early: {category}4>expired 1400 | opens 5 early: issued>{category}5 2500
             charge 2000
             customer plan=a -> closes 5 plan_changed: {category}5>expired 500 | opens 6 plan_changed: nothing
             customer plan=b allowance=full -> closes 6 plan_changed: nothing | opens 7 plan_changed: issued>{category}7 2500
             charge 2500
             customer plan=a -> closes 7 plan_changed: nothing | opens 8 plan_changed: nothing"#
        ).replacen("             terms {}\n", "", 1));
    }
}

#[test]
fn the_policys_allowance_and_the_plans_own_are_reduced_together() {
    check(
        r#"plan a month {"allowances": [{"amount": "310"}]}
         plan b month {"allowances": [{"amount": "155"}]}
         gives b month {"grants": [{"key": "own", "amount": "155"}]}
         customer plan=a
         at +1d
         charge 300
         at +10d
         # 210 belong to the rest of the cycle, of which 200 were used ahead of time.
         preview b allowance=prorate -> at 2026-01-11T00:00:00Z: closes 1 plan_changed: plan1>expired 10 | opens 2 plan_changed: issued>grant_6 10
         customer plan=b -> closes 1 plan_changed: plan1>expired 10 | opens 2 plan_changed: issued>plan2 10"#,
    );
}

#[test]
fn one_that_outlives_its_period_or_ends_sooner_is_given_once_in_a_cycle() {
    check(
        r#"gives a month {"grants": [{"key": "lasting", "amount": "100", "expires": "never"}]}
         gives b month {"grants": [{"key": "short", "amount": "120", "expires": {"after": {"unit": "day", "count": 5}}}]}
         customer plan=a
         terms {}
         charge 30
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 20
         grants -> plan2=20 until 2026-01-06T00:00:00Z, plan1=70
         at +5d -> expires: plan2>expired 20
         customer plan=a -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         at +31d -> closes 3 scheduled: nothing | opens 4 scheduled: issued>plan4 100
         balance -> 170 of 200"#,
    );
}

#[test]
fn a_one_time_grant_is_given_once_for_its_key() {
    check(
        r#"gives a month {"grants": [{"key": "welcome", "amount": "50", "recurrence": "once"}]}
         gives b month {"grants": [{"key": "welcome", "amount": "80", "recurrence": "once"}, {"key": "b", "amount": "7", "recurrence": "once", "expires": {"with_period": 1}}]}
         customer plan=a -> opens 1 started: issued>plan1 50
         at +31d -> closes 1 scheduled: nothing | opens 2 scheduled: nothing
         # It is no allowance, so it reduces none, and another plan's grant of that key is the same one.
         customer plan=b allowance=full -> closes 2 plan_changed: nothing | opens 3 plan_changed: issued>plan3 7
         reset -> closes 3 early: nothing | opens 4 early: nothing
         customer plan=none
         customer plan=b -> opens 5 plan_changed: nothing
         # One that is added later is for those who take the plan from then on.
         gives b month {"grants": [{"key": "late", "amount": "9", "recurrence": "once"}]}
         at +62d -> closes 5 scheduled: nothing | opens 6 scheduled: nothing
         customer plan=a -> closes 6 plan_changed: plan3>expired 7 | opens 7 plan_changed: nothing
         customer plan=b -> closes 7 plan_changed: nothing | opens 8 plan_changed: issued>plan8 9"#,
    );
}

#[test]
fn a_fault_of_the_policy_keeps_none_of_it_back() {
    check(
        r#"plan a month {"allowances": [{"amount": "100"}]}
         plan b month {"faults": ["open"]}
         gives b month {"grants": [{"key": "own", "amount": "200"}, {"key": "once", "amount": "5", "category": "promotional", "recurrence": "once"}]}
         customer plan=a
         charge 100
         customer plan=b -> closes 1 plan_changed: nothing | opens 2 plan_changed: issued>plan2 100, issued>promotional2 5 (trap by plan/b/terms_1)
         missed -> open 2
         charge 20 -> plan2:20
         # What is made good is what the policy gives: all of it, since the plan's own was reduced by what was given before.
         at +1d -> nothing
         plan b {"allowances": [{"amount": "300", "priority": -1}]}
         at +2d -> again opens 2 plan_changed: issued>plan2b 300, spent>plan2 20, plan2b>spent 20
         missed -> nothing
         balance -> 385 of 405
         customer plan=a -> closes 2 plan_changed: plan2b>expired 280, plan2>expired 100 | opens 3 plan_changed: nothing"#,
    );
}

#[test]
fn a_trial_ends_by_changing_the_plan() {
    check(
        r#"plan try month {}
         plan pro month {"allowances": [{"amount": "1000"}]}
         gives try month {"trial": {"duration": {"unit": "day", "count": 14}, "grants": [{"key": "try", "amount": "200"}], "then": {"plan": "pro"}}}
         customer plan=try zone=Europe/Berlin -> opens 1 started: issued>trial1 200
         grants -> trial1=200 until 2026-01-15T00:00:00Z
         pending -> change_2 to pro at 2026-01-15T00:00:00Z
         charge 150
         preview pro -> at 2026-01-01T00:00:00Z: closes 1 plan_changed: nothing | opens 2 plan_changed: issued>grant_6 1000
         # Found late, it still happens at its instant. What the trial gave is no allowance of the next plan.
         at +20d -> closes 1 plan_changed: nothing | expires: trial1>expired 50 | opens 2 plan_changed: issued>plan2 1000
         period -> 2 from 2026-01-15T00:00:00Z to 2026-02-01T00:00:00Z
         pending -> nothing
         # Once for each customer and plan.
         customer plan=try -> error: the customer's trial of try ended at 2026-01-15T00:00:00Z
         change try when=period_end -> error: the customer's trial of try ended at 2026-01-15T00:00:00Z"#,
    );
}

#[test]
fn a_trial_ends_by_taking_the_plan_away_or_by_itself() {
    check(
        r#"plan try month {}
         gives try month {"grants": [{"key": "small", "amount": "10"}], "trial": {"duration": {"unit": "week", "count": 1}, "grants": [{"key": "try", "amount": "200"}], "then": "end"}}
         customer plan=try -> opens 1 started: issued>plan1 10, issued>trial1 200
         at +7d -> closes 1 plan_ended: plan1>expired 10 | expires: trial1>expired 200
         period -> none"#,
    );
    check(
        r#"plan try month {}
         gives try month {"trial": {"duration": {"unit": "week", "count": 1}, "grants": [{"key": "try", "amount": "200"}], "then": "stay"}}
         customer plan=try
         pending -> nothing
         at +7d -> expires: trial1>expired 200
         customer plan=none
         # Nothing to refuse, and nothing more to give.
         customer plan=try -> opens 2 plan_changed: nothing"#,
    );
}

#[test]
fn a_trial_goes_on_for_those_who_come_back_in_time() {
    check(
        r#"plan pro month {}
         gives try month {"trial": {"duration": {"unit": "day", "count": 14}, "grants": [{"key": "try", "amount": "200"}], "then": {"plan": "pro"}}}
         customer plan=try
         at +3d
         # Whoever changes the plan has the last word.
         customer plan=pro
         pending -> nothing
         at +5d
         customer plan=try -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing
         pending -> change_8 to pro at 2026-01-15T00:00:00Z
         balance -> 200 of 200
         # Later than its end, there would be none.
         customer plan=none
         change try when=+14d -> error: the customer's trial of try ended at 2026-01-15T00:00:00Z
         change try when=+13d
         at +13d -> opens 4 plan_changed: nothing
         cancel -> cancelled
         # Then the trial is over, and the customer stays.
         at +14d -> expires: trial1>expired 200
         period -> 4 from 2026-01-14T00:00:00Z to 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn trials_that_lead_to_each_other_come_to_an_end() {
    check(
        r#"gives a month {"trial": {"duration": {"unit": "day", "count": 2}, "grants": [{"key": "a", "amount": "1"}], "then": {"plan": "b"}}}
         gives b month {"trial": {"duration": {"unit": "day", "count": 3}, "grants": [{"key": "b", "amount": "2"}], "then": {"plan": "a"}}}
         customer plan=a -> opens 1 started: issued>trial1 1
         at +300d
         pending -> nothing
         books -> issued=3 spent=0 expired=3 voided=0 overage=0"#,
    );
}
