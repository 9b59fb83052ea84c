//! What the ledger does, as tables: read them as its specification. The language is described in `script`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod script;
mod support;

use script::check;

#[test]
fn burn_down_takes_the_lower_priority_number_first() {
    check(
        "a: grant 10 priority=2 expires=+1d
         b: grant 10 priority=1
         c: grant 10 priority=-1 paid=1
         charge 25 -> c:10 b:10 a:5",
    );
}

#[test]
fn burn_down_takes_the_earlier_expiry_first_and_none_last() {
    check(
        "a: grant 10
         b: grant 10 expires=+2d paid=1
         c: grant 10 expires=+1d paid=1
         charge 25 -> c:10 b:10 a:5",
    );
}

#[test]
fn burn_down_takes_unpaid_before_paid_and_narrow_before_wide() {
    check(
        "a: grant 10 paid=1 scope=chat
         b: grant 10
         c: grant 10 scope=chat,image
         d: grant 10 scope=chat
         charge 35 -> d:10 c:10 b:10 a:5",
    );
}

#[test]
fn burn_down_takes_the_earlier_effective_then_the_earlier_created() {
    check(
        "a: grant 10 effective=+2h
         b: grant 10 effective=+1h
         c: grant 10 effective=+1h
         charge 1 -> refused insufficient_credits, 0 available
         at +1h
         charge 15 -> b:10 c:5
         at +2h
         charge 10 -> c:5 a:5",
    );
}

#[test]
fn a_policy_may_name_the_grants_to_draw_first() {
    check(
        "a: grant 10
         b: grant 10
         c: grant 10
         s: grant 10 scope=image
         charge 15 order=c,b -> c:10 b:5
         # A grant that does not cover the feature is passed over; the rest follows in burn-down order.
         charge 8 order=s,b -> b:5 a:3
         charge 1 order=b,b -> invalid: the draw order names grant_2 twice
         charge 1 order=grant_99 -> invalid: the draw order names grant_99, which is no live grant
         balance -> granted=40 used=23 reserved=0 available=17 overage=0",
    );
}

#[test]
fn scopes_and_credit_types_are_kept_apart() {
    check(
        "a: grant 10 scope=image
         b: grant 5 credit=gpu
         charge 1 -> refused insufficient_credits, 0 available
         charge 1 feature=image -> a:1
         charge 2 credit=gpu -> b:2
         charge 4 credit=gpu -> refused insufficient_credits, 3 available
         balance -> granted=10 used=1 reserved=0 available=9 overage=0
         balance credit=gpu -> granted=5 used=2 reserved=0 available=3 overage=0
         # A correction belongs to no feature, so it takes from unscoped grants only.
         adjust -1 -> rejected: only 0 credits are available
         adjust -1 credit=gpu -> b>voided 1",
    );
}

#[test]
fn amounts_out_of_range_move_nothing() {
    check(
        "grant 0 -> rejected: amount must be above 0 and below 1000000000000000
         grant -1 -> rejected: amount must be above 0 and below 1000000000000000
         grant 1000000000000000 -> rejected: amount must be above 0 and below 1000000000000000
         grant 5 effective=+2d expires=+2d -> rejected: expires_at must be later than 2026-01-03T00:00:00Z
         adjust 0 -> rejected: amount must be above 0 and below 1000000000000000
         adjust -170141183460469231731687303.715884105728 -> rejected: amount must be above 0 and below 1000000000000000
         a: grant 0.000000000001
         charge -0.000000000001 -> invalid: a cost of -0.000000000001 is not between 0 and 999999999999999.999999999999
         charge 1000000000000000 overage=allow:9000000000000000 -> invalid: a cost of 1000000000000000 is not between 0 and 999999999999999.999999999999
         charge 0 -> nothing
         charge 0.000000000001 -> a:0.000000000001
         books -> issued=0.000000000001 spent=0.000000000001 expired=0 voided=0 overage=0
         # The largest there is, several times over.
         b: grant 999999999999999.999999999999
         c: grant 999999999999999.999999999999
         charge 999999999999999.999999999999
         books -> issued=1999999999999999.999999999999 spent=1000000000000000 expired=0 voided=0 overage=0",
    );
}

