//! Two hosts on one PostgreSQL are one Proviso: what one did the other knows, keys count once wherever they are sent, and
//! what is due happens once though both look for it.

use crate::support::{
    ADMIN_KEY, Client, Host, Setup,
    cluster::shared,
    fleet::Fleet,
    minutes_ahead, policy, random,
    recount::{self, check_order, journal},
    settings,
    traffic::{self, Traffic, thousandths},
    verify_database,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// How long a host may go on with an API key that was revoked at another one.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);
/// How long sweepers may take to come by.
const SWEPT_WITHIN: Duration = Duration::from_secs(30);

/// Two hosts, a plan, and the URL of their database.
async fn pair() -> ([Host; 2], String) {
    let url = shared().url(&shared().create_database());
    let hosts = [Setup::on(&url).start().await, Setup::on(&url).start().await];
    hosts[0].client().await.set_up().await;
    (hosts, url)
}

async fn clients(hosts: &[Host; 2]) -> [Client; 2] {
    [hosts[0].client().await, hosts[1].client().await]
}

/// Ends both and lets `verify` have the last word.
async fn end(hosts: [Host; 2], url: &str) {
    for host in hosts {
        assert!(host.terminate().await.success());
    }
    let (fine, text) = verify_database(url);
    assert!(fine, "{text}");
}

async fn fleet(hosts: usize) -> (Arc<Fleet>, String) {
    let url = shared().url(&shared().create_database());
    (Arc::new(Fleet::start(vec![Setup::on(&url); hosts]).await), url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_two_hosts_at_once_counts_once() {
    let (hosts, url) = pair().await;
    let [mut one, mut other] = clients(&hosts).await;
    for customer in ["acme", "other"] {
        one.customer(customer).await;
    }
    for round in 0..100 {
        let (customer, key) = (["acme", "other"][round % 2], format!("k{round}"));
        let (first, second) =
            tokio::join!(one.charge(customer, &key, 1_000), other.charge(customer, &key, 1_000));
        assert_eq!((first.status, second.status), (201, 201), "{}{}", first.body, second.body);
        assert!(first.replayed != second.replayed, "{key}: one of them charges, the other repeats");
        assert_eq!(first.body, second.body);
    }
    for customer in ["acme", "other"] {
        for client in [&mut one, &mut other] {
            let balance = client.get(&format!("/v1/customers/{customer}/balance")).await.expect(200);
            assert_eq!(balance["balances"][0]["used"], "50");
        }
    }
    // The same key with another request is refused wherever it is sent.
    let reused = other.charge("acme", "k0", 2).await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
    end(hosts, &url).await;
}

/// Refunds of one charge at both hosts at once are at most what it cost, and `verify` adds them up.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_is_refunded_once_at_two_hosts() {
    let (hosts, url) = pair().await;
    let mut two = clients(&hosts).await;
    two[0].customer("acme").await;
    for round in 0..10 {
        let charge = two[0].charge("acme", &format!("c{round}"), 1_000).await.expect(201);
        let path = format!("/v1/customers/acme/charges/{}", charge["id"].as_str().unwrap());
        let mut left = 1_000_u64;
        for part in 0..4 {
            let [one, other] = &mut two;
            let refunds = format!("{path}/refunds");
            let body = json!({"amount": "0.3", "reason": "at both"});
            let keys = ["one", "other"].map(|host| format!("{host} {round} {part}"));
            let (first, second) = tokio::join!(
                one.post_once(&refunds, &keys[0], body.clone()),
                other.post_once(&refunds, &keys[1], body.clone()),
            );
            for answer in [first, second] {
                match answer.status {
                    201 => left = left.checked_sub(300).expect("no more than it cost"),
                    _ => assert_eq!((answer.status, answer.code()), (409, "refund_exceeds_charge")),
                }
            }
        }
        assert_eq!(left, 100);
        let read = two[1].get(&path).await.expect(200);
        assert_eq!(read["refunded"], json!({"amount": "0.9", "refunds": 3}));
    }
    let balance = two[1].get("/v1/customers/acme/balance").await.expect(200);
    assert_eq!(balance["balances"][0]["used"], "1");
    end(hosts, &url).await;
}

/// One answer each, from whichever host, and also from one that was started since.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_as_the_first_time() {
    let ([one, other], url) = pair().await;
    check_repeats(&one, &other).await;
    end([one, other], &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_as_the_first_time_after_a_restart_on_sqlite() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    let asked = ask_everything(&mut client).await;
    let host = Host::start_in(host.kill().await).await;
    repeat_everything(&mut host.client().await, &asked).await;
}

async fn check_repeats(one: &Host, other: &Host) {
    let asked = ask_everything(&mut one.client().await).await;
    repeat_everything(&mut other.client().await, &asked).await;
}

/// Repeats that reach the other host together with new requests of the same customer, so that one batch holds both.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_among_others_is_answered_as_the_first_time() {
    const ROUNDS: usize = 20;
    let (hosts, url) = pair().await;
    let [mut one, mut other] = clients(&hosts).await;
    one.customer("acme").await;
    let mut commits = Vec::new();
    for round in 0..ROUNDS {
        let usage = json!({"feature": "chat", "quantities": {"input_tokens": 2}});
        let path = "/v1/customers/acme/reservations";
        let reserved = one.post_once(path, &format!("reserve {round}"), usage).await.expect(201);
        let path = format!("{path}/{}/commit", reserved["id"].as_str().unwrap());
        let (key, body) = (format!("commit {round}"), json!({"quantities": {"input_tokens": 1}}));
        let answer = one.post_once(&path, &key, body.clone()).await.expect(200);
        commits.push((path, key, body, answer));
    }
    // Long enough that the other host feels alone with the customer.
    for number in 0..100 {
        other.charge("acme", &format!("alone {number}"), 1).await.expect(201);
    }
    let mut crowd = Vec::new();
    for _ in 0..8 {
        crowd.push(hosts[1].client().await);
    }
    for (round, (path, key, body, answer)) in commits.into_iter().enumerate() {
        let mut charges = JoinSet::new();
        for (number, mut client) in crowd.drain(..).enumerate() {
            charges.spawn(async move {
                client.charge("acme", &format!("{number} beside {round}"), 1).await.expect(201);
                client
            });
        }
        let repeat = other.post_once(&path, &key, body).await;
        assert_eq!((repeat.status, repeat.replayed), (200, true), "{key}: {}", repeat.body);
        assert_eq!(repeat.body, answer, "{key}");
        crowd = charges.join_all().await;
    }
    end(hosts, &url).await;
}

/// A request with its key, and what was answered.
struct Asked {
    path: String,
    key: &'static str,
    body: Value,
    status: u16,
    answer: Value,
}

/// Requests of all kinds, which could not all be made a second time.
async fn ask_everything(client: &mut Client) -> Vec<Asked> {
    client.customer("acme").await;
    let mut asked = Vec::new();
    let usage = |tokens: u64| json!({"feature": "chat", "quantities": {"input_tokens": tokens}});
    let actual = json!({"quantities": {"input_tokens": 1_000}});
    let mut reservations: Vec<String> = Vec::new();
    for (key, path, body, status) in [
        ("charge", "charges", usage(1_000), 201),
        ("too much", "charges", usage(9_000_000), 402),
        ("reserve 1", "reservations", usage(5_000), 201),
        ("reserve 2", "reservations", usage(5_000), 201),
        ("commit", "reservations/{}/commit", actual, 200),
        ("release", "reservations/{}/release", json!({}), 200),
        ("grant", "grants", json!({"amount": "5", "category": "prepaid"}), 201),
        ("rest", "charges", usage(1_003_000), 201),
    ] {
        let mut path = format!("/v1/customers/acme/{path}");
        if path.contains("{}") {
            path = path.replace("{}", &reservations.remove(0));
        }
        let answer = client.post_once(&path, key, body.clone()).await;
        assert!(!answer.replayed, "{key}");
        let answer = answer.expect(status);
        if key.starts_with("reserve") {
            reservations.push(answer["id"].as_str().unwrap().to_owned());
        }
        asked.push(Asked { path, key, body, status, answer });
    }
    // Closed customers are charged no more, but those who ask again are told what they were told.
    client.delete("/v1/customers/acme").await.expect(200);
    asked
}

async fn repeat_everything(client: &mut Client, asked: &[Asked]) {
    for Asked { path, key, body, status, answer } in asked {
        let repeat = client.post_once(path, key, body.clone()).await;
        assert_eq!((repeat.status, repeat.replayed), (*status, true), "{key}: {}", repeat.body);
        assert_eq!(repeat.body, *answer, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_one_host_is_in_force_at_the_other() {
    let (hosts, url) = pair().await;
    let mut clients = clients(&hosts).await;
    clients[0].customer("acme").await;
    // Both have the customer in memory and know the terms so far.
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.charge("acme", &format!("warm {number}"), 1_000).await.expect(201)["cost"], "1");
    }
    for round in 1..=30_usize {
        let [here, there] = [round % 2, (round + 1) % 2];
        let price = format!("0.00{round:02}");
        let terms = json!({"policy": "standard", "settings": settings(&price)});
        let owner = if round % 3 == 0 { "customers/acme" } else { "plans/pro" };
        let bound = clients[here].post(&format!("/v1/{owner}/terms"), terms).await.expect(201);
        let charge = clients[there].charge("acme", &format!("at {price}"), 1_000).await.expect(201);
        assert_eq!(thousandths(&charge["cost"]), round as u64 * 100, "round {round}: {charge}");
        // A customer's own terms would win over the plan's for ever.
        if round % 3 == 0 {
            let id = bound["id"].as_str().unwrap();
            clients[there].post(&format!("/v1/customers/acme/terms/{id}/end"), json!({})).await.expect(200);
        }
    }
    // A policy that one host has just got is bound at the other, and decides at both.
    clients[0].upload("night", &policy("night-rates")).await.expect(201);
    let prices = json!({"prices": [{"feature": "chat", "quantity": "input_tokens", "price": "0.009"}]});
    let terms = json!({"policy": "night", "version": 1, "settings": prices});
    clients[1].post("/v1/plans/pro/terms", terms).await.expect(201);
    for (number, client) in clients.iter_mut().enumerate() {
        let charge = client.charge("acme", &format!("night at {number}"), 1_000).await.expect(201);
        assert_eq!((&charge["cost"], &charge["policy"]["name"]), (&json!("9"), &json!("night")));
    }
    // A plan that switches a feature off, and a customer that moves to it.
    let plan = json!({
        "name": "None", "interval": "month", "entitlements": {"chat": {"type": "boolean", "value": false}},
        "terms": {"policy": "standard", "version": 1, "settings": settings("0.001")},
    });
    clients[0].put("/v1/plans/none", plan).await.expect(201);
    clients[1].put("/v1/customers/acme", json!({"name": "acme", "plan": "none"})).await.expect(200);
    let refused = clients[0].charge("acme", "switched off", 1).await;
    assert_eq!((refused.status, refused.code()), (402, "not_entitled"), "{}", refused.body);
    end(hosts, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_soon_works_nowhere() {
    let (hosts, url) = pair().await;
    let [mut one, mut other] = clients(&hosts).await;
    one.customer("acme").await;
    let mut longest = Duration::ZERO;
    for round in 0..5 {
        let key = json!({"name": "backend", "scopes": ["usage", "read"]});
        let made = one.post("/v1/api_keys", key).await.expect(201);
        let secret = made["secret"].as_str().unwrap();
        // It works at the other host at once.
        let mut backend = Client::connect(&hosts[1].address, secret).await.unwrap();
        backend.charge("acme", &format!("first {round}"), 1).await.expect(201);
        let revoked = one.delete(&format!("/v1/api_keys/{}", made["id"].as_str().unwrap())).await;
        assert!(revoked.status < 300, "{revoked:?}");
        let since = Instant::now();
        let refused = loop {
            let answer = backend.get("/v1/customers/acme/balance").await;
            if answer.status != 200 {
                break answer;
            }
            assert!(since.elapsed() < REVOKED_WITHIN, "the key still works after {:?}", since.elapsed());
        };
        assert_eq!((refused.status, refused.code()), (401, "api_key_invalid"));
        longest = longest.max(since.elapsed());
    }
    eprintln!("a revoked key worked at the other host for {longest:.0?} at most");
    other.charge("acme", "still", 1).await.expect(201);
    end(hosts, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_customer_loses_nothing_at_two_hosts() {
    let (fleet, url) = fleet(2).await;
    traffic::set_up(&mut fleet.client(0).await, 1).await;
    let seed = random::seed();
    eprintln!("PROVISO_SEED={seed}");
    let mut traffic = Traffic::start(&fleet, seed, 16, 1);
    let started = Instant::now();
    traffic.progress(3_000).await;
    let (book, tally) = traffic.finish().await;
    eprintln!("one customer, two hosts, 16 clients: {:.1?}, {tally:?}", started.elapsed());
    assert_eq!((tally.failed, tally.broken, tally.late), (0, 0, 0), "503 is the worst");
    recount::check(&fleet, &book, 1).await;
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_takes_nothing_with_it() {
    let (fleet, url) = fleet(2).await;
    traffic::set_up(&mut fleet.client(0).await, 4).await;
    let seed = random::seed();
    eprintln!("PROVISO_SEED={seed}");
    let mut traffic = Traffic::start(&fleet, seed, 8, 4);
    for _ in 0..3 {
        traffic.progress(100).await;
        assert!(fleet.terminate(0).await.success());
        // The clients go on with the other one.
        traffic.progress(100).await;
        fleet.start_again(0).await;
    }
    let (book, tally) = traffic.finish().await;
    assert_eq!((tally.failed, tally.late), (0, 0), "{tally:?}");
    recount::check(&fleet, &book, 4).await;
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_an_hour_apart_keep_every_journal_in_order() {
    let (hosts, url) = pair().await;
    let mut clients = clients(&hosts).await;
    clients[0].customer("acme").await;
    clients[1].post("/v1/test_clock", json!({"now": minutes_ahead(60)})).await.expect(200);
    for round in 0..40 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.charge("acme", &format!("{round} at {number}"), 1).await.expect(201);
        }
    }
    let [one, other] = [journal(&mut clients[0], "acme").await, journal(&mut clients[1], "acme").await];
    assert!(one == other);
    check_order("acme", &one);
    end(hosts, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_done_once_though_both_hosts_sweep() {
    const CUSTOMERS: usize = 30;
    let (hosts, url) = pair().await;
    let mut clients = clients(&hosts).await;
    let mut next_reset = String::new();
    for number in 0..CUSTOMERS {
        let customer = format!("c{number}");
        clients[0].customer(&customer).await;
        let usage = json!({"feature": "chat", "quantities": {"input_tokens": 1_000}, "ttl_seconds": 60});
        let path = format!("/v1/customers/{customer}/reservations");
        let reserved = clients[number % 2].post_once(&path, "r", usage).await.expect(201);
        next_reset = reserved["balance"]["next_reset_at"].as_str().unwrap().to_owned();
    }
    // Past the end of the period, at both hosts at once.
    let [one, other] = &mut clients;
    let moved = json!({"now": next_reset});
    let _ = tokio::join!(one.post("/v1/test_clock", moved.clone()), other.post("/v1/test_clock", moved));
    let deadline = Instant::now() + SWEPT_WITHIN;
    for number in 0..CUSTOMERS {
        let customer = format!("c{number}");
        // Nobody touches the customer: reading its journal writes nothing.
        while !journal(one, &customer).await.iter().any(is_scheduled_reset) {
            assert!(Instant::now() < deadline, "{customer} is not swept");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // A request at either host finds nothing left to do.
    let mut touched = JoinSet::new();
    for number in 0..CUSTOMERS {
        for host in &hosts {
            let (address, customer) = (host.address.clone(), format!("c{number}"));
            touched.spawn(async move {
                let mut client = Client::connect(&address, ADMIN_KEY).await.unwrap();
                client.charge(&customer, &address, 1).await.expect(201);
            });
        }
    }
    touched.join_all().await;
    for number in 0..CUSTOMERS {
        let journal = journal(other, &format!("c{number}")).await;
        let expired = journal.iter().filter(|entry| entry["type"] == "reservation_expired").count();
        let resets = journal.iter().filter(|entry| is_scheduled_reset(entry)).count();
        assert_eq!((expired, resets), (1, 1), "c{number}");
    }
    end(hosts, &url).await;
}

fn is_scheduled_reset(entry: &Value) -> bool {
    entry["type"] == "period_closed" && entry["event"]["reason"] == "scheduled"
}
