//! Entities and budgets: who stands where, what counts where, what is refused and when that ends, and what is reported.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::script::{START, check};

/// A customer with credits to spare and no plan that ends.
const RICH: &str = "plan pro {}
     customer plan=pro
     grant 100000
     ";

fn run(script: &str) {
    check(&format!("{RICH}{script}"));
}

#[test]
fn a_hard_budget_counts_what_is_used_and_held() {
    run("budget all window=day limit=100
         charge 60 -> promotional1:60
         r: reserve 30
         budgets -> all=60+30
         charge 11 -> 402 budget_exceeded required=11 available=99910 retry_at=2026-01-02T00:00:00Z all/customer=60+30 of 100
         check 11 -> false budget_exceeded cost=11 available=99910
         s: reserve 11 -> 402 budget_exceeded required=11 available=99910 retry_at=2026-01-02T00:00:00Z all/customer=60+30 of 100
         charge 10 -> promotional1:10
         # What it held is given back to the budget.
         release r
         budgets -> all=70
         charge 30 -> promotional1:30
         # Nothing costs nothing.
         charge 0 -> nothing
         charge 1 -> 402 budget_exceeded required=1 available=99900 retry_at=2026-01-02T00:00:00Z all/customer=100+0 of 100
         # What never fits is not worth another try.
         charge 101 -> 402 budget_exceeded required=101 available=99900 all/customer=100+0 of 100
         at +1d
         charge 100 -> promotional1:100");
}

#[test]
fn a_commit_always_bills_and_counts_where_it_was_held() {
    run("budget all window=day limit=100
         at +23h
         r: reserve 90 ttl=7200
         at +1d1m
         budgets -> all=0
         # In the window of the hold, over the limit or not.
         commit r 120 -> promotional1:120
         budgets -> all=0
         charge 1 of=+23h -> 402 budget_exceeded required=1 available=99880 all/customer=120+0 of 100
         # An expired hold is given back as well.
         s: reserve 100 ttl=60
         charge 1 -> 402 budget_exceeded required=1 available=99780 retry_at=2026-01-03T00:00:00Z all/customer=0+100 of 100
         at +1d1h
         charge 100 -> promotional1:100");
}

#[test]
fn a_usage_counts_at_all_levels_and_the_nearest_budget_says_no() {
    run("entity company
         entity division parent=company
         entity department parent=division
         entity team parent=department
         entity user parent=team
         entity key parent=user
         budget b1 entity=company window=month limit=1000
         budget b2 entity=division window=month limit=500
         budget b3 entity=department window=month limit=400
         budget b4 entity=team window=month limit=300
         budget b5 entity=user window=month limit=200
         budget b6 entity=key window=month limit=100
         budget other entity=elsewhere window=month limit=1
         budget whole window=month limit=2000
         charge 60 entity=key
         r: reserve 40 entity=key
         budgets -> b1=60+40 b2=60+40 b3=60+40 b4=60+40 b5=60+40 b6=60+40 other=0 whole=60+40
         charge 1 entity=key -> 402 budget_exceeded required=1 available=99900 retry_at=2026-02-01T00:00:00Z b6/key=60+40 of 100
         charge 100 entity=user
         charge 1 entity=user -> 402 budget_exceeded required=1 available=99800 retry_at=2026-02-01T00:00:00Z b5/user=160+40 of 200
         commit r 10
         charge 230 entity=department -> promotional1:230
         # Of several that are exceeded, the nearest is named.
         charge 500 entity=team -> 402 budget_exceeded required=500 available=99600 b4/team=170+0 of 300
         charge 30 entity=stranger -> promotional1:30
         budgets -> b1=400 b2=400 b3=400 b4=170 b5=170 b6=70 other=0 whole=430
         entity deeper parent=key -> error: the tree would have more than 6 levels");
}

#[test]
fn trees_stay_trees() {
    run("entity a
         entity b parent=a
         entity c parent=b
         entity a parent=c -> error: entity a would stand above itself
         entity a parent=a -> error: entity a would stand above itself
         entity d parent=nobody -> error: the customer has no entity nobody
         forget b -> error: entity b is in use: entities stand below it
         budget z entity=c window=day limit=1
         forget c -> error: entity c is in use: a budget names it
         unbudget z
         unbudget z -> error: the customer has no budget z
         forget c
         forget c -> error: the customer has no entity c
         forget b
         # Whole branches keep their depth when they move.
         entity b parent=a
         entity c parent=b
         entity x
         entity y parent=x
         entity z parent=y
         entity v parent=z
         entity a parent=v -> error: the tree would have more than 6 levels
         entity a parent=z
         entity a parent=none
         entity a parent=v -> error: the tree would have more than 6 levels");
}

#[test]
fn moves_take_effect_from_then_on() {
    run("entity red
         entity blue
         entity ann parent=red
         budget r entity=red window=month limit=100
         budget b entity=blue window=month limit=100
         charge 60 entity=ann
         h: reserve 20 entity=ann
         first: charge 10 entity=ann
         entity ann parent=blue
         budgets -> b=0 r=70+20
         charge 90 entity=ann
         # A hold and a refund belong to where the usage was.
         commit h 25
         refund first
         budgets -> b=90 r=85
         charge 20 entity=ann -> 402 budget_exceeded required=20 available=99825 retry_at=2026-02-01T00:00:00Z b/blue=90+0 of 100");
}

#[test]
fn windows_open_again() {
    // 2026-01-01 is a Thursday.
    for (window, zone, first, retry) in [
        ("hour", "UTC", "+10h30m", "2026-01-01T11:00:00Z"),
        ("day", "UTC", "+10h30m", "2026-01-02T00:00:00Z"),
        ("day", "America/New_York", "+10h30m", "2026-01-02T05:00:00Z"),
        ("week", "UTC", "+10h30m", "2026-01-05T00:00:00Z"),
        ("week", "UTC", "+4d", "2026-01-12T00:00:00Z"),
        ("week", "Asia/Tokyo", "+3d16h", "2026-01-11T15:00:00Z"),
        ("month", "UTC", "+10h30m", "2026-02-01T00:00:00Z"),
        ("month", "Europe/Berlin", "+10h30m", "2026-01-31T23:00:00Z"),
        ("hours:24", "UTC", "+10h30m", "2026-01-02T10:00:00Z"),
        ("period", "UTC", "+10h30m", "2026-01-02T00:00:00Z"),
        ("cycle", "UTC", "+10h30m", "2026-01-02T00:00:00Z"),
    ] {
        check(&format!(
            "plan daily day {{}}
             customer plan=daily zone={zone} anchor={START}
             grant 1000
             budget all window={window} limit=10
             at {first}
             charge 10
             charge 1 -> 402 budget_exceeded required=1 available=990 retry_at={retry} all/customer=10+0 of 10
             at {retry}
             charge 1 -> promotional1:1"
        ));
    }
    run("budget all window=lifetime limit=10
         charge 10
         at +400d
         charge 1 -> 402 budget_exceeded required=1 available=99990 all/customer=10+0 of 10");
}

#[test]
fn a_rolling_window_opens_hour_by_hour() {
    run("budget all window=hours:24 limit=100
         at +1h
         charge 50
         at +5h30m
         charge 40
         at +8h
         charge 10
         # 5 fit once those of the first hour are gone, 60 when those of the fifth are, too.
         charge 5 -> 402 budget_exceeded required=5 available=99900 retry_at=2026-01-02T01:00:00Z all/customer=100+0 of 100
         charge 60 -> 402 budget_exceeded required=60 available=99900 retry_at=2026-01-02T05:00:00Z all/customer=100+0 of 100
         at +1d1h
         charge 50 -> promotional1:50
         charge 1 -> 402 budget_exceeded required=1 available=99850 retry_at=2026-01-02T05:00:00Z all/customer=100+0 of 100");
}

#[test]
fn late_usage_counts_in_its_own_window() {
    run("budget all window=day limit=100
         at +3d
         charge 100
         charge 60 of=+1d1h -> promotional1:60
         charge 60 of=+1d1h -> 402 budget_exceeded required=60 available=99840 all/customer=60+0 of 100
         charge 100 of=+2d -> promotional1:100
         budgets -> all=100");
}

#[test]
fn budgets_choose_by_attribute_feature_and_quantity() {
    run("budget large model=large window=day limit=10
         budget drawings scope=image,video window=day limit=20
         budget units quantity=n window=day limit=40
         budget points credit=points window=day limit=1
         charge 10 model=large
         charge 1 model=large -> 402 budget_exceeded required=1 available=99990 retry_at=2026-01-02T00:00:00Z large/large=10+0 of 10
         charge 15 feature=image model=small
         charge 6 feature=video -> 402 budget_exceeded required=6 available=99975 retry_at=2026-01-02T00:00:00Z drawings/customer=15+0 of 20
         charge 16 -> 402 budget_exceeded required=16 available=99975 retry_at=2026-01-02T00:00:00Z units/customer=25+0 of 40
         charge 15
         budgets -> drawings=15 large=10 points=0 units=40");
}

#[test]
fn soft_budgets_report_and_never_refuse() {
    run("budget all window=day limit=100 soft warn=50,80,100,150
         charge 49
         raised -> nothing
         charge 1
         raised -> all:50
         charge 1
         raised -> nothing
         # Several at once, each once.
         charge 60
         raised -> all:80 all:100
         back: charge 50
         raised -> all:150
         # Not again in this window, whatever is given back.
         refund back
         charge 50
         raised -> nothing
         at +1d
         charge 100
         raised -> all:50 all:80 all:100");
}

#[test]
fn what_is_held_is_reported_once_it_is_used() {
    run("budget all window=day limit=100
         r: reserve 90
         raised -> nothing
         commit r 85
         raised -> all:50 all:80
         charge 20 -> 402 budget_exceeded required=20 available=99915 retry_at=2026-01-02T00:00:00Z all/customer=85+0 of 100
         raised -> nothing
         charge 15
         raised -> all:100");
}

#[test]
fn a_rolling_window_reports_again_only_once_it_is_over() {
    run("budget all window=hours:3 limit=100 soft warn=80
         charge 80
         raised -> all:80
         at +2h
         charge 50
         raised -> nothing
         at +3h
         charge 30
         raised -> all:80");
}

#[test]
fn a_balance_is_reported_once_in_each_period() {
    check(
        r#"plan pro month {"allowances": [{"amount": "100"}]}
         customer plan=pro
         charge 49
         raised -> nothing
         x: charge 40
         raised -> credits:50 credits:80
         refund x
         charge 40
         raised -> nothing
         grant 1000
         charge 900
         raised -> nothing
         charge 111
         raised -> credits:100
         at +31d
         charge 50
         raised -> credits:50"#,
    );
    // Without a period, new credits begin anew.
    check(
        "customer
         terms {}
         grant 100
         charge 80
         raised -> credits:50 credits:80
         charge 20
         raised -> credits:100
         grant 100
         charge 10
         raised -> nothing
         charge 60
         raised -> credits:80",
    );
}

#[test]
fn changes_keep_what_was_counted_unless_it_would_be_something_else() {
    run("budget all window=day limit=100
         a: charge 60
         r: reserve 20
         budget all limit=200 soft
         budgets -> all=60+20
         budget all hard
         # Another window: from zero, and neither the refund nor the hold of before takes away from it.
         budget all window=week
         budgets -> all=0
         charge 5
         refund a
         release r
         budgets -> all=5
         s: reserve 7
         unbudget all
         budgets -> none
         budget all window=week limit=100
         commit s 7
         # A commit counts in what there is by then.
         budgets -> all=7");
}

#[test]
fn a_refund_goes_back_to_its_windows() {
    run("budget all window=day limit=100
         budget units quantity=n window=month limit=1000
         a: charge 60
         at +1d
         charge 10
         refund a 20
         budgets -> all=10 units=70
         refund a n=10
         budgets -> all=10 units=60
         charge 61 of=+1h -> promotional1:61
         charge 10 of=+1h -> 402 budget_exceeded required=10 available=99899 all/customer=91+0 of 100");
}

#[test]
fn a_metered_feature_has_access_while_its_budget_lasts() {
    check(
        "plan pro metered=chat {}
         customer plan=pro
         grant 100
         budget all window=day limit=10
         access chat -> true ok in credits
         charge 10
         access chat -> false budget_exceeded in credits",
    );
}

#[test]
fn nothing_is_bought_for_what_a_budget_refuses() {
    check(
        r#"plan pro month {"overage": {"top_up": "50"}}
         customer plan=pro
         budget all window=day limit=10
         charge 11 -> 402 budget_exceeded required=11 available=0 all/customer=0+0 of 10
         grants -> none
         charge 10 -> top_up1:10"#,
    );
}

#[test]
fn budgets_that_count_the_same_are_bounded() {
    let mut script = RICH.to_owned();
    for number in 0..16 {
        script.push_str(&format!("budget b{number} entity=ann window=day limit=1\n"));
    }
    script.push_str("budget one entity=ann window=day limit=1 -> error: the customer has 16 budgets of this entity, attribute or customer already, the most that are kept live\n");
    script.push_str("budget one entity=bob window=day limit=1\nbudget b0 limit=2");
    check(&script);
}
