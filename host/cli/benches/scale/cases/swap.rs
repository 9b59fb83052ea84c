//! Contracts change while traffic flows: new versions are uploaded and bound to everyone's plan under full load. No
//! request may fail, and none should notice.

use crate::{
    Options,
    host::Host,
    load::{Answers, Latency, Load},
    modules,
    place::{self, Database, Place},
    policies,
    population::USAGE,
    table::{Table, median, ms, number},
    wire::Wire,
};
use serde_json::{Value, json};
use std::time::Instant;

/// Swaps to each policy in each round, unless said otherwise.
const SWAPS: usize = 5;

/// When a swap began and how long its steps took, in microseconds.
struct Swap {
    began: f64,
    upload: f64,
    bind: f64,
    first_decision: f64,
}

/// A policy, and what was seen while its versions were swapped in.
struct Row {
    policy: &'static str,
    settings: Value,
    module: Vec<u8>,
    swaps: Vec<Swap>,
    before: Vec<Latency>,
    meanwhile: Vec<Latency>,
    binding: Vec<Latency>,
    requests: usize,
}

impl Row {
    fn new((policy, settings): (&'static str, Value)) -> Self {
        let module = policies::policy(policy);
        let (swaps, before, meanwhile, binding) = Default::default();
        Self { policy, settings, module, swaps, before, meanwhile, binding, requests: 0 }
    }

    async fn round(&mut self, host: &Host, load: &Load, count: usize, seconds: f64) {
        self.before.push(load.run(seconds).await.latency());
        let (mut wire, mut probe) = (host.wire().await, host.wire().await);
        let Self { policy, settings, module, swaps, .. } = &*self;
        let (made, answers) = load
            .run_beside(async {
                let (mut made, began) = (Vec::new(), Instant::now());
                for number in swaps.len()..swaps.len() + count {
                    let module = modules::distinct(module, &format!("{policy} {number}"));
                    made.push(Swap::make(&mut wire, &mut probe, began, policy, settings, &module).await);
                }
                made
            })
            .await;
        self.meanwhile.push(within(&answers, made.iter().map(|swap| (swap.began, swap.ended()))));
        self.binding.push(within(&answers, made.iter().map(|swap| (swap.began + swap.upload, swap.ended()))));
        self.requests += answers.timed.len();
        self.swaps.extend(made);
    }

    fn cells(&self) -> [String; 13] {
        let step = |of: fn(&Swap) -> f64| ms(median(self.swaps.iter().map(of)));
        let [before, meanwhile, binding] =
            [&self.before, &self.meanwhile, &self.binding].map(|latencies| Latency::median(latencies));
        [
            format!("{}, {} times", self.policy, self.swaps.len()),
            number(self.module.len() as f64 / 1024.0, 1),
            step(|swap| swap.upload),
            step(|swap| swap.bind),
            step(|swap| swap.first_decision),
            step(Swap::micros),
            ms(before.p99),
            ms(meanwhile.p99),
            ms(binding.p99),
            ms(before.most),
            ms(meanwhile.most),
            self.requests.to_string(),
            // One that fails ends the benchmark.
            "0".to_owned(),
        ]
    }
}

pub async fn run(options: &Options) {
    let mut rows: Vec<Row> = policies().into_iter().map(Row::new).collect();
    let place = Place::fresh(&Database::Sqlite);
    let host = place.serve_pro(&[]).await;
    let spread = place::customers(&host, "c", options.customers).await;
    place::customers(&host, "probe", 1).await;
    let load = Load::charges(&host, &spread, options.connections);
    load.run(1.0).await;
    for _ in 0..options.rounds {
        for row in &mut rows {
            row.round(&host, &load, options.count.unwrap_or(SWAPS), options.seconds).await;
        }
    }
    spread.verify(&mut host.wire().await).await;
    let mut table = Table::new(&[
        "swaps under full load",
        "KiB",
        "upload ms",
        "bind ms",
        "first decision ms",
        "in all ms",
        "p99 before ms",
        "p99 meanwhile ms",
        "p99 while binding ms",
        "most before ms",
        "most meanwhile ms",
        "requests meanwhile",
        "failed",
    ]);
    rows.iter().for_each(|row| table.row(row.cells()));
    table.print();
}

impl Swap {
    /// Uploads a version, binds it to the plan of all customers, and charges until it decides.
    async fn make(
        wire: &mut Wire,
        probe: &mut Wire,
        origin: Instant,
        policy: &str,
        settings: &Value,
        module: &[u8],
    ) -> Self {
        let began = Instant::now();
        let version = wire.upload(policy, module).await.yes().json()["version"].clone();
        let uploaded = began.elapsed();
        let terms = json!({"policy": policy, "version": version, "settings": settings});
        let key = format!("{policy}-{version}");
        wire.post("/v1/plans/pro/terms", &format!("bind-{key}"), &terms).await.yes();
        let bound = began.elapsed();
        let body = format!("{{{USAGE}}}");
        for attempt in 0.. {
            let key = format!("probe-{key}-{attempt}");
            let path = "/v1/customers/probe0/charges";
            let answer =
                probe.send("POST", path, "application/json", Some(&key), body.as_bytes()).await.yes();
            let decided = &answer.json()["policy"];
            if decided["name"] == policy && decided["version"] == version {
                break;
            }
        }
        let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
        Self {
            began: micros(began - origin),
            upload: micros(uploaded),
            bind: micros(bound - uploaded),
            first_decision: micros(began.elapsed() - bound),
        }
    }

    fn micros(&self) -> f64 {
        self.upload + self.bind + self.first_decision
    }

    fn ended(&self) -> f64 {
        self.began + self.micros()
    }
}

/// How long those took that were answered within some spans of time, in microseconds since the load began.
fn within(answers: &Answers, spans: impl Iterator<Item = (f64, f64)>) -> Latency {
    let spans: Vec<_> = spans.collect();
    let is_within = |at: u32| spans.iter().any(|(from, to)| (*from..=*to).contains(&f64::from(at)));
    Latency::of(answers.timed.iter().filter(|timed| is_within(timed.at)).map(|timed| timed.took).collect())
}

/// Four policies, each with settings under which the charges cost the same.
fn policies() -> [(&'static str, Value); 4] {
    let prices = json!([
        {"feature": "chat", "quantity": "input_tokens", "price": "0.001"},
        {"feature": "chat", "quantity": "output_tokens", "price": "0.002"},
    ]);
    let ramp = json!([{"from": 1, "commitment": "1000"}]);
    [
        ("standard", place::settings()),
        (
            "committed-use",
            json!({"prices": prices, "committed_percent": 100, "further_percent": 100, "ramp": ramp, "overage_limit": "0"}),
        ),
        ("grace-pool", json!({"prices": prices, "pool": "1000", "grace": {"for_each": "50", "most": "200"}})),
        (
            "night-rates",
            json!({
                "prices": prices, "night": {"from": "20:00", "to": "06:00", "percent": 100}, "weekend_percent": 100,
                "daily_cap": "1000000000", "allowance": "1000",
            }),
        ),
    ]
}
