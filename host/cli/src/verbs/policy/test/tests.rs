//! Whole case files, played with a policy written in Rust whose failures the settings choose. What the sandbox does with a failing
//! module is tested in the policy crate, and with shipped policies in the black-box tests.

use super::{
    files::Read,
    format,
    play::{Loaded, Subject},
    properties, report, run_case,
};
use crate::terminal::Paint;
use proviso_decide::policy::{Answer, Decided, Failure, Policy};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Price, Quantity, Rounding},
    answers::{
        Allowance, CloseOutcome, Line, Manifest, Needs, NewGrant, OpenOutcome, Overage, Prepared, Rating,
        Refusal, RefusalKind, Rollover, SettingsProblem, Suggestion,
    },
    grant::{Category, default_credit},
    ids::Digest,
    json::JsonText,
    view::{Closing, Context, Expiry, Opening, UsageView},
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// Charges `price` for each token, and opens periods with `allowance`.
struct Tokens(Manifest);

#[derive(Deserialize)]
struct Settings {
    price: Price,
    allowance: Credits,
    /// The calls that fail.
    #[serde(default)]
    fails: Vec<String>,
    /// Whether all that is left at a period's end rolls over.
    #[serde(default)]
    rolls_over: bool,
    /// From so many tokens on, all are free.
    #[serde(default)]
    free_from: Option<Quantity>,
    /// A usage of more tokens is reduced to so many.
    #[serde(default)]
    reduces_to: Option<Quantity>,
}

impl Settings {
    fn of(form: &[u8], call: &str) -> Result<Self, Failure> {
        let settings: Self = serde_json::from_slice(form).unwrap();
        let fails = settings.fails.iter().any(|name| name == call);
        let failure = Failure {
            code: "trap",
            detail: format!("trapped: unreachable\nin {call} < start"),
            fuel: 3,
            log: vec!["boom".to_owned()],
        };
        if fails { Err(failure) } else { Ok(settings) }
    }
}

fn decided<T>(value: T) -> Decided<T> {
    Decided { value, fuel: 7, log: Vec::new() }
}

impl Policy for Tokens {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        if let Err(error) = serde_json::from_str::<Settings>(settings) {
            let problem = SettingsProblem { pointer: "/price".to_owned(), detail: error.to_string() };
            return Ok(decided(Err(vec![problem])));
        }
        Ok(decided(Ok(Prepared { form: settings.into(), ..Prepared::default() })))
    }

    fn rate(&self, usage: &UsageView<'_>, _: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        let settings = Settings::of(form, "rate")?;
        if usage.usage.feature.as_str() == "images" {
            let suggestion = Suggestion {
                detail: "use chat".to_owned(),
                attributes: vec![("model".to_owned(), "small".to_owned())],
                quantities: Vec::new(),
            };
            return Ok(decided(Err(Refusal {
                kind: RefusalKind::Invalid,
                suggestions: vec![suggestion],
                ..Refusal::denied("not_priced", "images have no price".to_owned())
            })));
        }
        let quantity = usage.usage.quantity("tokens");
        let is_free = settings.free_from.is_some_and(|from| quantity >= from);
        let price = if is_free { Price::new(Decimal::ZERO) } else { settings.price };
        let cost = price.times(quantity, Rounding::Up).unwrap();
        let line = Line { label: "tokens".to_owned(), quantity, unit_cost: price, cost };
        Ok(decided(Ok(Rating { credit: default_credit(), cost, lines: vec![line], draw_order: Vec::new() })))
    }

    fn overage(
        &self,
        _: &UsageView<'_>,
        _: &Rating,
        _: Credits,
        _: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        let settings = Settings::of(form, "overage")?;
        Ok(decided(match settings.reduces_to {
            Some(tokens) => Overage::Reduce(vec![("tokens".to_owned(), tokens)]),
            None => Overage::Deny(Refusal::denied("insufficient_credits", "no more".to_owned())),
        }))
    }

    fn close(&self, _: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        let settings = Settings::of(form, "close")?;
        let left =
            context.grants.iter().filter(|grant| settings.rolls_over && grant.category == Category::Plan);
        let roll_over = left.map(|grant| Rollover {
            grant: grant.id,
            amount: grant.remaining,
            held_share: Decimal::ONE,
            held_limit: grant.held,
            priority: 0,
            expires: Expiry::default(),
        });
        Ok(decided(CloseOutcome { roll_over: roll_over.collect(), ..CloseOutcome::default() }))
    }

    fn open(&self, opening: &Opening, _: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        let settings = Settings::of(form, "open")?;
        let grant = NewGrant {
            credit: default_credit(),
            amount: settings.allowance,
            category: Category::Plan,
            priority: 0,
            effective_at: None,
            expires: Expiry { at: None, with_period: Some(0) },
            features: Vec::new(),
            cost_basis: None,
            allowance: match opening.allowance {
                "prorate" => Allowance::Prorate,
                "full" => Allowance::Full,
                _ => Allowance::Carry,
            },
        };
        let notes = vec![format!("period {}", opening.period.number)];
        Ok(decided(OpenOutcome { issue: vec![grant], notes, ..OpenOutcome::default() }))
    }
}

