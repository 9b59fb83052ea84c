//! The recount: the journals and balances of every host against each other and against what the clients wrote down.

use super::{
    Client,
    fleet::Fleet,
    traffic::{Book, GRANT_KEY, GRANTED, Line, customer, thousandths},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long the hosts may take to write what is due by now.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether they have.
const GLANCE: Duration = Duration::from_millis(100);
/// Every so many requests of the book are repeated.
const SAMPLE: usize = 50;

/// A customer's journal, oldest entry first.
pub async fn journal(client: &mut Client, customer: &str) -> Vec<Value> {
    let first = format!("/v1/customers/{customer}/ledger?limit=1000");
    let (mut path, mut entries) = (first.clone(), Vec::new());
    loop {
        let page = client.get(&path).await.expect(200);
        entries.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{first}&cursor={cursor}");
    }
    entries.reverse();
    entries
}

/// Lets all that is forgotten run out, then checks everything. Ends the test on any difference; returns how many entries
/// there are.
pub async fn check(fleet: &Fleet, book: &Book, customers: u64) -> usize {
    move_clocks(fleet).await;
    let mut entries = 0;
    for number in 0..customers {
        let customer = customer(number);
        settle(&mut fleet.client(0).await, &customer).await;
        let journal = journal(&mut fleet.client(0).await, &customer).await;
        for host in 1..fleet.len() {
            let other = self::journal(&mut fleet.client(host).await, &customer).await;
            assert!(journal == other, "host {host} has another journal of {customer}");
        }
        let lines = book.iter().filter(|((of, _), _)| *of == customer);
        let lines: BTreeMap<&str, Line> = lines.map(|((_, key), line)| (key.as_str(), *line)).collect();
        check_order(&customer, &journal);
        check_keys(&customer, &journal, &lines);
        check_reservations(&customer, &journal);
        let spent = lines.values().map(|line| line.spent).sum();
        for host in 0..fleet.len() {
            check_balance(&mut fleet.client(host).await, &customer, spent).await;
        }
        entries += journal.len();
    }
    check_repeats(fleet, book).await;
    entries
}

/// All hosts' clocks to one instant, after all that any of them has seen, with some periods' ends on the way.
async fn move_clocks(fleet: &Fleet) {
    let mut latest = String::new();
    for host in 0..fleet.len() {
        let now = fleet.client(host).await.get("/v1/test_clock").await.expect(200);
        latest = latest.max(now["now"].as_str().unwrap().to_owned());
    }
    // A journal may be an hour ahead of all clocks, by one that a host had before it was started again.
    let year: u32 = latest[..4].parse().unwrap();
    let later = format!("{}-02-01T00:00:00Z", year + 1);
    for host in 0..fleet.len() {
        fleet.client(host).await.post("/v1/test_clock", json!({"now": later})).await.expect(200);
    }
}

/// Waits until a sweep has written all that was due when the clocks moved, of which the end of a period comes last.
async fn settle(client: &mut Client, customer: &str) {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/v1/customers/{customer}/ledger?limit=1");
    while client.get(&path).await.expect(200)["data"][0]["event"]["reason"] != "scheduled" {
        assert!(Instant::now() < deadline, "{customer}: what is due is not done");
        tokio::time::sleep(GLANCE).await;
    }
}

/// Those that were made, and one mention for each end.
fn reservations(journal: &[Value]) -> (Vec<String>, Vec<String>) {
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    for entry in journal {
        match entry["type"].as_str().unwrap() {
            "reserved" => made.push(format!("res_{}", entry["entry"])),
            "committed" | "released" | "reservation_expired" => {
                ended.push(entry["event"]["reservation"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
    (made, ended)
}

fn check_reservations(customer: &str, journal: &[Value]) {
    let (made, ended) = reservations(journal);
    let once: BTreeSet<_> = ended.iter().collect();
    assert_eq!(once.len(), ended.len(), "{customer}: a reservation ended twice");
    assert_eq!(once, made.iter().collect(), "{customer}: other reservations ended than were made");
}

/// Numbers without gaps, times that never go backwards, whichever host wrote.
pub fn check_order(customer: &str, journal: &[Value]) {
    let mut before = String::new();
    for (entry, number) in journal.iter().zip(1_u64..) {
        assert_eq!(entry["entry"].as_u64(), Some(number), "{customer}: the numbers have a gap");
        // Without the Z a time with more digits of its second sorts after one with fewer.
        let at = entry["at"].as_str().unwrap().trim_end_matches('Z').to_owned();
        assert!(before <= at, "{customer}: entry {number} goes back from {before} to {at}");
        before = at;
    }
}

/// Each key once, in the entry that was answered, with what was spent; and no key that nobody sent.
fn check_keys(customer: &str, journal: &[Value], lines: &BTreeMap<&str, Line>) {
    let mut found = BTreeMap::new();
    for entry in journal {
        let Some(key) = entry["key"].as_str() else { continue };
        let into_spent = entry["transfers"].as_array().unwrap().iter().filter(|of| of["to"] == "spent");
        let spent = into_spent.map(|transfer| thousandths(&transfer["amount"])).sum();
        let line = Line { entry: entry["entry"].as_u64().unwrap(), spent };
        assert_eq!(found.insert(key, line), None, "{customer}: {key} is there twice");
    }
    for (key, line) in lines {
        assert_eq!(found.get(key), Some(line), "{customer}: {key} was answered so");
    }
    let unknown: Vec<_> =
        found.keys().filter(|key| **key != GRANT_KEY && !lines.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "{customer}: the journal has requests that nobody sent: {unknown:?}");
}

async fn check_balance(client: &mut Client, customer: &str, spent: u64) {
    let answer = client.get(&format!("/v1/customers/{customer}/balance")).await.expect(200);
    let balance = &answer["balances"][0];
    let amounts = ["used", "reserved", "available", "overage"].map(|name| thousandths(&balance[name]));
    assert_eq!(amounts, [spent, 0, GRANTED - spent, 0], "{customer}: {balance}");
    assert_eq!(answer["reservations"], json!([]), "{customer}");
}

/// A request that was answered is answered again the same, at every host.
async fn check_repeats(fleet: &Fleet, book: &Book) {
    let charges = book.iter().filter(|((_, key), line)| line.spent > 0 && key.split('-').count() == 2);
    for ((customer, key), line) in charges.step_by(SAMPLE) {
        for host in 0..fleet.len() {
            let repeated = fleet.client(host).await.charge(customer, key, line.spent).await;
            assert!(repeated.replayed, "{customer}: {key} at host {host}");
            assert_eq!(repeated.expect(201)["entry"].as_u64(), Some(line.entry), "{customer}: {key}");
        }
    }
}
