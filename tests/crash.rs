//! `kill -9` under load: every answered charge is there exactly once, no other is there in part, the ledger verifies.

use crate::support::{ADMIN_KEY, Client, Host, verify};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinSet;

/// How often the host is killed; the 50 with `PROVISO_KILLS=50`.
fn kills() -> u64 {
    std::env::var("PROVISO_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6)
}

const CUSTOMERS: u64 = 20;
const CLIENTS: u64 = 16;

/// What a client knows of its charges: the key, and the answer's entry where one came.
type Book = Arc<Mutex<BTreeMap<(String, String), Option<u64>>>>;

async fn load(address: String, client: u64, round: u64, book: Book) {
    let Ok(mut connection) = Client::connect(&address, ADMIN_KEY).await else { return };
    for number in 0.. {
        let customer = format!("c{}", (client + number) % CUSTOMERS);
        let key = format!("{round}-{client}-{number}");
        book.lock().unwrap().insert((customer.clone(), key.clone()), None);
        let body = json!({"feature": "chat", "quantities": {"input_tokens": 1}}).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let path = format!("/v1/customers/{customer}/charges");
        let Ok(answer) = connection.send(hyper::Method::POST, &path, &headers, body).await else { return };
        assert_eq!(answer.status, 201, "{}", answer.body);
        book.lock().unwrap().insert((customer, key), answer.body["entry"].as_u64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_hosts_lose_nothing_and_double_nothing() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    for customer in 0..CUSTOMERS {
        client.customer(&format!("c{customer}")).await;
        let grant = json!({"amount": "1000000", "category": "prepaid"});
        client.post(&format!("/v1/customers/c{customer}/grants"), grant).await.expect(201);
    }
    let book: Book = Arc::default();
    for round in 0..kills() {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(load(host.address.clone(), client, round, book.clone()));
        }
        // The moment is not a matter of any outcome: whenever it comes, the same must hold.
        tokio::time::sleep(Duration::from_millis(150 + round * 61 % 400)).await;
        let data = host.kill().await;
        clients.join_all().await;
        host = Host::start_in(data).await;
    }

    // What was answered is in the journal under its key, once; what was not is there whole or not at all.
    let mut client = host.client().await;
    let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
    for customer in 0..CUSTOMERS {
        let customer = format!("c{customer}");
        let mut path = format!("/v1/customers/{customer}/ledger?limit=1000");
        loop {
            let page = client.get(&path).await.expect(200);
            for entry in page["data"].as_array().unwrap() {
                let Some(key) = entry["key"].as_str() else { continue };
                let place = (customer.clone(), key.to_owned());
                assert_eq!(
                    found.insert(place, entry["entry"].as_u64().unwrap()),
                    None,
                    "{key} was charged twice"
                );
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/customers/{customer}/ledger?limit=1000&cursor={cursor}");
        }
    }
    let book = book.lock().unwrap().clone();
    let answered = book.values().filter(|entry| entry.is_some()).count();
    assert!(answered > 200, "only {answered} charges were answered");
    for (place, entry) in &book {
        if entry.is_some() {
            assert_eq!(found.get(place), entry.as_ref(), "{place:?} was answered");
        }
    }
    assert!(found.keys().all(|place| book.contains_key(place)), "the journal has charges that nobody sent");
    // A retry of what was not answered charges it now, or answers what was done.
    for ((customer, key), entry) in book.iter().filter(|(_, entry)| entry.is_none()) {
        let retried = client.charge(customer, key, 1).await;
        assert_eq!(retried.replayed, found.contains_key(&(customer.clone(), key.clone())), "{entry:?}");
        retried.expect(201);
    }
    // The balances are an independent recount: each of the charges cost a thousandth.
    for customer in 0..CUSTOMERS {
        let customer = format!("c{customer}");
        let charges = book.keys().filter(|(of, _)| *of == customer).count();
        let balance = client.get(&format!("/v1/customers/{customer}/balance")).await.expect(200);
        let used = balance["balances"][0]["used"].as_str().unwrap();
        let (whole, fraction) = used.split_once('.').unwrap_or((used, ""));
        let thousandths: usize = format!("{whole}{fraction:0<3}").parse().unwrap();
        assert_eq!(thousandths, charges, "{customer} used {used}");
    }
    let data = host.data.clone();
    let (fine, text) = verify(data.path());
    assert!(fine, "verify on the live database: {text}");
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
    eprintln!("{} kills, {answered} answered, {} unanswered", kills(), book.len() - answered);
}
