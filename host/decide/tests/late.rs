//! Usage that is reported late belongs to when it occurred: its terms, windows, period and grants.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn it_draws_what_expired_of_the_grants_of_then() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         charge 600
         at +33d
         balance -> 1000 of 1000
         check 300 of=+30d -> true ok cost=300 available=1000 late:1
         charge 300 of=+30d -> plan1:300 late:1
         balance -> 1000 of 1000
         # What then had is used up; the rest is drawn from now.
         charge 300 of=+30d -> plan1:100 plan2:200 late:1
         charge 900 of=+30d -> 402 insufficient_credits required=900 available=800 retry_at=2026-03-01T00:00:00Z late:1
         books -> issued=2000 spent=1200 expired=0 voided=0 overage=0"#,
    );
}

#[test]
fn it_draws_what_rolled_over_of_the_grants_of_then() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": 5}}
         customer plan=pro
         charge 600
         at +33d
         grants -> plan2=1000 until 2026-03-01T00:00:00Z, rollover2=200 until 2026-03-01T00:00:00Z
         # Half of 400 expired and half rolled over: all of it was there then.
         charge 250 of=+30d -> plan1:200 rollover2:50 late:1
         # In time, what rolled over is drawn last.
         charge 10 -> plan2:10
         charge 200 of=+30d -> rollover2:150 plan2:50 late:1"#,
    );
}

#[test]
fn it_draws_what_had_expired_by_its_own_date() {
    check(
        r#"plan pro month {}
         customer plan=pro
         grant 50 trial expires=+5d
         grant 100 prepaid priority=9
         at +6d
         charge 70 of=+4d -> trial1:50 prepaid1:20
         charge 10 of=+4d -> prepaid1:10
         # Voiding works forward only, and takes what is left.
         void prepaid1 -> prepaid1>voided 70
         charge 1 of=+4d -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn a_grant_may_be_given_for_the_past() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro
         at +33d
         grant 50 prepaid effective=+20d
         grant 50 promotional
         charge 30 of=+25d -> plan1:10 prepaid2:20 late:1
         # Before either was usable: those of then, then those of now.
         charge 30 of=+10d -> plan2:10 prepaid2:20 late:1
         at +60d
         grant 1 prepaid effective=+24d -> error: effective_at must not be earlier than 2026-01-26T00:00:00Z: usage of before is closed
         grant 1 prepaid effective=+25d -> issued>prepaid3 1"#,
    );
}

#[test]
fn it_counts_in_the_windows_of_then() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"measure": "n", "window": "day", "cap": "20"}, {"measure": "n", "window": "period"}, {"measure": "n", "window": "month"}, {"measure": "n", "window": {"hours": 24}}]}
         customer plan=pro
         charge 15
         at +30d
         charge 15
         at +32d
         charge 20
         # The cap of the thirty-first, not of today.
         charge 5 of=+30d
         charge 1 of=+30d -> 402 cap_reached available=1945 late:1
         counters -> period:1=35 period:2=20 day:20454=15 day:20484=20 day:20486=20 month:24312=35 month:24313=20 {"hours":24}:490896=15 {"hours":24}:491616=20 {"hours":24}:491664=20"#,
    );
}

#[test]
fn it_is_priced_by_the_tier_of_then() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10000"}], "tier": "100", "counters": [{"measure": "n", "window": "period"}]}
         customer plan=pro
         charge 90
         at +32d
         charge 100
         check 10 -> true ok cost=100 available=9900
         charge 10 of=+20d -> plan1:10 late:1
         charge 10 of=+20d -> plan1:100 late:1"#,
    );
}

#[test]
fn it_is_rated_by_the_terms_and_the_plan_of_then() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "price": "2"}
         plan max month {"allowances": [{"amount": "1000"}], "price": "7"}
         customer plan=pro
         at +5d
         terms to=+8d {"allowances": [{"amount": "1000"}], "price": "3"}
         at +9d
         plan pro {"allowances": [{"amount": "1000"}], "price": "5"}
         at +15d
         customer plan=max
         at +20d
         charge 1 -> plan2:7
         charge 1 of=+10d -> plan2:5 late:1
         charge 1 of=+7d -> plan2:3 late:1
         charge 1 of=+1d -> plan2:2 late:1"#,
    );
}

