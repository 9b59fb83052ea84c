//! What usages cost under the standard policy, as tables.

use policy_standard::Standard;
use proviso_sdk::{
    Purpose, RefusalKind,
    testing::{ContextBuilder, Terms, UsageBuilder, context, pointers, show, usage},
};

const NOW: &str = "2026-11-23T10:00:00+01:00";

fn check(settings: &str, rows: &[(UsageBuilder, ContextBuilder, &str)]) {
    let terms = Terms::<Standard>::new(settings);
    for (usage, context, expected) in rows {
        assert_eq!(show(&terms.rate(usage, context)), *expected, "{usage:?}");
    }
}

#[test]
fn tokens_cost_what_the_contract_says() {
    let settings = r#"{"rates": [
        {"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": "0.001"}},
        {"feature": "chat", "quantity": "output_tokens", "price": {"per_unit": "0.002"}}
    ]}"#;
    let both =
        usage("chat").quantity("input_tokens", "1200").quantity("output_tokens", "300").entity("user-7");
    check(
        settings,
        &[
            (
                both.attribute("model", "large"),
                context(NOW),
                "input tokens: 1200 x 0.001 = 1.2\noutput tokens: 300 x 0.002 = 0.6\n1.8 credits",
            ),
            (usage("chat").quantity("input_tokens", "0"), context(NOW), "0 credits"),
            (usage("chat").quantity("input_tokens", "-1"), context(NOW), "negative_quantity"),
            (usage("chat").quantity("images", "1"), context(NOW), "feature_not_rated"),
            (usage("search").quantity("input_tokens", "1"), context(NOW), "feature_not_rated"),
        ],
    );
}

#[test]
fn the_most_specific_rate_wins() {
    let settings = r#"{"unrated": "free", "rates": [
        {"quantity": "tokens", "label": "any", "price": {"per_unit": "1"}},
        {"quantity": "tokens", "label": "any large", "when": {"model": "large"}, "price": {"per_unit": "2"}},
        {"feature": "chat", "quantity": "tokens", "label": "chat", "price": {"per_unit": "3"}},
        {"feature": "chat", "quantity": "tokens", "label": "large", "when": {"model": "large"}, "price": {"per_unit": "4"}},
        {"feature": "chat", "quantity": "tokens", "label": "eu", "when": {"region": "eu"}, "price": {"per_unit": "5"}},
        {"feature": "chat", "quantity": "tokens", "label": "large eu", "when": {"model": "large", "region": "eu"},
         "price": {"per_unit": "6"}},
        {"feature": "export", "quantity": "tokens", "label": "large only", "when": {"model": "large"},
         "price": {"per_unit": "7"}}
    ]}"#;
    let terms = Terms::<Standard>::new(settings);
    for (feature, attributes, label) in [
        ("search", &[][..], "any"),
        ("search", &[("model", "large")], "any large"),
        ("chat", &[], "chat"),
        ("chat", &[("model", "small")], "chat"),
        ("chat", &[("model", "large")], "large"),
        ("chat", &[("region", "eu")], "eu"),
        ("chat", &[("model", "large"), ("region", "us")], "large"),
        ("chat", &[("model", "large"), ("region", "eu")], "large eu"),
        // No rate of the feature fits, so one for every feature does.
        ("export", &[("model", "small")], "any"),
    ] {
        let mut used = usage(feature).quantity("tokens", "1");
        for (name, value) in attributes {
            used = used.attribute(name, value);
        }
        let rating = terms.rate(&used, &context(NOW)).unwrap();
        assert_eq!(rating.lines[0].label, label, "{feature} {attributes:?}");
    }
    assert_eq!(show(&terms.rate(&usage("chat").quantity("pages", "1"), &context(NOW))), "0 credits");
}

