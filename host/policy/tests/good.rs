//! A policy that does everything right is admitted, and every call arrives and returns whole.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_fixtures::guest::{
    Draft, NEVER, NO_MONEY, Policy, closing, context, money, none, opening, parts, runtime, usage, view,
};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Quantity},
    answers::{
        Allowance, CloseOutcome, Fee, FeeMethod, Line, Needs, NewGrant, Offer, OpenOutcome, Overage,
        Prepared, PricedFeature, Rating, Refusal, RefusalKind, Rollover, SettleFrom, SettleMethod,
        Settlement, Suggestion, TopUp,
    },
    counter::{Counter, Measure, Scope, Window},
    grant::Category,
    time::Timestamp,
    view::Expiry,
};

fn units_of(units: i128) -> Credits {
    Credits::from_units(units)
}

#[test]
fn a_good_policy_is_admitted_and_decides() {
    let admitted = runtime().admit(&Draft::good().build()).unwrap();
    let module = admitted.module;
    assert_eq!((module.manifest().name.as_str(), module.manifest().version.as_str()), ("good", "1.0.0"));
    let needs = Needs { balances: true, grants: true, customer_attributes: true, entity_attributes: true };
    assert_eq!(module.manifest().needs, needs);
    assert_eq!(admitted.shape.memories, 1);
    assert!(admitted.code_bytes > 1000);

    let prepared = module.prepare("{}").unwrap().value.unwrap();
    assert_eq!((prepared.form.as_slice(), prepared.counters.len()), (&b"form"[..], 0));

    let usage = usage();
    let decided = module.rate(&view(&usage), &context(), b"form").unwrap();
    let rating = decided.value.unwrap();
    assert_eq!(rating.lines.iter().map(|line| line.cost).collect::<Vec<_>>(), [rating.cost]);
    assert_eq!(decided.log, ["good"]);
    assert!(decided.fuel > 1000);
    let later = module.rate(&view(&usage), &context(), b"fork").unwrap();
    assert_ne!(later.value.unwrap().cost, rating.cost, "the cost depends on every argument");

    let overage = module.overage(&view(&usage), &rating, units_of(5), &context(), b"form").unwrap();
    assert_eq!(overage.value, Overage::Allow(Credits::ZERO));
    assert_eq!(module.close(&closing(), &context(), b"form").unwrap().value, CloseOutcome::default());
    assert_eq!(module.open(&opening(), &context(), b"form").unwrap().value, OpenOutcome::default());
}

#[test]
fn a_policy_that_does_not_log_is_one_core_instance() {
    let runtime = runtime();
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 12, &[("all", 12)], &[]);
    let loud = runtime.admit(&draft.build()).unwrap();
    draft.logs = false;
    let quiet = runtime.admit(&draft.build()).unwrap();
    assert_eq!((loud.shape.modules, quiet.shape.modules), (3, 1), "{rating}");
    // The component's own, and those of its modules.
    assert_eq!((loud.shape.instances, quiet.shape.instances), (4, 2));
    let usage = usage();
    let rate = |module: &dyn Policy| module.rate(&view(&usage), &context(), b"").unwrap().value;
    assert_eq!(rate(&*loud.module), rate(&*quiet.module));
}

