//! Leases: what they hold and may draw, what extensions add, and that usage bills once, whatever has become of the lease.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

#[test]
fn usage_is_drawn_from_the_lease_and_the_rest_comes_back() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         l: lease 40 -> plan1>l 40
         balance -> 60 of 100, held 40
         settle l 15 -> plan1:15
         settle l 5 -> plan1:5
         balance -> 60 of 100, held 20
         unlease l -> l>plan1 20
         balance -> 80 of 100
         unlease l -> error: lease lease_3 is closed: it was closed, or has expired
         more l 50 -> error: lease lease_3 is closed: it was closed, or has expired"#,
    );
}

#[test]
fn no_more_is_handed_out_than_is_available() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": {"allow": "1000"}}
         customer plan=pro
         a: lease 60
         lease 41 -> error: 41 credits are needed, 40 are available
         b: lease 40
         more a 61 -> error: 1 credits are needed, 0 are available
         # The lease has what it had.
         settle a 60 -> plan1:60
         lease 1 credit=tokens -> error: 1 tokens are needed, 0 are available
         lease 0 -> error: amount must be above 0 and below 1000000000000000"#,
    );
}

#[test]
fn an_extension_names_a_total_and_an_end_that_never_become_less() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         l: lease 10 ttl=600
         settle l 4
         more l 30 -> plan1>l 20
         more l 30 -> nothing
         more l 20 -> nothing
         more l ttl=60 -> nothing
         balance -> 970 of 1000, held 26
         # A minute from then is long past, but ten are not.
         at +9m
         more l 31 ttl=600 -> plan1>l 1
         at +18m
         settle l 27 -> plan1:27
         balance -> 969 of 1000
         at +20m
         settle l 1 -> plan1:1 ended"#,
    );
}

#[test]
fn a_lease_lasts_seven_days_at_most() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         l: lease 10 ttl=86400
         at +23h
         more l ttl=86400
         at +46h
         more l ttl=86400
         at +69h
         more l ttl=86400
         at +92h
         more l ttl=86400
         at +115h
         more l ttl=86400
         at +138h
         more l ttl=86400
         at +161h
         more l ttl=86400 -> error: lease lease_3 can't last beyond 2026-01-08T00:00:00Z: settle it, and open another
         more l ttl=25200 -> nothing
         balance -> 990 of 1000, held 10
         at +168h
         balance -> 1000 of 1000"#,
    );
}

#[test]
fn what_is_reported_after_the_end_bills_as_any_charge_and_in_any_case() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": "deny"}
         customer plan=pro
         l: lease 40 ttl=60
         settle l 10 -> plan1:10
         at +2m
         balance -> 90 of 100
         settle l 30 of=+30s -> plan1:30 ended
         charge 55 -> plan1:55
         # Nothing else may go below zero, but this was used.
         settle l 8 -> plan1:5 overage:3 exceeded:3 ended
         balance -> 0 of 100, overage 3"#,
    );
}

#[test]
fn what_the_lease_does_not_cover_is_drawn_as_charges_are() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": {"allow": "10"}}
         customer plan=pro
         l: lease 95
         settle l 100 -> plan1:100
         balance -> 0 of 100
         settle l 12 -> overage:12 exceeded:2
         balance -> 0 of 100, overage 12"#,
    );
}

#[test]
fn only_grants_that_all_its_features_may_draw_are_held_and_only_those_features_are_paid() {
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro
         grant 20 prepaid scope=chat
         grant 30 promotional scope=chat,image
         lease 11 -> error: 11 credits are needed, 10 are available
         lease 41 scope=image,chat -> error: 41 credits are needed, 40 are available
         l: lease 35 scope=chat,image
         settle l 5 feature=image"#,
    );
    check(
        r#"plan pro month {"allowances": [{"amount": "10"}]}
         customer plan=pro
         grant 20 prepaid scope=chat priority=-1
         l: lease 25 scope=chat -> prepaid1>l 20, plan1>l 5
         # Another feature is drawn beside the lease.
         settle l 3 feature=image -> plan1:3
         settle l 24 -> prepaid1:20 plan1:4
         balance -> 2 of 30, held 1"#,
    );
}

#[test]
fn a_lease_holds_in_hard_budgets_and_frees_them_as_it_is_spent() {
    check(
        r#"plan pro month {"allowances": [{"amount": "1000"}]}
         customer plan=pro
         entity team
         entity ann parent=team
         budget b entity=team window=month limit=100 hard
         budget c entity=team window=month limit=50 hard scope=image
         l: lease 60 entity=ann scope=chat
         lease 41 entity=ann scope=chat -> error: budget b of entity team allows 100 credits: 0 used, 60 held, 41 more needed
         lease 51 entity=ann scope=chat,image -> error: budget b of entity team allows 100 credits: 0 used, 60 held, 51 more needed
         charge 40 entity=ann
         charge 1 entity=ann -> 402 budget_exceeded required=1 available=900 retry_at=2026-02-01T00:00:00Z b/team=40+60 of 100
         settle l 50 entity=ann
         more l 61 -> error: budget b of entity team allows 100 credits: 90 used, 10 held, 1 more needed
         unlease l
         charge 10 entity=ann
         charge 1 entity=ann -> 402 budget_exceeded required=1 available=900 retry_at=2026-02-01T00:00:00Z b/team=100+0 of 100"#,
    );
}

#[test]
fn each_usage_is_rated_by_the_terms_of_its_time() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         l: lease 50 ttl=86400
         at +1h
         terms {"price": "3"}
         at +2h
         settle l 5 of=+30m -> plan1:5
         settle l 5 -> plan1:15
         balance -> 50 of 100, held 30"#,
    );
}

#[test]
fn what_a_lease_holds_at_a_periods_end_rolls_over_as_if_it_had_not_been_held() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "rollover": {"percent": "100"}}
         customer plan=pro
         at +30d12h
         l: lease 40 ttl=86400
         at +31d
         balance -> 160 of 200, held 40
         settle l 10 -> plan1:10
         unlease l -> l>plan1 30, plan1>rollover2 30
         balance -> 190 of 190"#,
    );
}

#[test]
fn settlements_refund_like_charges() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         l: lease 30
         s: settle l 40 -> plan1:40
         refund s 15 -> spent>plan1 15
         balance -> 75 of 100"#,
    );
}

#[test]
fn usage_bills_after_the_customer_was_closed() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}], "overage": "deny"}
         customer plan=pro
         l: lease 30
         close
         lease 1 -> error: the customer is closed: no new charges, reservations or grants
         settle l 20 of=+0s -> plan1:20"#,
    );
}

#[test]
fn usage_without_a_price_is_refused_and_leaves_the_lease_as_it_was() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         l: lease 30
         settle l -1 -> 422 negative available=70
         balance -> 70 of 100, held 30"#,
    );
}
