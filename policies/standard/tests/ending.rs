//! What the standard policy does when credits run out and when a period ends, as tables.

use policy_standard::Standard;
use proviso_sdk::{
    Credits,
    testing::{ContextBuilder, Terms, context, moment, period, usage},
    types::{OverageOutcome, ResetOutcome},
};

const NOVEMBER: &str = "2026-11-23T10:00:00Z";

fn next() -> proviso_sdk::types::Period {
    period(2, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
}

/// The end of November.
fn closing() -> ContextBuilder {
    context("2026-12-01T00:00:00Z").period(period(1, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"))
}

fn overage(settings: &str, shortfall: &str) -> String {
    let settings = format!(r#"{{"unrated": "free", {settings}}}"#);
    match Terms::<Standard>::new(&settings).overage(&usage("chat"), shortfall, &context(NOVEMBER)) {
        OverageOutcome::Deny(refusal) => {
            format!(
                "deny {}{}",
                refusal.code,
                if refusal.retry_at.is_some() { " until the reset" } else { "" }
            )
        }
        OverageOutcome::Allow(i64::MAX) => "allow".to_owned(),
        OverageOutcome::Allow(limit) => format!("allow {}", Credits(limit)),
        OverageOutcome::RequirePurchase(offers) => offers
            .iter()
            .map(|offer| {
                format!("buy {} for {:?}", Credits(offer.credits), offer.price.as_ref().map(|p| &p.amount))
            })
            .collect(),
        OverageOutcome::TopUp(top_up) => format!(
            "top up {} for {:?}, {:?} days",
            Credits(top_up.amount),
            top_up.cost_basis.map(|money| money.amount),
            top_up.expires_at.map(|at| (at - moment(NOVEMBER).at) / 86_400_000_000)
        ),
    }
}

#[test]
fn beyond_the_last_credit() {
    let pack = r#""overage": {"mode": "top_up", "pack": "100", "max_packs": 3, "expires_after_days": 90,
                              "price": {"amount": "9.90", "currency": "EUR"}}"#;
    for (settings, shortfall, expected) in [
        (r#""overage": {}"#, "1", "deny insufficient_credits"),
        (r#""reset": {"allowance": [{"amount": "5"}]}"#, "1", "deny insufficient_credits until the reset"),
        (r#""overage": {"mode": "allow"}"#, "1", "allow"),
        (r#""overage": {"mode": "allow", "limit": "500"}"#, "1", "allow 500"),
        (
            r#""overage": {"mode": "require_purchase", "offers": [{"code": "pack", "label": "A pack", "credits": "100",
               "price": {"amount": "9.90", "currency": "EUR"}}]}"#,
            "1",
            "buy 100 for Some(\"9.9\")",
        ),
        (pack, "0.5", "top up 100 for Some(\"9.9\"), Some(90) days"),
        (pack, "100.000001", "top up 200 for Some(\"19.8\"), Some(90) days"),
        (pack, "301", "deny insufficient_credits"),
    ] {
        assert_eq!(overage(settings, shortfall), expected, "{settings}");
    }
}

fn show(outcome: &ResetOutcome) -> String {
    let mut parts = Vec::new();
    for rollover in &outcome.roll_over {
        let until = if rollover.expires_at.is_some() { " until the next end" } else { "" };
        parts.push(format!("roll {} of {}{until}", Credits(rollover.amount), rollover.grant));
    }
    if !outcome.expire.is_empty() {
        parts.push(format!("expire {}", outcome.expire.join(" ")));
    }
    for grant in &outcome.issue {
        let until = if grant.expires_at.is_some() { " until the next end" } else { "" };
        parts.push(format!("issue {} {} {}{until}", Credits(grant.amount), grant.credit, grant.category));
    }
    for settlement in &outcome.settle {
        parts.push(format!("{} {}", settlement.method, Credits(settlement.amount)));
    }
    parts.join("; ")
}

fn reset(reset: &str, context: &ContextBuilder) -> String {
    show(&Terms::<Standard>::new(&format!(r#"{{"reset": {reset}}}"#)).reset(&next(), context))
}

#[test]
fn without_settings_a_reset_does_nothing() {
    let terms = Terms::<Standard>::new("{}");
    assert_eq!(
        terms.reset(&next(), &closing().grant("grant_1", "plan", "100", "40")),
        ResetOutcome::default()
    );
}

#[test]
fn a_first_period_only_issues() {
    let terms = Terms::<Standard>::new(
        r#"{"reset": {"allowance": [{"amount": "1000"}, {"amount": "5", "credit": "images", "category": "promotional"}],
            "expire": ["plan"], "overage": "waive"}}"#,
    );
    let opened = terms.open(&context(NOVEMBER).grant("grant_1", "plan", "9", "9"));
    assert_eq!(show(&opened), "issue 1000 credits plan until the next end; issue 5 images promotional");
}

#[test]
fn the_rest_expires_or_rolls_over() {
    let grants = closing()
        .grant("grant_1", "plan", "100", "40")
        .grant("grant_2", "plan", "100", "30.5")
        .grant("grant_3", "prepaid", "100", "90")
        .grant("grant_4", "plan", "100", "0");
    let issued = "issue 100 credits plan until the next end";
    for (settings, expected) in [
        (r#"{"allowance": [{"amount": "100"}]}"#, format!("expire grant_1 grant_2 grant_4; {issued}")),
        (r#"{"allowance": [{"amount": "100"}], "expire": []}"#, "issue 100 credits plan".to_owned()),
        (
            r#"{"allowance": [{"amount": "100"}], "rollover": {}}"#,
            format!("roll 40 of grant_1; roll 30.5 of grant_2; expire grant_1 grant_2 grant_4; {issued}"),
        ),
        (
            r#"{"allowance": [{"amount": "100"}], "rollover": {"percent": 50, "expires_after_periods": 1}}"#,
            format!(
                "roll 20 of grant_1 until the next end; roll 15.25 of grant_2 until the next end; \
                 expire grant_1 grant_2 grant_4; {issued}"
            ),
        ),
        (
            r#"{"allowance": [{"amount": "100"}], "rollover": {"cap": "50"}}"#,
            format!("roll 40 of grant_1; roll 10 of grant_2; expire grant_1 grant_2 grant_4; {issued}"),
        ),
        (
            r#"{"expire": ["prepaid"], "rollover": {"max": "7"}}"#,
            "roll 7 of grant_3; expire grant_3".to_owned(),
        ),
    ] {
        assert_eq!(reset(settings, &grants), expected, "{settings}");
    }
}

#[test]
fn what_was_carried_over_lives_its_periods() {
    let carried = |since: &str| {
        let mut grant = closing().grant("grant_9", "rollover", "20", "20").build().grants.remove(0);
        grant.effective_at = moment(since).at;
        closing().grant("grant_1", "plan", "100", "40").with_grant(grant)
    };
    for (settings, since, expected) in [
        (r#"{"expires_after_periods": 2}"#, "2026-11-01T00:00:00Z", "roll 40 of grant_1; expire grant_1"),
        (
            r#"{"expires_after_periods": 2}"#,
            "2026-10-01T00:00:00Z",
            "roll 40 of grant_1; expire grant_1 grant_9",
        ),
        (r#"{}"#, "2020-10-01T00:00:00Z", "roll 40 of grant_1; expire grant_1"),
        (r#"{"max": "50"}"#, "2026-10-01T00:00:00Z", "roll 30 of grant_1; expire grant_1"),
        (
            r#"{"max": "50", "expires_after_periods": 2}"#,
            "2026-10-01T00:00:00Z",
            "roll 40 of grant_1; expire grant_1 grant_9",
        ),
    ] {
        let settings = format!(r#"{{"expire": ["plan"], "rollover": {settings}}}"#);
        assert_eq!(reset(&settings, &carried(since)), expected, "{settings} {since}");
    }
}

#[test]
fn overage_is_settled() {
    let owing =
        closing().grant("grant_1", "plan", "100", "0").grant("grant_2", "prepaid", "10", "5").overage("12");
    for (method, allowance, expected) in [
        ("keep", "7", "expire grant_1; issue 7 credits plan until the next end"),
        ("invoice", "7", "expire grant_1; issue 7 credits plan until the next end; invoice 12"),
        ("waive", "7", "expire grant_1; issue 7 credits plan until the next end; waive 12"),
        ("deduct", "7", "expire grant_1; issue 7 credits plan until the next end; deduct 12"),
        // Never more than the grants hold: the rest stays outstanding.
        ("deduct", "6", "expire grant_1; issue 6 credits plan until the next end; deduct 11"),
    ] {
        let settings = format!(r#"{{"allowance": [{{"amount": "{allowance}"}}], "overage": "{method}"}}"#);
        assert_eq!(reset(&settings, &owing), expected, "{method}");
    }
    let nothing_owed = closing();
    assert_eq!(reset(r#"{"overage": "invoice"}"#, &nothing_owed), "");
}