#[test]
fn flat_blocks_and_minimum() {
    let settings = r#"{"minimum_charge": "0.05", "credit": "points", "rates": [
        {"feature": "web_search", "price": {"flat": "0.5"}},
        {"feature": "ping", "price": {"flat": "0.01"}},
        {"feature": "gift", "price": {"flat": "0"}},
        {"feature": "storage", "quantity": "bytes", "price": {"per_block": {"size": 1000, "price": "0.02"}}},
        {"feature": "render", "price": {"flat": "1"}},
        {"feature": "render", "quantity": "seconds", "price": {"per_unit": "0.1"}}
    ]}"#;
    check(
        settings,
        &[
            (
                usage("web_search").quantity("seen", "3"),
                context(NOW),
                "web search: 1 x 0.5 = 0.5\n0.5 points",
            ),
            (
                usage("ping"),
                context(NOW),
                "ping: 1 x 0.01 = 0.01\nminimum charge: 1 x 0.04 = 0.04\n0.05 points",
            ),
            (usage("gift"), context(NOW), "gift: 1 x 0 = 0\n0 points"),
            (
                usage("storage").quantity("bytes", "3000.5"),
                context(NOW),
                "bytes, blocks of 1000: 4 x 0.02 = 0.08\n0.08 points",
            ),
            (
                usage("render").quantity("seconds", "2.5"),
                context(NOW),
                "render: 1 x 1 = 1\nseconds: 2.5 x 0.1 = 0.25\n1.25 points",
            ),
        ],
    );
}

#[test]
fn tiers_look_at_the_total_before() {
    let settings = r#"{"rates": [
        {"feature": "api", "quantity": "calls", "price": {"graduated": {"per": "month", "tiers": [
            {"up_to": 100, "per_unit": "1"}, {"up_to": 200, "per_unit": "0.5"}, {"per_unit": "0.1"}]}}},
        {"feature": "mail", "quantity": "sent", "price": {"volume": {"per": "period", "tiers": [
            {"up_to": 100, "per_unit": "1"}, {"per_unit": "0.5"}]}}},
        {"feature": "scan", "quantity": "pages", "price": {"graduated": {"tiers": [
            {"up_to": 10, "per_unit": "2"}, {"per_unit": "1"}]}}},
        {"feature": "chat", "quantity": "tokens", "included": {"units": 1000, "per": "period"},
         "price": {"per_unit": "0.01"}}
    ]}"#;
    let totals =
        |calls: &str, tokens: &str, sent: &str| context(NOW).counter(calls).counter(tokens).counter(sent);
    let terms = Terms::<Standard>::new(settings);
    let names: Vec<_> = terms.counters().iter().map(|counter| counter.name.as_str()).collect();
    assert_eq!(names, ["api.calls.customer.month", "chat.tokens.customer.cycle", "mail.sent.customer.cycle"]);
    check(
        settings,
        &[
            (
                usage("api").quantity("calls", "10"),
                totals("0", "0", "0"),
                "calls, tier 1: 10 x 1 = 10\n10 credits",
            ),
            (
                usage("api").quantity("calls", "150"),
                totals("90", "0", "0"),
                "calls, tier 1: 10 x 1 = 10\ncalls, tier 2: 100 x 0.5 = 50\ncalls, tier 3: 40 x 0.1 = 4\n64 credits",
            ),
            (
                usage("api").quantity("calls", "1"),
                totals("100", "0", "0"),
                "calls, tier 2: 1 x 0.5 = 0.5\n0.5 credits",
            ),
            (
                usage("mail").quantity("sent", "60"),
                totals("0", "0", "40"),
                "sent, tier 1: 60 x 1 = 60\n60 credits",
            ),
            (
                usage("mail").quantity("sent", "61"),
                totals("0", "0", "40"),
                "sent, tier 2: 61 x 0.5 = 30.5\n30.5 credits",
            ),
            (
                usage("scan").quantity("pages", "12"),
                totals("0", "0", "0"),
                "pages, tier 1: 10 x 2 = 20\npages, tier 2: 2 x 1 = 2\n22 credits",
            ),
            (
                usage("chat").quantity("tokens", "300"),
                totals("0", "800", "0"),
                "tokens, included: 200 x 0 = 0\ntokens: 100 x 0.01 = 1\n1 credits",
            ),
        ],
    );
}

