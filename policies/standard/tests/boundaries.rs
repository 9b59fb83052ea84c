//! What the standard policy does when credits run out and where periods end and begin, as tables.

use policy_standard::Standard;
use proviso_sdk::{
    Allowance, Category, CloseOutcome, CloseReason, Credits, Expiry, Money, OpenOutcome, OpenReason,
    OverageOutcome, SettleOverageFrom,
    testing::{ContextBuilder, Terms, context, credits, moment, opening, period, pointers, usage},
};

const NOVEMBER: &str = "2026-11-23T10:00:00Z";

fn price(price: Option<Money>) -> String {
    price.map_or_else(|| "nothing".to_owned(), |price| price.to_string())
}

fn overage(settings: &str, late: bool, shortfall: &str) -> String {
    let settings = format!(r#"{{"unrated": "free", {settings}}}"#);
    let used = if late { usage("chat").late() } else { usage("chat") };
    match Terms::<Standard>::new(&settings).overage(&used, shortfall, &context(NOVEMBER)) {
        OverageOutcome::Deny(refusal) => {
            let until = if refusal.retry_at.is_some() { " until the next period" } else { "" };
            format!("deny {}{until}", refusal.code)
        }
        OverageOutcome::Allow(Credits::LARGEST) => "allow".to_owned(),
        OverageOutcome::Allow(limit) => format!("allow {limit}"),
        OverageOutcome::RequirePurchase(offers) => {
            offers.iter().map(|offer| format!("buy {} for {}", offer.credits, price(offer.price))).collect()
        }
        OverageOutcome::TopUp(top_up) => format!(
            "top up {} for {}, {:?} days",
            top_up.amount,
            price(top_up.cost_basis),
            top_up.expires.at.map(|at| (at - moment(NOVEMBER).at) / 86_400_000_000)
        ),
        OverageOutcome::Reduce(_) => "reduce".to_owned(),
    }
}

#[test]
fn beyond_the_last_credit() {
    let pack = r#""overage": {"mode": "top_up", "pack": "100", "max_packs": 3, "expires_after_days": 90,
                              "price": {"amount": "9.90", "currency": "EUR"}}"#;
    let allowance = r#""reset": {"allowance": [{"amount": "5", "features": ["chat"]}]}"#;
    for (settings, shortfall, expected) in [
        (r#""overage": {}"#, "1", "deny insufficient_credits"),
        (allowance, "1", "deny insufficient_credits until the next period"),
        (&allowance.replace("chat", "search"), "1", "deny insufficient_credits"),
        (
            r#""credit": "images", "reset": {"allowance": [{"amount": "5"}]}"#,
            "1",
            "deny insufficient_credits",
        ),
        (r#""overage": {"mode": "allow"}"#, "1", "allow"),
        (r#""overage": {"mode": "allow", "limit": "500"}"#, "1", "allow 500"),
        (
            r#""overage": {"mode": "require_purchase", "offers": [{"code": "pack", "label": "A pack", "credits": "100",
               "price": {"amount": "9.90", "currency": "EUR"}}]}"#,
            "1",
            "buy 100 for 9.9 EUR",
        ),
        (pack, "0.5", "top up 100 for 9.9 EUR, Some(90) days"),
        (pack, "100.000000000001", "top up 200 for 19.8 EUR, Some(90) days"),
        (pack, "301", "deny insufficient_credits"),
    ] {
        assert_eq!(overage(settings, false, shortfall), expected, "{settings}");
    }
    assert_eq!(overage(allowance, true, "1"), "deny insufficient_credits");
}

