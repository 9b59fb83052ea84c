//! Very many policies at once: what registering them takes, what they hold of the machine, and what a decision costs when
//! the next one is always another's.

use crate::{
    Options,
    host::Host,
    load::{Draw, Latency, Load},
    machine::Footprint,
    modules,
    place::{self, Database, Place},
    policies,
    population::{Population, USAGE},
    table::{Table, ms, number},
};
use serde_json::json;
use std::{sync::Arc, time::Instant};
use tokio::task::JoinSet;

/// Policies, unless said otherwise.
const FEW: usize = 500;
const MANY: usize = 10_000;
/// Connections that register: compilation keeps a core busy for each.
const REGISTRARS: usize = 4;

pub async fn run(options: &Options) {
    let count = options.count.unwrap_or(if options.long { MANY } else { FEW });
    let place = Place::named(&Database::Sqlite, options.keep.as_deref(), &format!("policies-{count}"));
    let registered = place.path().join("registered");
    if !registered.exists() {
        register(&place, count).await;
        std::fs::write(registered, "").unwrap();
    }
    let host = place.serve(&[]).await;
    let mut table =
        Table::new(&["", "p50 ms", "p99 ms", "charges/s", "resident MB", "anonymous MB", "maps", "files"]);
    let print = |table: &mut Table,
                 name: String,
                 latency: Option<Latency>,
                 per_second: Option<f64>,
                 now: Footprint| {
        table.row([
            name,
            latency.map_or(String::new(), |latency| ms(latency.p50)),
            latency.map_or(String::new(), |latency| ms(latency.p99)),
            per_second.map_or(String::new(), |per_second| number(per_second, 0)),
            number(now.resident_mb, 1),
            number(now.anonymous_mb, 1),
            now.maps.to_string(),
            now.files.to_string(),
        ]);
    };
    print(&mut table, "started, none loaded".to_owned(), None, None, host.process().footprint());
    let first = decide_once(&host, count).await;
    print(
        &mut table,
        format!("the first decision of each of {count}"),
        Some(first),
        None,
        host.process().footprint(),
    );
    let mut wire = host.wire().await;
    let one = Arc::new(Population::known(&mut wire, "one", 1_000).await);
    let any = Arc::new(Population::known(&mut wire, "p", count).await);
    for connections in [1, options.connections] {
        let loads = [&one, &any].map(|population| Load::charges(&host, population, connections));
        let names = ["one policy for all", "a random one for each charge"];
        for (name, (latency, per_second)) in names.iter().zip(rounds(options, &loads).await) {
            let name = format!("{name}, {connections} connections");
            print(&mut table, name, Some(latency), Some(per_second), host.process().footprint());
        }
    }
    let mut wire = host.wire().await;
    one.verify(&mut wire).await;
    any.verify(&mut wire).await;
    table.print();
}

/// Latency and charges a second of some loads that take turns.
async fn rounds(options: &Options, loads: &[Load; 2]) -> [(Latency, f64); 2] {
    let mut seen = [const { Vec::new() }; 2];
    for load in loads {
        load.run(1.0).await;
    }
    for _ in 0..options.rounds {
        for (load, seen) in loads.iter().zip(&mut seen) {
            let answers = load.run(options.seconds).await;
            seen.push((answers.latency(), answers.per_second()));
        }
    }
    seen.map(|seen| {
        let (latencies, per_second): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        (Latency::median(&latencies), crate::table::median(per_second))
    })
}

/// One charge of each policy, one after another: each is loaded from the cache of compiled code.
async fn decide_once(host: &Host, count: usize) -> Latency {
    let mut wire = host.wire().await;
    let body = format!("{{{USAGE}}}");
    let (mut micros, mut draw) = (Vec::new(), Draw::seeded());
    for number in 0..count {
        let path = format!("/v1/customers/p{number}/charges");
        let began = Instant::now();
        let key = format!("{:016x}", draw.next());
        wire.send("POST", &path, "application/json", Some(&key), body.as_bytes()).await.yes();
        micros.push(began.elapsed().as_micros() as u32);
    }
    Latency::of(micros)
}

/// Policies `policy0`, `policy1`, …, each with a module, a plan and a customer `p0`, `p1`, … of its own; beside them one
/// policy with many customers.
async fn register(place: &Place, count: usize) {
    let host = place.serve_pro(&[]).await;
    place::customers(&host, "one", 1_000).await;
    let began = Instant::now();
    let mut registrars = JoinSet::new();
    for registrar in 0..REGISTRARS {
        let mut wire = host.wire().await;
        registrars.spawn(async move {
            let mut steps = Vec::new();
            for number in (registrar..count).step_by(REGISTRARS) {
                let module = modules::distinct(&policies::STANDARD, &format!("{number}"));
                let began = Instant::now();
                let answer = wire.upload(&format!("policy{number}"), &module).await.yes().json();
                let uploaded = began.elapsed();
                place::put_plan(&mut wire, &format!("plan{number}"), &format!("policy{number}")).await;
                let planned = began.elapsed();
                let customer = json!({"plan": format!("plan{number}")});
                wire.put(&format!("/v1/customers/p{number}"), &customer).await.yes();
                let compile = answer["compile_ms"].as_f64().unwrap() * 1e3;
                let upload = uploaded.as_micros() as f64;
                let plan = (planned - uploaded).as_micros() as f64;
                steps.push([
                    upload,
                    compile,
                    upload - compile,
                    plan,
                    (began.elapsed() - planned).as_micros() as f64,
                ]);
            }
            steps
        });
    }
    let steps = registrars.join_all().await;
    println!(
        "registered {count} policies in {:.1} s over {REGISTRARS} connections, each with a module of {} KiB",
        began.elapsed().as_secs_f64(),
        policies::STANDARD.len() >> 10
    );
    let mut table = Table::new(&[
        "median of",
        "upload ms",
        "of it compiling ms",
        "of it the rest ms",
        "plan ms",
        "customer ms",
    ]);
    type Part = fn(&[[f64; 5]]) -> &[[f64; 5]];
    let parts: [(&str, Part); 2] = [
        ("the first tenth", |steps| &steps[..steps.len().div_ceil(10)]),
        ("the last tenth", |steps| &steps[steps.len() - steps.len().div_ceil(10)..]),
    ];
    for (name, part) in parts {
        let median = |step: usize| {
            ms(crate::table::median(steps.iter().flat_map(|steps| part(steps)).map(|steps| steps[step])))
        };
        table.row(std::iter::once(name.to_owned()).chain((0..5).map(median)));
    }
    table.print();
    host.stop().await;
}
