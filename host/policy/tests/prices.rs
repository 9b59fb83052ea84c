//! Fuel follows time: no instruction that a policy may use takes much longer for its fuel than others do. Run it with
//! `cargo test -p proviso-policy --test prices -- --nocapture` to see what each comes to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(clippy::float_arithmetic, reason = "time is not money")]

use proviso_fixtures::guest::{Draft, Policy, context, usage, view};
use proviso_policy::{Budget, Compiler, Limits, Runtime};
use std::fmt::Write;

/// How often an instruction stands in the body of the loop.
const TIMES: usize = 50;

/// Each is a name and text that uses, and may change, `$a $b` (i64), `$i` (i32), `$x $y` (f64), `$s` (f32) and `$v` (v128);
/// `$z` is a zero. Each depends on the one before, so that it takes its full time.
const INSTRUCTIONS: &[(&str, &str)] = &[
    ("i64.add", "(local.set $a (i64.add (local.get $a) (local.get $b)))"),
    ("i64.mul", "(local.set $a (i64.mul (local.get $a) (local.get $b)))"),
    ("i64.div_s", "(local.set $a (i64.or (i64.const -0x7000000000000000) (i64.div_s (local.get $a) (local.get $b))))"),
    ("i64.div_u", "(local.set $a (i64.or (i64.const -0x7000000000000000) (i64.div_u (local.get $a) (local.get $b))))"),
    ("i64.rem_s", "(local.set $a (i64.or (i64.const -0x7000000000000000) (i64.rem_s (local.get $a) (local.get $b))))"),
    ("i64.rem_u", "(local.set $a (i64.or (i64.const -0x7000000000000000) (i64.rem_u (local.get $a) (local.get $b))))"),
    ("i32.div_u", "(local.set $i (i32.or (i32.const -0x70000000) (i32.div_u (local.get $i) (i32.wrap_i64 (local.get $b)))))"),
    ("i32.rem_s", "(local.set $i (i32.or (i32.const -0x70000000) (i32.rem_s (local.get $i) (i32.wrap_i64 (local.get $b)))))"),
    ("i64.rotl", "(local.set $a (i64.rotl (local.get $a) (local.get $b)))"),
    ("i64.popcnt", "(local.set $a (i64.popcnt (local.get $a)))"),
    ("i64.clz", "(local.set $a (i64.clz (local.get $a)))"),
    ("i64.ctz", "(local.set $a (i64.ctz (local.get $a)))"),
    ("i64.eqz", "(local.set $i (i64.eqz (i64.extend_i32_u (local.get $i))))"),
    ("select", "(local.set $a (select (local.get $a) (local.get $b) (i32.wrap_i64 (local.get $a))))"),
    ("f64.add", "(local.set $x (f64.add (local.get $x) (local.get $y)))"),
    ("f64.mul", "(local.set $x (f64.mul (local.get $x) (local.get $y)))"),
    ("f64.div", "(local.set $x (f64.div (local.get $x) (local.get $y)))"),
    ("f64.sqrt", "(local.set $x (f64.sqrt (local.get $x)))"),
    ("f64.min", "(local.set $x (f64.min (local.get $x) (local.get $y)))"),
    ("f64.max", "(local.set $x (f64.max (local.get $x) (local.get $y)))"),
    ("f64.ceil", "(local.set $x (f64.ceil (local.get $x)))"),
    ("f64.floor", "(local.set $x (f64.floor (local.get $x)))"),
    ("f64.trunc", "(local.set $x (f64.trunc (local.get $x)))"),
    ("f64.nearest", "(local.set $x (f64.nearest (local.get $x)))"),
    ("f64.copysign", "(local.set $x (f64.copysign (local.get $x) (local.get $y)))"),
    ("f32.div", "(local.set $s (f32.div (local.get $s) (f32.const 1.0001)))"),
    ("f32.sqrt", "(local.set $s (f32.sqrt (local.get $s)))"),
    ("f32.nearest", "(local.set $s (f32.nearest (local.get $s)))"),
    ("f32 and f64", "(local.set $s (f32.demote_f64 (f64.promote_f32 (local.get $s))))"),
    ("f64.convert_i64_u", "(local.set $a (i64.reinterpret_f64 (f64.convert_i64_u (local.get $a))))"),
    ("f64.convert_i64_s", "(local.set $a (i64.reinterpret_f64 (f64.convert_i64_s (local.get $a))))"),
    ("i64.trunc_sat_f64_u", "(local.set $x (f64.reinterpret_i64 (i64.trunc_sat_f64_u (local.get $x))))"),
    ("i64.trunc_sat_f64_s", "(local.set $x (f64.reinterpret_i64 (i64.trunc_sat_f64_s (local.get $x))))"),
    ("i64.trunc_f64_s", "(local.set $a (i64.trunc_f64_s (f64.convert_i32_s (i32.wrap_i64 (local.get $a)))))"),
    ("i64.load", "(local.set $i (i32.and (i32.const 0xfff8) (i32.wrap_i64 (i64.load (local.get $i)))))"),
    ("i64.store", "(i64.store (local.get $i) (local.get $a))"),
    ("i64.load of far memory", "(local.set $i (i32.and (i32.const 0x3ffff8) (i32.add (i32.mul (local.get $i)
        (i32.const 1664525)) (i32.add (i32.const 1013904223) (i32.wrap_i64 (i64.load (local.get $i)))))))"),
    ("memory.size", "(local.set $i (memory.size))"),
    ("memory.grow by none", "(drop (memory.grow (local.get $z)))"),
    ("memory.copy of none", "(memory.copy (i32.const 0) (i32.const 9) (local.get $z))"),
    ("memory.copy of 16", "(memory.copy (i32.const 0) (i32.const 9) (i32.const 16))"),
    ("memory.copy of 64 KiB", "(memory.copy (i32.const 0) (i32.const 9) (i32.const 65536))"),
    ("memory.copy of 2 MiB", "(memory.copy (i32.const 0x200000) (i32.const 9) (i32.const 0x1fff00))"),
    ("memory.fill of none", "(memory.fill (i32.const 0) (i32.const 9) (local.get $z))"),
    ("memory.fill of 64 KiB", "(memory.fill (i32.const 0) (i32.const 9) (i32.const 65536))"),
    ("memory.init of none", "(memory.init $d (i32.const 0) (i32.const 0) (local.get $z))"),
    ("memory.init of 4 KiB", "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 4096))"),
    ("data.drop", "(data.drop $d)"),
    ("table.size", "(local.set $i (table.size $t))"),
    ("table.get", "(drop (table.get $t (i32.const 3)))"),
    ("table.set", "(table.set $t (i32.const 3) (ref.func $callee))"),
    ("table.grow by none", "(drop (table.grow $t (ref.null func) (local.get $z)))"),
    ("table.fill of none", "(table.fill $t (i32.const 0) (ref.null func) (local.get $z))"),
    ("table.fill of 1,000", "(table.fill $t (i32.const 9) (ref.func $callee) (i32.const 1000))"),
    ("table.copy of none", "(table.copy $t $t (i32.const 0) (i32.const 9) (local.get $z))"),
    ("table.copy of 1,000", "(table.copy $t $t (i32.const 1000) (i32.const 9) (i32.const 1000))"),
    ("table.init of none", "(table.init $t $e (i32.const 0) (i32.const 0) (local.get $z))"),
    ("table.init of 1,000", "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1000))"),
    ("elem.drop", "(elem.drop $e)"),
    ("ref.func", "(drop (ref.is_null (ref.func $callee)))"),
    ("call", "(local.set $a (call $callee (local.get $a)))"),
    ("call_indirect", "(local.set $a (call_indirect $t (param i64) (result i64) (local.get $a) (i32.const 0)))"),
    ("call_indirect of first use", "(table.set $t (i32.const 0) (ref.func $callee))
        (local.set $a (call_indirect $t (param i64) (result i64) (local.get $a) (i32.const 0)))"),
    ("global.set", "(global.set $g (i64.add (global.get $g) (i64.const 1)))"),
    ("br_table", "(block $p (block $q (block $r (br_table $p $q $r (i32.wrap_i64 (local.get $a))))
        (local.set $a (i64.add (local.get $a) (i64.const 7)))) (local.set $a (i64.add (local.get $a) (i64.const 5))))"),
    ("br_if, at random", "(local.set $a (i64.add (i64.mul (local.get $a) (i64.const 6364136223846793005)) (i64.const 1)))
        (block $p (br_if $p (i64.lt_s (local.get $a) (i64.const 0))) (local.set $i (i32.add (local.get $i) (i32.const 1))))"),
    ("log", "(call $log (i32.const 0) (i32.const 0))"),
    ("i64x2.mul", "(local.set $v (i64x2.mul (local.get $v) (local.get $v)))"),
    ("f32x4.div", "(local.set $v (f32x4.div (local.get $v) (local.get $v)))"),
    ("f32x4.sqrt", "(local.set $v (f32x4.sqrt (local.get $v)))"),
    ("f32x4.min", "(local.set $v (f32x4.min (local.get $v) (local.get $v)))"),
    ("f64x2.div", "(local.set $v (f64x2.div (local.get $v) (local.get $v)))"),
    ("f64x2.sqrt", "(local.set $v (f64x2.sqrt (local.get $v)))"),
    ("f64x2.nearest", "(local.set $v (f64x2.nearest (local.get $v)))"),
    ("f32x4.ceil", "(local.set $v (f32x4.ceil (local.get $v)))"),
    ("f64x2.pmin", "(local.set $v (f64x2.pmin (local.get $v) (local.get $v)))"),
    ("f64x2.max", "(local.set $v (f64x2.max (local.get $v) (local.get $v)))"),
    ("i8x16.popcnt", "(local.set $v (i8x16.popcnt (local.get $v)))"),
    ("i8x16.swizzle", "(local.set $v (i8x16.swizzle (local.get $v) (local.get $v)))"),
    ("i8x16.shl", "(local.set $v (i8x16.shl (local.get $v) (i32.const 3)))"),
    ("i8x16.shr_s", "(local.set $v (i8x16.shr_s (local.get $v) (local.get $i)))"),
    ("i64x2.shr_s", "(local.set $v (i64x2.shr_s (local.get $v) (local.get $i)))"),
    ("i16x8.q15mulr", "(local.set $v (i16x8.q15mulr_sat_s (local.get $v) (local.get $v)))"),
    ("i32x4.trunc_sat", "(local.set $v (i32x4.trunc_sat_f32x4_u (local.get $v)))"),
    ("i32x4.trunc_sat_zero", "(local.set $v (i32x4.trunc_sat_f64x2_u_zero (local.get $v)))"),
    ("f32x4.convert_u", "(local.set $v (f32x4.convert_i32x4_u (local.get $v)))"),
    ("f64x2.convert_low_u", "(local.set $v (f64x2.convert_low_i32x4_u (local.get $v)))"),
    ("i64x2.extmul", "(local.set $v (i64x2.extmul_high_i32x4_s (local.get $v) (local.get $v)))"),
    ("i8x16.narrow", "(local.set $v (i8x16.narrow_i16x8_u (local.get $v) (local.get $v)))"),
    ("i8x16.bitmask", "(local.set $i (i8x16.bitmask (local.get $v)))"),
    ("i8x16.all_true", "(local.set $i (i8x16.all_true (local.get $v)))"),
    ("i8x16.shuffle", "(local.set $v (i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31
        (local.get $v) (local.get $v)))"),
];