#[test]
fn what_pays_overage_is_said_by_the_terms() {
    for (settings, from) in [
        ("{}", SettleOverageFrom::Purchases),
        (r#"{"overage": {"settle_from": "purchases"}}"#, SettleOverageFrom::Purchases),
        (r#"{"overage": {"mode": "allow", "settle_from": "reset"}}"#, SettleOverageFrom::Reset),
        (r#"{"overage": {"mode": "allow", "settle_from": "never"}}"#, SettleOverageFrom::Never),
    ] {
        assert_eq!(Terms::<Standard>::new(settings).prepared.settle_overage_from, from, "{settings}");
    }
    assert_eq!(pointers::<Standard>(r#"{"overage": {"settle_from": "x"}}"#), ["/overage/settle_from"]);
}

/// `p0` is the end of the current period, `p1` of the one after.
fn lifetime(expires: Expiry) -> String {
    let at =
        expires.at.map(|at| format!(" until {}", (at - moment("2026-12-01T00:00:00Z").at) / 86_400_000_000));
    let with_period = expires.with_period.map(|periods| format!(" p{periods}"));
    format!("{}{}", at.unwrap_or_default(), with_period.unwrap_or_default())
}

fn show_close(outcome: &CloseOutcome) -> String {
    let mut parts = Vec::new();
    for rollover in &outcome.roll_over {
        let held = match rollover.held_limit {
            Credits::ZERO => String::new(),
            limit => format!(" +{limit} at {}", rollover.held_share),
        };
        parts.push(format!(
            "roll {} of {}{held}{}",
            rollover.amount,
            rollover.grant,
            lifetime(rollover.expires)
        ));
    }
    if !outcome.expire.is_empty() {
        parts.push(format!("expire {}", outcome.expire.join(" ")));
    }
    for settlement in &outcome.settle {
        assert_eq!(settlement.amount, None);
        parts.push(format!("{:?}", settlement.method).to_lowercase());
    }
    parts.join("; ")
}

fn show_open(outcome: &OpenOutcome) -> String {
    let mut parts = Vec::new();
    for grant in &outcome.issue {
        let end = lifetime(grant.expires);
        parts.push(format!(
            "{:?} {} {} {:?}{end}",
            grant.allowance, grant.amount, grant.credit, grant.category
        ));
    }
    for settlement in &outcome.settle {
        assert_eq!(settlement.amount, None);
        parts.push(format!("{:?}", settlement.method));
    }
    parts.join("; ").to_lowercase()
}

/// The end of November.
fn november() -> ContextBuilder {
    context("2026-12-01T00:00:00Z").period(period(1, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"))
}

fn close(reset: &str, context: &ContextBuilder) -> String {
    close_for(CloseReason::Scheduled, reset, context)
}

fn close_for(reason: CloseReason, reset: &str, context: &ContextBuilder) -> String {
    show_close(&Terms::<Standard>::new(&format!(r#"{{"reset": {reset}}}"#)).close(reason, context))
}

fn open(reset: &str, reason: OpenReason, asked: Allowance, context: &ContextBuilder) -> String {
    let mut opening = opening(reason, period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"));
    opening.allowance = asked;
    show_open(&Terms::<Standard>::new(&format!(r#"{{"reset": {reset}}}"#)).open(&opening, context))
}

#[test]
fn without_settings_nothing_happens() {
    let terms = Terms::<Standard>::new("{}");
    let november = november().grant("g1", Category::Plan, "100", "40").overage("5");
    assert_eq!(terms.close(CloseReason::Scheduled, &november), CloseOutcome::default());
    let december = opening(OpenReason::Scheduled, period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"));
    assert_eq!(terms.open(&december, &november), OpenOutcome::default());
    assert_eq!(terms.prepared.period_categories, []);
}

#[test]
fn a_period_opens_with_its_allowance() {
    use Allowance::{Carry, Full, Prorate};
    use OpenReason::{Early, PlanChanged, Scheduled, Started};
    let both = r#"{"allowance": [{"amount": "1000"}, {"amount": "5", "credit": "images", "category": "promotional"}],
                   "expire": ["plan"]}"#;
    let prorated = r#"{"allowance": [{"amount": "1000"}], "allowance_on_change": "prorate"}"#;
    for (reset, reason, asked, expected) in [
        (both, Started, Carry, "carry 1000 credits plan p0; carry 5 images promotional"),
        (both, PlanChanged, Full, "full 1000 credits plan p0; full 5 images promotional"),
        (prorated, PlanChanged, Carry, "prorate 1000 credits plan p0"),
        (prorated, PlanChanged, Full, "prorate 1000 credits plan p0"),
        // Nothing but a change of plan is one.
        (prorated, Scheduled, Carry, "carry 1000 credits plan p0"),
        (prorated, Early, Prorate, "prorate 1000 credits plan p0"),
    ] {
        assert_eq!(open(reset, reason, asked, &context(NOVEMBER)), expected, "{reset} {reason:?}");
    }
    let categories = |reset: &str| Terms::<Standard>::new(reset).prepared.period_categories;
    assert_eq!(categories(&format!(r#"{{"reset": {both}}}"#)), [Category::Plan]);
    assert_eq!(
        categories(
            r#"{"reset": {"allowance": [{"amount": "1", "category": "trial"}, {"amount": "2"}, {"amount": "3"}]}}"#
        ),
        [Category::Trial, Category::Plan]
    );
}

#[test]
fn the_rest_rolls_over_or_ends() {
    let grants = november()
        .grant("g1", Category::Plan, "100", "40")
        .grant("g2", Category::Plan, "100", "30.5")
        .but(|grant| grant.effective_at += 1)
        .grant("bought", Category::Prepaid, "100", "90")
        .grant("g4", Category::Plan, "100", "0");
    for (settings, expected) in [
        (r#"{"allowance": [{"amount": "100"}]}"#, ""),
        (r#"{"allowance": [{"amount": "100"}], "expire": []}"#, ""),
        (
            r#"{"expire": ["plan"], "rollover": {}}"#,
            "roll 30.5 of g2 +69.5 at 1; roll 40 of g1 +60 at 1; roll 0 of g4 +100 at 1",
        ),
        (
            r#"{"expire": ["plan"], "rollover": {"percent": 50, "expires_after_periods": 1}}"#,
            "roll 15.25 of g2 +34.75 at 0.5 p0; roll 20 of g1 +30 at 0.5 p0; roll 0 of g4 +50 at 0.5 p0",
        ),
        (
            r#"{"expire": ["plan"], "rollover": {"percent": "33.333333333333", "expires_after_periods": 3}}"#,
            "roll 10.166666666666 of g2 +23.166666666666 at 0.333333333333 p2; roll 13.333333333333 of g1 \
             +19.999999999999 at 0.333333333333 p2; roll 0 of g4 +33.333333333333 at 0.333333333333 p2",
        ),
        // The oldest credits are the first to go.
        (r#"{"expire": ["plan"], "rollover": {"cap": "50"}}"#, "roll 30.5 of g2; roll 19.5 of g1"),
        (r#"{"expire": ["plan"], "rollover": {"cap": "30"}}"#, "roll 30 of g2"),
        (r#"{"expire": ["prepaid"], "rollover": {"max": "7"}}"#, "roll 7 of bought; expire bought"),
    ] {
        assert_eq!(close(settings, &grants), expected, "{settings}");
    }
}

#[test]
fn only_what_ends_with_this_period_ends() {
    let day = 86_400_000_000;
    let grants = november()
        .grant("by hand", Category::Plan, "100", "10")
        .but(|grant| grant.expires = Expiry::NEVER)
        .grant("its own end", Category::Plan, "100", "20")
        .but(|grant| grant.expires = Expiry::at(moment("2027-02-01T00:00:00Z").at))
        .grant("next period's", Category::Plan, "100", "30")
        .but(|grant| grant.expires = Expiry::after_periods(1))
        .grant("from the boundary on", Category::Plan, "1000", "1000")
        .but(|grant| {
            grant.effective_at = moment("2026-12-01T00:00:00Z").at;
            grant.expires = Expiry::NEVER;
        })
        .grant("over", Category::Plan, "100", "50")
        .but(|grant| grant.expires.at = Some(moment("2026-12-01T00:00:00Z").at))
        .grant("soon", Category::Plan, "100", "60")
        .but(|grant| grant.expires.at = Some(moment("2026-12-01T00:00:00Z").at + 9 * day));
    assert_eq!(close(r#"{"expire": ["plan"]}"#, &grants), "expire by hand");
    // What is carried over keeps an end of its own.
    assert_eq!(
        close(r#"{"expire": ["plan"], "rollover": {"expires_after_periods": 2}}"#, &grants),
        "roll 10 of by hand +90 at 1 p1; roll 60 of soon +40 at 1 until 9 p1; expire by hand"
    );
}

#[test]
fn what_is_held_or_used_rolls_over_as_if_it_were_not() {
    let held = |remaining: &str, held: &str| {
        november().grant("g1", Category::Plan, "1000", remaining).but(|grant| grant.held = credits(held))
    };
    for (rollover, remaining, in_flight, expected) in [
        ("{}", "100", "900", "roll 100 of g1 +900 at 1"),
        ("{}", "0", "900", "roll 0 of g1 +1000 at 1"),
        (r#"{"percent": 50}"#, "100", "900", "roll 50 of g1 +450 at 0.5"),
        (r#"{"percent": "33.3"}"#, "0", "10", "roll 0 of g1 +333 at 0.333"),
        (r#"{"cap": "500"}"#, "100", "900", "roll 100 of g1 +400 at 1"),
        (r#"{"cap": "500"}"#, "600", "400", "roll 500 of g1"),
        (r#"{"max": "500"}"#, "100", "900", "roll 100 of g1 +400 at 1"),
    ] {
        let settings = format!(r#"{{"expire": ["plan"], "rollover": {rollover}}}"#);
        assert_eq!(close(&settings, &held(remaining, in_flight)), expected, "{rollover}");
    }
}

#[test]
fn what_exceeds_the_most_in_all_is_taken_from_the_oldest() {
    let carried = november()
        .grant("new", Category::Plan, "100", "40")
        .grant("older", Category::Rollover, "20", "20")
        .but(|grant| grant.expires = Expiry::after_periods(1))
        .grant("younger", Category::Rollover, "20", "20")
        .but(|grant| grant.expires = Expiry::after_periods(2))
        .grant("due", Category::Rollover, "20", "20")
        .but(|grant| grant.expires = Expiry::after_periods(0));
    for (max, expected) in [
        ("80", "roll 40 of new p2"),
        ("70", "roll 40 of new p2; roll 10 of older p0; expire older"),
        ("60", "roll 40 of new p2; expire older"),
        ("45", "roll 40 of new p2; roll 5 of younger p1; expire younger older"),
        ("40", "roll 40 of new p2; expire younger older"),
        ("30", "roll 30 of new p2; expire younger older"),
    ] {
        let settings =
            format!(r#"{{"expire": ["plan"], "rollover": {{"max": "{max}", "expires_after_periods": 3}}}}"#);
        assert_eq!(close(&settings, &carried), expected, "{max}");
    }
    let held = november()
        .grant("new", Category::Plan, "100", "40")
        .grant("older", Category::Rollover, "20", "5")
        .but(|grant| grant.held = credits("15"));
    let settings = r#"{"expire": ["plan"], "rollover": {"max": "50"}}"#;
    assert_eq!(close(settings, &held), "roll 40 of new; roll 5 of older +5 at 1; expire older");
}

#[test]
fn each_credit_type_has_limits_of_its_own() {
    let grants = november()
        .grant("g1", Category::Plan, "100", "40")
        .grant("g2", Category::Plan, "100", "40")
        .but(|grant| grant.credit = "images".to_owned());
    let settings = r#"{"expire": ["plan"], "rollover": {"cap": "30"}}"#;
    assert_eq!(close(settings, &grants), "roll 30 of g1; roll 30 of g2");
    let notes = Terms::<Standard>::new(&format!(r#"{{"reset": {settings}}}"#))
        .close(CloseReason::Scheduled, &grants)
        .notes;
    assert_eq!(notes, ["30 credits rolled over", "30 images rolled over"]);
}

#[test]
fn every_way_a_period_ends_rolls_over_but_a_customers_closing() {
    use CloseReason::{Closed, Early, PlanChanged, PlanEnded, Scheduled};
    let grants = november().grant("g1", Category::Plan, "100", "40");
    for (reason, expected) in [
        (Scheduled, "roll 40 of g1 +60 at 1"),
        (Early, "roll 40 of g1 +60 at 1"),
        (PlanChanged, "roll 40 of g1 +60 at 1"),
        (PlanEnded, "roll 40 of g1 +60 at 1"),
        (Closed, ""),
    ] {
        assert_eq!(
            close_for(reason, r#"{"expire": ["plan"], "rollover": {}}"#, &grants),
            expected,
            "{reason:?}"
        );
    }
}

#[test]
fn overage_is_settled() {
    use CloseReason::{Closed, Early, PlanChanged, PlanEnded, Scheduled};
    let owing = november().overage("12");
    for (method, reason, at_close, at_open) in [
        ("keep", Scheduled, "", ""),
        ("invoice", Scheduled, "invoice", ""),
        ("invoice", PlanChanged, "invoice", ""),
        ("invoice", PlanEnded, "invoice", ""),
        ("invoice", Closed, "invoice", ""),
        ("waive", Scheduled, "waive", ""),
        ("waive", Early, "waive", ""),
        ("waive", Closed, "waive", ""),
        // Moving between plans forgives nothing.
        ("waive", PlanChanged, "", ""),
        ("waive", PlanEnded, "", ""),
        ("deduct", Scheduled, "", "deduct"),
        ("deduct", PlanChanged, "", "deduct"),
        // No allowance comes that could pay.
        ("deduct", PlanEnded, "deduct", "deduct"),
        ("deduct", Closed, "deduct", "deduct"),
    ] {
        let settings = format!(r#"{{"overage": "{method}"}}"#);
        assert_eq!(close_for(reason, &settings, &owing), at_close, "{method} {reason:?}");
        assert_eq!(open(&settings, OpenReason::Scheduled, Allowance::Carry, &owing), at_open, "{method}");
        assert_eq!(close_for(reason, &settings, &november()), "");
    }
}

#[test]
fn thousands_of_grants_can_be_named() {
    let mut grants = november();
    for n in 0..3_000 {
        grants = grants
            .grant(&format!("g{n}"), Category::Plan, "1", "1")
            .but(|grant| grant.expires = Expiry::NEVER);
    }
    let outcome = Terms::<Standard>::new(r#"{"reset": {"expire": ["plan"], "rollover": {"cap": "2999.5"}}}"#)
        .close(CloseReason::Scheduled, &grants);
    assert_eq!((outcome.expire.len(), outcome.roll_over.len()), (3_000, 3_000));
    let moved = Credits::checked_sum(outcome.roll_over.iter().map(|rollover| rollover.amount));
    assert_eq!(moved, Some(credits("2999.5")));
}
