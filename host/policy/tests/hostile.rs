//! Modules that are wrong or mean harm. Each is refused at upload with the reason, or ends as a fault of its own kind,
//! in time; and a good policy decides as if nothing had been.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "the deadline is wall time, and so is this check of it")]

use proviso_fixtures::{
    guest::{
        Draft, Failure, Policy, Slice, WIT, closing, component, context, none, opening, parts, rating,
        runtime, slice, usage, view,
    },
    hostile::{leb, sections},
};
use proviso_ledger::model::{amounts::Credits, answers::Rating};
use proviso_policy::{Budget, Compiler, Limits, Module, PolicyError, Runtime, inspect};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(runtime);
static GOOD: LazyLock<Arc<Module>> = LazyLock::new(|| RUNTIME.admit(&Draft::good().build()).unwrap().module);

/// Where a module is stopped.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Stopped {
    AtUpload,
    InRate,
    InOverage,
    InClose,
    InOpen,
}
use Stopped::{AtUpload, InClose, InOpen, InOverage, InRate};

fn check(name: &str, bytes: &[u8], expected: (Stopped, &str)) {
    let before = good_decision();
    let started = Instant::now();
    let found = match RUNTIME.admit(bytes) {
        Err(error) => rejected(name, error),
        Ok(admitted) => first_fault(name, &admitted.module),
    };
    let took = started.elapsed();
    assert_eq!((found.0, found.1), expected, "{name}: {}", found.2);
    assert!(took < Duration::from_secs(3), "{name} took {took:?}");
    assert_eq!(good_decision(), before, "{name} left something behind");
}

fn rejected(name: &str, error: PolicyError) -> (Stopped, &'static str, String) {
    match error {
        PolicyError::Rejected(rejection) => (AtUpload, rejection.0[0].code, rejection.to_string()),
        other => panic!("{name}: {other}"),
    }
}

fn first_fault(name: &str, module: &Module) -> (Stopped, &'static str, String) {
    let (usage, context) = (usage(), context());
    let told = |stopped, failure: Failure| (stopped, failure.code, failure.detail);
    if let Err(failure) = module.rate(&view(&usage), &context, b"form") {
        return told(InRate, failure);
    }
    let shortfall = Credits::from_units(1);
    if let Err(failure) = module.overage(&view(&usage), &rating(), shortfall, &context, b"form") {
        return told(InOverage, failure);
    }
    if let Err(failure) = module.close(&closing(), &context, b"form") {
        return told(InClose, failure);
    }
    match module.open(&opening(), &context, b"form") {
        Err(failure) => told(InOpen, failure),
        Ok(_) => panic!("{name} passed"),
    }
}

fn good_decision() -> (u64, Rating) {
    let decided = GOOD.rate(&view(&usage()), &context(), b"form").unwrap();
    (decided.fuel, decided.value.unwrap())
}

fn good() -> Draft {
    Draft::good()
}

fn with(change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = good();
    change(&mut draft);
    draft.build()
}

/// A policy whose world is the interface's text with something replaced.
fn other_world(from: &str, to: &str) -> Vec<u8> {
    assert!(WIT.contains(from), "{from}");
    with(|draft| draft.wit = WIT.replace(from, to))
}

const LOOP: &str = "(loop $again (br $again)) (unreachable)";

#[test]
fn endless_work() {
    check("loop in describe", &good().body("describe", LOOP).build(), (AtUpload, "out_of_fuel"));
    check("loop in prepare", &good().body("prepare", LOOP).build(), (AtUpload, "out_of_fuel"));
    check("loop in rate", &good().body("rate", LOOP).build(), (InRate, "out_of_fuel"));
    check("loop in overage", &good().body("overage", LOOP).build(), (InOverage, "out_of_fuel"));
    check("loop in close", &good().body("close", LOOP).build(), (InClose, "out_of_fuel"));
    check("loop in open", &good().body("open", LOOP).build(), (InOpen, "out_of_fuel"));
    let start = "(func $start (loop $again (br $again))) (start $start)";
    check("loop in start", &good().more(start).build(), (AtUpload, "out_of_fuel"));
    let realloc = |draft: &mut Draft| draft.realloc = LOOP.to_owned();
    check("loop in cabi_realloc", &with(realloc), (AtUpload, "out_of_fuel"));
    let post = "(func (export \"cabi_post_rate\") (param i32) (loop $again (br $again)))";
    check("loop after returning", &good().more(post).build(), (InRate, "out_of_fuel"));
    let copying =
        "(loop $again (memory.copy (i32.const 0) (i32.const 1) (i32.const 65536)) (br $again)) (unreachable)";
    check("endless copying", &good().body("rate", copying).build(), (InRate, "out_of_fuel"));
    let flood = "(loop $again (call $log (i32.const 70000) (i32.const 60000)) (br $again)) (unreachable)";
    check("log flood", &good().body("rate", flood).build(), (InRate, "out_of_fuel"));
}