#[test]
fn a_reservation_is_committed_up_to_its_hold_and_gives_the_rest_back() {
    check(
        "a: grant 100 priority=1
         b: grant 20
         r: reserve 50 -> b:20 a:30
         balance -> granted=120 used=0 reserved=50 available=70 overage=0
         commit r 35 -> b:20 a:15 returned:15
         balance -> granted=120 used=35 reserved=0 available=85 overage=0
         s: reserve 10
         commit s 10 -> a:10
         # Nothing used: all of it goes back.
         t: reserve 10
         commit t 0 -> returned:10
         # Above the hold, the difference is a normal charge.
         u: reserve 10
         commit u 12 -> a:12
         balance -> granted=120 used=57 reserved=0 available=63 overage=0",
    );
}

#[test]
fn a_reservation_ends_exactly_once() {
    check(
        "a: grant 100
         r: reserve 10
         release r -> r>a 10
         release r -> rejected: reservation res_2 is closed: it was committed, released or has expired
         commit r 1 -> rejected: reservation res_2 is closed: it was committed, released or has expired
         s: reserve 10
         commit s 4 -> a:4 returned:6
         release s -> rejected: reservation res_4 is closed: it was committed, released or has expired
         t: reserve 10 until=+1h
         at +59m -> nothing
         at +1h -> +1h t expires: t>a 10
         commit t 4 -> rejected: reservation res_6 is closed: it was committed, released or has expired
         release res_99 -> rejected: the customer has no reservation res_99
         reserve 1 until=+1h -> rejected: expires_at must be later than 2026-01-01T01:00:00Z
         balance -> granted=100 used=4 reserved=0 available=96 overage=0",
    );
}

#[test]
fn a_commit_always_bills_and_an_impossible_one_leaves_the_reservation_open() {
    check(
        "a: grant 10
         r: reserve 10
         commit r -1 -> invalid: a cost of -1 is not between 0 and 999999999999999.999999999999
         commit r 5 credit=gpu -> invalid: the commit is rated in gpu, the hold is in credits
         commit r 5 order=grant_99 -> invalid: the draw order names grant_99, which is no live grant
         balance -> granted=10 used=0 reserved=10 available=0 overage=0
         # Beyond the hold and the balance, whatever the policy says of new usage.
         commit r 11 -> a:10 overage:1 exceeded:1
         b: grant 30
         s: reserve 10
         commit s 15 overage=deny -> b:15
         t: reserve 10
         commit t 25 overage=deny -> b:15 overage:10 exceeded:10
         u: reserve 4 overage=allow:15
         commit u 6 overage=allow:17 -> overage:6
         balance -> granted=40 used=40 reserved=0 available=0 overage=17
         v: reserve 0
         commit v 5 overage=purchase -> overage:5 exceeded:5",
    );
}

#[test]
fn what_is_held_of_an_expired_grant_can_be_spent_but_not_given_back() {
    check(
        "a: grant 10 expires=+1h
         b: grant 10
         r: reserve 15 until=+1d -> a:10 b:5
         s: reserve 5 until=+1d -> b:5
         at +1h -> +1h a expires: nothing
         balance -> granted=20 used=0 reserved=20 available=0 overage=0
         commit r 4 -> a:4 returned:11
         books -> issued=20 spent=4 expired=6 voided=0 overage=0
         balance -> granted=10 used=0 reserved=5 available=5 overage=0
         at +1d -> +1d s expires: s>b 5",
    );
}

#[test]
fn what_is_held_of_a_voided_grant_can_be_spent_but_not_given_back() {
    check(
        "a: grant 10
         r: reserve 4
         s: reserve 3
         charge 1
         void a -> a>voided 2
         void a -> rejected: grant grant_1 is voided or expired already
         charge 1 -> refused insufficient_credits, 0 available
         commit r 3 -> a:3 returned:1
         release s -> s>a 3, a>voided 3
         void a -> rejected: grant grant_1 is voided or expired already
         void grant_77 -> rejected: the customer has no live grant grant_77
         books -> issued=10 spent=4 expired=0 voided=6 overage=0",
    );
}