#[test]
fn totals_are_kept_for_each_value_and_shared_between_rates() {
    let terms = Terms::<Standard>::new(
        r#"{"rates": [
        {"feature": "chat", "quantity": "tokens", "when": {"model": "large"}, "included": {"units": 5, "per": "day"},
         "price": {"per_unit": "1"}},
        {"feature": "chat", "quantity": "tokens", "when": {"model": "small"}, "included": {"units": 9, "per": "day"},
         "price": {"per_unit": "1"}}
    ]}"#,
    );
    let [counter] = terms.counters() else { panic!("{:?}", terms.counters()) };
    assert_eq!((counter.measure.as_str(), counter.scope.as_str()), ("quantity:tokens", "attribute:model"));
    assert_eq!((counter.features.as_slice(), counter.window.as_str()), (&["chat".to_owned()][..], "day"));
}

#[test]
fn every_line_is_rounded_as_the_settings_say() {
    for (rounding, cost) in [
        ("up", "0.000000000003"),
        ("down", "0.000000000002"),
        ("half_up", "0.000000000003"),
        ("half_even", "0.000000000002"),
    ] {
        let terms = Terms::<Standard>::new(&format!(
            r#"{{"rounding": "{rounding}", "rates": [{{"quantity": "n", "price": {{"per_unit": "0.000000000001"}}}}]}}"#
        ));
        let rating = terms.rate(&usage("f").quantity("n", "2.5"), &context(NOW));
        assert_eq!(show(&rating), format!("n: 2.5 x 0.000000000001 = {cost}\n{cost} credits"));
    }
}

#[test]
fn parts_with_prices_of_their_own_are_taken_off_the_whole() {
    let settings = r#"{"rates": [
        {"feature": "chat", "quantity": "input", "less": ["cached", "written"], "price": {"per_unit": "1"}},
        {"feature": "chat", "quantity": "cached", "price": {"per_unit": "0.1"}}
    ]}"#;
    let used = |input: &str, cached: &str, written: &str| {
        usage("chat").quantity("cached", cached).quantity("input", input).quantity("written", written)
    };
    check(
        settings,
        &[
            (used("100", "40", "10"), context(NOW), "cached: 40 x 0.1 = 4\ninput: 50 x 1 = 50\n54 credits"),
            (used("50", "40", "10"), context(NOW), "cached: 40 x 0.1 = 4\n4 credits"),
            (used("49", "40", "10"), context(NOW), "parts_exceed_quantity"),
            (usage("chat").quantity("input", "7"), context(NOW), "input: 7 x 1 = 7\n7 credits"),
        ],
    );
}

#[test]
fn prices_depend_on_other_quantities_of_the_usage() {
    let settings = r#"{"rates": [
        {"quantity": "input", "price": {"per_unit": "1"}},
        {"quantity": "output", "price": {"per_unit": "2"}},
        {"quantity": "input", "above": {"quantities": ["input", "cached"], "amount": 200000}, "price": {"per_unit": "3"}},
        {"quantity": "output", "above": {"quantities": ["input", "cached"], "amount": 200000}, "price": {"per_unit": "4"}},
        {"quantity": "output", "above": {"quantities": ["input", "cached"], "amount": 400000}, "price": {"per_unit": "5"}}
    ]}"#;
    let used = |input: &str, cached: &str| {
        usage("chat").quantity("cached", cached).quantity("input", input).quantity("output", "1")
    };
    for (input, cached, output_price, cost) in [
        ("100000", "100000", "2", "100002"),
        ("100000", "100001", "4", "300004"),
        ("200001", "0", "4", "600007"),
        ("100000", "300001", "5", "300005"),
    ] {
        let rating = Terms::<Standard>::new(settings).rate(&used(input, cached), &context(NOW)).unwrap();
        assert_eq!(rating.lines[1].unit_cost.to_string(), output_price, "{input} {cached}");
        assert_eq!(rating.cost.to_string(), cost, "{input} {cached}");
    }
}

