//! Refunds: a charge goes back to where it was drawn, once, whatever has become of its grants since.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn what_was_drawn_last_goes_back_first() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "overage": {"allow": "100"}}
         customer plan=pro
         grant 20 prepaid
         c: charge 35 -> plan1:10 prepaid1:20 overage:5
         balance -> 0 of 30, overage 5
         refund c 3 -> spent>overage 3
         refund c 12 -> spent>overage 2, spent>prepaid1 10
         balance -> 10 of 30
         refund c 21 -> error: only 20 credits of the charge are not refunded yet
         refund c -> spent>prepaid1 10, spent>plan1 10
         refund c -> error: only 0 credits of the charge are not refunded yet
         refund c 0 -> error: amount must be above 0 and below 1000000000000000
         books -> issued=30 spent=0 expired=0 voided=0 overage=0
         balance -> 30 of 30"#,
    );
}

#[test]
fn a_commit_is_a_charge() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro
         r: reserve 6
         c: commit r 12 -> plan1:10 overage:2 exceeded:2
         refund c 5 -> spent>overage 2, spent>plan1 3
         balance -> 3 of 10"#,
    );
}

#[test]
fn quantities_go_back_with_their_share_of_the_cost() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "price": "2", "counters": [{"measure": "n", "window": "period"}, {"window": "day"}]}
         customer plan=pro
         c: charge 10 -> plan1:20
         counters -> day:20454=20 period:1=10
         refund c n=3 -> spent>plan1 6
         counters -> day:20454=14 period:1=7
         # An amount gives no quantity back.
         refund c 4 -> spent>plan1 4
         counters -> day:20454=10 period:1=7
         refund c n=8 -> error: only 7 of n of the charge are not refunded yet
         refund c n=7 -> error: only 10 credits of the charge are not refunded yet
         refund c -> spent>plan1 10
         counters -> none"#,
    );
}

#[test]
fn credits_follow_their_grant_into_what_rolled_over() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "50", "periods": 3}}
         customer plan=pro
         c: charge 40 -> plan1:40
         at +31d -> closes 1 scheduled: plan1>rollover2 30, plan1>expired 30 | opens 2 scheduled: issued>plan2 100
         refund c 10 -> spent>plan1 10, plan1>expired 5, plan1>rollover2 5
         balance -> 135 of 135"#,
    );
}

#[test]
fn what_expired_stays_expired_unless_it_is_asked_for() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         grant 10 promotional scope=chat expires=+5d priority=-1
         c: charge 30 -> promotional1:10 plan1:20
         d: charge 5 -> plan1:5
         at +31d
         refund c 25 -> spent>plan1 20, plan1>expired 20, spent>promotional1 5, promotional1>expired 5
         refund c reissue -> spent>adjustment2 5
         grants -> adjustment2=5, plan2=100 until 2026-03-01T00:00:00Z
         # For what the promotion was for.
         available image -> 100 restricted=5"#,
    );
}

#[test]
fn a_voided_grant_takes_nothing_back() {
    check(
        r#"plan pro month {}
         customer plan=pro
         grant 10 prepaid
         c: charge 4 -> prepaid1:4
         void prepaid1
         refund c reissue -> spent>prepaid1 4, prepaid1>voided 4"#,
    );
}

#[test]
fn a_grant_that_was_used_up_long_ago_lives_again() {
    check(
        r#"plan pro month {"allowances": [{"amount": "5"}]}
         customer plan=pro
         grant 10 prepaid
         grant 10 promotional with=2
         c: charge 25 -> plan1:5 promotional1:10 prepaid1:10
         at +31d
         refund c 4 -> spent>prepaid1 4
         balance -> 9 of 15
         refund c 1 -> spent>prepaid1 1
         # Its period is over, and it was forgotten: what comes back to it expires.
         at +200d
         refund c 20 -> spent>prepaid1 5, spent>expired 10, spent>expired 5"#,
    );
}

#[test]
fn overage_that_was_settled_was_paid_and_comes_back_as_credits() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "overage": {"allow": "100"}}
         customer plan=pro
         c: charge 30 -> plan1:10 overage:20
         grant 15 prepaid
         balance -> 0 of 25, overage 5
         refund c 20 -> spent>overage 5, spent>adjustment1 15
         balance -> 15 of 40"#,
    );
}

#[test]
fn what_was_refunded_is_not_drawn_again_when_a_period_is_made_good() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": -1}, "overage": {"allow": "1000"}}
         customer plan=pro
         charge 200
         grant 300 prepaid priority=9
         terms policy=bad on_fault=deny {"allowances": [{"amount": "1000"}], "rollover": {"percent": "50", "priority": -1}, "overage": {"allow": "1000"}}
         module bad gone
         at +31d
         module bad back
         at +33d
         c: charge 500 -> prepaid1:300 overage:200
         refund c 250 -> spent>overage 200, spent>prepaid1 50
         retry 1 -> again closes 1 scheduled: expired>plan1 800, plan1>rollover2 400, plan1>expired 400, spent>prepaid1 250, rollover2>spent 250
         retry 2 -> again opens 2 scheduled: issued>plan2 1000
         # What the charge drew of the prepaid grant, the rollover has paid since.
         refund c -> spent>adjustment2 250
         balance -> 1700 of 1950"#,
    );
}

#[test]
fn a_closed_customer_is_refunded_nothing() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro
         c: charge 1
         close
         refund c -> error: the customer is closed: no new charges, reservations or grants"#,
    );
}