#[test]
fn overage_is_what_the_policy_allows() {
    check(
        "a: grant 10
         charge 11 overage=deny -> refused policy_denied, 10 available
         charge 11 overage=purchase -> refused purchase_required, 10 available
         charge 16 overage=allow:5 -> refused insufficient_credits, 10 available
         charge 15 overage=allow:5 -> a:10 overage:5
         # The limit is for what is outstanding, not for one charge.
         charge 1 overage=allow:5 -> refused insufficient_credits, 0 available
         charge 1 overage=allow:6 -> overage:1
         charge 1 overage=allow:-1 -> refused insufficient_credits, 0 available
         balance -> granted=10 used=10 reserved=0 available=0 overage=6
         books -> issued=10 spent=16 expired=0 voided=0 overage=6",
    );
}

#[test]
fn a_top_up_is_issued_at_once_and_drawn() {
    check(
        "a: grant 10
         t: charge 12 overage=top_up:100 expires=+1d -> a:10 t:2
         balance -> granted=110 used=12 reserved=0 available=98 overage=0
         charge 100 overage=top_up:1 -> invalid: a top-up of 1 for a shortfall of 2
         charge 100 overage=top_up:2 expires=+0d -> invalid: a top-up that has expired already
         r: reserve 100 overage=top_up:50
         # The hold's own top-up takes back what is not used.
         commit r 98.5 -> t:98 grant_3:0.5 returned:1.5
         at +1d -> +1d t expires: nothing
         charge 49.5 -> grant_3:49.5",
    );
}

#[test]
fn overage_that_is_held_counts_for_the_limit_and_comes_back() {
    check(
        "a: grant 10
         r: reserve 15 overage=allow:5 -> a:10 overage:5
         charge 1 overage=allow:5 -> refused insufficient_credits, 0 available
         balance -> granted=10 used=0 reserved=15 available=0 overage=0 held_overage=5
         commit r 12 -> a:10 overage:2 returned:3
         balance -> granted=10 used=10 reserved=0 available=0 overage=2
         charge 3 overage=allow:5 -> overage:3",
    );
}

#[test]
fn an_end_settles_no_overage_that_a_reservation_still_holds() {
    check(
        "customer plan=pro interval=month -> opens 1: nothing
         charge 2 overage=allow:9 -> overage:2
         r: reserve 5 overage=allow:9 until=+40d -> overage:5
         on close settle waive 7
         reset -> invalid: a settlement of 7 for an overage of 2
         on close settle waive 2
         at +31d -> +31d closes 1: issued>overage 2 | +31d opens 2: nothing
         release r -> r>overage 5
         books -> issued=2 spent=2 expired=0 voided=0 overage=0",
    );
}

#[test]
fn a_period_rolls_over_expires_charges_fees_settles_and_the_next_one_issues_and_settles() {
    check(
        "on open issue 100 plan as=a with=0
         customer plan=pro interval=month -> opens 1: issued>a 100
         p: grant 15 prepaid priority=9
         charge 30
         on close roll a 20 as=b priority=1; fee 25; settle waive 3
         on open issue 100 plan as=c with=0; settle deduct 4
         # A fee is not paid from what was just rolled over.
         at +31d -> +31d closes 1: a>b 20, a>expired 50, p>spent 15, overage>spent 10, issued>overage 3 | +31d opens 2: issued>c 100, c>overage 4
         balance -> granted=120 used=4 reserved=0 available=116 overage=3
         books -> issued=218 spent=55 expired=50 voided=0 overage=3
         on close fee 7 invoiced; settle invoice 1; settle invoice
         on open nothing
         at +59d -> +59d closes 2: c>expired 96, overage>spent 7, issued>overage 7, issued>overage 1, issued>overage 2 | +59d opens 3: nothing
         books -> issued=228 spent=62 expired=146 voided=0 overage=0",
    );
}