#[test]
fn the_most_specific_pattern_wins() {
    let settings = r#"{"unrated": "free", "rates": [
        {"quantity": "n", "label": "any", "when": {"model": "*"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "gpt", "when": {"model": "gpt-*"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "4o", "when": {"model": "gpt-4o*"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "mini", "when": {"model": "gpt-*-mini"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "4o exactly", "when": {"model": "gpt-4o"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "4o eu", "when": {"model": "gpt-4o*", "region": "eu-*"}, "price": {"per_unit": "1"}},
        {"quantity": "n", "label": "4o long", "when": {"model": "gpt-4o*"}, "above": {"quantities": ["n"], "amount": 9},
         "price": {"per_unit": "1"}}
    ]}"#;
    let terms = Terms::<Standard>::new(settings);
    let used = |model: &str| usage("chat").quantity("n", "1").attribute("model", model);
    for (used, label) in [
        (used("claude"), Some("any")),
        (used("gpt-5"), Some("gpt")),
        (used("gpt-4o-2024"), Some("4o")),
        (used("gpt-4o"), Some("4o exactly")),
        // 9 characters against 7.
        (used("gpt-4o-mini"), Some("mini")),
        (used("gpt-4o").attribute("region", "eu-west"), Some("4o eu")),
        (used("gpt-4o").attribute("region", "us"), Some("4o exactly")),
        (usage("chat").quantity("n", "10").attribute("model", "gpt-4o"), Some("4o long")),
        (usage("chat").quantity("n", "1"), None),
    ] {
        let rating = terms.rate(&used, &context(NOW)).unwrap();
        assert_eq!(rating.lines.first().map(|line| line.label.as_str()), label, "{used:?}");
    }
}

#[test]
fn multipliers_change_all_prices_of_a_usage() {
    let settings = r#"{"minimum_charge": "0.5", "maximum_charge": "100", "rates": [
        {"feature": "chat", "quantity": "input", "price": {"per_unit": "0.0000000003"}},
        {"feature": "chat", "quantity": "output", "price": {"graduated": {"tiers": [
            {"up_to": 10, "per_unit": "2"}, {"per_unit": "1"}]}}},
        {"feature": "chat", "price": {"flat": "1"}}
    ], "multipliers": [
        {"when": {"service_tier": "batch"}, "times": "0.5", "label": "batch"},
        {"when": {"service_tier": "prio*"}, "times": 2},
        {"feature": "chat", "when": {"service_tier": "free"}, "times": 0}
    ]}"#;
    let used = usage("chat").quantity("input", "1000000000").quantity("output", "12");
    for (tier, expected) in [
        (
            "standard",
            "chat: 1 x 1 = 1\ninput: 1000000000 x 0.0000000003 = 0.3\noutput, tier 1: 10 x 2 = 20\n\
             output, tier 2: 2 x 1 = 2\n23.3 credits",
        ),
        (
            "batch",
            "chat, batch: 1 x 0.5 = 0.5\ninput, batch: 1000000000 x 0.00000000015 = 0.15\n\
             output, tier 1, batch: 10 x 1 = 10\noutput, tier 2, batch: 2 x 0.5 = 1\n11.65 credits",
        ),
        (
            "priority",
            "chat, x 2: 1 x 2 = 2\ninput, x 2: 1000000000 x 0.0000000006 = 0.6\noutput, tier 1, x 2: 10 x 4 = 40\n\
             output, tier 2, x 2: 2 x 2 = 4\n46.6 credits",
        ),
        (
            "free",
            "chat, x 0: 1 x 0 = 0\ninput, x 0: 1000000000 x 0 = 0\noutput, tier 1, x 0: 10 x 0 = 0\n\
             output, tier 2, x 0: 2 x 0 = 0\n0 credits",
        ),
    ] {
        let rating = Terms::<Standard>::new(settings)
            .rate(&used.clone().attribute("service_tier", tier), &context(NOW));
        assert_eq!(show(&rating), expected, "{tier}");
    }
}

/// A price times a multiplier may have more than 12 places: it is the cost that is rounded, once.
#[test]
fn a_multiplied_price_is_not_rounded_for_each_unit() {
    let settings = r#"{"rates": [{"quantity": "n", "price": {"per_unit": "0.000000000001"}}],
                       "multipliers": [{"when": {"tier": "batch"}, "times": "0.25"}],
                       "discounts": [{"percent": 50}]}"#;
    let used = usage("f").quantity("n", "800000").attribute("tier", "batch");
    let rating = Terms::<Standard>::new(settings).rate(&used, &context(NOW)).unwrap();
    assert_eq!(rating.cost.to_string(), "0.0000001");
}