#[test]
fn hunger() {
    let grow = "(drop (memory.grow (i32.const 1000))) (unreachable)";
    check("memory bomb", &good().body("rate", grow).build(), (InRate, "memory_limit"));
    let step = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)";
    check("memory bomb by the page", &good().body("rate", step).build(), (InRate, "memory_limit"));
    let most = "(drop (memory.grow (i32.const -1))) (unreachable)";
    check("the largest memory", &good().body("rate", most).build(), (InRate, "out_of_fuel"));
    let table = good()
        .more("(table $t 1 funcref)")
        .body("rate", "(drop (table.grow $t (ref.null func) (i32.const 1000000))) (unreachable)");
    check("table bomb", &table.build(), (InRate, "table_limit"));
    let born_large = |draft: &mut Draft| draft.memory = "(memory (export \"memory\") 65536)".to_owned();
    check("born with 4 GiB", &with(born_large), (AtUpload, "memory_too_large"));
    check(
        "born with a large table",
        &good().more("(table 1000000 funcref)").build(),
        (AtUpload, "table_too_large"),
    );
    check(
        "many tables",
        &good().more(&"(table 1 funcref)".repeat(100)).build(),
        (AtUpload, "too_many_tables"),
    );
    check(
        "deep recursion",
        &good().body("rate", "(call $rate (local.get 0))").build(),
        (InRate, "stack_overflow"),
    );
    let wide = format!(
        "(func $wide (param i64) (result i64) (local {}) {} (call $wide (i64.const 0)))",
        "i64 ".repeat(100),
        "(local.set 1 (call $wide (local.get 0)))".repeat(3)
    );
    let wide = good().more(&wide).body("rate", "(drop (call $wide (i64.const 1))) (unreachable)");
    check("recursion with large frames", &wide.build(), (InRate, "stack_overflow"));
}

#[test]
fn shapes_that_are_never_compiled() {
    check("nothing", b"", (AtUpload, "malformed"));
    check("random bytes", &random_bytes(4096), (AtUpload, "malformed"));
    check("10 MB", &vec![0; 10 << 20], (AtUpload, "module_too_large"));
    let whole = good().build();
    for cut in [4, 9, 100, whole.len() / 2, whole.len() - 1] {
        check(&format!("cut at {cut}"), &whole[..cut], (AtUpload, "malformed"));
    }
    check("a core module", &good().core(), (AtUpload, "not_a_component"));
    check("an empty component", &text("(component)"), (AtUpload, "missing_export"));
    let huge = format!("(func {})", "(drop (i32.const 1))".repeat(50_000));
    check("a huge function", &good().more(&huge).build(), (AtUpload, "function_too_large"));
    check(
        "too many functions",
        &good().more(&"(func)".repeat(20_000)).build(),
        (AtUpload, "too_many_functions"),
    );
    let locals = format!("(func (local {}))", "i64 ".repeat(10_000));
    check("too many locals", &good().more(&locals).build(), (AtUpload, "too_many_locals"));
    let globals = "(global i32 (i32.const 0))".repeat(5_000);
    check("too many globals", &good().more(&globals).build(), (AtUpload, "too_many_globals"));
    check("an instance bomb", &text(&instance_bomb()), (AtUpload, "too_many_instances"));
    let deep = format!("{}{}", "(component ".repeat(50), ")".repeat(50));
    check("deep nesting", &text(&deep), (AtUpload, "nested_too_deep"));
    let imported = "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
    check("an imported module", &text(imported), (AtUpload, "foreign_instance"));
    check(
        "many modules",
        &text(&format!("(component {})", "(core module)".repeat(100))),
        (AtUpload, "too_many_modules"),
    );
    for idle in ["(core module)", "(component)", "(component $c (component)) (instance (instantiate $c))"] {
        check(idle, &text(&format!("(component {idle})")), (AtUpload, "never_instantiated"));
    }
}