#[test]
fn an_end_that_breaks_a_rule_does_nothing() {
    check(
        "customer plan=pro interval=month
         a: grant 10
         s: grant 10 scope=chat
         v: grant 10 effective=+90d
         at +1h
         r: reserve 4 order=a
         on close roll a 7 expires=+90d
         reset -> invalid: a book that holds 6 can't give 7
         on close roll a 6 expires=+0d
         reset -> invalid: expires_at must be later than 2026-01-01T01:00:00Z
         on close roll a 0
         reset -> invalid: a rollover of 0 is not above 0 and at most 999999999999999.999999999999
         on close roll a -1 held=1 share=1
         reset -> invalid: a rollover of -1 is negative
         on close roll a 1; roll a 1
         reset -> invalid: grant_3 is carried over twice
         on close roll a 1 held=5
         reset -> invalid: a rollover of 5 of the 4 that are held or used of grant_3
         on close roll a 1 held=4 share=1.1
         reset -> invalid: a share of 1.1 of what comes back is not between 0 and 1
         on close roll v 1
         reset -> invalid: grant_5 is not of this period
         on close expire v
         reset -> invalid: grant_5 is not of this period
         on close expire a; expire a
         reset -> invalid: grant_3 is no live grant
         on close expire a; roll a 1 as=b
         # Rollovers come first, whatever the order in which they are named.
         reset -> closes 1: a>b 1, a>expired 5 | opens 2: nothing
         at +2h
         on close expire a
         reset -> invalid: grant_3 is no live grant
         on close nothing
         on open issue -1
         reset -> invalid: an issue of -1 is not above 0 and at most 999999999999999.999999999999
         on open issue 5 plan expires=+2h
         reset -> invalid: expires_at must be later than 2026-01-01T02:00:00Z
         on open settle deduct 1
         reset -> invalid: a settlement of 1 for an overage of 0
         on open nothing
         on close fee -1
         reset -> invalid: a fee of -1 is not above 0 and at most 999999999999999.999999999999
         charge 12 overage=allow:5 -> s:10 b:1 overage:1
         # Deducted as far as grants reach.
         on close settle deduct 1
         reset -> closes 2: nothing | opens 3: nothing",
    );
}

#[test]
fn a_rollover_keeps_scope_and_may_become_a_rollover_again() {
    check(
        "customer plan=pro interval=month
         a: grant 10 scope=image
         on close roll a 10 as=b
         at +31d -> +31d closes 1: a>b 10 | +31d opens 2: nothing
         charge 1 -> refused insufficient_credits, 0 available
         on close roll b 4 as=c; expire b
         at +59d -> +59d closes 2: b>c 4, b>expired 6 | +59d opens 3: nothing
         charge 4 feature=image -> c:4",
    );
}

#[test]
fn a_rollover_carries_its_share_of_the_cost_to_the_minor_unit() {
    check(
        "customer plan=pro interval=month
         a: grant 1000 prepaid paid=100
         b: grant 3 prepaid paid=10
         charge 990 order=a
         on close roll a 10 as=c with=1; roll b 1 as=d with=1; expire a; expire b
         at +31d
         show c -> Live remaining=10 ends=+90d cost=1 EUR
         show d -> Live remaining=1 ends=+90d cost=3.33 EUR
         on close nothing
         at +90d
         show c -> Expired remaining=0 ends=+90d cost=1 EUR",
    );
}

#[test]
fn at_one_instant_reservations_expire_then_the_period_ends_then_grants_expire() {
    check(
        "customer plan=pro interval=month
         a: grant 10 expires=+31d
         b: grant 10 expires=+31d
         c: grant 10 expires=+30d
         r: reserve 12 until=+31d order=a -> a:10 c:2
         on close roll a 10 as=d
         on open issue 5 plan as=e
         at +40d -> +30d c expires: c>expired 8 | +31d r expires: r>a 10, r>c 2, c>expired 2 | +31d closes 1: a>d 10 | +31d b expires: b>expired 10 | +31d opens 2: issued>e 5
         balance -> granted=15 used=0 reserved=0 available=15 overage=0",
    );
}

#[test]
fn reservations_that_end_together_end_in_the_order_they_were_made() {
    check(
        "a: grant 10
         r: reserve 1 until=+2h
         s: reserve 2 until=+1h
         t: reserve 3 until=+2h
         at +1d -> +1h s expires: s>a 2 | +2h r expires: r>a 1 | +2h t expires: t>a 3",
    );
}

