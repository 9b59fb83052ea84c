//! Contracts change while traffic flows: new versions are uploaded and bound to everyone's plan under full load. No
//! request may fail, and none should notice.

use crate::{
    Options,
    load::{Answers, Latency, Load},
    modules,
    place::{self, Database, Place},
    population::USAGE,
    table::{Table, median, ms, number},
    wire::Wire,
};
use serde_json::{Value, json};
use std::time::Instant;

/// Swaps to each policy, unless said otherwise.
const SWAPS: usize = 10;

/// When a swap began and how long its steps took, in microseconds.
struct Swap {
    began: f64,
    upload: f64,
    bind: f64,
    first_decision: f64,
}

pub async fn run(options: &Options) {
    let count = options.count.unwrap_or(SWAPS);
    let place = Place::fresh(&Database::Sqlite);
    let host = place.serve_pro(&[]).await;
    let spread = place::customers(&host, "c", options.customers).await;
    place::customers(&host, "probe", 1).await;
    let load = Load::charges(&host, &spread, options.connections);
    load.run(1.0).await;
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
    for (policy, settings) in policies() {
        let module = modules::shipped(policy);
        let before = load.run(options.seconds).await.latency();
        let mut wire = host.wire().await;
        let mut probe = host.wire().await;
        let (swaps, answers) = load
            .run_beside(async {
                let (mut swaps, began) = (Vec::new(), Instant::now());
                for number in 0..count {
                    let module = modules::distinct(&module, &format!("{policy} {number}"));
                    swaps.push(Swap::make(&mut wire, &mut probe, began, policy, &settings, &module).await);
                }
                swaps
            })
            .await;
        let during = within(&answers, swaps.iter().map(|swap| (swap.began, swap.ended())));
        let binding = within(&answers, swaps.iter().map(|swap| (swap.began + swap.upload, swap.ended())));
        let step = |of: fn(&Swap) -> f64| ms(median(swaps.iter().map(of)));
        table.row([
            format!("{policy}, {count} times"),
            number(module.len() as f64 / 1024.0, 1),
            step(|swap| swap.upload),
            step(|swap| swap.bind),
            step(|swap| swap.first_decision),
            step(Swap::micros),
            ms(before.p99),
            ms(during.p99),
            ms(binding.p99),
            ms(before.most),
            ms(during.most),
            answers.timed.len().to_string(),
            // One that fails ends the benchmark.
            "0".to_owned(),
        ]);
    }
    spread.verify(&mut host.wire().await).await;
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
