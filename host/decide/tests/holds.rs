//! Credits that reservations hold: over the end of a period, in counters, and when a commit comes to more.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::{START, check, check_from};

fn available(script: &str) -> String {
    let world = check_from(START, script).world;
    world.state.balance(&support::key("credits"), world.now).available.to_string()
}

/// Used, held and unused of an allowance of 1,000 a month; then the month ends, and then the hold does.
#[test]
fn what_is_held_at_a_periods_end_rolls_over_as_if_it_had_not_been() {
    for (rollover, used, held, end, expected) in [
        (r#"{"percent": "100"}"#, 0, 900, "release r", 2000),
        (r#"{"percent": "100"}"#, 50, 900, "release r", 1950),
        (r#"{"percent": "100"}"#, 50, 900, "commit r 300", 1650),
        (r#"{"percent": "100"}"#, 50, 900, "commit r 900", 1050),
        (r#"{"percent": "100"}"#, 50, 900, "commit r 1000", 950),
        (r#"{"percent": "100"}"#, 0, 1000, "at +31d1h", 2000),
        (r#"{"percent": "100"}"#, 0, 1000, "commit r 1", 1999),
        // Half of what was not used.
        (r#"{"percent": "50"}"#, 0, 900, "release r", 1500),
        (r#"{"percent": "50"}"#, 100, 900, "release r", 1450),
        (r#"{"percent": "50"}"#, 0, 900, "commit r 300", 1350),
        (r#"{"percent": "50"}"#, 0, 900, "commit r 900", 1050),
        (r#"{"percent": "50"}"#, 0, 900, "at +31d1h", 1500),
        // At most 300, whoever holds it.
        (r#"{"percent": "100", "max": "300"}"#, 0, 900, "release r", 1300),
        (r#"{"percent": "100", "max": "300"}"#, 0, 900, "commit r 900", 1100),
        (r#"{"percent": "100", "max": "300"}"#, 0, 900, "commit r 800", 1200),
        (r#"{"percent": "100", "max": "50"}"#, 0, 900, "release r", 1050),
        (r#"{"percent": "0"}"#, 0, 900, "release r", 1000),
    ] {
        let got = available(&format!(
            r#"plan pro month {{"allowances": [{{"amount": "1000"}}], "rollover": {rollover}}}
             customer plan=pro
             at +30d12h
             charge {used}
             r: reserve {held} ttl=43260
             at +31d
             {end}"#
        ));
        assert_eq!(got, expected.to_string(), "{rollover}: {used} used, {held} held, {end}");
    }
}

#[test]
fn several_holds_share_what_may_roll_over() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "max": "400"}}
         customer plan=pro
         at +30d12h
         a: reserve 300 ttl=86400
         b: reserve 300 ttl=86400
         c: reserve 300 ttl=86400
         # Half of 1000 would be 500, of which 400 may: 50 now, 350 once they come back.
         at +31d -> closes 1 scheduled: plan1>rollover2 50, plan1>expired 50 | opens 2 scheduled: issued>plan2 1000
         release a -> a>plan1 300, plan1>expired 150, plan1>rollover2 150
         commit b 100 -> plan1:100 returned:200 late:1
         release c -> c>plan1 300, plan1>expired 200, plan1>rollover2 100
         balance -> 1400 of 1400"#,
    );
}

#[test]
fn a_hold_over_several_ends_rolls_over_as_often() {
    check(
        r#"plan pro hour {"allowances": [{"amount": "100"}], "rollover": {"percent": "100", "periods": 1}}
         plan ever hour {"allowances": [{"amount": "100"}], "rollover": {"percent": "100", "periods": 3}}
         customer plan=ever
         r: reserve 90 ttl=10000
         at +1h -> closes 1 scheduled: plan1>rollover2 10 | opens 2 scheduled: issued>plan2 100
         at +2h -> closes 2 scheduled: plan2>rollover3 100 | opens 3 scheduled: issued>plan3 100
         # rollover2 lives for three periods, so it still takes what comes back.
         release r -> r>plan1 90, plan1>rollover2 90
         balance -> 300 of 300"#,
    );
    // A rollover that rolls over again while all of it is still held.
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100"}}
         plan max month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100"}}
         customer plan=pro
         at +30d23h
         r: reserve 100 ttl=86400
         at +31d -> closes 1 scheduled: nothing | opens 2 scheduled: issued>plan2 100
         # The change of plan cuts the period of the rollover short; the new one carries it on.
         customer plan=max -> closes 2 plan_changed: plan2>rollover3b 100 | opens 3 plan_changed: nothing
         commit r 30 -> plan1:30 returned:70 late:1
         grants -> rollover3=70 until 2026-03-01T00:00:00Z, rollover3b=100 until 2026-03-01T00:00:00Z"#,
    );
}

#[test]
fn a_hold_of_what_has_ended_for_good_expires() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100"}}
         customer plan=pro
         at +30d23h
         r: reserve 100 ttl=86400
         at +31d
         extend r 86400
         at +31d23h
         extend r 86400
         void rollover2 -> nothing
         release r -> r>plan1 100, plan1>rollover2 100, rollover2>voided 100
         balance -> 100 of 100"#,
    );
}

#[test]
fn a_commit_always_bills() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         r: reserve 60
         s: reserve 30
         # Hold first, then what is available, the rest as overage, marked.
         commit r 80 -> plan1:70 overage:10 exceeded:10
         balance -> 0 of 100, held 30, overage 10
         commit s 30 -> plan1:30
         charge 1 -> 402 insufficient_credits required=1 available=0 retry_at=2026-02-01T00:00:00Z"#,
    );
    for (overage, commit) in [
        (r#""deny""#, "plan1:100 overage:50 exceeded:50"),
        (r#""purchase""#, "plan1:100 overage:50 exceeded:50"),
        (r#"{"allow": "40"}"#, "plan1:100 overage:50 exceeded:10"),
        (r#"{"allow": "50"}"#, "plan1:100 overage:50"),
        (r#"{"top_up": "80"}"#, "plan1:100 top_up1:50"),
        (r#"{"reduce": "1"}"#, "plan1:100 overage:50 exceeded:50"),
    ] {
        check(&format!(
            r#"plan pro month {{"allowances": [{{"amount": "100"}}], "overage": {overage}}}
             customer plan=pro
             r: reserve 60
             commit r 150 -> {commit}"#
        ));
    }
}

#[test]
fn a_commit_that_the_policy_denies_bills_what_was_held() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "denies_commits": true}
         customer plan=pro
         r: reserve 60
         commit r 80 -> plan1:60 as_reserved:no_commits
         balance -> 40 of 100"#,
    );
}

#[test]
fn a_commit_without_a_working_policy_leaves_the_hold() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         r: reserve 60
         module scripted gone
         commit r 70 -> 402 policy_fault available=40 (module_unavailable by plan/pro/terms_1)
         module scripted back
         commit r 70 -> plan1:70"#,
    );
}

/// The work was done, whatever the policy thinks of how it was reported.
#[test]
fn a_commit_without_a_price_costs_what_was_held() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         r: reserve 60
         c: commit r -1 -> plan1:60 as_reserved:negative
         balance -> 40 of 100
         commit r 60 -> error: reservation res_3 is closed: it was committed, released or has expired
         # What was reported wrongly is corrected by a refund.
         refund c 20 -> spent>plan1 20"#,
    );
}

/// What a commit bills and what it counts agree: both are what was reserved.
#[test]
fn an_invalid_commit_counts_what_it_bills() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "counters": [{"measure": "n", "window": "day"}, {"window": "day"}]}
         customer plan=pro
         budget all window=day limit=100 quantity=n
         r: reserve 60
         counters -> day:20454=0+60 day:20454=0+60
         commit r -5 -> plan1:60 as_reserved:negative
         counters -> day:20454=60 day:20454=60
         budgets -> all=60"#,
    );
}

#[test]
fn a_hold_lasts_seven_days_at_most() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         r: reserve 60 ttl=86400
         at +23h
         extend r 86400
         at +1d22h
         extend r 86400
         at +2d21h
         extend r 86400
         at +3d20h
         extend r 86400
         at +4d19h
         extend r 86400
         at +5d18h
         extend r 86400
         at +6d17h
         extend r 25201 -> error: reservation res_3 can't be held beyond 2026-01-08T00:00:00Z: commit it, or release it and reserve again
         extend r 25200
         at +7d
         balance -> 100 of 100"#,
    );
}

#[test]
fn a_commit_is_rated_by_the_terms_of_its_reservation() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "price": "2"}
         customer plan=pro
         r: reserve 100
         plan pro {"allowances": [{"amount": "1000"}], "price": "5"}
         s: reserve 100
         commit r 110 -> plan1:220
         commit s 10 -> plan1:50 returned:450"#,
    );
}

