//! Modules that mean harm, uploaded one after another while the host serves: each is bounded in memory and in processor time over the
//! whole of its upload, and nobody's charge fails meanwhile. A module of each family by default; all of them, with the figures of
//! each family, with `PROVISO_LONG=1`.

use crate::support::{
    ADMIN_KEY, Client, Host,
    process::{Taken, Watch, resident_kib},
};
use proviso_fixtures::hostile::{FAMILIES, Family};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Clients that charge meanwhile.
const CLIENTS: usize = 8;
/// What a child that inspects and compiles may take.
const MOST_KIB: u64 = 256 << 10;
const MOST_CPU: Duration = Duration::from_secs(2);

/// Charges one after another until it is told to stop; how many there were.
async fn charge(mut client: Client, number: usize, stop: Arc<AtomicBool>) -> usize {
    let mut charges = 0;
    while !stop.load(Ordering::Relaxed) {
        client.charge("acme", &format!("{number}-{charges}"), 1).await.expect(201);
        charges += 1;
        sleep(Duration::from_millis(4)).await;
    }
    charges
}

/// What the modules of a family came to.
#[derive(Default)]
struct Figures {
    bytes: usize,
    took: Duration,
    taken: Taken,
    verdicts: BTreeMap<String, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_modules_are_bounded_and_hold_nobody_up() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let grant = serde_json::json!({"amount": "1000000", "category": "prepaid"});
    client.post_once("/v1/customers/acme/grants", "grant", grant).await.expect(201);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut clients, began) = (JoinSet::new(), Instant::now());
    for number in 0..CLIENTS {
        clients.spawn(charge(host.client().await, number, stop.clone()));
    }
    let is_long = std::env::var_os("PROVISO_LONG").is_some();
    let watch = Watch::children_of(host.process());
    let before = resident_kib(host.process());
    let mut most_of_host = before;
    for (place, family) in FAMILIES.iter().enumerate() {
        let numbers =
            if is_long { (0..Family::MODULES).collect() } else { vec![(3 * place + 8) % Family::MODULES] };
        let mut figures = Figures::default();
        for number in numbers {
            let (name, module) = (format!("family-{place}-{number}"), family.module(number));
            watch.most();
            let began = Instant::now();
            let mut uploader = Client::connect(&host.address, ADMIN_KEY).await.unwrap();
            let answer = uploader.upload(&name, &module).await;
            let took = began.elapsed();
            let taken = watch.most();
            assert!(
                [201, 413, 422].contains(&answer.status),
                "{name} ({}): {} {}",
                family.name,
                answer.status,
                answer.body
            );
            let verdict = answer.body["errors"][0]["code"].as_str().unwrap_or(answer.code());
            *figures
                .verdicts
                .entry(if answer.status == 201 { "taken".to_owned() } else { verdict.to_owned() })
                .or_default() += 1;
            assert!(
                taken.peak_kib <= MOST_KIB,
                "{name} ({}) took {} KiB: {}",
                family.name,
                taken.peak_kib,
                answer.body
            );
            assert!(taken.cpu <= MOST_CPU, "{name} ({}) took {:?}: {}", family.name, taken.cpu, answer.body);
            figures.bytes = figures.bytes.max(module.len());
            figures.took = figures.took.max(took);
            figures.taken.peak_kib = figures.taken.peak_kib.max(taken.peak_kib);
            figures.taken.cpu = figures.taken.cpu.max(taken.cpu);
            most_of_host = most_of_host.max(resident_kib(host.process()));
        }
        eprintln!(
            "{:<36} {:>8} bytes {:>5} ms {:>5} ms of processor {:>4} MiB {:?}",
            family.name,
            figures.bytes,
            figures.took.as_millis(),
            figures.taken.cpu.as_millis(),
            figures.taken.peak_kib >> 10,
            figures.verdicts
        );
    }
    stop.store(true, Ordering::Relaxed);
    let charges: usize = clients.join_all().await.into_iter().sum();
    eprintln!(
        "{charges} charges meanwhile, {} a second; the host took {} MiB more",
        charges as u128 * 1_000 / began.elapsed().as_millis(),
        (most_of_host - before) >> 10
    );
    assert!(charges > 0 && most_of_host - before <= MOST_KIB);
    assert!(host.terminate().await.success());
}