#[test]
fn types_that_exhaust_whoever_reads_them() {
    for levels in [100, 1_000, 300_000] {
        // Each level: declare a type, which is an instance type with one declaration.
        let types = [&[1_u8][..], &[0x42, 1, 1].repeat(levels), &[0x42, 0]].concat();
        check("types within types", &sections(&[(7, types)]), (AtUpload, "types_nested_too_deep"));
    }
    for count in [200, 10_000] {
        // Each is an instance type that exports the one before.
        let mut types = leb(count);
        types.extend([0x42, 0]);
        for before in 0..count - 1 {
            types.extend([0x42, 2, 0x02, 0x03, 0x02, 1]);
            types.extend(leb(before));
            types.extend([0x04, 0, 1, b'a', 0x05, 0]);
        }
        check("types upon types", &sections(&[(7, types)]), (AtUpload, "malformed"));
        // The same without a type: instances that export the one before.
        let mut instances = leb(count);
        instances.extend([1, 0]);
        for before in 0..count - 1 {
            instances.extend([1, 1, 0, 1, b'a', 5]);
            instances.extend(leb(before));
        }
        check("instances upon instances", &sections(&[(5, instances)]), (AtUpload, "malformed"));
    }
    let mut tuples = leb(30);
    tuples.extend([0x70, 0x7d]);
    for before in 0..29 {
        tuples.extend([0x6f, 2, before, before]);
    }
    check("a type of 2^30 bytes", &sections(&[(7, tuples)]), (AtUpload, "malformed"));
}

/// Linking goes through the exports of a component each time it is instantiated: 4,000 exports, a few thousand times, were
/// gigabytes for whoever keeps them.
#[test]
fn links_that_multiply() {
    let many =
        |nth: usize| (0..4_000).map(|at| format!("(export \"x{nth}-{at}\" (type $t))")).collect::<String>();
    let exporting = format!("(component $many (type $t u8) {})", many(0));
    let linked = |times| format!("(component $links {})", "(instance (instantiate $many))".repeat(times));
    let idle = format!("(component {exporting} {})", linked(8_000));
    check("links in a component that is never instantiated", &text(&idle), (AtUpload, "never_instantiated"));
    let used = format!("(component {exporting} {} (instance (instantiate $links)))", linked(8_000));
    check("a great many links", &text(&used), (AtUpload, "too_many_instances"));
    let used = format!("(component {exporting} {} (instance (instantiate $links)))", linked(60));
    check("links of many exports", &text(&used), (AtUpload, "links_too_large"));
}

#[test]
fn memory_costs_fuel() {
    let fuel = |pages: u32, body: &str| {
        let mut draft = good();
        let rating = draft.rating("credits", 0, &[], &[]);
        draft.memory = format!("(memory (export \"memory\") {pages})");
        let module =
            RUNTIME.admit(&draft.body("rate", &format!("{body} (i32.const {rating})")).build()).unwrap();
        module.module.rate(&view(&usage()), &context(), b"").unwrap().fuel
    };
    let few = fuel(4, "");
    assert_eq!(fuel(2, ""), few, "what a slot keeps costs nothing");
    let beyond = fuel(14, "") - few;
    assert!(beyond >= 100_000, "{beyond}");
    let grown = fuel(4, "(drop (memory.grow (i32.const 10)))") - few;
    assert!(grown >= beyond && grown < beyond + 5_000, "{grown} and {beyond}");
}

#[test]
fn flipped_bits_never_bring_the_host_down() {
    let good = good().build();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap() % below
    };
    let mut admitted = 0;
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        if inspect(&bytes, RUNTIME.limits()).is_ok()
            && admitted < 100
            && let Ok(module) = RUNTIME.admit(&bytes)
        {
            admitted += 1;
            // A fault or a result: either will do.
            let _ = module.module.rate(&view(&usage()), &context(), b"form");
        }
    }
    assert!(admitted > 10, "most bits of data and code leave a module that can be run");
    good_decision();
}

#[test]
fn other_proposals() {
    let within = |fields: &str| {
        let module = wat::parse_str(format!("(module {fields})")).unwrap();
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::RawSection { id: 1, data: &module });
        // One core instance of it, without arguments.
        component.section(&wasm_encoder::RawSection { id: 2, data: &[1, 0, 0, 0] });
        component.finish()
    };
    check("none", &within("(func (result v128) (v128.const i64x2 0 0))"), (AtUpload, "missing_export"));
    for (name, fields) in [
        ("threads", "(memory $shared 1 1 shared)"),
        ("64-bit memory", "(memory $wide i64 1)"),
        ("tail calls", "(func (return_call 0))"),
        ("exceptions", "(tag (param i32))"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("references to the host", "(table 1 externref)"),
        (
            "relaxed SIMD",
            "(func (param v128 v128 v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))",
        ),
    ] {
        check(name, &within(fields), (AtUpload, "malformed"));
    }
}