#[test]
fn periods_follow_the_anchor_in_the_customers_zone() {
    check(
        "at 2026-01-31T00:00:00Z
         customer plan=pro interval=month -> opens 1: nothing
         period -> 1 from 2026-01-31T00:00:00Z to 2026-02-28T00:00:00Z
         at 2026-03-30T00:00:00Z -> +58d closes 1: nothing | +58d opens 2: nothing
         period -> 2 from 2026-02-28T00:00:00Z to 2026-03-31T00:00:00Z
         # An early reset does not move the boundaries.
         reset -> closes 2: nothing | opens 3: nothing
         period -> 3 from 2026-03-30T00:00:00Z to 2026-03-31T00:00:00Z
         # A change of zone moves the end, a change of plan starts a period.
         customer plan=pro interval=month zone=Europe/Berlin -> nothing
         period -> 3 from 2026-03-30T00:00:00Z to 2026-03-30T23:00:00Z
         customer plan=max interval=day every=2 zone=Europe/Berlin -> closes 3: nothing | opens 4: nothing
         period -> 4 from 2026-03-30T00:00:00Z to 2026-03-31T23:00:00Z
         customer plan=free -> closes 4: nothing | opens 5: nothing
         period -> 5 from 2026-03-30T00:00:00Z
         customer -> closes 5: nothing
         period -> none",
    );
}

#[test]
fn a_boundary_in_the_future_may_be_the_anchor() {
    check(
        "customer plan=pro interval=year every=1000 anchor=2026-02-01T00:00:00Z
         period -> 1 from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z
         customer plan=free interval=month anchor=2026-04-15T12:00:00Z
         period -> 2 from 2026-01-01T00:00:00Z to 2026-01-15T12:00:00Z",
    );
}

#[test]
fn many_periods_missed_are_made_up_one_by_one() {
    check(
        "on open issue 5 plan
         customer plan=pro interval=month -> opens 1: issued>new 5
         at +60d -> +31d closes 1: nothing | +31d opens 2: issued>new 5 | +59d closes 2: nothing | +59d opens 3: issued>new 5
         balance -> granted=15 used=0 reserved=0 available=15 overage=0",
    );
}

#[test]
fn exhausted_grants_count_until_the_period_ends() {
    check(
        "customer plan=pro interval=month
         a: grant 10
         b: grant 10
         charge 10 -> a:10
         balance -> granted=20 used=10 reserved=0 available=10 overage=0
         reset
         balance -> granted=10 used=0 reserved=0 available=10 overage=0",
    );
}

#[test]
fn corrections_give_a_grant_or_void_in_burn_down_order() {
    check(
        "a: grant 10 priority=1
         c: adjust 5 -> issued>c 5
         adjust -7 -> c>voided 5, a>voided 2
         adjust -9 -> rejected: only 8 credits are available
         balance -> granted=8 used=0 reserved=0 available=8 overage=0
         books -> issued=15 spent=0 expired=0 voided=7 overage=0",
    );
}

#[test]
fn a_closed_customer_is_charged_no_more_and_winds_down() {
    check(
        "customer plan=pro interval=month
         a: grant 10 expires=+50d
         r: reserve 4 until=+1d
         s: reserve 2 until=+60d
         on close fee 1
         close -> closes 1: a>spent 1 | nothing
         close -> rejected: the customer is closed: no new charges, reservations or grants
         charge 1 -> rejected: the customer is closed: no new charges, reservations or grants
         reserve 1 -> rejected: the customer is closed: no new charges, reservations or grants
         grant 1 -> rejected: the customer is closed: no new charges, reservations or grants
         adjust 1 -> rejected: the customer is closed: no new charges, reservations or grants
         reset -> rejected: the customer is closed: no new charges, reservations or grants
         terms -> rejected: the customer is closed: no new charges, reservations or grants
         commit s 1 -> a:1 returned:1
         # No period ends any more; what is held and granted runs out.
         at +99d -> +1d r expires: r>a 4 | +50d a expires: a>expired 8",
    );
}

#[test]
fn a_customer_without_a_plan_has_no_periods() {
    check(
        "customer -> nothing
         period -> none
         reset -> rejected: the customer has no plan with an interval, so there is no period to reset
         at +999d -> nothing",
    );
}

