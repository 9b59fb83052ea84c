//! What was built against the released interface keeps being admitted and keeps its decisions, to the unit of fuel. The modules in
//! `golden/` are never built anew: `arguments.wasm` logs a fingerprint of every byte that it is handed, in each call;
//! `committed-use.wasm` is a policy of the sdk. Until the first release a change of `wit/v1` comes with a page in `docs/decisions/` and
//! with what `UPDATE_GOLDEN=1` writes here; after it, never.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_decide::policy::Decided;
use proviso_fixtures::guest::{
    Draft, Failure, Policy, WIT, closing, context, opening, rating, runtime, usage, view,
};
use proviso_ledger::model::{amounts::Credits, counter::Counted, ids::Digest};
use proviso_policy::Module;
use std::{fmt::Debug, fmt::Write, fs, path::PathBuf};

const SETTINGS: &str = r#"{
    "prices": [{"feature": "chat", "quantity": "input_tokens", "price": "0.01"}, {"feature": "chat", "quantity": "output_tokens", "price": "0.03"}],
    "committed_percent": "70", "further_percent": "90", "overage_limit": "500",
    "ramp": [{"from": 1, "commitment": "1000"}, {"from": 3, "commitment": "2000"}]
}"#;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The version of wasmtime in the lock file: another one may count fuel in another way.
fn wasmtime() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
    after.split('"').next().unwrap()
}

/// A policy that logs a fingerprint of its arguments, which lie one after another from `$start` on.
fn arguments() -> Vec<u8> {
    let mut draft = Draft::good();
    let text = draft.image.put(b"................");
    draft.rating("credits", 7, &[("usage", 7)], &["grant_2"]);
    draft.more.push_str(&format!(
        "(func $tell (local $at i32) (local $sum i64)
           (local.set $at (global.get $start))
           (loop $next
             (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 1099511628211)) (i64.load8_u (local.get $at))))
             (local.set $at (i32.add (local.get $at) (i32.const 1)))
             (br_if $next (i32.lt_u (local.get $at) (global.get $free))))
           (local.set $at (i32.const {text}))
           (loop $digit
             (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
             (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
             (local.set $at (i32.add (local.get $at) (i32.const 1)))
             (br_if $digit (i32.lt_u (local.get $at) (i32.const {end}))))
           (call $log (i32.const {text}) (i32.const 16)))",
        end = text + 16,
    ));
    for export in ["prepare", "rate", "overage", "close", "open"] {
        let body = draft.bodies.get_mut(export).unwrap();
        body.insert_str(0, "(call $tell) ");
    }
    draft.build()
}

fn call<T: Debug>(said: &mut String, name: &str, answer: Result<Decided<T>, Failure>) {
    let decided = answer.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    writeln!(said, "{name}: {} fuel, log {:?}\n  {:?}", decided.fuel, decided.log, decided.value).unwrap();
}

fn calls(said: &mut String, module: &Module, settings: &str) {
    let prepared = module.prepare(settings);
    let form = prepared.as_ref().unwrap().value.as_ref().unwrap().form.clone();
    call(said, "prepare", prepared);
    let usage = usage();
    let mut shown = context();
    shown.counters = vec![Counted { used: "995".parse().unwrap(), held: "1".parse().unwrap() }];
    call(said, "rate", module.rate(&view(&usage), &shown, &form));
    call(said, "overage", module.overage(&view(&usage), &rating(), Credits::from_units(5), &shown, &form));
    call(said, "close", module.close(&closing(), &shown, &form));
    call(said, "open", module.open(&opening(), &shown, &form));
}

#[test]
fn golden_modules_decide_as_they_did() {
    let updates = std::env::var_os("UPDATE_GOLDEN").is_some();
    if updates {
        fs::write(path("arguments.wasm"), arguments()).unwrap();
    }
    let mut said = format!("wit/v1 {}\nwasmtime {}\n", Digest::of(WIT.as_bytes()), wasmtime());
    let runtime = runtime();
    for (name, settings) in [("arguments", "{\"any\": 1}"), ("committed-use", SETTINGS)] {
        let bytes = fs::read(path(&format!("{name}.wasm"))).unwrap();
        let module = runtime.admit(&bytes).unwrap().module;
        writeln!(said, "\n# {name} {}", Digest::of(&bytes)).unwrap();
        writeln!(said, "{:?}", module.manifest()).unwrap();
        calls(&mut said, &module, settings);
    }
    if updates {
        fs::write(path("decisions.txt"), &said).unwrap();
    }
    let golden = fs::read_to_string(path("decisions.txt")).unwrap();
    assert_eq!(said, golden, "the interface, what it hands over, or the fuel has changed");
}