#[test]
fn other_worlds() {
    let close = "export close: func(closing: closing, context: context, form: list<u8>) -> close-outcome;";
    check("no close", &other_world(close, ""), (AtUpload, "missing_export"));
    let describe = "export describe: func() -> manifest;";
    check(
        "describe returns text",
        &other_world(describe, "export describe: func() -> string;"),
        (AtUpload, "wrong_type"),
    );
    check(
        "a field of another type",
        &other_world("priority: s32,", "priority: u32,"),
        (AtUpload, "wrong_type"),
    );
    check("a field of another name", &other_world("draw-order:", "drain-order:"), (AtUpload, "wrong_type"));
    check(
        "a case too many",
        &other_world("deny(refusal),", "deny(refusal), maybe,"),
        (AtUpload, "wrong_type"),
    );
    let more = "export tick: func();";
    let ticking = good().more("(func (export \"tick\"))");
    let ticking = component(&ticking.core(), &WIT.replace(describe, &format!("{describe} {more}")));
    check("an export too many", &ticking, (AtUpload, "foreign_export"));
    let import = "(import \"$root\" \"now\" (func $now (result i64)))";
    let core = wat::parse_str(format!("(module {import})")).unwrap();
    let clock = component(&core, "package a:b; world policy { import now: func() -> s64; }");
    check("a clock", &clock, (AtUpload, "foreign_import"));
    let wasi = "(component (import \"wasi:cli/environment@0.2.0\" (instance (export \"get-arguments\" (func (result (list string)))))))";
    check("WASI", &text(wasi), (AtUpload, "foreign_import"));
    let smuggled =
        "(component (import \"proviso:policy/types@1.0.0\" (instance (export \"now\" (func (result s64))))))";
    check("a function among the types", &text(smuggled), (AtUpload, "foreign_import"));
}

#[test]
fn traps() {
    check("unreachable", &good().body("rate", "(unreachable)").build(), (InRate, "trap"));
    let zero = "(i32.div_u (i32.const 1) (i32.const 0))";
    check("division by zero", &good().body("rate", zero).build(), (InRate, "trap"));
    let outside = "(i32.load (i32.const 0x7fffffff))";
    check("out of bounds", &good().body("rate", outside).build(), (InRate, "trap"));
    check("in prepare", &good().body("prepare", "(unreachable)").build(), (AtUpload, "trap"));
    check("in close", &good().body("close", "(unreachable)").build(), (InClose, "trap"));
    check("in open", &good().body("open", "(unreachable)").build(), (InOpen, "trap"));
    let indirect =
        good().more("(table 1 funcref)").body("rate", "(call_indirect (result i32) (i32.const 0))");
    check("a call of nothing", &indirect.build(), (InRate, "trap"));
}

#[test]
fn results_that_lie() {
    let rated =
        |cost: i64, lines: &[(&str, i64)]| with(|draft| _ = draft.rating("credits", cost, lines, &[]));
    check("negative cost", &rated(-1, &[("a", -1)]), (InRate, "invalid_output"));
    check("lines that do not add up", &rated(3, &[("a", 1), ("b", 1)]), (InRate, "invalid_output"));
    check("a cost without lines", &rated(3, &[]), (InRate, "invalid_output"));
    check("a long label", &rated(0, &[(&"x".repeat(5_000), 0)]), (InRate, "invalid_output"));
    check("a label with NUL", &rated(0, &[("a\0b", 0)]), (InRate, "invalid_output"));
    let drawn = |id: &str| with(|draft| _ = draft.rating("credits", 0, &[], &[id]));
    check("a bad grant id", &drawn("grant_01"), (InRate, "invalid_output"));
    check("another kind of id", &drawn("res_1"), (InRate, "invalid_output"));
    let no_credit = |draft: &mut Draft| _ = draft.rating("", 0, &[], &[]);
    check("no credit type", &with(no_credit), (InRate, "invalid_output"));
    for code in ["", "No", "9lives", "with space", &"x".repeat(65)] {
        check("a bad refusal code", &with(|draft| draft.refusal("denied", code)), (InRate, "invalid_output"));
    }
    check("a refusal of no kind", &with(|draft| draft.refusal("maybe", "no")), (InRate, "invalid_output"));
    check("a negative limit", &with(|draft| draft.overage_allow(-1)), (InOverage, "invalid_output"));
    check(
        "an outcome of no kind",
        &with(|draft| raw(draft, "overage", &[9; 88])),
        (InOverage, "invalid_output"),
    );
    check("neither ok nor error", &with(|draft| raw(draft, "rate", &[7; 56])), (InRate, "invalid_output"));
}