#[test]
fn the_largest_discount_that_holds_is_taken() {
    let settings = r#"{"rates": [{"quantity": "n", "price": {"per_unit": "1"}}],
        "multipliers": [{"when": {"tier": "batch"}, "times": "0.5", "label": "batch"}],
        "discounts": [
            {"hours": {"from": "22:00", "to": "06:00"}, "percent": 20, "label": "night"},
            {"spend": {"per": "month", "from": "1000"}, "percent": 10},
            {"spend": {"per": "month", "from": "5000"}, "percent": "25.5"},
            {"feature": "chat", "when": {"model": "s*"}, "spend": {"per": "day", "from": "1"},
             "hours": {"from": "09:00", "to": "10:01"}, "percent": 100, "label": "thanks"}
        ]}"#;
    let terms = Terms::<Standard>::new(settings);
    let declared: Vec<_> = terms.counters().iter().map(|c| (c.name.as_str(), c.measure.as_str())).collect();
    assert_eq!(declared, [("chat.cost.day", "cost"), ("all.cost.month", "cost")]);
    let used = |time: &str| usage("chat").quantity("n", "10").at(time);
    let (noon, night) = ("2026-11-23T12:00:00+01:00", "2026-11-23T22:00:00+01:00");
    for (used, today, month, held, expected) in [
        (used(noon), "0", "999.99", "9000", "n: 10 x 1 = 10\n10 credits"),
        (used(noon), "0", "1000", "0", "n, 10% off: 10 x 0.9 = 9\n9 credits"),
        (used(noon), "0", "5000", "0", "n, 25.5% off: 10 x 0.745 = 7.45\n7.45 credits"),
        (used(night), "0", "1000", "0", "n, night: 10 x 0.8 = 8\n8 credits"),
        (used(night), "0", "5000", "0", "n, 25.5% off: 10 x 0.745 = 7.45\n7.45 credits"),
        (used("2026-11-23T05:59:00+01:00"), "0", "0", "0", "n, night: 10 x 0.8 = 8\n8 credits"),
        (used("2026-11-23T06:00:00+01:00"), "0", "0", "0", "n: 10 x 1 = 10\n10 credits"),
        (used(night).attribute("tier", "batch"), "0", "0", "0", "n, batch, night: 10 x 0.4 = 4\n4 credits"),
        (used(NOW).attribute("model", "small"), "1", "0", "0", "n, thanks: 10 x 0 = 0\n0 credits"),
        (used(NOW).attribute("model", "large"), "1", "0", "0", "n: 10 x 1 = 10\n10 credits"),
        (used(noon).attribute("model", "small"), "1", "0", "0", "n: 10 x 1 = 10\n10 credits"),
    ] {
        for purpose in [Purpose::Charge, Purpose::Reserve, Purpose::Commit] {
            let context = context(NOW).counter(today).counter_with_held(month, held);
            let used = used.clone().purpose(purpose);
            assert_eq!(show(&terms.rate(&used, &context)), expected, "{used:?} {month}");
        }
    }
}

#[test]
fn a_usage_costs_at_least_and_at_most_so_much() {
    let settings = r#"{"minimum_charge": "0.5", "maximum_charge": "2",
                       "rates": [{"quantity": "n", "price": {"per_unit": "0.1"}}]}"#;
    for (amount, expected) in [
        ("1", "n: 1 x 0.1 = 0.1\nminimum charge: 1 x 0.4 = 0.4\n0.5 credits"),
        ("20", "n: 20 x 0.1 = 2\n2 credits"),
        ("21", "maximum charge, in place of 2.1: 1 x 2 = 2\n2 credits"),
    ] {
        let rating = Terms::<Standard>::new(settings).rate(&usage("f").quantity("n", amount), &context(NOW));
        assert_eq!(show(&rating), expected);
    }
}