const SETTINGS: &str = "[settings]\nprice = \"1\"\nallowance = \"100\"\n";

/// Plays the cases of a file that has `settings` of its own, and returns what is printed of them.
fn play(setup: &str, cases: &str) -> String {
    let (subject, read) = read(setup, cases);
    let ran = read.file.cases.iter().map(|case| run_case(&subject, &read, case, false));
    ran.map(|ran| report::case(&ran, Paint::plain())).collect()
}

/// The policy, as the one under test.
pub(in crate::verbs) fn tokens() -> Subject {
    let manifest = Manifest {
        name: "tokens".to_owned(),
        version: "1.0.0".to_owned(),
        summary: String::new(),
        settings_schema: JsonText::from(&serde_json::json!({})),
        needs: Needs::default(),
    };
    Subject::new(Digest::of(b"tokens"), Arc::new(Tokens(manifest)))
}

/// A file that has `settings` of its own, and the policies that it is played with.
fn read(setup: &str, cases: &str) -> (Subject, Read) {
    let subject = tokens();
    let text = format!("{setup}{SETTINGS}{cases}");
    let file = format::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", error.line));
    let other = Loaded { digest: Digest::of(b"other"), policy: subject.main.policy.clone() };
    let others = file.policies.keys().map(|name| (name.clone(), other.clone())).collect();
    let subject = Subject { others, ..subject };
    (subject, Read { path: "x.toml".into(), text, file, policies: BTreeMap::new() })
}

/// Plays one case of these steps.
fn steps(steps: &str) -> String {
    play("", &format!("[[case]]\nname = \"x\"\nsteps = [\n{steps}\n]"))
}

#[test]
fn periods_are_two_entries_each() {
    let shown = steps(
        r#"
        { expect = { entries = ["configured", "period 1 opened started"], notes = ["period 1"], fuel = 7 } },
        { at = 2026-02-01T00:00:00Z, expect = { entries = ["period 1 closed scheduled", "period 2 opened scheduled"], fuel = 14 } },
        { at = 2026-02-11T00:00:00Z, reset = { anchor = "now" }, expect = {
            entries = ["period 2 closed early", "configured", "period 3 opened early"],
            balance = { next_reset_at = 2026-03-11T00:00:00Z } } },
        { anchor = 2026-01-05T00:00:00Z, expect = { entries = ["configured"], balance = { next_reset_at = 2026-03-05T00:00:00Z }, expires = { plan = 2026-03-05T00:00:00Z } } },
        { close_customer = {}, expect = { entries = ["period 3 closed closed", "customer closed"], remaining = {} } },
        { charge = { feature = "chat" }, expect = { error = "is closed" } },
        "#,
    );
    assert_eq!(shown, "  ok x (6 steps)\n");
}

