//! Add-ons: what they give and when, and that attaching and detaching never creates credits.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

const SOLD: &str = r#"plan pro month {}
     plan free month {}
     customer plan=pro
     addon more month most=5 {"grants": [{"key": "more", "amount": "100", "cost_basis": {"amount": "9.99", "currency": "EUR"}}, {"key": "hello", "amount": "7", "recurrence": "once", "category": "promotional"}]}
     "#;

fn run(script: &str) {
    check(&format!("{SOLD}{script}"));
}

#[test]
fn an_add_on_gives_on_a_cycle_of_its_own() {
    run("at +10d
         attach more -> issued>prepaid1 100, issued>promotional1 7
         addons -> 1 more v1 next 2026-02-11T00:00:00Z
         grants -> prepaid1=100 until 2026-02-11T00:00:00Z for 9.99 EUR, promotional1=7
         attach more -> nothing
         # Another plan, and an early reset, change nothing of it.
         customer plan=free
         reset
         charge 30
         balance -> 77 of 107
         # More gives the difference at once, until the end of the cycle.
         at +20d
         attach more 3 -> issued>prepaid3 200, issued>promotional3 14
         balance -> 291 of 321
         # Less gives less from the next one on.
         attach more 2
         balance -> 291 of 321
         at 2026-02-11T00:00:00Z
         addons -> 2 more v1 next 2026-03-11T00:00:00Z
         grants -> prepaid4=200 until 2026-03-11T00:00:00Z for 19.98 EUR, promotional1=7, promotional3=14
         at 2026-04-11T00:00:00Z
         grants -> prepaid6b=200 until 2026-05-11T00:00:00Z for 19.98 EUR, promotional1=7, promotional3=14
         attach more 6 -> error: must be at most 5: a customer may have no more of this add-on
         attach other -> error: there is no add-on other
         detach other -> error: the customer does not have the add-on other");
}

#[test]
fn attaching_and_detaching_creates_no_credits() {
    run("attach more -> issued>prepaid1 100, issued>promotional1 7
         # What was given lives on...
         detach more
         addons -> none
         balance -> 107 of 107
         # ...and the same cycle goes on for who takes it again.
         attach more -> nothing
         addons -> 1 more v1 next 2026-02-01T00:00:00Z
         detach more
         at +5d
         attach more 2 -> issued>prepaid1b 100, issued>promotional1b 7
         detach more
         attach more 2 -> nothing
         balance -> 214 of 214
         # Voided, it is not given again, either.
         detach more void -> prepaid1>voided 100, prepaid1b>voided 100, promotional1>voided 7, promotional1b>voided 7
         attach more 2 -> nothing
         balance -> 0 of 0
         detach more
         # Once the cycle is over, another begins when it is taken again.
         at 2026-02-10T00:00:00Z
         balance -> 0 of 0
         attach more -> issued>prepaid2 100
         addons -> 1 more v1 next 2026-03-10T00:00:00Z
         # One that is put off counts in the cycle that still runs then.
         detach more
         attach more from=2026-03-01T00:00:00Z -> nothing
         addons -> 1 more v1 next 2026-03-01T00:00:00Z
         at 2026-03-01T00:00:00Z
         addons -> 1 more v1 next 2026-03-10T00:00:00Z
         balance -> 100 of 100
         at 2026-03-10T00:00:00Z
         balance -> 100 of 100");
}

#[test]
fn an_add_on_begins_and_ends_at_its_times() {
    run("attach more from=+5d to=+40d -> nothing
         balance -> 0 of 0
         at +5d
         grants -> prepaid1=100 until 2026-02-06T00:00:00Z for 9.99 EUR, promotional1=7
         attach more from=+6d -> error: the add-on has begun: its start can't change
         attach more to=+4d -> error: ends_at must be later than 2026-01-06T00:00:00Z
         at 2026-02-06T00:00:00Z
         addons -> 1 more v1
         balance -> 107 of 107
         # It ends before its next cycle; what it gave in the last has its own end.
         at +40d
         addons -> none
         detach more -> error: the customer does not have the add-on more
         balance -> 107 of 107
         at 2026-03-06T00:00:00Z
         balance -> 7 of 7
         attach more from=+1d -> error: starts_at must be later than 2026-03-06T00:00:00Z");
}

#[test]
fn a_customer_stays_on_the_version_that_it_was_sold() {
    run(r#"attach more
         addon more week most=5 {"grants": [{"key": "other", "amount": "30"}]}
         attach more 2 -> issued>prepaid1b 100, issued>promotional1b 7
         addons -> 2 more v1 next 2026-02-01T00:00:00Z
         attach more version=3 -> error: version 3 of add-on more is not for sale: 2 is
         # The cycle that runs has had more than the new version gives in one.
         attach more version=2 -> nothing
         addons -> 2 more v2 next 2026-02-01T00:00:00Z
         at 2026-02-01T00:00:00Z
         addons -> 2 more v2 next 2026-02-08T00:00:00Z
         addon more week withdrawn {}
         attach more 3 -> issued>prepaid2b 30
         detach more
         attach more -> error: add-on more is not for sale any more: GET /v1/add-ons lists those that are
         close
         detach more -> error: the customer is closed: no new charges, reservations or grants"#);
}

#[test]
fn purchases_of_an_add_on_pay_what_is_owed_once() {
    check(
        r#"plan pro month {"overage": {"allow": "500"}}
         customer plan=pro
         addon two week {"grants": [{"key": "a", "amount": "100"}, {"key": "b", "amount": "50"}]}
         charge 120
         attach two -> issued>prepaid1 100, prepaid1>overage 100, issued>prepaid1b 50, prepaid1b>overage 20
         balance -> 30 of 150"#,
    );
}

#[test]
fn entitlements_of_add_ons_enter_the_one_evaluation() {
    check(
        r#"plan pro month metered=chat {}
         customer plan=pro
         addon seats {"entitlements": {"seats": {"type": "static", "value": "ten"}, "chat": {"type": "boolean", "value": false}}}
         access seats -> error: neither the plan, nor an add-on, nor an override knows feature seats
         attach seats from=+1d
         access seats -> error: neither the plan, nor an add-on, nor an override knows feature seats
         at +1d
         access seats -> true ok
         # What switches off takes nothing away from what the plan gives.
         grant 5 prepaid
         access chat -> true ok in credits
         override seats off
         access seats -> false switched_off
         plain seats
         detach seats
         access seats -> error: neither the plan, nor an add-on, nor an override knows feature seats"#,
    );
}