#[test]
fn a_cost_beyond_all_bounds_is_refused() {
    let terms = Terms::<Standard>::new(r#"{"rates": [{"quantity": "n", "price": {"per_unit": "9000000"}}]}"#);
    for (amount, expected) in [
        ("1000", "n: 1000 x 9000000 = 9000000000\n9000000000 credits"),
        ("9000000000000", "amount_out_of_range"),
        ("999999999999999.9", "amount_out_of_range"),
    ] {
        let rating = terms.rate(&usage("f").quantity("n", amount), &context(NOW));
        assert_eq!(show(&rating), expected);
    }
}

#[test]
fn small_prices_and_large_amounts_are_exact() {
    let terms = Terms::<Standard>::new(
        r#"{"rates": [{"quantity": "tokens", "price": {"per_unit": "0.0000003"}},
                      {"quantity": "bytes", "price": {"per_unit": "0.000000000001"}}]}"#,
    );
    for (quantity, amount, expected) in [
        ("tokens", "25", "tokens: 25 x 0.0000003 = 0.0000075\n0.0000075 credits"),
        (
            "bytes",
            "900000000000001",
            "bytes: 900000000000001 x 0.000000000001 = 900.000000000001\n900.000000000001 credits",
        ),
    ] {
        assert_eq!(show(&terms.rate(&usage("f").quantity(quantity, amount), &context(NOW))), expected);
    }
}

#[test]
fn tiers_of_a_reservation_begin_where_all_holds_are_used() {
    let terms = Terms::<Standard>::new(
        r#"{"rates": [{"quantity": "tokens", "included": {"units": 1000, "per": "period"}, "price": {"per_unit": "1"}}]}"#,
    );
    for (purpose, expected) in [
        (Purpose::Charge, "tokens, included: 800 x 0 = 0\n0 credits"),
        (Purpose::Commit, "tokens, included: 800 x 0 = 0\n0 credits"),
        (Purpose::Reserve, "tokens, included: 200 x 0 = 0\ntokens: 600 x 1 = 600\n600 credits"),
    ] {
        let used = usage("chat").quantity("tokens", "800").purpose(purpose);
        assert_eq!(
            show(&terms.rate(&used, &context(NOW).counter_with_held("100", "700"))),
            expected,
            "{purpose:?}"
        );
    }
}

#[test]
fn a_usage_without_a_price_is_invalid() {
    let terms = Terms::<Standard>::new(
        r#"{"rates": [{"feature": "chat", "quantity": "n", "price": {"per_unit": "1"}}]}"#,
    );
    for used in [usage("search"), usage("chat").quantity("n", "-1")] {
        assert_eq!(terms.rate(&used, &context(NOW)).unwrap_err().kind, RefusalKind::Invalid);
    }
}