#[test]
fn plans_have_settings_of_their_own_and_a_change_gives_no_credits() {
    let plans = "[plans.pro]\nsettings.allowance = \"300\"\n";
    let shown = play(
        plans,
        r#"
        [[case]]
        name = "carry"
        steps = [
            { charge = { feature = "chat", quantities = { tokens = 60 } } },
            { plan = "pro", expect = { entries = ["period 1 closed plan changed", "configured", "period 2 opened plan changed"], remaining = { plan = "240" } } },
            { plan = "plan", expect = { remaining = { plan = "40" } } },
            { plan = { to = "pro", allowance = "full" }, expect = { remaining = { plan = "300" } } },
            { plan = "none", expect = { entries = ["period 4 closed plan ended", "configured"], remaining = {} } },
            { charge = { feature = "chat", quantities = { tokens = 60 } }, expect = { error = "no terms are in force" } },
        ]
        [[case]]
        name = "begins elsewhere"
        customer.plan = "pro"
        plans.pro.settings.allowance = "7"
        steps = [{ expect = { balance = { available = "7" } } }]
        "#,
    );
    assert_eq!(shown, "  ok carry (6 steps)\n  ok begins elsewhere (1 step)\n");
}

#[test]
fn holds_late_usage_and_refusals_are_seen() {
    let shown = steps(
        r#"
        { reserve = { as = "r", feature = "chat", quantities = { tokens = 30 }, ttl = "10m" }, expect = { held = { plan = "30" }, late = "no", reduced_to = {} } },
        { advance = "5m", extend = { reservation = "r", ttl = "1h" }, expect = { entries = ["reservation extended"] } },
        { advance = "59m", commit = { reservation = "r", quantities = { tokens = 130 } }, expect = {
            cost = "130", overage = "30", exceeded = "30", held = {}, balance = { overage = "30", held_overage = "0" } } },
        { at = 2026-02-03T00:00:00Z, charge = { feature = "chat", quantities = { tokens = 1 }, occurred_at = 2026-01-31T12:00:00Z }, expect = { late = 1, draws = { plan = "1" } } },
        { check = { feature = "images" }, expect = {
            code = "not_priced", kind = "invalid", suggestions = ["use chat: model = small"], fuel = 7, entries = [] } },
        { check = { feature = "chat", quantities = { tokens = 1000 } }, expect = { code = "insufficient_credits", kind = "denied", cost = "1000" } },
        { grant = { amount = "5", as = "gift", features = ["chat"], expires_with_period = 1 }, expect = {
            expires = { plan = 2026-03-01T00:00:00Z, gift = 2026-04-01T00:00:00Z }, balance = { feature = "images", available = "99", restricted = "5" } } },
        { terms = { as = "c", settings.reduces_to = 40, contract = { id = "c-1", end = 2027-01-01T00:00:00Z }, time_zone = "Europe/Berlin" } },
        { reserve = { as = "s", feature = "chat", quantities = { tokens = 400 } }, expect = { reduced_to = { tokens = 40 }, draws = { plan = "40" } } },
        { terms = { settings.price = "much" }, expect = { problems = ["/price"] } },
        "#,
    );
    assert_eq!(shown, "  ok x (10 steps)\n");
}

#[test]
fn what_is_held_at_a_periods_end_is_seen_to_roll_over() {
    let shown = play(
        "",
        r#"
        [[case]]
        name = "x"
        settings.rolls_over = true
        steps = [
            { at = 2026-01-31T23:50:00Z, reserve = { as = "r", feature = "chat", quantities = { tokens = 90 }, ttl = "1h" } },
            { advance = "20m", expect = { remaining = { plan = "100", rollover = "10" }, held = { plan = "90" } } },
            { release = "r", expect = { remaining = { plan = "100", rollover = "100" }, held = {} } },
        ]
        "#,
    );
    assert_eq!(shown, "  ok x (3 steps)\n");
}

