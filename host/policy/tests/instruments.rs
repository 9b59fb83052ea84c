//! What the instruments see of modules whose code is known to the instruction, and that looking changes nothing of what is decided.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_fixtures::guest::{Draft, Policy, context, runtime, usage, view};
use proviso_policy::{
    Limits,
    probe::{Coverage, Frame, Profile, Report, Source},
};
use std::sync::Arc;

/// `prepare` goes ways that depend on the length of its settings: the second parameter.
fn branching() -> Draft {
    let draft = Draft::good();
    let prepared = draft.bodies["prepare"].clone();
    // A hundred targets in turn: the bits of one table take two words.
    let table = "$even $odd ".repeat(50);
    draft
        .body(
            "prepare",
            &format!(
                "(if (i32.gt_u (local.get 1) (i32.const 3)) (then (call $long)))
                (block $out (br_if $out (i32.eq (local.get 1) (i32.const 5))) (call $not_five))
                (block $even (block $odd (br_table {table} $even (local.get 1))) (call $is_odd))
                (if (i32.eq (local.get 1) (i32.const 7)) (then (call $dies)) (else (call $lives)))
                {prepared}"
            ),
        )
        .more(
            "(func $long) (func $not_five) (func $is_odd) (func $lives) (func $never)
            (func $dies (if (i32.const 1) (then unreachable)))",
        )
}

fn coverage(draft: &Draft) -> Coverage {
    let component = draft.build();
    let plain = runtime().admit(&component).unwrap().module;
    Coverage::new(&Source::of_component(component).unwrap(), plain, &Limits::default(), None).unwrap()
}

fn calls(report: &Report, function: &str) -> u64 {
    report.functions.iter().find(|found| found.name == function).map(|found| found.calls).unwrap()
}

/// The arms of `prepare`'s branches that were taken: which branch, which arm, how often.
fn taken(report: &Report) -> Vec<(usize, String, u64)> {
    let branches = report.branches.iter().filter(|branch| branch.function == "prepare").enumerate();
    let arms = branches.flat_map(|(nth, branch)| {
        branch.arms.iter().filter(|arm| arm.calls > 0).map(move |arm| (nth, arm.name.clone(), arm.calls))
    });
    arms.collect()
}

#[test]
fn functions_and_both_ways_of_branches_are_counted_by_calls() {
    let coverage = coverage(&branching());
    let policy = coverage.policy();
    let nothing = coverage.report(|_| true);
    assert!(!nothing.has_lines && nothing.lines.is_empty());
    assert_eq!((calls(&nothing, "prepare"), taken(&nothing)), (0, vec![]));
    let say = |nth: usize, arm: &str, calls: u64| (nth, arm.to_owned(), calls);

    policy.prepare("{}").unwrap();
    let report = coverage.report(|_| true);
    let seen = ["prepare", "long", "not_five", "is_odd", "dies", "lives", "never"];
    assert_eq!(seen.map(|name| calls(&report, name)), [1, 0, 1, 0, 0, 1, 0]);
    assert_eq!(taken(&report), [say(0, "false", 1), say(1, "false", 1), say(2, "2", 1), say(3, "false", 1)]);

    policy.prepare("[[1]]").unwrap();
    let long = "7".repeat(71);
    for settings in [long.as_str(), &"8".repeat(300)] {
        policy.prepare(settings).unwrap();
    }
    let report = coverage.report(|_| true);
    assert_eq!(seen.map(|name| calls(&report, name)), [4, 3, 3, 2, 0, 4, 0]);
    let table: Vec<_> = taken(&report).into_iter().filter(|(nth, ..)| *nth == 2).collect();
    assert_eq!(table, [say(2, "2", 1), say(2, "5", 1), say(2, "71", 1), say(2, "else", 1)]);
    let (covered, all) = report.arms_covered();
    assert!(covered < all && all > 100, "{covered} of {all}");
    assert_eq!(coverage.disagreements(), 0);
}

#[test]
fn what_leads_to_a_panic_is_covered_and_the_call_still_fails() {
    let coverage = coverage(&branching());
    let failure = coverage.policy().prepare("1234567").unwrap_err();
    assert_eq!(failure.code, "trap");
    let report = coverage.report(|_| true);
    assert_eq!(["prepare", "dies", "lives"].map(|name| calls(&report, name)), [1, 1, 0]);
    assert_eq!(coverage.disagreements(), 0);
}