/// Processor time that this thread took so far: unlike wall time, it does not depend on what else the machine does.
fn thread_nanos() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of the type that is written there.
    #[allow(unsafe_code, reason = "the kernel is asked for the time of a thread")]
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Thread time for a fuel unit, in nanoseconds: the least of several runs, since whatever disturbs one makes it longer.
fn nanos_per_fuel(runtime: &Runtime, text: &str) -> f64 {
    let (fuel, runs) = (runtime.limits().decision.fuel, 3);
    let mut draft = Draft::good().more(
        "(table $t 2100 funcref) (elem declare func $callee)
        (elem (table $t) (i32.const 0) func $callee)
        (global $g (mut i64) (i64.const 0))
        (func $callee (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))",
    );
    let (data, functions) = ("d".repeat(4_096), "$callee ".repeat(1_000));
    write!(draft.more, "(data $d \"{data}\") (elem $e func {functions})").unwrap();
    // What the compiler can't know: a divisor, and a count of zero.
    draft.more.push_str("(data (i32.const 0x3ff000) \"\\07\")");
    draft.memory = "(memory (export \"memory\") 64)".to_owned();
    let body = format!(
        "(local $a i64) (local $b i64) (local $i i32) (local $x f64) (local $y f64) (local $s f32) (local $v v128) (local $z i32)
        (local.set $a (i64.const 0x123456789abcdef)) (local.set $b (i64.load (i32.const 0x3ff000)))
        (local.set $z (i32.load (i32.const 0x3ff010)))
        (local.set $x (f64.const 1.5e300)) (local.set $y (f64.const 1.0000001)) (local.set $s (f32.const 1.5e30))
        (local.set $v (f64x2.splat (f64.const 1.5e300)))
        (loop $again {} (br $again)) (unreachable)",
        text.repeat(TIMES)
    );
    let module = runtime.admit(&draft.body("rate", &body).build()).unwrap().module;
    let (usage, context) = (usage(), context());
    let run = || {
        let before = thread_nanos();
        let failure = module.rate(&view(&usage), &context, b"").unwrap_err();
        let nanos = thread_nanos() - before;
        assert_eq!(failure.code, "out_of_fuel", "{text}: {failure}");
        nanos as f64 / fuel as f64
    };
    (0..runs).map(|_| run()).fold(f64::INFINITY, f64::min)
}