#[test]
fn the_features_that_have_a_price_are_named() {
    let features = |settings: &str| {
        let prepared = Terms::<Standard>::new(settings).prepared.features;
        let name = |feature: proviso_sdk::PricedFeature| {
            format!("{} {}", feature.feature.as_deref().unwrap_or("*"), feature.credit)
        };
        prepared.into_iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let rates = r#""rates": [{"feature": "search", "price": {"flat": "1"}}, {"feature": "chat", "price": {"flat": "1"}},
                             {"feature": "chat", "quantity": "n", "price": {"flat": "1"}}]"#;
    for (settings, expected) in [
        ("{}".to_owned(), ""),
        (format!("{{{rates}}}"), "chat credits, search credits"),
        (
            format!(r#"{{"credit": "points", "unrated": "free", {rates}}}"#),
            "chat points, search points, * points",
        ),
        (r#"{"rates": [{"price": {"flat": "1"}}]}"#.to_owned(), "* credits"),
    ] {
        assert_eq!(features(&settings), expected, "{settings}");
    }
}

#[test]
fn a_rating_never_has_more_lines_than_the_host_takes() {
    let tiers = |same: bool| {
        let tier = |n: usize| {
            let end = if n < 31 { format!(r#""up_to": {}, "#, n + 1) } else { String::new() };
            format!(r#"{{{end}"per_unit": "{}"}}"#, if same { 1 } else { n })
        };
        (0..32).map(tier).collect::<Vec<_>>().join(",")
    };
    let rates = |quantities: usize, same: bool| {
        let rate = |n: usize| {
            let feature = if n.is_multiple_of(2) { r#""feature": "chat", "# } else { "" };
            format!(
                r#"{{{feature}"quantity": "q{n}", "price": {{"graduated": {{"tiers": [{}]}}}}}}"#,
                tiers(same)
            )
        };
        format!(
            r#"{{"minimum_charge": "1", "rates": [{}]}}"#,
            (0..quantities).map(rate).collect::<Vec<_>>().join(",")
        )
    };
    let used = |quantities: usize| {
        (0..quantities).fold(usage("chat"), |used, n| used.quantity(&format!("q{n}"), "100"))
    };
    // 7 x 32 and the minimum charge.
    let rating = Terms::<Standard>::new(&rates(7, false)).rate(&used(7), &context(NOW)).unwrap();
    assert_eq!(rating.lines.len(), 224);
    assert_eq!(pointers::<Standard>(&rates(8, false)), ["/rates"]);
    // Tiers that cost the same are one line.
    let rating = Terms::<Standard>::new(&rates(40, true)).rate(&used(40), &context(NOW)).unwrap();
    assert_eq!(rating.lines.len(), 40);
}

#[test]
fn wrong_settings_are_named_with_their_place() {
    let rate = |fields: &str| format!(r#"{{"rates": [{{{fields}}}]}}"#);
    for (settings, expected) in [
        ("{", &[""][..]),
        (r#"{"rate": []}"#, &["/rate"]),
        (&rate(r#""price": {"per_unit": "1"}"#), &["/rates/0/price"]),
        (&rate(r#""price": {"flat": 1}"#), &["/rates/0/price/flat"]),
        (&rate(r#""price": {"flat": "-1"}"#), &["/rates/0/price/flat"]),
        (&rate(r#""price": {"flat": "1", "per_unit": "1"}"#), &["/rates/0/price"]),
        (&rate(r#""price": {"each": "1"}"#), &["/rates/0/price/each"]),
        (&rate(r#""feature": " a", "price": {"flat": "1"}"#), &["/rates/0/feature"]),
        (&rate(r#""price": {"flat": "1000000000000000"}"#), &["/rates/0/price/flat"]),
        (&rate(r#""price": {"flat": "0.0000000000001"}"#), &["/rates/0/price/flat"]),
        (
            &rate(r#""quantity": "n", "price": {"per_block": {"size": 0, "price": "1"}}"#),
            &["/rates/0/price/per_block/size"],
        ),
        (
            &rate(r#""quantity": "n", "price": {"graduated": {"tiers": []}}"#),
            &["/rates/0/price/graduated/tiers"],
        ),
        (
            &rate(
                r#""quantity": "n", "price": {"volume": {"tiers": [{"up_to": 5, "per_unit": "1"}, {"up_to": 5, "per_unit": "1"}]}}"#,
            ),
            &["/rates/0/price/volume/tiers/1/up_to", "/rates/0/price/volume/tiers/1/up_to"],
        ),
        (&rate(r#""price": {"flat": "1"}, "included": {"units": 1}"#), &["/rates/0/included"]),
        (
            &rate(
                r#""quantity": "n", "when": {"a": "1", "b": "2"}, "included": {"units": 1, "per": "day"}, "price": {"per_unit": "1"}"#,
            ),
            &["/rates/0/when"],
        ),
        (r#"{"rates": [{"price": {"flat": "1"}}, {"price": {"flat": "2"}}]}"#, &["/rates/1"]),
        (&rate(r#""price": {"flat": "1"}, "less": ["m"]"#), &["/rates/0/less"]),
        (&rate(r#""quantity": "n", "less": ["n"], "price": {"per_unit": "1"}"#), &["/rates/0/less"]),
        (
            &rate(r#""quantity": "n", "less": ["m", "", "m"], "price": {"per_unit": "1"}"#),
            &["/rates/0/less/1", "/rates/0/less/2"],
        ),
        (
            &rate(
                r#""quantity": "n", "less": ["m"], "included": {"units": 1, "per": "day"}, "price": {"per_unit": "1"}"#,
            ),
            &["/rates/0/less"],
        ),
        (&rate(r#""price": {"flat": "1"}, "above": {"amount": 5}"#), &["/rates/0/above"]),
        (
            &rate(r#""price": {"flat": "1"}, "above": {"quantities": [], "amount": "-1"}"#),
            &["/rates/0/above/quantities", "/rates/0/above/amount"],
        ),
        (
            &rate(
                r#""quantity": "n", "above": {"quantities": ["n"], "amount": 5},
                   "price": {"graduated": {"per": "month", "tiers": [{"per_unit": "1"}]}}"#,
            ),
            &["/rates/0/above"],
        ),
        (&rate(&format!(r#""label": "{}", "price": {{"flat": "1"}}"#, "x".repeat(301))), &["/rates/0/label"]),
        (r#"{"minimum_charge": "2", "maximum_charge": "1"}"#, &["/maximum_charge"]),
        (r#"{"maximum_charge": "0"}"#, &["/maximum_charge"]),
        (r#"{"multipliers": [{"times": "-1"}]}"#, &["/multipliers/0/times"]),
        (r#"{"multipliers": [{"when": {"a": 1}, "times": 1}]}"#, &["/multipliers/0/when/a"]),
        (r#"{"multipliers": [{"when": {"a": "b"}}]}"#, &["/multipliers/0"]),
        (
            r#"{"multipliers": [{"when": {"a": "b"}, "times": 1}, {"when": {"a": "b"}, "times": 2}]}"#,
            &["/multipliers/1"],
        ),
        (
            r#"{"discounts": [{"percent": 0}, {"percent": 101}]}"#,
            &["/discounts/0/percent", "/discounts/1/percent"],
        ),
        (
            r#"{"discounts": [{"hours": {"from": "9:00", "to": "10:00"}, "percent": 5}]}"#,
            &["/discounts/0/hours/from"],
        ),
        (
            r#"{"discounts": [{"hours": {"from": "09:00", "to": "09:00"}, "percent": 5}]}"#,
            &["/discounts/0/hours/to"],
        ),
        (
            r#"{"discounts": [{"spend": {"per": "usage", "from": "0"}, "percent": 5}]}"#,
            &["/discounts/0/spend/per", "/discounts/0/spend/from"],
        ),
        (r#"{"overage": {"mode": "block", "limit": "5"}}"#, &["/overage/limit"]),
        (r#"{"overage": {"mode": "top_up"}}"#, &["/overage"]),
        (r#"{"overage": {"mode": "require_purchase"}}"#, &["/overage/offers"]),
        (r#"{"reset": {"allowance": [{"amount": "0"}]}}"#, &["/reset/allowance/0/amount"]),
        (
            r#"{"reset": {"allowance": [{"amount": "1", "category": "gift"}]}}"#,
            &["/reset/allowance/0/category"],
        ),
        (r#"{"reset": {"rollover": {"percent": 101}}}"#, &["/reset/rollover/percent"]),
    ] {
        assert_eq!(pointers::<Standard>(settings), expected, "{settings}");
    }
    assert_eq!(pointers::<Standard>("{}"), [""; 0]);
}

#[test]
fn hundreds_of_rates_fit_into_the_form() {
    let settings = |count: usize| {
        let rate = |n: usize| {
            format!(
                r#"{{"feature": "chat", "quantity": "input_tokens", "when": {{"model": "openai/gpt-4o-m{n}"}}, "price": {{"per_unit": "0.{n}1"}}}}"#
            )
        };
        format!(r#"{{"rates": [{}]}}"#, (0..count).map(rate).collect::<Vec<_>>().join(","))
    };
    let terms = Terms::<Standard>::new(&settings(450));
    assert!(terms.prepared.form.len() < 65_536, "{}", terms.prepared.form.len());
    let rating = terms.rate(
        &usage("chat").quantity("input_tokens", "10").attribute("model", "openai/gpt-4o-m449"),
        &context(NOW),
    );
    assert_eq!(show(&rating), "input tokens: 10 x 0.4491 = 4.491\n4.491 credits");
    for count in [1_000, 1_001] {
        assert_eq!(pointers::<Standard>(&settings(count)), ["/rates"], "{count}");
    }
}