#[test]
fn it_is_not_older_than_the_late_window_nor_than_the_customer() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         at +40d
         charge 1 of=+5d -> plan1:1 late:1
         charge 1 of=+4d -> error: occurred_at is before 2026-01-06T00:00:00Z, when the window for late usage begins
         charge 1 of=+40d4m -> plan2:1
         charge 1 of=+40d6m -> error: occurred_at is over 5 minutes ahead of 2026-02-10T00:00:00Z"#,
    );
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"window": "day"}]}
         at +10d
         customer plan=pro
         # As of the first instant.
         charge 5 of=+2d -> plan1:5
         counters -> day:20464=5"#,
    );
}

#[test]
fn what_a_change_of_plan_gave_anew_is_not_drawn_again_by_late_usage() {
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "1000"}]}
         customer plan=a
         charge 300
         at +10d
         customer plan=b -> closes 1 plan_changed: plan1>expired 700 | opens 2 plan_changed: issued>plan2 700
         # The new allowance stands in the place of what expired of the old one.
         charge 500 of=+5d -> plan2:500 late:1
         balance -> 200 of 700
         charge 300 of=+5d -> 402 insufficient_credits required=300 available=200 retry_at=2026-02-01T00:00:00Z late:1"#,
    );
    // A smaller one stands in the place of a part.
    check(
        r#"plan a month {"allowances": [{"amount": "1000"}]}
         plan b month {"allowances": [{"amount": "400"}]}
         customer plan=a
         charge 300
         at +10d
         customer plan=b -> closes 1 plan_changed: plan1>expired 700 | opens 2 plan_changed: issued>plan2 100
         charge 500 of=+5d -> plan1:500 late:1
         charge 200 of=+5d -> plan1:100 plan2:100 late:1
         charge 1 of=+5d -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-01T00:00:00Z late:1
         # And what was drawn late counts when plans change again.
         customer plan=a -> closes 2 plan_changed: nothing | opens 3 plan_changed: nothing"#,
    );
}

#[test]
fn reservations_may_be_late_too() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"measure": "n", "window": "day", "cap": "700"}]}
         customer plan=pro
         charge 600
         at +33d
         r: reserve 100 of=+29d -> plan1:100 late:1
         counters -> day:20454=600 day:20483=0+100
         commit r 150 -> plan1:150 late:1
         counters -> day:20454=600 day:20483=150
         s: reserve 200 of=+29d -> plan1:200 late:1
         # It goes back to where it had expired.
         release s -> s>plan1 200, plan1>expired 200
         charge 250 of=+29d -> plan1:250 late:1"#,
    );
}

#[test]
fn it_keeps_its_day_across_a_change_of_zone() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "evening": 18, "counters": [{"measure": "n", "window": "day", "cap": "20"}, {"measure": "n", "window": "month"}]}
         customer plan=pro zone=Asia/Tokyo
         # 31 January 23:30 UTC is the morning of 1 February in Tokyo.
         at 2026-01-31T23:30:00Z
         charge 15 -> plan1:15
         counters -> day:20485=15 month:24313=15
         at 2026-02-02T12:00:00Z
         customer zone=America/New_York
         # The running day goes on: it is the second in New York as well.
         charge 20 -> plan2:20
         charge 1 -> 402 cap_reached available=980
         # In the zone of then it was the first of February, and morning; in New York it would be the evening of January.
         charge 5 of=2026-01-31T23:30:00Z -> plan1:5 late:1
         charge 1 of=2026-01-31T23:30:00Z -> 402 cap_reached available=1960 late:1
         counters -> day:20485=20 day:20486=20 month:24313=40
         # Terms that name a zone are read in that, whoever moves where.
         terms zone=Europe/Berlin {"evening": 18, "counters": [{"measure": "n", "window": "day"}]}
         at 2026-02-03T17:00:00Z
         charge 1 -> plan2:2
         counters -> day:20485=20 day:20486=20 day:20487=1 month:24313=40"#,
    );
}