#[test]
fn being_looked_at_changes_no_answer_and_no_fuel() {
    let component = branching().build();
    let plain: Arc<dyn Policy> = runtime().admit(&component).unwrap().module;
    let source = Source::of_component(component).unwrap();
    let coverage = Coverage::new(&source, Arc::clone(&plain), &Limits::default(), None).unwrap();
    let profile = Profile::new(&source, Arc::clone(&plain), &Limits::default(), None).unwrap();
    let usage = usage();
    for policy in [coverage.policy(), profile.policy()] {
        for settings in ["{}", "null", "12345"] {
            assert_eq!(policy.prepare(settings), plain.prepare(settings));
        }
        assert_eq!(
            policy.rate(&view(&usage), &context(), b"form"),
            plain.rate(&view(&usage), &context(), b"form")
        );
        assert_eq!(policy.prepare("1234567"), plain.prepare("1234567"));
    }
    assert_eq!((coverage.disagreements(), profile.disagreements()), (0, 0));
}

fn frame<'a>(frames: &'a [Frame], name: &str) -> &'a Frame {
    frames.iter().find(|frame| frame.name == name).unwrap_or_else(|| panic!("{name} in {frames:?}"))
}

#[test]
fn fuel_is_attributed_to_the_unit() {
    let draft = Draft::good();
    let prepared = draft.bodies["prepare"].clone();
    let draft = draft
        .body("prepare", &format!("(drop (call $twice (local.get 1))) (drop (call $leaf (i32.const 1))) {prepared}"))
        .more(
            // One for being called; `end` costs nothing.
            "(func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func $twice (param i32) (result i32)
              (local.set 0 (call $leaf (local.get 0)))
              (if (result i32) (i32.gt_u (local.get 0) (i32.const 4))
                (then (return (call $leaf (local.get 0))))
                (else (i32.const 0))))
            (func $down (param i32) (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))",
        );
    let component = draft.build();
    let plain: Arc<dyn Policy> = runtime().admit(&component).unwrap().module;
    let source = Source::of_component(component).unwrap();
    let profile = Profile::new(&source, Arc::clone(&plain), &Limits::default(), None).unwrap();
    let policy = profile.policy();
    let mut fuel = 0;
    for settings in ["{}", "12345"] {
        fuel += policy.prepare(settings).unwrap().fuel;
    }
    let frames = profile.frames();
    let leaf = frame(&frames, "leaf");
    // Two short: once in `twice`, once in `prepare`; the long one returns from a call in the middle.
    assert_eq!((leaf.calls, leaf.self_fuel, leaf.total_fuel), (5, 5 * 4, 5 * 4));
    let twice = frame(&frames, "twice");
    // Being called, get, call, set, get, const, gt_u, if: 8; then const, or get and call.
    assert_eq!((twice.calls, twice.self_fuel), (2, 8 + 1 + 8 + 2));
    assert_eq!(twice.total_fuel, twice.self_fuel + 3 * 4);
    let prepare = frame(&frames, "prepare");
    // Being called, get, call, drop (free), const, call, drop, and the constant that it returns.
    assert_eq!((prepare.calls, prepare.self_fuel), (2, 2 * 6));
    assert_eq!(frames.iter().map(|frame| frame.self_fuel).sum::<u64>(), fuel);
    assert_eq!(frame(&frames, "call prepare").total_fuel, fuel);
    let stacks = profile.stacks();
    assert_eq!(stacks.iter().map(|(_, fuel)| fuel).sum::<u64>(), fuel);
    assert!(
        stacks.contains(&(["call prepare", "prepare", "twice", "leaf"].map(str::to_owned).to_vec(), 12)),
        "{stacks:?}"
    );
}

#[test]
fn a_function_that_calls_itself_counts_once_in_its_total() {
    let draft = Draft::good();
    let prepared = draft.bodies["prepare"].clone();
    let draft = draft.body("prepare", &format!("(call $down (i32.const 3)) {prepared}")).more(
        "(func $down (param i32) (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))",
    );
    let component = draft.build();
    let plain: Arc<dyn Policy> = runtime().admit(&component).unwrap().module;
    let profile =
        Profile::new(&Source::of_component(component).unwrap(), plain, &Limits::default(), None).unwrap();
    profile.policy().prepare("{}").unwrap();
    let frames = profile.frames();
    let down = frame(&frames, "down");
    // Being called, get and if, four times; get, const, sub and call, three times.
    assert_eq!((down.calls, down.self_fuel, down.total_fuel), (4, 4 * 3 + 3 * 4, 4 * 3 + 3 * 4));
}

#[test]
fn a_component_whose_module_does_not_export_the_interface_is_named() {
    let error = Source::of_component(b"\0asm\x0d\0\x01\0".to_vec()).unwrap_err().to_string();
    assert!(error.contains("no core module"), "{error}");
}
