//! Same arguments, same result, same fuel: in every instance, on every thread, in another runtime, and after anything that
//! went wrong in between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_decide::policy::Decided;
use proviso_fixtures::guest::{Draft, Policy, context, costs, runtime, usage, view};
use proviso_ledger::model::{
    ids::Key,
    time::{Timestamp, Zone},
    usage::{Purpose, Usage},
    view::{Context, UsageView},
};
use proviso_policy::Module;

fn decide(module: &Module) -> Decided<String> {
    let usage = usage();
    let Decided { value, fuel, log } = module.rate(&view(&usage), &context(), b"form").unwrap();
    Decided { value: format!("{value:?}"), fuel, log }
}

/// The cost in units of 10^-12.
fn cost(module: &Module, usage: &UsageView<'_>, context: &Context) -> i128 {
    module.rate(usage, context, b"").unwrap().value.unwrap().cost.units()
}

#[test]
fn a_decision_can_be_repeated_for_ever() {
    let good = Draft::good().build();
    let (one, other) = (runtime(), runtime());
    let module = one.admit(&good).unwrap().module;
    let first = decide(&module);
    let same = other.admit(&good).unwrap().module;

    let spoilers = ["(unreachable)", "(loop $l (br $l)) (unreachable)", "(call $rate (local.get 0))"];
    let spoilers = spoilers.map(|body| one.admit(&Draft::good().body("rate", body).build()).unwrap().module);

    std::thread::scope(|scope| {
        for module in [&module, &module, &same] {
            scope.spawn(|| {
                for round in 0..100 {
                    assert_eq!(decide(module), first, "round {round}");
                }
            });
        }
        scope.spawn(|| {
            for spoiler in spoilers.iter().cycle().take(30) {
                spoiler.rate(&view(&usage()), &context(), b"form").unwrap_err();
            }
        });
    });
    assert_eq!(decide(&module), first);
}

#[test]
fn faults_are_as_repeatable_as_results() {
    let runtime = runtime();
    for body in
        ["(unreachable)", "(loop $l (br $l)) (unreachable)", "(call $rate (local.get 0))", "(i32.const -8)"]
    {
        let module = runtime.admit(&Draft::good().body("rate", body).build()).unwrap().module;
        let rate = || module.rate(&view(&usage()), &context(), b"form").unwrap_err();
        let first = rate();
        assert!(first.fuel > 0, "{first}");
        for _ in 0..10 {
            assert_eq!(rate(), first, "{body}");
        }
    }
}

#[test]
fn nothing_stays_behind_in_memory_or_globals() {
    // Counts its calls in a global and in memory, and asks for a page each time.
    let counting = "(drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 66000) (i32.add (i32.load (i32.const 66000)) (i32.const 1)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        COSTS
        (i32.const RATING)";
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[("calls", 0)], &[]);
    let counted = "(i64.extend_i32_u
        (i32.add (memory.size) (i32.add (i32.load (i32.const 66000)) (global.get $calls))))";
    let counting = counting.replace("COSTS", &costs(rating, counted));
    // Arguments go above the place where it counts.
    draft.start = 0x11000;
    let draft = draft
        .more("(global $calls (mut i32) (i32.const 0))")
        .body("rate", &counting.replace("RATING", &rating.to_string()));
    let module = runtime().admit(&draft.build()).unwrap().module;
    for _ in 0..10 {
        // One from memory, one from the global, three pages after it grew.
        assert_eq!(cost(&module, &view(&usage()), &context()), 5);
    }
}

#[test]
fn a_nan_has_one_bit_pattern() {
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[("nan", 0)], &[]);
    // The bits of 0/0 with both signs, folded so that they fit the part of an amount.
    let nan = |sign: &str| format!("(i64.reinterpret_f64 (f64.div (f64.const {sign}0) (f64.const 0)))");
    let folded =
        format!("(i64.shr_u (i64.xor {} (i64.shl {} (i64.const 1))) (i64.const 25))", nan(""), nan("-"));
    let body = format!("{} (i32.const {rating})", costs(rating, &folded));
    let module = runtime().admit(&draft.body("rate", &body).build()).unwrap().module;
    let canonical = 0x7ff8_0000_0000_0000_u64;
    let expected = (canonical ^ (canonical << 1)) >> 25;
    assert_eq!(cost(&module, &view(&usage()), &context()), i128::from(expected));
}

