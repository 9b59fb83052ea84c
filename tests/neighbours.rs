//! What a neighbour feels of a tenant whose policy burns all that it may in every decision: how long its charges take, and
//! how many it gets done, with and without that tenant. Prints the figures; run it alone with
//! `cargo test --workspace --test blackbox -- --ignored --nocapture neighbours::`.

#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "time is not money")]

use crate::support::{ADMIN_KEY, Client, Host};
use proviso_fixtures::guest::Draft;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Connections of each of the two.
const CONNECTIONS: usize = 64;
/// Customers of the tenant with the slow policy.
const SLOW_CUSTOMERS: usize = 300;
/// How often each of the two phases is measured, in turn, so that what else the machine does falls on both.
const ROUNDS: usize = 5;
const PHASE: Duration = Duration::from_secs(4);

/// A policy that never ends: each decision burns all the fuel it has, with divisions, which take the most time for it.
fn endless() -> Vec<u8> {
    let mut draft = Draft::good();
    let rating = draft.rating("credits", 0, &[], &[]);
    let body = format!(
        "(local $a i64) (local.set $a (i64.const 0x7123456789abcdef))
         (loop $again
           (local.set $a (i64.or (i64.const -0x7000000000000000) (i64.div_u (local.get $a) (i64.const 3))))
           (br $again))
         (i32.const {rating})"
    );
    draft.body("rate", &body).build()
}

/// What one party was answered in a phase.
struct Phase {
    /// How long each took, sorted.
    times: Vec<Duration>,
    elapsed: Duration,
}

impl Phase {
    fn percentile(&self, percent: usize) -> Duration {
        self.times[(self.times.len() - 1) * percent / 100]
    }

    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Charges over as many connections as each party has, until the time is up; each customer's turn comes in order.
async fn charge(
    host: &Host,
    names: &[String],
    numbers: &Arc<AtomicU64>,
    status: u16,
    until: Instant,
) -> Phase {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut client = Client::connect(&host.address, ADMIN_KEY).await.unwrap();
        let (names, numbers) = (names.to_vec(), numbers.clone());
        clients.spawn(async move {
            let mut times = Vec::new();
            for name in names.iter().cycle().skip(connection * names.len() / CONNECTIONS) {
                if Instant::now() >= until {
                    break;
                }
                let key = format!("k{}", numbers.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                client.charge(name, &key, 1).await.expect(status);
                times.push(sent.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    Phase { times, elapsed: began.elapsed() }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time: it wants the machine for itself"]
async fn a_policy_that_burns_all_it_may_leaves_its_neighbours_theirs() {
    let host = Arc::new(Host::start().await);
    let mut client = host.client().await;
    client.set_up().await;
    client.upload("endless", &endless()).await.expect(201);
    let plan = json!({"name": "Endless", "terms": {"policy": "endless", "version": 1, "settings": {}}});
    client.put("/v1/plans/endless", plan).await.expect(201);
    let calm: Vec<String> = (0..CONNECTIONS).map(|number| format!("calm{number}")).collect();
    let slow: Vec<String> = (0..SLOW_CUSTOMERS).map(|number| format!("slow{number}")).collect();
    for name in &calm {
        client.customer(name).await;
        let grant = json!({"amount": "100000", "category": "prepaid"});
        client.post_once(&format!("/v1/customers/{name}/grants"), "grant", grant).await.expect(201);
    }
    for name in &slow {
        client
            .put(&format!("/v1/customers/{name}"), json!({"name": name, "plan": "endless"}))
            .await
            .expect(201);
    }
    let numbers = Arc::new(AtomicU64::new(0));
    charge(&host, &calm, &numbers, 201, Instant::now() + Duration::from_secs(1)).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = charge(&host, &calm, &numbers, 201, Instant::now() + PHASE).await;
        let until = Instant::now() + PHASE + Duration::from_millis(500);
        let attack = tokio::spawn({
            let (host, slow, numbers) = (host.clone(), slow.clone(), numbers.clone());
            async move { charge(&host, &slow, &numbers, 402, until).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = charge(&host, &calm, &numbers, 201, Instant::now() + PHASE).await;
        let attack = attack.await.unwrap();
        eprintln!(
            "round {round}: alone {:.0}/s p50 {:?} p99 {:?}; beside {:.0}/s p50 {:?} p99 {:?}; slow {:.0}/s p99 {:?}",
            first.rate(),
            first.percentile(50),
            first.percentile(99),
            second.rate(),
            second.percentile(50),
            second.percentile(99),
            attack.rate(),
            attack.percentile(99),
        );
        alone.push(first);
        beside.push(second);
    }
    let tail =
        |phases: &[Phase]| median(phases.iter().map(|phase| phase.percentile(99).as_secs_f64()).collect());
    let rate = |phases: &[Phase]| median(phases.iter().map(Phase::rate).collect());
    let (tail_alone, tail_beside) = (tail(&alone), tail(&beside));
    let throughput = rate(&beside) / rate(&alone);
    eprintln!(
        "p99 {:.1} ms alone, {:.1} ms beside ({:.2} times); throughput {throughput:.2} of what it was",
        tail_alone * 1e3,
        tail_beside * 1e3,
        tail_beside / tail_alone
    );
    assert!(
        tail_beside <= 2.0 * tail_alone && tail_beside <= tail_alone + 0.020,
        "{tail_alone} {tail_beside}"
    );
    assert!(throughput >= 0.45, "{throughput}");
}
