//! The customers of one database, and what they were charged: so that after a run each balance can be held against what
//! was answered. A benchmark that loses charges measures nothing.

use crate::wire::Wire;
use proviso_ledger::model::amounts::{Credits, Decimal};
use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

/// What every charge uses, as JSON without its braces.
pub const USAGE: &str = r#""feature":"chat","quantities":{"input_tokens":1200,"output_tokens":300},"attributes":{"model":"large"},"entity":"user-7""#;
/// What it costs under the settings of [`crate::place::settings`], in units of credits.
pub const COST: i128 = 18 * Decimal::SCALE / 10;
/// Customers that are looked at after a run.
const SAMPLES: usize = 5;

/// Customers whose keys are a prefix and a number.
pub struct Population {
    prefix: String,
    charges: Vec<AtomicU32>,
    /// What the sampled ones had used before.
    before: Vec<(usize, Credits)>,
}

impl Population {
    /// Customers that a host has already.
    pub async fn known(wire: &mut Wire, prefix: &str, count: usize) -> Self {
        let charges = (0..count).map(|_| AtomicU32::new(0)).collect();
        let mut population = Self { prefix: prefix.to_owned(), charges, before: Vec::new() };
        let samples: std::collections::BTreeSet<usize> = (0..SAMPLES).map(|n| n * count / SAMPLES).collect();
        for number in samples {
            let used = population.used(wire, number).await;
            population.before.push((number, used));
        }
        population
    }

    pub fn count(&self) -> usize {
        self.charges.len()
    }

    /// A customer's key.
    pub fn key(&self, number: usize) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Adds a customer's key to a text.
    pub fn write_key(&self, number: usize, text: &mut String) {
        write!(text, "{}{number}", self.prefix).unwrap();
    }

    /// Takes note of a charge that was answered.
    pub fn charged(&self, number: usize) {
        self.charges[number].fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the benchmark unless the sampled customers have used exactly what was charged.
    pub async fn verify(&self, wire: &mut Wire) {
        for (number, before) in &self.before {
            let used = self.used(wire, *number).await;
            let charges = self.charges[*number].load(Ordering::Relaxed);
            let expected = Credits::from_units(before.units() + COST * i128::from(charges));
            let customer = self.key(*number);
            assert_eq!(
                used, expected,
                "{customer} was answered {charges} charges, but has used something else"
            );
        }
    }

    async fn used(&self, wire: &mut Wire, number: usize) -> Credits {
        let answer = wire.get(&format!("/v1/customers/{}/balance", self.key(number))).await.yes().json();
        answer["balances"][0]["used"].as_str().expect("a balance says what was used").parse().unwrap()
    }
}
