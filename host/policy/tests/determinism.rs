//! Same arguments, same result, same fuel: in every instance, on every thread, in another process's stead (a runtime of
//! its own), and after anything that went wrong in between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod support;

use proviso_ledger::{
    decision::{Context, Usage},
    ids::Key,
    time::{Timestamp, Zone},
};
use proviso_policy::{Decided, Module};
use support::{Draft, context, runtime, usage};

fn decide(module: &Module) -> Decided<String> {
    let Decided { value, fuel, log } = module.rate(&usage(), &context(), &Zone::utc(), b"form").unwrap();
    Decided { value: format!("{value:?}"), fuel, log }
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
                spoiler.rate(&usage(), &context(), &Zone::utc(), b"form").unwrap_err();
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
        let rate = || module.rate(&usage(), &context(), &Zone::utc(), b"form").unwrap_err();
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
        (i64.store (i32.const COST) (i64.extend_i32_u
          (i32.add (memory.size) (i32.add (i32.load (i32.const 66000)) (global.get $calls)))))
        (i64.store (i32.const LINE) (i64.load (i32.const COST)))
        (i32.const RATING)";
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[("calls", 0)], &[]);
    let (cost, line) = (rating + 16, rating - 8);
    let counting = counting.replace("COST", &cost.to_string()).replace("LINE", &line.to_string());
    // Arguments go above the place where it counts.
    draft.realloc =
        draft.realloc.replace("(global.get $free)", "(i32.or (global.get $free) (i32.const 0x11000))");
    let draft = draft
        .more("(global $calls (mut i32) (i32.const 0))")
        .body("rate", &counting.replace("RATING", &rating.to_string()));
    let module = runtime().admit(&draft.build()).unwrap().module;
    for _ in 0..10 {
        // One from memory, one from the global, three pages after it grew.
        let decided = module.rate(&usage(), &context(), &Zone::utc(), b"").unwrap();
        assert_eq!(decided.value.unwrap().cost.0, 5);
    }
}

#[test]
fn a_nan_has_one_bit_pattern() {
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[("nan", 0)], &[]);
    // The bits of 0/0 with both signs, folded so that they fit an amount.
    let nan = |sign: &str| format!("(i64.reinterpret_f64 (f64.div (f64.const {sign}0) (f64.const 0)))");
    let folded =
        format!("(i64.shr_u (i64.xor {} (i64.shl {} (i64.const 1))) (i64.const 12))", nan(""), nan("-"));
    let body = format!(
        "(i64.store (i32.const {}) {folded}) (i64.store (i32.const {}) {folded}) (i32.const {rating})",
        rating + 16,
        rating - 8
    );
    let module = runtime().admit(&draft.body("rate", &body).build()).unwrap().module;
    let canonical = 0x7ff8_0000_0000_0000_u64;
    let expected = (canonical ^ (canonical << 1)) >> 12;
    let decided = module.rate(&usage(), &context(), &Zone::utc(), b"").unwrap();
    assert_eq!(decided.value.unwrap().cost.0, i64::try_from(expected).unwrap());
}

#[test]
fn a_usage_of_another_time_comes_with_its_own_calendar() {
    let module = runtime().admit(&Draft::good().build()).unwrap().module;
    let at = |seconds: i64, zone: &str| {
        let occurred_at = Timestamp(1_795_000_000_000_000 - seconds * Timestamp::SECOND);
        let usage = Usage { occurred_at, ..usage() };
        module.rate(&usage, &context(), &zone.parse().unwrap(), b"").unwrap().value.unwrap().cost
    };
    assert_ne!(at(86_400, "UTC"), at(86_400, "Asia/Tokyo"), "the local calendar is an argument");
    assert_ne!(at(0, "UTC"), at(86_400, "UTC"));
}

#[test]
fn every_argument_arrives() {
    let module = runtime().admit(&Draft::good().build()).unwrap().module;
    let cost = |usage: &Usage, context: &Context| {
        module.rate(usage, context, &Zone::utc(), b"").unwrap().value.unwrap().cost
    };
    let plain = cost(&usage(), &context());
    let key = |text: &str| -> Key { text.parse().unwrap() };
    let usages: [fn(&mut Usage); 4] = [
        |usage| usage.feature = "chit".parse().unwrap(),
        |usage| usage.quantities[1].1.0 += 1,
        |usage| usage.attributes[4].1 = "premium".to_owned(),
        |usage| usage.entity = None,
    ];
    for (nth, change) in usages.iter().enumerate() {
        let mut changed = usage();
        change(&mut changed);
        assert_ne!(cost(&changed, &context()), plain, "usage {nth}");
    }
    let contexts: [fn(&mut Context); 9] = [
        |context| context.customer = "acmf".parse().unwrap(),
        |context| context.plan = None,
        |context| context.attributes[0].0 = "sigment".to_owned(),
        |context| context.now.year += 1,
        |context| context.period.number += 1,
        |context| context.terms_effective_at.weekday += 1,
        |context| context.balances[0].overage.0 += 1,
        |context| context.grants[3].remaining.0 += 1,
        |context| context.counters[2] += 1,
    ];
    for (nth, change) in contexts.iter().enumerate() {
        let mut changed = context();
        change(&mut changed);
        assert_ne!(cost(&usage(), &changed), plain, "context {nth}");
    }
    let mut scoped = context();
    scoped.grants[0].features = vec![key("chat"), key("embed")];
    assert_ne!(cost(&usage(), &scoped), plain, "a grant's features");
}