#[test]
fn a_failing_policy_fails_the_case_and_is_quoted() {
    // Wherever it is asked, also beside a step that is about something else.
    for (call, step) in [
        ("open", "grant = { amount = \"5\" }, expect = {}"),
        ("close", "at = 2026-02-01T00:00:00Z, expect = {}"),
        ("close", "at = 2026-02-01T00:00:00Z, charge = { feature = \"chat\" }, expect = {}"),
        ("rate", "check = { feature = \"chat\" }, expect = { code = \"policy_fault\" }"),
        (
            "overage",
            "charge = { feature = \"chat\", quantities = { tokens = 101 } }, expect = { code = \"policy_fault\" }",
        ),
    ] {
        let case = |step: &str| {
            format!("[[case]]\nname = \"x\"\nsettings.fails = [\"{call}\"]\nsteps = [{{ {step} }}]")
        };
        let shown = play("", &case(step));
        for part in [
            "FAILED x\n     x.toml:7  step 1: ",
            "degraded\n         - false\n",
            ": plan/plan/terms_1 failed\n",
            "+ trap: trapped: unreachable\n",
            &format!("+ in {call} < start\n"),
            "+ logged: boom\n",
        ] {
            assert!(shown.contains(part), "{call}: {part:?} in\n{shown}");
        }
        let expecting = step.replace("expect = {", "expect = { degraded = true,");
        assert_eq!(play("", &case(&expecting)), "  ok x (1 step)\n", "{call}");
    }
    let shown = steps("{ charge = { feature = \"chat\" }, expect = { degraded = true } }");
    assert!(shown.contains("degraded\n         - true\n         + false\n"), "{shown}");
}

#[test]
fn a_period_that_a_fault_left_undone_is_made_good() {
    let shown = play(
        "",
        r#"
        [[case]]
        name = "by itself"
        settings.fails = ["open"]
        steps = [
            { expect = { degraded = true, remaining = {} } },
            { advance = "1h", terms = { settings.fails = [] }, expect = { entries = ["terms bound"] } },
            { expect = { entries = ["period 1 opened started retried"], remaining = { plan = "100" } } },
            { retry_period = 1, expect = { error = "nothing that a fault left undone" } },
        ]
        [[case]]
        name = "on request"
        settings.fails = ["open"]
        steps = [
            { retry_period = 1, expect = { degraded = true, error = "still fail" } },
            { terms = { settings.fails = [], on_fault = "plan" } },
            { retry_period = 1, expect = { entries = ["period 1 opened started retried"], remaining = { plan = "100" } } },
        ]
        "#,
    );
    assert_eq!(shown, "  ok by itself (4 steps)\n  ok on request (3 steps)\n");
}

#[test]
fn what_can_not_begin_or_be_played_says_so() {
    let bad_plan = play("[plans.pro]\nsettings.price = \"x\"\n", "[[case]]\nname = \"x\"\nsteps = [{}]");
    assert!(
        bad_plan.contains("x.toml:6\n       plan pro: the policy refuses these settings:\n       /price: "),
        "{bad_plan}"
    );
    let back = steps("{ at = 2025-01-01T00:00:00Z }");
    assert!(back.contains("step 1: time\n       the clock only moves forward"), "{back}");
    let ttl = steps("{ reserve = { as = \"r\", feature = \"chat\", ttl = \"2d\" } }");
    assert!(ttl.contains("ttl must be whole seconds, from 1 to 86400"), "{ttl}");
    let unknown = steps("{ release = \"r\" }");
    assert!(unknown.contains("no step reserved credits as \"r\""), "{unknown}");
}

#[test]
fn a_second_version_a_shadow_and_two_customers_are_played_in_one_case() {
    let shown = play(
        "policies.next = \"../next\"\n[customers.beta]\ntime_zone = \"Europe/Berlin\"\n",
        r#"
        [[case]]
        name = "x"
        steps = [
            { terms = { as = "candidate", policy = "next", settings.price = "3", mode = "shadow" } },
            { charge = { feature = "chat", quantities = { tokens = 10 } }, expect = { cost = "10", shadows = { candidate = "30" } } },
            { on = "beta", charge = { feature = "chat", quantities = { tokens = 7 } }, expect = {
                cost = "7", shadows = {}, remaining = { plan = "93" }, entries = ["configured", "period 1 opened started", "charged 7"] } },
            { terms = { plan = "plan", policy = "next", settings.price = "2", effective_at = 2026-01-10T00:00:00Z } },
            { charge = { feature = "chat", quantities = { tokens = 1 } }, expect = { cost = "1" } },
            { at = 2026-01-10T00:00:00Z, charge = { feature = "chat", quantities = { tokens = 1 } }, expect = { cost = "2" } },
            { on = "beta", charge = { feature = "chat", quantities = { tokens = 1 } }, expect = { cost = "2", remaining = { plan = "91" } } },
        ]
        "#,
    );
    assert_eq!(shown, "  ok x (7 steps)\n");
}

