//! Bundles and promotions: what they give, and what keeps a customer from them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::check;

const SOLD: &str = "plan pro {\"overage\": {\"allow\": \"100\"}}
     plan free {\"settle_from\": \"never\", \"overage\": {\"allow\": \"100\"}, \"period_categories\": [\"promotional\"]}
     customer plan=pro
     bundle pack 100 price=9.90 days=30
     promotion SPRING 20
     ";

fn run(script: &str) {
    check(&format!("{SOLD}{script}"));
}

#[test]
fn a_bundle_gives_its_credits_so_many_times_over() {
    run("buy pack 3 -> issued>prepaid1 300
         grants -> prepaid1=300 until 2026-01-31T00:00:00Z for 29.7 EUR
         # What is owed is paid first.
         charge 340
         balance -> 0 of 300, overage 40
         buy pack paid=1.5 -> issued>prepaid1b 100, prepaid1b>overage 40
         grants -> prepaid1b=60 until 2026-01-31T00:00:00Z for 1.5 EUR
         # But not where nothing settles it.
         charge 70
         customer plan=free
         buy pack -> issued>prepaid2 100
         # What may only be drawn by a feature pays nothing.
         customer plan=pro
         bundle images 5 scope=image
         buy images -> issued>prepaid3 5
         bundle pack 100 withdrawn
         buy pack -> error: bundle pack is not for sale any more: GET /v1/bundles lists those that are
         buy other -> error: there is no bundle other
         close
         buy images -> error: the customer is closed: no new charges, reservations or grants");
}

#[test]
fn a_promotion_is_redeemed_once() {
    run("charge 5
         redeem SPRING 3 -> issued>promotional1 20
         balance -> 20 of 20, overage 5
         redeem SPRING 4 -> error: the customer has redeemed SPRING already
         redeem OTHER -> error: there is no promotion OTHER: codes are told apart by upper and lower case
         promotion LATER 7 from=+1d to=+2d plan=free days=1
         redeem LATER -> error: promotion LATER begins at 2026-01-02T00:00:00Z: redeem it then
         at +1d
         redeem LATER -> error: promotion LATER is not for customers of this plan: GET /v1/promotions/LATER lists the plans that it is for
         customer plan=free
         redeem LATER -> issued>promotional2 7
         grants -> promotional2=7 until 2026-01-03T00:00:00Z, promotional1=20
         at +2d
         redeem LATER -> error: the customer has redeemed LATER already
         promotion GONE 1 to=+2d
         redeem GONE -> error: promotion GONE ended at 2026-01-03T00:00:00Z");
}