#[test]
fn caps_count_what_is_used_and_what_is_held() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"measure": "n", "window": "day", "cap": "20"}]}
         customer plan=pro
         r: reserve 15
         counters -> day:20454=0+15
         reserve 15 -> 402 cap_reached available=985
         s: reserve 5
         charge 1 -> 402 cap_reached available=980
         release s
         charge 5
         counters -> day:20454=5+15
         # A commit is never refused for a cap; here it is denied by rate, so what was held is billed.
         commit r 40 -> plan1:15 as_reserved:cap_reached
         counters -> day:20454=45
         at +1d
         t: reserve 20 ttl=60
         charge 1 -> 402 cap_reached available=960
         at +1d1m
         counters -> day:20454=45
         charge 20
         counters -> day:20454=45 day:20455=20"#,
    );
}

#[test]
fn a_commit_is_shown_what_others_hold_but_not_its_own_hold() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"measure": "n", "window": "day", "cap": "20"}]}
         customer plan=pro
         r: reserve 12
         s: reserve 5
         commit r 15 -> plan1:15
         counters -> day:20454=15+5
         commit s 2 -> plan1:2 returned:3
         counters -> day:20454=17"#,
    );
}

#[test]
fn a_hold_stays_in_the_window_in_which_it_was_made() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "counters": [{"window": "day"}, {"window": "period"}, {"window": {"hours": 2}}, {"window": "month"}, {"window": "lifetime"}]}
         customer plan=pro
         at +30d23h
         r: reserve 10 ttl=86400
         at +31d
         counters -> period:1=0+10 day:20484=0+10 month:24312=0+10 {"hours":2}:491639=0+10 lifetime:0=0+10
         commit r 4
         counters -> period:1=4 day:20484=4 month:24312=4 {"hours":2}:491639=4 lifetime:0=4"#,
    );
}

