//! Automatic top-ups: when a payment is asked for, once for each gap, and what its answer does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

/// A customer with 100 credits, at one credit for a unit.
const SOLD: &str = "plan pro {}
     customer plan=pro
     grant 100 prepaid
     ";

fn run(script: &str) {
    check(&format!("{SOLD}{script}"));
}

#[test]
fn one_payment_is_asked_for_however_many_usages_find_too_little() {
    run("topup threshold=50 target=200 price=0.015
         charge 50
         top_ups -> credits Ready 0 of 5
         charge 1
         top_ups -> credits Pending 1 of 5, topup_7 pending 151
         charge 10
         r: reserve 20
         charge 30 -> 402 insufficient_credits required=30 available=19 topup_7 brings 151
         check 30 -> false insufficient_credits cost=30 available=19
         top_ups -> credits Pending 1 of 5, topup_7 pending 151
         pay -> issued>top_up1 151
         grants -> prepaid1=19+20, top_up1=151 for 2.27 EUR
         top_ups -> credits Ready 1 of 5, topup_7 paid 151
         # It is answered once.
         pay -> error: top-up topup_7 is paid already
         decline topup_7 -> error: top-up topup_7 is paid already
         pay topup_6 -> error: the customer has no top-up topup_6
         # The next gap has a request of its own.
         release r
         charge 141
         top_ups -> credits Pending 2 of 5, topup_7 paid 151, topup_14 pending 151");
}

#[test]
fn holds_and_expiries_open_a_gap_as_charges_do() {
    run("topup threshold=50 amount=40
         r: reserve 60
         top_ups -> credits Pending 1 of 5, topup_6 pending 40
         release r
         # It was asked for, and may be under way.
         top_ups -> credits Pending 1 of 5, topup_6 pending 40
         pay
         grant 60 expires=+1d priority=-1
         charge 90
         # 60 and 30 of the 100: 110 are left.
         top_ups -> credits Ready 1 of 5, topup_6 paid 40
         grant 5 promotional expires=+2d priority=-1
         charge 70
         top_ups -> credits Pending 2 of 5, topup_6 paid 40, topup_13 pending 40");
}

#[test]
fn a_rule_asks_at_once_where_too_little_is_there_already() {
    run("charge 80
         topup threshold=50 target=90
         top_ups -> credits Pending 1 of 5, topup_6 pending 70
         untopup credits -> error: top-up topup_6 awaits its payment: answer it first, or switch the rule off
         topup off
         top_ups -> credits Disabled 1 of 5, topup_6 pending 70
         pay
         balance -> 90 of 170
         untopup credits
         top_ups -> none
         topup threshold=50 -> error: is missing: no rule says yet when these credits are topped up
         topup threshold=50 target=50 -> error: target must be above the threshold of 50
         topup threshold=-1 target=50 -> error: threshold must be 0 or more and below 1000000000000000
         topup threshold=1 amount=0 -> error: amount must be above 0 and below 1000000000000000");
}

#[test]
fn a_refused_usage_asks_for_what_would_make_it_possible() {
    run("topup threshold=10 target=200 most=1 per=lifetime
         # More than a top-up would bring: it buys nothing.
         charge 201 -> 402 insufficient_credits required=201 available=100
         top_ups -> credits Ready 0 of 1
         check 150 -> false insufficient_credits cost=150 available=100
         top_ups -> credits Ready 0 of 1
         charge 150 -> 402 insufficient_credits required=150 available=100 topup_6 brings 100
         top_ups -> credits Pending 1 of 1, topup_6 pending 100
         charge 160 -> 402 insufficient_credits required=160 available=100 topup_6 brings 100
         pay
         charge 150
         balance -> 50 of 200
         # Once only.
         charge 60 -> 402 insufficient_credits required=60 available=50
         charge 45
         top_ups -> credits LimitReached 1 of 1, topup_6 paid 100");
}

#[test]
fn a_declined_payment_cools_down_and_too_many_in_a_row_raise_an_alarm() {
    run("topup threshold=50 target=200 cool=3600 failures=2
         charge 60
         decline reason=card_expired -> topup_6 declined
         top_ups -> credits CoolingDown 0 of 5 until 2026-01-01T01:00:00Z, topup_6 declined 160
         charge 1
         charge 1
         at +59m -> nothing
         at +1h -> asks 162 at 38
         decline
         # The alarm is raised once.
         top_ups -> credits PaymentsFailed 0 of 5, topup_6 declined 160, topup_10 declined 162
         at +30d -> nothing
         charge 1
         pay topup_10 -> error: top-up topup_10 is declined already
         # Putting the rule again lets it go on.
         topup target=200
         top_ups -> credits Pending 1 of 5, topup_6 declined 160, topup_10 declined 162, topup_15 pending 163
         pay
         top_ups -> credits Ready 1 of 5, topup_6 declined 160, topup_10 declined 162, topup_15 paid 163");
}

#[test]
fn what_nobody_answers_expires_and_may_still_be_paid_until_another_is_asked_for() {
    run("topup threshold=50 amount=100 wait=600 cool=3600 failures=3
         charge 60
         at +9m -> nothing
         at +10m -> topup_6 expires
         top_ups -> credits CoolingDown 0 of 5 until 2026-01-01T01:10:00Z, topup_6 expired 100
         pay topup_6 -> issued>top_up1 100
         top_ups -> credits Ready 1 of 5, topup_6 paid 100
         charge 100
         at +20m -> topup_10 expires
         at +2d -> asks 100 at 40 | topup_12 expires | asks 100 at 40 | topup_14 expires | alarm PaymentsFailed
         pay topup_12 -> error: top-up topup_12 is expired already
         pay topup_14
         balance -> 140 of 300");
}

#[test]
fn a_window_has_so_many_at_most_and_the_next_one_is_an_alarm() {
    run("topup threshold=50 amount=10 most=2 per=day
         charge 75
         pay
         pay
         top_ups -> credits LimitReached 2 of 2 until 2026-01-02T00:00:00Z, topup_6 paid 10, topup_8 paid 10
         charge 1
         charge 1
         # The alarm was raised once; with the next day there is another chance.
         at +23h -> nothing
         at +1d -> asks 10 at 43
         pay
         top_ups -> credits Ready 1 of 2, topup_6 paid 10, topup_8 paid 10, topup_13 paid 10
         charge 33
         pay
         at +1d1h -> nothing
         top_ups -> credits LimitReached 2 of 2 until 2026-01-03T00:00:00Z, topup_6 paid 10, topup_8 paid 10, topup_13 paid 10, topup_16 paid 10
         at +2d -> asks 10 at 30");
    run("topup threshold=50 amount=10 most=1 per=hours:2
         at +30m
         charge 65
         pay
         at +2h29m -> nothing
         at +2h30m -> asks 10 at 45");
}

#[test]
fn plans_flipped_back_and_forth_bring_no_further_top_ups() {
    check(
        "plan pro month {}
         plan max month {}
         customer plan=pro
         grant 100 prepaid
         topup threshold=50 amount=10 most=1 per=cycle
         charge 90
         pay
         customer plan=max
         customer plan=pro
         top_ups -> credits LimitReached 1 of 1 until 2026-02-01T00:00:00Z, topup_6 paid 10
         at +31d -> closes 3 scheduled: nothing | opens 4 scheduled: nothing | asks 10 at 20",
    );
}

#[test]
fn what_is_owed_is_topped_up_as_well_where_purchases_pay_it() {
    check(
        "plan pro {\"overage\": {\"allow\": \"500\"}}
         customer plan=pro
         topup threshold=1 target=100
         charge 30
         top_ups -> credits Pending 1 of 5, topup_4 pending 100
         pay
         balance -> 70 of 100
         charge 100
         balance -> 0 of 100, overage 30
         pay
         balance -> 100 of 230",
    );
}

#[test]
fn a_closed_customer_is_sold_nothing() {
    run("topup threshold=50 amount=10
         charge 60
         close
         top_ups -> credits Disabled 0 of 5, topup_6 cancelled 10
         pay topup_6 -> error: the customer is closed: no new charges, reservations or grants
         decline topup_6 -> error: top-up topup_6 is cancelled already");
}
