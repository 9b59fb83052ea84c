//! A contest: contenders in, each measured once in every round, one after another; a table of medians out, in which peers
//! say how far they are from ours.

use crate::{
    Options,
    host::Host,
    load::{Answers, Latency, Load},
    table::{Table, median, ms, number},
};
use std::rc::Rc;

/// Seconds before the first round, in which caches fill.
const WARM_UP: f64 = 1.0;

/// Who is measured.
pub struct Contender {
    name: String,
    host: Rc<Host>,
    load: Load,
    /// The row that this one is a peer of.
    ours: Option<usize>,
    rounds: Vec<Round>,
}

/// What one round came to.
struct Round {
    per_second: f64,
    latency: Latency,
    /// For each charge, in microseconds.
    host_cpu: f64,
}

impl Contender {
    pub fn new(name: impl Into<String>, host: &Rc<Host>, load: Load) -> Self {
        Self { name: name.into(), host: host.clone(), load, ours: None, rounds: Vec::new() }
    }

    /// Says which row it is a peer of, counted from the first.
    pub fn peer_of(self, ours: usize) -> Self {
        Self { ours: Some(ours), name: format!("  peer: {}", self.name), ..self }
    }

    async fn measure(&self, seconds: f64) -> Round {
        let process = self.host.process();
        let before = process.cpu_micros();
        let answers: Answers = self.load.run(seconds).await;
        let cpu = (process.cpu_micros() - before) as f64;
        Round {
            per_second: answers.per_second(),
            latency: answers.latency(),
            host_cpu: cpu / answers.count() as f64,
        }
    }

    fn per_second(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.per_second))
    }
}

/// Measures all, verifies what they charged, and prints the table.
pub async fn run(mut contenders: Vec<Contender>, options: &Options) {
    for contender in &contenders {
        contender.measure(WARM_UP).await;
    }
    for _ in 0..options.rounds {
        for contender in &mut contenders {
            let round = contender.measure(options.seconds).await;
            contender.rounds.push(round);
        }
    }
    for contender in &contenders {
        contender.load.population.verify(&mut contender.host.wire().await).await;
    }
    let mut table =
        Table::new(&["", "charges/s", "ours / peer", "p50 ms", "p99 ms", "p99.9 ms", "host CPU µs/charge"]);
    for contender in &contenders {
        let ours = contender.ours.and_then(|place| contenders.get(place)).map(Contender::per_second);
        let latencies: Vec<Latency> = contender.rounds.iter().map(|round| round.latency).collect();
        let latency = Latency::median(&latencies);
        table.row([
            contender.name.clone(),
            number(contender.per_second(), 0),
            ours.map_or(String::new(), |ours| number(ours / contender.per_second(), 2)),
            ms(latency.p50),
            ms(latency.p99),
            ms(latency.p999),
            number(median(contender.rounds.iter().map(|round| round.host_cpu)), 1),
        ]);
    }
    table.print();
}
