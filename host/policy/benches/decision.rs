//! What one decision costs: a fresh instance with all limits on, from plain data to plain data.
//! Run it with `cargo bench -p proviso-policy --bench decision`.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    reason = "not part of the product"
)]

use proviso_fixtures::guest::{Draft, Policy, context, runtime, usage, view};
use proviso_policy::Module;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const STANDARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/standard");
const DECISIONS: usize = 200_000;
const MODULES: u32 = 200;

fn main() {
    let runtime = runtime();
    println!("| policy | threads | median µs | p99 µs | p99.9 µs | decisions/s | fuel |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let bare = runtime.admit(&constant()).unwrap().module;
    measure("returns a constant", &[bare], b"");
    let standard = proviso_policy::build::build(Path::new(STANDARD)).unwrap();
    let bytes = standard;
    let standard = runtime.admit(&bytes).unwrap();
    println!("<!-- {:?}, {} bytes of code -->", standard.shape, standard.code_bytes);
    let standard = standard.module;
    let form = standard.prepare(&fifty_rates()).unwrap().value.unwrap().form;
    measure("standard, 50 rates", &[standard], &form);
    let before = maps_and_files();
    let many: Vec<_> = (0..MODULES).map(|nth| runtime.admit(&variant(&bytes, nth)).unwrap().module).collect();
    let after = maps_and_files();
    println!("<!-- {MODULES} modules more: from {before:?} to {after:?} memory maps and open files -->");
    measure("one of 200 standards at random", &many, &form);
}

/// What the kernel keeps for this process; Linux only, else nothing.
fn maps_and_files() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count());
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (maps, files)
}

/// Another module with the same code: custom sections are part of what the digest covers, and nothing else.
fn variant(bytes: &[u8], nth: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.extend([0, 6, 1, b'n']);
    bytes.extend(nth.to_le_bytes());
    bytes
}

/// Two of the fifty apply to the usage.
fn fifty_rates() -> String {
    let rate = |feature: &str, quantity: &str, model: &str| {
        format!(
            r#"{{"feature": "{feature}", "quantity": "{quantity}", "when": {{"model": "{model}"}},
                "price": {{"per_unit": "0.00125"}}}}"#
        )
    };
    let mut rates = Vec::new();
    for feature in ["chat", "embed", "image", "search", "speech"] {
        for model in ["small", "medium", "large", "vision", "legacy"] {
            rates.push(rate(feature, "input_tokens", model));
            rates.push(rate(feature, "output_tokens", model));
        }
    }
    assert_eq!(rates.len(), 50);
    format!(r#"{{"rates": [{}]}}"#, rates.join(","))
}

/// The least that a policy can do: what is measured is the host and the canonical ABI.
fn constant() -> Vec<u8> {
    let mut draft = Draft::good();
    draft.rating("credits", 12, &[("input tokens", 5), ("output tokens", 7)], &[]);
    draft.build()
}

fn measure(name: &str, modules: &[Arc<Module>], form: &[u8]) {
    for threads in [1, 2] {
        run(modules, form, DECISIONS / 10);
        let started = Instant::now();
        let mut times: Vec<Duration> = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| run(modules, form, DECISIONS))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_nanos() as f64 / 1000.0;
        let fuel = modules[0].rate(&view(&usage()), &context(), form).unwrap().fuel;
        println!(
            "| {name} | {threads} | {:.2} | {:.2} | {:.2} | {:.0} | {fuel} |",
            at(0.5),
            at(0.99),
            at(0.999),
            times.len() as f64 / seconds
        );
    }
}

fn run(modules: &[Arc<Module>], form: &[u8], decisions: usize) -> Vec<Duration> {
    let (usage, context) = (usage(), context());
    let view = view(&usage);
    let mut times = Vec::with_capacity(decisions);
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..decisions {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let module = &modules[usize::try_from(state).unwrap() % modules.len()];
        let started = Instant::now();
        let decided = module.rate(&view, &context, form).unwrap();
        times.push(started.elapsed());
        assert!(decided.value.is_ok());
    }
    times
}