#[test]
fn counters_have_a_measure_a_scope_and_a_window() {
    check(
        "customer plan=pro interval=month
         a: grant 100
         count cost by customer per period
         count tokens by entity per day
         count tokens by model per month features=chat
         count cost by customer per lifetime features=image
         counters entity=u1 model=big -> 0 0 0 0
         charge 2 tokens=10 entity=u1 model=big
         charge 3 tokens=5 entity=u2 model=big
         charge 4 tokens=1.5 feature=image
         counters entity=u1 model=big -> 9 10 15 4
         counters entity=u2 model=small -> 9 5 0 4
         # A usage without a subject reads zero.
         counters -> 9 0 0 4
         # A refusal counts nothing, a hold apart, a commit what was used.
         charge 1000 -> refused insufficient_credits, 91 available
         r: reserve 50 tokens=50 entity=u1 model=big
         counters entity=u1 model=big -> 9+50 10+50 15+50 4
         # What a commit is shown leaves its own hold out.
         counters entity=u1 model=big commits=r -> 9 10 15 4
         s: reserve 1 tokens=7 entity=u1 model=big
         counters entity=u1 model=big commits=r -> 9+1 10+7 15+7 4
         release s
         commit r 1 tokens=1 entity=u1 model=big
         counters entity=u1 model=big -> 10 11 16 4
         at +1d
         counters entity=u1 model=big -> 10 0 16 4
         charge 1 tokens=1 entity=u1 model=big
         counters entity=u1 model=big -> 11 1 17 4
         at +31d
         counters entity=u1 model=big -> 0 0 0 4",
    );
}

#[test]
fn a_reset_at_the_instant_at_which_the_period_began_starts_its_counters_again() {
    check(
        "customer plan=pro interval=month
         grant 100
         count cost by customer per period
         count cost by customer per lifetime
         charge 5
         reset
         counters -> 0 5
         charge 1
         counters -> 1 6",
    );
}

#[test]
fn days_and_months_of_counters_are_those_of_the_customers_zone() {
    check(
        "customer zone=America/New_York
         grant 100
         count cost by customer per day
         count cost by customer per month
         # 2026-01-01T00:00Z is still the 31st of December there.
         charge 1
         at +4h
         charge 1
         counters -> 2 2
         at +5h
         counters -> 0 0
         # 8 March has 23 hours.
         at 2026-03-08T05:00:00Z
         charge 1
         at 2026-03-09T03:59:59Z
         counters -> 1 1
         at 2026-03-09T04:00:00Z
         counters -> 0 1",
    );
}

#[test]
fn terms_in_force_are_the_active_ones_that_took_effect_last() {
    check(
        "t: terms to=+5d
         u: terms from=+2d to=+4d
         s: terms shadow from=+1d
         in_force -> t
         shadows -> none
         at +1d
         shadows -> s
         in_force -> t
         at +2d
         in_force -> u
         last_good u -> t
         last_good t -> none
         at +4d
         in_force -> t
         at +5d
         in_force -> none
         shadows -> s
         # Bound in the past means from now on.
         v: terms from=+1d
         in_force -> v
         last_good v -> u",
    );
}

#[test]
fn terms_end_once_and_only_ahead() {
    check(
        "t: terms
         u: terms from=+3d
         v: terms from=+4d
         terms from=+2d to=+2d -> rejected: ends_at must be later than 2026-01-03T00:00:00Z
         end terms_99 +1d -> rejected: the customer has no such terms
         at +1d
         end t +0d -> rejected: ends_at must be later than 2026-01-02T00:00:00Z
         end t +2d -> nothing
         end t +5d -> nothing
         # Ended before they took effect: they never were in force.
         end u +1d -> nothing
         at +3d
         in_force -> t
         at +4d
         in_force -> v
         last_good v -> t
         at +6d
         end t +7d -> rejected: these terms ended at 2026-01-06T00:00:00Z",
    );
}

#[test]
fn an_override_that_covers_now_and_started_last_wins_over_the_plan() {
    check(
        "entitled chat -> none
         entitled chat plan=basic -> Plan basic
         override chat gold to=+5d
         override chat silver from=+1d to=+3d
         override image bronze
         entitled chat plan=basic -> Override gold
         at +1d
         entitled chat plan=basic -> Override silver
         # One with an equal start replaces the older one.
         override chat iron from=+1d to=+2d
         entitled chat -> Override iron
         at +2d
         entitled chat -> Override gold
         plain chat -> nothing
         entitled chat plan=basic -> Plan basic
         entitled image -> Override bronze
         override chat x from=+9d to=+9d -> rejected: ends_at must be later than 2026-01-10T00:00:00Z",
    );
}