#[test]
fn what_late_usage_drew_of_expired_credits_expires_again() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}], "rollover": {"percent": "100", "max": "10"}}
         customer plan=pro
         at +10m
         reset -> closes 1 early: plan1>rollover2 10, plan1>expired 990 | opens 2 early: issued>plan2 1000
         balance -> 1010 of 1010
         at +20m
         c: charge 500 of=+5m -> plan1:500 late:1
         refund c 100 -> spent>expired 100
         refund c reissue -> spent>expired 400
         balance -> 1010 of 1010"#,
    );
}

#[test]
fn what_was_voided_stays_voided() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "50"}}
         customer plan=pro
         grant 50 promotional priority=-1
         a: charge 40 -> promotional1:40
         void promotional1 -> promotional1>voided 10
         b: charge 40 -> plan1:40
         at +31d
         void rollover2
         refund b 10 reissue -> spent>plan1 10, plan1>expired 5, plan1>rollover2 5, rollover2>voided 5
         at +110d
         refund a -> spent>voided 40
         refund b reissue -> spent>voided 30"#,
    );
}

/// As if it had not been used: there is no cliff between what was nearly and what was wholly used.
#[test]
fn a_late_refund_rolls_over_as_far_as_the_policy_rolls() {
    for (used, rolled, expired) in [("99", "49.5", "49.5"), ("100", "50", "50"), ("40", "20", "20")] {
        check(&format!(
            r#"plan pro month {{"allowances": [{{"amount": "100"}}], "rollover": {{"percent": "50", "periods": 3}}}}
             customer plan=pro
             c: charge {used}
             at +31d
             refund c -> spent>plan1 {used}, plan1>expired {expired}, plan1>rollover2 {rolled}
             balance -> 150 of 150"#
        ));
    }
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100", "max": "10"}}
         customer plan=pro
         c: charge 95
         at +31d
         refund c 2 -> spent>plan1 2, plan1>rollover2 2
         refund c -> spent>plan1 93, plan1>expired 90, plan1>rollover2 3
         balance -> 110 of 110"#,
    );
}

#[test]
fn a_refund_reaches_a_rollover_that_was_used_up() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "50", "periods": 3}}
         customer plan=pro
         c: charge 40
         at +31d
         charge 130 -> plan2:100 rollover2:30
         at +59d
         refund c 10 -> spent>plan1 10, plan1>expired 5, plan1>rollover2 5"#,
    );
}

#[test]
fn a_refund_after_a_change_of_plan_makes_the_new_allowance_larger() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         plan big month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         c: charge 100 -> plan1:100
         at +10d
         customer plan=big
         balance -> 0 of 0
         refund c 20 -> spent>plan1 20, plan1>plan2 20
         balance -> 20 of 20
         d: charge 20 -> plan2:20
         # And nothing twice, however often the plan changes.
         customer plan=pro
         balance -> 0 of 0
         refund c -> spent>plan1 80, plan1>plan3 80
         refund d -> spent>plan2 20, plan2>plan3 20
         balance -> 100 of 100"#,
    );
}

#[test]
fn overage_that_was_waived_comes_back_to_nobody() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "overage": {"allow": "100"}, "settle": "waive"}
         customer plan=pro
         c: charge 30 -> plan1:10 overage:20
         at +31d
         d: charge 15 -> plan2:10 overage:5
         refund c 5 -> spent>voided 5
         refund c -> spent>voided 15, spent>plan1 10, plan1>expired 10
         refund d -> spent>overage 5, spent>plan2 10
         e: charge 12 -> plan2:10 overage:2
         grant 2 prepaid
         # What was paid comes back.
         refund e -> spent>adjustment2 2, spent>plan2 10"#,
    );
}

#[test]
fn the_last_refund_is_of_all_that_is_left() {
    let mut script = String::from(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         c: charge 100
"#,
    );
    (0..63).for_each(|_| script.push_str("refund c 1 -> spent>plan1 1\n"));
    script.push_str(
        "refund c 1 -> error: the charge has 63 refunds: one more is possible, of all the 37 credits that are left
         refund c -> spent>plan1 37
         balance -> 100 of 100",
    );
    check(&script);
}

/// What a rollover carried on when it ended itself takes what comes back by way of it as far as the policy named that then: it counts
/// what was used of the rollover, not what others may get back.
#[test]
fn a_rollover_that_rolled_over_itself_hands_on_what_its_own_policy_named() {
    for (used, returned) in [
        // Nothing was used of it, so nothing was expected back.
        ("0", "spent>plan1 10, plan1>expired 5, plan1>rollover2 5, rollover2>expired 5"),
        (
            "3",
            "spent>plan1 10, plan1>expired 5, plan1>rollover2 5, rollover2>expired 2, rollover2>rollover3 3",
        ),
        ("8", "spent>plan1 10, plan1>expired 5, plan1>rollover2 5, rollover2>rollover3 5"),
    ] {
        check(&format!(
            r#"plan pro month {{"allowances": [{{"amount": "100"}}], "rollover": {{"percent": "50", "periods": 1, "priority": -1}}}}
             customer plan=pro
             c: charge 40 -> plan1:40
             at +31d -> closes 1 scheduled: plan1>rollover2 30, plan1>expired 30 | opens 2 scheduled: issued>plan2 100
             charge {used}
             at +35d
             reset
             refund c 10 -> {returned}"#
        ));
    }
}