#[test]
fn no_instruction_is_much_cheaper_in_fuel_than_in_time() {
    let defaults = Limits::default();
    let decision = Budget { fuel: 3_000_000, ..defaults.decision };
    let runtime = Runtime::new(Limits { decision, ..defaults }, None, Compiler::InProcess).unwrap();
    let measured: Vec<(&str, f64)> =
        INSTRUCTIONS.iter().map(|(name, text)| (*name, nanos_per_fuel(&runtime, text))).collect();
    for (name, nanos) in &measured {
        println!("{nanos:8.3} ns {name}");
    }
    let (_, typical) = measured.iter().find(|(name, _)| *name == "call").unwrap();
    for (name, nanos) in &measured {
        assert!(*nanos < 3.0 * typical, "{name} takes {nanos} ns for a unit of fuel, a call {typical}");
    }
}

/// Fresh memory is touched once in each of the kernel's pages, which costs much more than the instruction.
#[test]
fn fresh_memory_is_paid_for() {
    const PAGES: u32 = 60;
    let runtime = Runtime::new(Limits::default(), None, Compiler::InProcess).unwrap();
    let measure = |pages: u32| {
        let mut draft = Draft::good();
        let rating = draft.rating("credits", 0, &[], &[]);
        let body = format!(
            "(local $at i32) (local.set $at (i32.const 0x40000))
            (drop (memory.grow (i32.const {pages})))
            (block $done (loop $next
              (br_if $done (i32.ge_u (local.get $at) (i32.const {end})))
              (i32.store8 (local.get $at) (i32.const 1))
              (local.set $at (i32.add (local.get $at) (i32.const 4096)))
              (br $next)))
            (i32.const {rating})",
            end = 0x40000 + pages * 65_536,
        );
        draft.memory = "(memory (export \"memory\") 4)".to_owned();
        let module = runtime.admit(&draft.body("rate", &body).build()).unwrap().module;
        let (usage, context) = (usage(), context());
        let run = || {
            let before = thread_nanos();
            let fuel = module.rate(&view(&usage), &context, b"").unwrap().fuel;
            (thread_nanos() - before, fuel)
        };
        (0..50).map(|_| run()).min().unwrap()
    };
    let ((none, least), (all, most)) = (measure(0), measure(PAGES));
    let nanos = (all - none) as f64 / (most - least) as f64;
    println!("{nanos:8.3} ns a page of fresh memory, which takes {} ns", (all - none) / i64::from(PAGES));
    // A unit of fuel is about a nanosecond at most.
    assert!(nanos < 3.0, "{nanos}");
}