#[test]
fn settings_and_ratings_arrive_whole() {
    let mut draft = Draft::good();
    let counters = [
        ["tokens", "quantity:input_tokens", "attribute:model", "day"],
        ["c", "cost", "entity", "lifetime"],
        ["h", "cost", "customer", "hours:744"],
        ["y", "cost", "customer", "cycle"],
    ];
    let features = [["chat", "gpu"], ["", "credits"]];
    draft.prepared_with(b"f", &counters, &features, "reset", &["plan", "top_up"]);
    draft.rating("gpu", 12, &[("first", 5), ("second", 7)], &["grant_3", "grant_1_2"]);
    let module = runtime().admit(&draft.build()).unwrap().module;

    let counter = |name: &str, measure, scope, window| Counter {
        name: name.to_owned(),
        measure,
        features: Vec::new(),
        scope,
        window,
    };
    let priced = |feature: Option<&str>, credit: &str| PricedFeature {
        feature: feature.map(|key| key.parse().unwrap()),
        credit: credit.parse().unwrap(),
    };
    let prepared = Prepared {
        form: b"f".to_vec(),
        counters: vec![
            counter(
                "tokens",
                Measure::Quantity("input_tokens".into()),
                Scope::Attribute("model".into()),
                Window::Day,
            ),
            counter("c", Measure::Cost, Scope::Entity, Window::Lifetime),
            counter("h", Measure::Cost, Scope::Customer, Window::Hours(744)),
            counter("y", Measure::Cost, Scope::Customer, Window::Cycle),
        ],
        features: vec![priced(Some("chat"), "gpu"), priced(None, "credits")],
        settle_overage_from: SettleFrom::Reset,
        period_categories: vec![Category::Plan, Category::TopUp],
    };
    assert_eq!(module.prepare("").unwrap().value, Ok(prepared));

    let usage = usage();
    let line = |label: &str, cost| Line {
        label: label.to_owned(),
        quantity: Quantity::ONE,
        unit_cost: proviso_ledger::model::amounts::Price::from_units(5),
        cost: units_of(cost),
    };
    let rating = Rating {
        credit: "gpu".parse().unwrap(),
        cost: units_of(12),
        lines: vec![line("first", 5), line("second", 7)],
        draw_order: vec!["grant_3".parse().unwrap(), "grant_1_2".parse().unwrap()],
    };
    assert_eq!(module.rate(&view(&usage), &context(), b"").unwrap().value, Ok(rating));
}

#[test]
fn refusals_are_results() {
    let mut draft = Draft::good();
    let change = [draft.image.text("model"), draft.image.text("small")].concat();
    let change = draft.image.slice(&change, 1);
    let mut amount = draft.image.text("output_tokens").to_vec();
    amount.extend(parts(100, 0));
    let amount = draft.image.slice(&amount, 1);
    let mut suggestion = draft.image.text("Use the small model.").to_vec();
    suggestion.extend([change, amount].concat());
    let suggestions = draft.image.slice(&suggestion, 1);
    let mut result = vec![1, 0, 0, 0, 0, 0, 0, 0];
    result.extend(draft.raw_refusal("invalid", "no_price", Some(1_795_000_000_000_000), suggestions));
    let at = draft.image.put(&result);
    let draft = draft.body("rate", &format!("(i32.const {at})"));
    let module = runtime().admit(&draft.build()).unwrap().module;
    let usage = usage();
    let refusal = Refusal {
        kind: RefusalKind::Invalid,
        code: "no_price".into(),
        by_policy: true,
        detail: "Because.".into(),
        retry_at: Some(Timestamp(1_795_000_000_000_000)),
        suggestions: vec![Suggestion {
            detail: "Use the small model.".into(),
            attributes: vec![("model".into(), "small".into())],
            quantities: vec![("output_tokens".into(), Quantity::from_whole(100))],
        }],
    };
    assert_eq!(module.rate(&view(&usage), &context(), b"").unwrap().value, Err(refusal));
}