#[test]
fn every_argument_arrives() {
    let module = runtime().admit(&Draft::good().build()).unwrap().module;
    let plain = cost(&module, &view(&usage()), &context());
    let key = |text: &str| -> Key { text.parse().unwrap() };
    let usages: [fn(&mut Usage); 3] = [
        |usage| usage.feature = "chit".parse().unwrap(),
        |usage| usage.quantities[1].1 = "300.000000000001".parse().unwrap(),
        |usage| usage.attributes[4].1 = "premium".to_owned(),
    ];
    for (nth, change) in usages.iter().enumerate() {
        let mut changed = usage();
        change(&mut changed);
        assert_ne!(cost(&module, &view(&changed), &context()), plain, "usage {nth}");
    }
    let views: [fn(&mut UsageView<'_>); 8] = [
        |view| view.entities[1].id = "team-2".parse().unwrap(),
        |view| view.entities[0].attributes[0].1 = "owner".to_owned(),
        |view| _ = view.entities.pop(),
        |view| view.occurred_at = Zone::utc().moment(Timestamp(1_794_000_000_000_000)),
        // The local calendar is an argument.
        |view| view.occurred_at = "Asia/Tokyo".parse::<Zone>().unwrap().moment(view.occurred_at.at),
        |view| view.purpose = Purpose::Commit,
        |view| view.period.number += 1,
        |view| view.late = true,
    ];
    for (nth, change) in views.iter().enumerate() {
        let usage = usage();
        let mut changed = view(&usage);
        change(&mut changed);
        assert_ne!(cost(&module, &changed, &context()), plain, "view {nth}");
    }
    let contexts: [fn(&mut Context); 18] = [
        |context| context.customer = "acmf".parse().unwrap(),
        |context| context.plan = None,
        |context| context.attributes[0].0 = "sigment".to_owned(),
        |context| context.now.year += 1,
        |context| context.period.number += 1,
        |context| context.terms_effective_at.weekday += 1,
        |context| context.contract = None,
        |context| context.contract.as_mut().unwrap().start.day += 1,
        |context| context.time_zone = "Europe/Paris".to_owned(),
        |context| context.balances[0].overage = "0.000000000001".parse().unwrap(),
        |context| context.balances[0].restricted = "1".parse().unwrap(),
        |context| context.balances[0].held_overage = "1".parse().unwrap(),
        |context| context.grants[3].remaining = "401".parse().unwrap(),
        |context| context.grants[3].held = "2".parse().unwrap(),
        |context| context.grants[3].expires.with_period = None,
        |context| context.grants[3].cost_basis = None,
        |context| context.counters[2].used = "123.45679".parse().unwrap(),
        |context| context.counters[2].held = "1".parse().unwrap(),
    ];
    for (nth, change) in contexts.iter().enumerate() {
        let mut changed = context();
        change(&mut changed);
        assert_ne!(cost(&module, &view(&usage()), &changed), plain, "context {nth}");
    }
    let mut scoped = context();
    scoped.grants[0].features = vec![key("chat"), key("embed")];
    assert_ne!(cost(&module, &view(&usage()), &scoped), plain, "a grant's features");
}

#[test]
fn a_total_beyond_the_interface_is_handed_over_as_its_end() {
    let module = runtime().admit(&Draft::good().build()).unwrap().module;
    let with = |used: &str| {
        let mut context = context();
        context.counters[0].used = used.parse().unwrap();
        cost(&module, &view(&usage()), &context)
    };
    assert_eq!(with("9223372036854775807.999999999999"), with("10000000000000000000"));
    assert_ne!(with("9223372036854775807.999999999998"), with("10000000000000000000"));
}