#[test]
fn windows_and_periods_of_a_long_hold_are_kept_until_it_ends() {
    // As late as a usage may be, and then for as long as a hold may last.
    let hours = (1..7).map(|n| 864 + 23 * n);
    let extend = hours.map(|hours| format!("at +{hours}h\nextend r 86400\n")).collect::<String>();
    check(&format!(
        r#"plan pro month {{"allowances": [{{"amount": "1000"}}], "counters": [{{"measure": "n", "window": "day"}}, {{"measure": "n", "window": "period"}}]}}
         customer plan=pro
         at +36d
         r: reserve 5 ttl=86400 of=+1d12h
         {extend}
         at +1025h
         counters -> period:1=0+5 day:20455=0+5
         commit r 3 -> plan1:3 returned:2 late:1
         charge 1
         counters -> period:1=3 period:2=1 day:20496=1"#
    ));
}

#[test]
fn windows_of_a_customer_whose_periods_never_end_are_forgotten() {
    let days = (1..60).map(|day| format!("at +{day}d\ncharge 1\n")).collect::<String>();
    check(&format!(
        r#"plan pro {{"allowances": [{{"amount": "1000"}}], "counters": [{{"measure": "n", "window": {{"hours": 5}}}}, {{"window": "lifetime"}}]}}
         customer plan=pro
         {days}
         at +100d
         charge 1
         counters -> lifetime:0=60 {{"hours":5}}:493296=1"#
    ));
}

#[test]
fn what_was_invoiced_stays() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": {"allow": "1000"}, "settle": "invoice"}
         customer plan=pro
         charge 150 -> plan1:100 overage:50
         at +31d -> closes 1 scheduled: issued>overage 50 (invoice 50) | opens 2 scheduled: issued>plan2 100
         charge 30 of=+3d -> plan2:30 late:1
         at +59d -> closes 2 scheduled: plan2>expired 70 | opens 3 scheduled: issued>plan3 100"#,
    );
}

#[test]
fn what_expired_of_several_allowances_of_a_cycle_is_drawn_up_to_the_largest() {
    // The week's allowance expires unused, is first in burn-down order, and the month's second allowance stands in its place as
    // well: a part of what expired of the month's first one has no place in the second.
    check(
        r#"plan month month {"allowances": [{"amount": "1000", "priority": 1}]}
         plan week week {"allowances": [{"amount": "300"}]}
         customer plan=month
         at +9d
         customer plan=week -> closes 1 plan_changed: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 300
         at +11d
         customer plan=month -> closes 2 plan_changed: plan2>expired 300 | opens 3 plan_changed: issued>plan3 1000
         charge 1300 of=+5d -> 402 insufficient_credits required=1300 available=1000 retry_at=2026-02-01T00:00:00Z late:1
         charge 600 of=+5d -> plan3:600 late:1
         # What has expired since is there again for usage of then, and counts when plans change.
         at +13d
         customer plan=week -> closes 3 plan_changed: plan3>expired 400 | opens 4 plan_changed: nothing
         charge 500 of=+5d -> 402 insufficient_credits required=500 available=400 retry_at=2026-01-15T00:00:00Z late:1
         charge 300 of=+5d -> plan1:300 late:1
         customer plan=month -> closes 4 plan_changed: nothing | opens 5 plan_changed: issued>plan5 100"#,
    );
}

#[test]
fn what_expired_and_is_held_late_expires_again_when_it_comes_back() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": 5}}
         customer plan=pro
         charge 600
         at +33d
         r: reserve 250 of=+30d
         release r -> r>plan1 200, plan1>expired 200, r>rollover2 50
         s: reserve 250 of=+30d
         commit s 100 -> plan1:100 returned:150 late:1
         grants -> plan2=1000 until 2026-03-01T00:00:00Z, rollover2=200 until 2026-03-01T00:00:00Z"#,
    );
}

#[test]
fn what_other_plans_gave_in_a_cycle_is_not_drawn_in_its_place() {
    check(
        r#"plan m month {"allowances": [{"amount": "1000"}]}
         plan w week {"allowances": [{"amount": "300"}]}
         customer plan=m
         at +8d
         customer plan=w -> closes 1 plan_changed: plan1>expired 1000 | opens 2 plan_changed: issued>plan2 300
         r: reserve 300 ttl=86400
         customer plan=m -> closes 2 plan_changed: nothing | opens 3 plan_changed: issued>plan3 700
         # Of the 1000 that expired of the first, 700 are in the third, and 300 wait for the hold.
         charge 700 of=+2d -> plan3:700 late:1
         charge 1 of=+2d -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-01T00:00:00Z late:1
         release r -> r>plan2 300, plan2>plan3 300
         balance -> 300 of 1000"#,
    );
}