#[test]
fn results_that_break_the_memory_rules() {
    let labelled = |label: Slice| {
        with(move |draft| {
            let mut line = label.to_vec();
            line.extend([0; 48]);
            let lines = draft.image.slice(&line, 1);
            let credit = draft.image.text("credits");
            draft.raw_rating(credit, parts(0, 0), lines, none());
        })
    };
    check("text outside memory", &labelled(slice(0xffff_0000, 100)), (InRate, "invalid_output"));
    check("text of 4 GiB", &labelled(slice(0, u32::MAX)), (InRate, "invalid_output"));
    check("text of 128 KiB", &labelled(slice(0, 131_072)), (InRate, "invalid_output"));
    let invalid_text = |draft: &mut Draft| {
        let credit = draft.image.slice(&[0xff, 0xfe], 2);
        draft.raw_rating(credit, parts(0, 0), none(), none());
    };
    check("text that is not UTF-8", &with(invalid_text), (InRate, "invalid_output"));
    check(
        "a result outside memory",
        &good().body("rate", "(i32.const -8)").build(),
        (InRate, "invalid_output"),
    );
    check(
        "a result out of step",
        &good().body("rate", "(i32.const 1025)").build(),
        (InRate, "invalid_output"),
    );
    check(
        "a list of 4 billion",
        &with(|draft| lines(draft, slice(1024, u32::MAX))),
        (InRate, "invalid_output"),
    );
    check("a list of all memory", &with(|draft| lines(draft, slice(0, 2048))), (InRate, "invalid_output"));
    let multiplied = |draft: &mut Draft| {
        // A thousand texts that are all the same 60,000 bytes of memory.
        let items: Vec<u8> = (0..1000).flat_map(|_| slice(70_000, 60_000)).collect();
        let ids = draft.image.slice(&items, 1000);
        let credit = draft.image.text("credits");
        draft.raw_rating(credit, parts(0, 0), none(), ids);
    };
    check("one text many times", &with(multiplied), (InRate, "output_too_large"));
    let form = |bytes: u32| {
        with(|draft| {
            draft.memory = "(memory (export \"memory\") 32)".to_owned();
            let settle = draft.image.text("never");
            let record = [&[0; 4][..], &slice(65_536, bytes), &none(), &none(), &settle, &none()].concat();
            raw(draft, "prepare", &record);
        })
    };
    check("a large form", &form(70_000), (AtUpload, "invalid_output"));
    check("a far too large form", &form(1_000_000), (AtUpload, "invalid_output"));
    let realloc = |draft: &mut Draft| draft.realloc = "(i32.const -4)".to_owned();
    check("arguments outside memory", &with(realloc), (AtUpload, "invalid_output"));
    let long_line = "(call $log (i32.const 0) (i32.const 0x7fffffff)) (unreachable)";
    check("a log line outside memory", &good().body("rate", long_line).build(), (InRate, "invalid_output"));
}

#[test]
fn manifests_that_say_nothing() {
    let manifest = |name: &str, version: &str, schema: &str, needs: &[&str]| {
        with(|draft| draft.manifest(name, version, schema, needs))
    };
    check("no name", &manifest("", "1.0.0", "{}", &[]), (AtUpload, "invalid_output"));
    check("a name with spaces", &manifest("my policy", "1.0.0", "{}", &[]), (AtUpload, "invalid_output"));
    check("no version", &manifest("a", "", "{}", &[]), (AtUpload, "invalid_output"));
    check("not a version", &manifest("a", "latest", "{}", &[]), (AtUpload, "invalid_output"));
    check("a schema that is not JSON", &manifest("a", "1.0.0", "{", &[]), (AtUpload, "invalid_output"));
    check("a schema that is a number", &manifest("a", "1.0.0", "1", &[]), (AtUpload, "invalid_output"));
    check(
        "a bottomless schema",
        &manifest("a", "1.0.0", &"[".repeat(9_000), &[]),
        (AtUpload, "invalid_output"),
    );
    check("needs a clock", &manifest("a", "1.0.0", "{}", &["clock"]), (AtUpload, "invalid_output"));
    for counter in [
        ["c", "cost", "customer", "hours:"],
        ["c", "cost", "customer", "hours:0"],
        ["c", "cost", "customer", "hours:745"],
        ["c", "cost", "customer", "hours:024"],
        ["c", "cost", "customer", "hours:+1"],
        ["", "cost", "customer", "day"],
        ["c", "price", "customer", "day"],
        ["c", "quantity:", "customer", "day"],
        ["c", "cost", "planet", "day"],
        ["c", "cost", "attribute:", "day"],
        ["c", "cost", "customer", "decade"],
    ] {
        let bad = with(|draft| draft.prepared(b"", &[counter]));
        check(&format!("counter {counter:?}"), &bad, (AtUpload, "invalid_output"));
    }
    let settled = with(|draft| draft.prepared_with(b"", &[], &[], "tips", &[]));
    check("overage settled from nowhere", &settled, (AtUpload, "invalid_output"));
    let category = with(|draft| draft.prepared_with(b"", &[], &[], "never", &["free"]));
    check("an unknown category", &category, (AtUpload, "invalid_output"));
    let silent = with(|draft| raw(draft, "prepare", &[[1; 1].as_slice(), &[0; 43]].concat()));
    check("no settings will do, and no word why", &silent, (AtUpload, "invalid_output"));
}