#[test]
fn a_reservation_is_reduced_to_what_is_allowed() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "overage": {"reduce": "8"}}
         customer plan=pro
         reserve 20 -> plan1:8 reduced_from:20
         # A charge has happened; it can only be told what would have been allowed.
         charge 20 -> 402 insufficient_credits required=20 available=2 suggests n=8
         # The reduced one is too much, too.
         reserve 20 -> 402 insufficient_credits required=8 available=2 suggests n=8"#,
    );
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "overage": {"reduce": "8"}, "breaks": ["reduce"]}
         customer plan=pro
         reserve 20 -> 402 policy_fault available=10 (invalid_output by plan/pro/terms_1)"#,
    );
}

#[test]
fn a_rollover_carries_its_share_of_the_cost() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000", "cost": {"amount": "100", "currency": "EUR"}}], "rollover": {"percent": "100", "periods": 2}}
         customer plan=pro
         charge 990
         at +31d
         grants -> plan2=1000 until 2026-03-01T00:00:00Z for 100 EUR, rollover2=10 until 2026-04-01T00:00:00Z for 1 EUR"#,
    );
}

#[test]
fn what_commits_bring_after_the_closing_is_settled_by_the_terms_that_closed() {
    for (settle, settled) in [
        (r#""settle": "invoice", "#, " | settles (invoice 40): issued>overage 40"),
        (r#""settle": "waive", "#, " | settles (waive 40): issued>overage 40"),
        ("", ""),
    ] {
        check(&format!(
            r#"plan a month {{{settle}"allowances": [{{"amount": "100"}}], "overage": {{"allow": "10"}}, "fee": "7", "invoice_fees": true}}
             customer plan=a
             r: reserve 90
             s: reserve 5
             close
             # A fee is not due again, and nothing rolls over or expires.
             commit r 130 -> plan1:90 overage:40 exceeded:30{settled}
             commit s 3 -> plan1:3 returned:2"#
        ));
    }
    // Where the policy fails, it is said, and the overage stays owed.
    check(
        r#"plan a month {"settle": "invoice", "allowances": [{"amount": "100"}], "overage": {"allow": "10"}}
         customer plan=a
         r: reserve 90
         terms policy=bad {}
         close
         module bad gone
         commit r 130 -> plan1:90 overage:40 exceeded:30 | settles: nothing (module_unavailable by customer/terms_4)
         balance -> 0 of 0, overage 40"#,
    );
}

#[test]
fn what_holds_give_back_after_the_closing_pays_what_is_owed() {
    check(
        r#"plan a month {"settle": "deduct", "overage": {"allow": "100"}}
         customer plan=a
         grant 50 prepaid
         r: reserve 30
         s: reserve 20 ttl=60
         charge 40 -> overage:40
         close
         release r -> r>prepaid1 30
         balance -> 0 of 50, held 20, overage 10
         # The time of the other one runs out.
         at +2m -> s expires: s>prepaid1 20 | settles (deduct 10): prepaid1>overage 10
         balance -> 10 of 50"#,
    );
}

/// What was spent of a grant that ended is no part of today's balance, however long a reservation still holds some of it.
#[test]
fn of_a_grant_that_ended_only_what_is_held_counts() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         at +30d12h
         charge 900
         r: reserve 100 ttl=86400
         balance -> 0 of 1000, held 100
         at +31d
         balance -> 1000 of 1100, held 100
         # 100 of 1100: with the 900 of last month it would be half of what was granted.
         charge 100
         raised -> nothing
         commit r 100
         balance -> 900 of 1000
         charge 400
         raised -> credits:50"#,
    );
}