#[test]
fn overage_outcomes_arrive_whole() {
    let outcome = |payload: fn(&mut Draft) -> (u8, Vec<u8>)| {
        let mut draft = Draft::good();
        let (case, payload) = payload(&mut draft);
        draft.overage(case, &payload);
        let module = runtime().admit(&draft.build()).unwrap().module;
        let usage = usage();
        module
            .overage(&view(&usage), &proviso_fixtures::guest::rating(), units_of(5), &context(), b"")
            .unwrap()
            .value
    };
    let refused = outcome(|draft| (0, draft.raw_refusal("denied", "no", None, none())));
    assert_eq!(refused, Overage::Deny(Refusal::denied("no", "Because.".into())));
    // A limit may exceed a single amount.
    let allowed = outcome(|_| (1, parts(i64::MAX, 0).to_vec()));
    assert_eq!(allowed, Overage::Allow(Credits::from_whole(i64::MAX)));
    let offered = outcome(|draft| {
        let mut offer = [draft.image.text("pack"), draft.image.text("A pack")].concat();
        offer.extend(parts(100, 0));
        offer.extend(price(draft, 9, "EUR"));
        (2, draft.image.slice(&offer, 1).to_vec())
    });
    let offer = Offer {
        code: "pack".into(),
        label: "A pack".into(),
        credits: Credits::from_whole(100),
        price: Some(money("9 EUR")),
    };
    assert_eq!(offered, Overage::RequirePurchase(vec![offer]));
    let topped_up = outcome(|draft| {
        let mut top_up = parts(50, 500_000_000_000).to_vec();
        top_up.extend((-3_i64).to_le_bytes());
        top_up.extend(expiry(Some(1_900_000_000_000_000), Some(1)));
        top_up.extend(price(draft, 5, "JPY"));
        (3, top_up)
    });
    let top_up = TopUp {
        amount: "50.5".parse().unwrap(),
        priority: -3,
        expires: Expiry { at: Some(Timestamp(1_900_000_000_000_000)), with_period: Some(1) },
        cost_basis: Some(money("5 JPY")),
    };
    assert_eq!(topped_up, Overage::TopUp(top_up));
    let reduced = outcome(|draft| {
        let mut change = draft.image.text("input_tokens").to_vec();
        change.extend(parts(7, 0));
        (4, draft.image.slice(&change, 1).to_vec())
    });
    assert_eq!(reduced, Overage::Reduce(vec![("input_tokens".into(), Quantity::from_whole(7))]));
}

#[test]
fn closings_arrive_whole() {
    let mut draft = Draft::good();
    let mut items = Vec::new();
    // The first has nothing to do, the second only with what is held.
    for (amount, held_limit) in [(0, 0), (0, 7), (400, 0)] {
        items.extend(draft.image.text("grant_3"));
        items.extend(parts(amount, 0));
        items.extend(parts(0, 500_000_000_000));
        items.extend(parts(held_limit, 0));
        items.extend(9_i64.to_le_bytes());
        items.extend(expiry(None, Some(0)));
    }
    let roll_over = draft.image.slice(&items, 3);
    let expire = draft.image.texts(&["grant_1"]);
    let mut items = Vec::new();
    for (amount, method) in [(3, "drawn"), (0, "drawn"), (4, "invoiced")] {
        items.extend([draft.image.text("credits"), draft.image.text("True-up")].concat());
        items.extend(parts(amount, 0));
        items.extend(draft.image.text(method));
    }
    let fees = draft.image.slice(&items, 3);
    let mut items = Vec::new();
    for (amount, method) in [(None, "invoice"), (Some(0), "deduct"), (Some(2), "waive")] {
        items.extend(draft.image.text("credits"));
        items.extend(u64::from(amount.is_some()).to_le_bytes());
        items.extend(parts(amount.unwrap_or(0), 0));
        items.extend(draft.image.text(method));
    }
    let settle = draft.image.slice(&items, 3);
    let notes = draft.image.texts(&["Nothing to do."]);
    draft.close(&[roll_over, expire, fees, settle, notes]);
    let module = runtime().admit(&draft.build()).unwrap().module;

    let rollover = |amount, held_limit| Rollover {
        grant: "grant_3".parse().unwrap(),
        amount: Credits::from_whole(amount),
        held_share: Decimal::from_units(500_000_000_000),
        held_limit: Credits::from_whole(held_limit),
        priority: 9,
        expires: Expiry { at: None, with_period: Some(0) },
    };
    let fee = |amount, method| Fee {
        credit: "credits".parse().unwrap(),
        label: "True-up".to_owned(),
        amount: Credits::from_whole(amount),
        method,
    };
    let settlement = |amount: Option<i64>, method| Settlement {
        credit: "credits".parse().unwrap(),
        amount: amount.map(Credits::from_whole),
        method,
    };
    let outcome = CloseOutcome {
        roll_over: vec![rollover(0, 7), rollover(400, 0)],
        expire: vec!["grant_1".parse().unwrap()],
        fees: vec![fee(3, FeeMethod::Drawn), fee(4, FeeMethod::Invoiced)],
        settle: vec![settlement(None, SettleMethod::Invoice), settlement(Some(2), SettleMethod::Waive)],
        notes: vec!["Nothing to do.".to_owned()],
    };
    assert_eq!(module.close(&closing(), &context(), b"").unwrap().value, outcome);
}