#[test]
fn the_log_is_bounded_not_fatal() {
    let chatty = "(local $left i32) (local.set $left (i32.const 1000))
        (loop $next (call $log (i32.const 1024) (i32.const 4))
          (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    let mut draft = good();
    let rating = draft.rating("credits", 0, &[], &[]);
    let module =
        RUNTIME.admit(&draft.body("rate", &format!("{chatty} (i32.const {rating})")).build()).unwrap().module;
    let decided = module.rate(&view(&usage()), &context(), b"").unwrap();
    assert_eq!(decided.log.len(), RUNTIME.limits().log_lines);
    assert!(decided.fuel > 500_000, "a line costs fuel whether it is kept or not");
}

#[test]
fn faults_say_what_and_where() {
    let rejected = |bytes: &[u8]| RUNTIME.admit(bytes).unwrap_err().to_string();
    let renamed = rejected(&other_world("priority: s32,", "priority: u32,"));
    assert!(
        renamed.contains("parameter `context`, field `grants`, element, field `priority`: is u32"),
        "{renamed}"
    );
    let cut = rejected(&good().build()[..100]);
    assert!(cut.starts_with("byte "), "{cut}");
    let module = RUNTIME.admit(&good().body("rate", "(unreachable)").build()).unwrap().module;
    let fault = module.rate(&view(&usage()), &context(), b"").unwrap_err().to_string();
    assert!(fault.contains("unreachable") && fault.contains("in rate"), "{fault}");
}

#[test]
fn the_deadline_holds_where_fuel_does_not() {
    let defaults = Limits::default();
    let decision = Budget { fuel: 1 << 60, deadline: Duration::from_millis(50), ..defaults.decision };
    let limits = Limits { decision, ..defaults };
    let runtime = Runtime::new(limits, None, Compiler::InProcess).unwrap();
    let module = runtime.admit(&good().body("rate", LOOP).build()).unwrap().module;
    let started = Instant::now();
    let fault = module.rate(&view(&usage()), &context(), b"").unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        ("deadline_exceeded", "stopped at the deadline of 50 ms")
    );
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn calls_wait_for_a_free_slot() {
    let limits = Limits { instances: 1, ..Limits::default() };
    let runtime = Runtime::new(limits, None, Compiler::InProcess).unwrap();
    let module = runtime.admit(&good().build()).unwrap().module;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    module.rate(&view(&usage()), &context(), b"").unwrap();
                }
            });
        }
    });
}

fn raw(draft: &mut Draft, export: &'static str, bytes: &[u8]) {
    let at = draft.image.put(bytes);
    draft.bodies.insert(export, format!("(i32.const {at})"));
}

fn lines(draft: &mut Draft, lines: Slice) {
    let credit = draft.image.text("credits");
    draft.raw_rating(credit, parts(0, 0), lines, none());
}

fn text(component: &str) -> Vec<u8> {
    wat::parse_str(component).unwrap()
}

/// Three levels of components, each of which makes a hundred of the one before: a million instances from a few bytes.
fn instance_bomb() -> String {
    let mut component = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..4 {
        let inner = format!("(instance (instantiate $c{}))", level - 1).repeat(100);
        component = format!("(component $c{level} {component} {inner})");
    }
    component
}

/// A fixed sequence (xorshift64), so that a failure can be repeated.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
