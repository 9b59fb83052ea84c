//! Grants given and taken, purchases that pay what is owed, scopes and credit types, and what a refusal says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn a_purchase_pays_what_is_owed_where_the_terms_say_so() {
    for (from, grant, balance) in [
        ("purchases", "issued>prepaid1 80, prepaid1>overage 50", "30 of 80"),
        ("reset", "issued>prepaid1 80", "80 of 80, overage 50"),
        ("never", "issued>prepaid1 80", "80 of 80, overage 50"),
    ] {
        check(&format!(
            r#"plan pro month {{"overage": {{"allow": "100"}}, "settle_from": "{from}"}}
             customer plan=pro
             charge 50 -> overage:50
             grant 80 prepaid -> {grant}
             balance -> {balance}"#
        ));
    }
    check(
        r#"plan pro month {"overage": {"allow": "100"}}
         customer plan=pro
         charge 50 -> overage:50
         # What is held is not owed yet, and what is given or for one feature only is no purchase that pays.
         r: reserve 30 -> overage:30
         grant 5 promotional -> issued>promotional1 5
         grant 10 prepaid scope=chat -> issued>prepaid1 10
         grant 10 prepaid effective=+1d -> issued>prepaid1b 10
         grant 7 adjustment paid=3 -> issued>adjustment1 7, adjustment1>overage 7
         grant 80 prepaid -> issued>prepaid1c 80, prepaid1c>overage 43
         balance -> 52 of 102, held 30
         release r -> r>overage 30
         balance -> 52 of 102"#,
    );
    // A top-up is a purchase, too.
    check(
        r#"plan pro month {"overage": {"allow": "30"}}
         customer plan=pro
         charge 20 -> overage:20
         terms {"overage": {"top_up": "100"}}
         charge 15 -> top_up1:15
         balance -> 65 of 100
         books -> issued=100 spent=35 expired=0 voided=0 overage=0"#,
    );
}

#[test]
fn what_is_owed_is_settled_when_the_next_period_opens_if_the_terms_say_so() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": {"allow": "50"}, "settle": "deduct", "settle_at_open": true, "settle_from": "reset"}
         customer plan=pro
         charge 130 -> plan1:100 overage:30
         at +31d -> closes 1 scheduled: nothing | opens 2 scheduled: issued>plan2 100, plan2>overage 30 (deduct 30)
         charge 100 -> plan2:70 overage:30"#,
    );
}

#[test]
fn a_grant_that_becomes_usable_with_the_next_period_survives_the_end() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "period_categories": ["plan", "promotional"], "rollover": {"percent": "10"}}
         customer plan=pro
         at +1d
         grant 1000 plan effective=+31d
         grant 500 plan effective=+30d23h59m59s
         # It ends with the period, and says so.
         grant 40 promotional
         grants -> plan1=100 until 2026-02-01T00:00:00Z, promotional1=40 until 2026-02-01T00:00:00Z, plan1c=500 until 2026-02-01T00:00:00Z, plan1b=1000 until 2026-03-01T00:00:00Z
         at +31d -> closes 1 scheduled: plan1>rollover2 10, promotional1>rollover2b 4, plan1c>rollover2c 50, plan1>expired 90, promotional1>expired 36, plan1c>expired 450 | opens 2 scheduled: issued>plan2 100
         grants -> plan1b=1000 until 2026-03-01T00:00:00Z, rollover2=10 until 2026-03-01T00:00:00Z, rollover2b=4 until 2026-03-01T00:00:00Z, rollover2c=50 until 2026-03-01T00:00:00Z, plan2=100 until 2026-03-01T00:00:00Z"#,
    );
}

#[test]
fn what_ends_with_its_period_is_drawn_before_what_lives_longer() {
    check(
        r#"plan pro month {"period_categories": ["promotional"]}
         customer plan=pro
         grant 10 prepaid expires=+300d
         grant 10 promotional
         grant 10 promotional expires=+400d
         grant 10 promotional with=2
         charge 25 -> promotional1:10 promotional1c:10 prepaid1:5"#,
    );
}

#[test]
fn a_rollover_keeps_the_earlier_end_of_its_own() {
    check(
        r#"plan pro month {"rollover": {"percent": "100", "periods": 3}}
         customer plan=pro
         grant 10 promotional with=0 expires=+40d
         at +31d -> closes 1 scheduled: promotional1>rollover2 10 | opens 2 scheduled: nothing
         grants -> rollover2=10 until 2026-02-10T00:00:00Z
         at +40d -> expires: rollover2>expired 10"#,
    );
}