#[test]
fn each_row_of_a_table_is_a_case() {
    let shown = play(
        "",
        r#"
        [[table]]
        name = "prices"
        before = [{ advance = "1h", charge = { feature = "chat", quantities = { tokens = 90 } } }]
        columns = ["check.feature", "check.quantities.tokens", "expect.cost", "expect.code"]
        rows = [
            ["chat", 10, "10", "-"],
            ["chat", 11, "11", "insufficient_credits"],
            ["images", "-", "-", "not_priced"],
            ["chat", 5, "6", "-"],
        ]
        "#,
    );
    assert_eq!(
        shown,
        "  ok prices: chat, 10 (2 steps)\n  ok prices: chat, 11 (2 steps)\n  ok prices: images, - (2 steps)\n  \
         FAILED prices: chat, 5\n     x.toml:13  step 2: check chat\n       cost\n         - 6\n         + 5\n"
    );
}

#[test]
fn expectations_may_be_partial_and_fuel_has_a_ceiling() {
    let shown = play(
        "max_fuel = 6\n",
        r#"
        [[case]]
        name = "x"
        max_fuel = 7
        steps = [{ grant = { amount = "5", as = "gift" }, expect = { partial = true, remaining = { gift = "5" }, entries = ["granted 5"] } }]
        [[case]]
        name = "y"
        steps = [{ check = { feature = "chat" }, expect = { cost = "0" } }]
        [[case]]
        name = "z"
        max_fuel = 7
        steps = [{ check = { feature = "images" }, expect = { code = "not_priced", detail = "no price" } }]
        "#,
    );
    assert!(shown.contains("  ok x (1 step)\n"), "{shown}");
    assert!(
        shown.contains("FAILED y") && shown.contains("max_fuel\n         - at most 6\n         + 7"),
        "{shown}"
    );
}

#[test]
fn properties_are_tried_and_what_breaks_them_is_made_small() {
    let tried = |settings: &str| {
        let case = format!(
            "[[case]]\nname = \"x\"\n{settings}\nsteps = [{{ check = {{ feature = \"chat\", entity = \"ann\", \
             attributes = {{ model = \"large\" }}, quantities = {{ tokens = 99, seconds = 5 }} }} }}]"
        );
        let (subject, read) = read("properties.monotonic = [\"tokens\"]\n", &case);
        let ran = properties::run(&subject, &read, 200, 1).unwrap();
        (ran.steps, report::case(&ran, Paint::plain()))
    };
    let (steps, shown) = tried("");
    assert_eq!((steps, shown.as_str()), (200, "  ok properties of 200 usages, seed 1 (200 steps)\n"));
    let (_, shown) = tried("settings.fails = [\"rate\"]");
    assert!(shown.contains("never fails: ") && shown.contains("boom"), "{shown}");
    let (_, shown) = tried("settings.free_from = 100");
    for part in [
        "costs no less for more tokens: 99 cost 99, and 100 cost 0\n",
        "\n           { check = { feature = \"chat\", quantities = { \"tokens\" = \"99\" } } },\n       ]\n",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
}

#[test]
fn an_update_says_what_came_and_goes_on() {
    let (subject, read) = read(
        "",
        r#"
[[case]]
name = "x"
steps = [
    { charge = { feature = "chat", quantities = { tokens = 3 } }, expect = { cost = "2", remaining = { plan = "98" } } },
    { check = { feature = "images" }, expect = { code = "odd", suggestions = [] } },
    { check = { feature = "images" } },
]
"#,
    );
    let ran: Vec<_> = read.file.cases.iter().map(|case| run_case(&subject, &read, case, true)).collect();
    assert!(report::case(&ran[0], Paint::plain()).contains("step 3: check images"));
    let reads = [read];
    let changed = super::update::all(&reads, &ran).unwrap();
    let [(_, text, 4)] = changed.as_slice() else { panic!("{changed:?}") };
    for part in [
        "cost = \"3\", remaining = { plan = \"97\" }",
        "code = \"not_priced\", suggestions = [\"use chat: model = small\"]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
