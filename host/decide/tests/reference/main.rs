//! The reference model of the money against the host: random commands over virtual years, compared after every command.
//!
//! `REFERENCE_SEED=n` runs one history, `REFERENCE_COMMANDS=n` so many commands from `REFERENCE_FROM=n` on. Each history has a
//! seed, which is printed when host and model differ, with the shortest list of its commands in which they still do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

mod cases;

use proviso_reference::{
    pure::DecideHost,
    run::{number, report, search, try_run},
};

#[test]
fn host_and_model_agree_where_they_once_differed() {
    let mut failures = Vec::new();
    for (name, history) in cases::all() {
        if let Err(difference) = try_run::<DecideHost>(&history) {
            failures.push(format!("{name}: {}", report(0, &history, &difference)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_host_does_what_the_model_says() {
    // A panic is a difference that is reported with the others.
    std::panic::set_hook(Box::new(|_| {}));
    let (from, most) = match number("REFERENCE_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("REFERENCE_FROM").unwrap_or(1),
            number("REFERENCE_COMMANDS").map_or(50_000, |most| most as usize),
        ),
    };
    let failures = number("REFERENCE_FAILURES").map_or(3, |most| most as usize);
    let (done, found) = search::<DecideHost>(from, most, failures);
    let _ = std::panic::take_hook();
    println!("{done} commands from seed {from} on");
    let reports: Vec<String> = found.into_values().collect();
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
}