#[test]
fn openings_arrive_whole() {
    let mut draft = Draft::good();
    let features = draft.image.texts(&["chat"]);
    let mut items = Vec::new();
    for (amount, from) in [(1_000, None), (0, None), (5, Some(1_796_000_000_000_000_i64))] {
        items.extend(draft.image.text("credits"));
        items.extend(parts(amount, 0));
        items.extend(draft.image.text("plan"));
        items.extend(10_i64.to_le_bytes());
        items.extend(u64::from(from.is_some()).to_le_bytes());
        items.extend(from.unwrap_or(0).to_le_bytes());
        items.extend(NEVER);
        items.extend(features);
        items.extend(NO_MONEY);
        items.extend(draft.image.text("prorate"));
    }
    let issue = draft.image.slice(&items, 3);
    draft.open(&[issue, none(), none()]);
    let module = runtime().admit(&draft.build()).unwrap().module;
    let grant = |amount, from: Option<i64>| NewGrant {
        credit: "credits".parse().unwrap(),
        amount: Credits::from_whole(amount),
        category: Category::Plan,
        priority: 10,
        effective_at: from.map(Timestamp),
        expires: Expiry::default(),
        features: vec!["chat".parse().unwrap()],
        cost_basis: None,
        allowance: Allowance::Prorate,
    };
    let issue = vec![grant(1_000, None), grant(5, Some(1_796_000_000_000_000))];
    let outcome = OpenOutcome { issue, settle: Vec::new(), notes: Vec::new() };
    assert_eq!(module.open(&opening(), &context(), b"").unwrap().value, outcome);
}

#[test]
fn lists_that_the_manifest_does_not_need_are_not_handed_over() {
    let mut draft = Draft::good();
    draft.manifest("good", "1.0.0", "{}", &[]);
    let module = runtime().admit(&draft.build()).unwrap().module;
    let usage = usage();
    let mut bare = context();
    bare.balances.clear();
    bare.grants.clear();
    bare.attributes.clear();
    let mut nameless = view(&usage);
    nameless.entities.iter_mut().for_each(|entity| entity.attributes.clear());
    let full = module.rate(&view(&usage), &context(), b"").unwrap();
    assert_eq!(full, module.rate(&nameless, &bare, b"").unwrap());
}

/// The record of an expiry.
fn expiry(at: Option<i64>, with_period: Option<u32>) -> Vec<u8> {
    let mut record = u64::from(at.is_some()).to_le_bytes().to_vec();
    record.extend(at.unwrap_or(0).to_le_bytes());
    record.extend(u32::from(with_period.is_some()).to_le_bytes());
    record.extend(with_period.unwrap_or(0).to_le_bytes());
    record
}

/// An option with money in it.
fn price(draft: &mut Draft, whole: i64, currency: &str) -> Vec<u8> {
    let mut record = 1_u64.to_le_bytes().to_vec();
    record.extend(parts(whole, 0));
    record.extend(draft.image.text(currency));
    record
}