#[test]
fn grants_with_a_period_count_from_when_they_become_usable() {
    check(
        r#"plan pro month {}
         customer plan=pro
         grant 10 prepaid with=1
         grant 10 prepaid with=0 effective=+70d
         grant 10 prepaid with=0 effective=2031-06-15T00:00:00Z
         grants -> prepaid1=10 until 2026-03-01T00:00:00Z, prepaid1b=10 until 2026-04-01T00:00:00Z, prepaid1c=10 until 2031-07-01T00:00:00Z
         # More periods than were foreseen, and other boundaries.
         customer plan=none
         customer plan=pro
         customer anchor=2026-01-10T00:00:00Z
         grants -> prepaid1=10 until 2026-02-10T00:00:00Z, prepaid1b=10 until 2026-04-10T00:00:00Z, prepaid1c=10 until 2031-07-10T00:00:00Z
         at +80d
         charge 5 -> prepaid1b:5
         at 2026-04-10T00:00:00Z
         grants -> prepaid1c=10 until 2031-07-10T00:00:00Z"#,
    );
}

#[test]
fn available_is_what_a_feature_may_draw() {
    check(
        r#"plan pro month {}
         customer plan=pro
         grant 100 prepaid
         grant 10 prepaid scope=a
         grant 10 prepaid scope=a,b
         available a -> 120 restricted=0
         available b -> 110 restricted=10
         available c -> 100 restricted=20
         charge 105 feature=c -> 402 insufficient_credits required=105 available=100 retry_at=2026-02-01T00:00:00Z
         charge 105 feature=b -> prepaid1c:10 prepaid1:95
         available b -> 5 restricted=10
         check 5 feature=c -> true ok cost=5 available=5"#,
    );
}

#[test]
fn entitlements_look_at_the_credits_that_the_feature_draws() {
    check(
        r#"plan pro month metered=chat,image,audio {"credits": [["image", "gpu"]]}
         customer plan=pro
         grant 10 prepaid credit=gpu
         access chat -> false insufficient_credits in credits
         check 1 -> false insufficient_credits cost=1 available=0
         access image -> true ok in gpu
         check 1 feature=image -> true ok cost=1 available=10
         grant 10 prepaid scope=audio
         access chat -> false insufficient_credits in credits
         access audio -> true ok in credits
         charge 11 feature=image -> 402 insufficient_credits required=11 available=10 retry_at=2026-02-01T00:00:00Z
         charge 10 feature=image -> prepaid1:10
         access image -> false insufficient_credits in gpu
         access video -> error: neither the plan, nor an add-on, nor an override knows feature video
         override audio off
         access audio -> false switched_off
         charge 1 feature=audio -> 402 not_entitled available=10
         plain audio
         access audio -> true ok in credits
         close
         access audio -> false closed"#,
    );
}

#[test]
fn a_refusal_says_what_was_needed_and_what_there_was() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": "purchase", "counters": [{"window": "day", "cap": "70"}]}
         customer plan=pro
         reserve 60
         charge 80 -> 402 cap_reached available=40
         charge -1 -> 422 negative available=40
         terms {"overage": "purchase"}
         charge 41 -> 402 purchase_required required=41 available=40
         terms {"overage": {"allow": "5"}}
         charge 46 -> 402 insufficient_credits required=46 available=40
         charge 45 -> plan1:40 overage:5"#,
    );
}

#[test]
fn the_policy_may_choose_what_is_drawn_first() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}], "draw_first": ["promotional", "prepaid"]}
         customer plan=pro
         grant 10 prepaid
         grant 10 promotional priority=5
         charge 25 -> promotional1:10 prepaid1:10 plan1:5"#,
    );
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro zone=Asia/Tokyo anchor=2026-01-15T00:00:00Z name=Acme
         customer name=Ajax -> nothing
         period -> 1 from 2026-01-01T00:00:00Z to 2026-01-15T00:00:00Z
         customer plan=pro zone=Asia/Tokyo -> nothing
         balance -> 10 of 10
         customer anchor=none
         period -> 1 from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z"#,
    );
}

#[test]
fn the_same_change_twice_is_one_entry() {
    let world = support::script::check_from(
        support::script::START,
        r#"plan pro month {}
         customer plan=pro name=x zone=Asia/Tokyo
         customer plan=pro name=x zone=Asia/Tokyo
         customer name=x
         customer zone=Asia/Tokyo"#,
    );
    assert_eq!(world.world.state.seq, 2, "configured, and opened");
}

#[test]
fn a_change_of_plan_or_a_reset_takes_no_time_from_what_lives_longer() {
    check(
        r#"plan a month {"rollover": {"percent": "100", "periods": 3}}
         plan b month {"rollover": {"percent": "100", "periods": 3}}
         customer plan=a
         grant 5 prepaid with=3
         grant 7 promotional with=0
         at +31d
         grants -> prepaid1=5 until 2026-05-01T00:00:00Z, rollover2=7 until 2026-05-01T00:00:00Z
         customer plan=b
         customer plan=a
         reset
         customer plan=none
         customer plan=a
         grants -> prepaid1=5 until 2026-05-01T00:00:00Z, rollover2=7 until 2026-05-01T00:00:00Z
         # Nor does it give any.
         at 2026-05-01T00:00:00Z
         grants -> rollover9=5 until 2026-08-01T00:00:00Z"#,
    );
}
