//! Clients as they should be: each request has an idempotency key and is repeated, at whichever host answers, until it is
//! answered; what was answered is kept in a book. Charges, batches and reservations, half of them of one hot customer.

use super::{ADMIN_KEY, Answer, Client, fleet::Fleet, random::Random};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// How long a client waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before it asks again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it keeps asking.
const STAMINA: Duration = Duration::from_secs(60);

/// What one customer's request came to: the entry of the journal, and how much was spent, in thousandths of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The entry's number.
    pub entry: u64,
    /// In thousandths.
    pub spent: u64,
}

/// The idempotency key of each customer's first grant.
pub const GRANT_KEY: &str = "grant";

/// What was answered, by customer and idempotency key.
pub type Book = BTreeMap<(String, String), Line>;

/// How the requests went, repeats included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Answered for good.
    pub answered: u64,
    /// Of these, answered before, as it turned out.
    pub replayed: u64,
    /// 503.
    pub unavailable: u64,
    /// 5xx of any other kind.
    pub failed: u64,
    /// No connection, or none any more.
    pub broken: u64,
    /// No answer in time.
    pub late: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.replayed += other.replayed;
        self.unavailable += other.unavailable;
        self.failed += other.failed;
        self.broken += other.broken;
        self.late += other.late;
    }
}

/// A customer of the traffic.
pub fn customer(number: u64) -> String {
    format!("c{number}")
}

/// What each customer has, in thousandths.
pub const GRANTED: u64 = 1_000_000_000;

/// A plan without allowances, so that no period's end changes a balance, and customers on it with credits enough.
pub async fn set_up(client: &mut Client, customers: u64) {
    client.upload("standard", &super::STANDARD).await.expect(201);
    let rates = json!([{"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": "0.001"}}]);
    let plan = json!({
        "name": "Pro", "interval": "month", "entitlements": {"chat": {"type": "metered"}},
        "terms": {"policy": "standard", "version": 1, "settings": {"rates": rates}},
    });
    client.put("/v1/plans/pro", plan).await.expect(201);
    for number in 0..customers {
        let name = customer(number);
        client.customer(&name).await;
        let grant = json!({"amount": (GRANTED / 1_000).to_string(), "category": "prepaid"});
        client.post_once(&format!("/v1/customers/{name}/grants"), GRANT_KEY, grant).await.expect(201);
    }
}

/// Clients at work.
pub struct Traffic {
    clients: JoinSet<Book>,
    stop: Arc<AtomicBool>,
    tally: watch::Receiver<Tally>,
}

impl Traffic {
    /// Lets clients loose.
    pub fn start(fleet: &Arc<Fleet>, seed: u64, clients: u64, customers: u64) -> Self {
        let (tallies, tally) = watch::channel(Tally::default());
        let (tallies, stop) = (Arc::new(tallies), Arc::new(AtomicBool::new(false)));
        let mut set = JoinSet::new();
        for number in 0..clients {
            let sender = Sender {
                fleet: fleet.clone(),
                connections: (0..fleet.len()).map(|_| None).collect(),
                random: Random::new(seed, clients + number + 1),
                tallies: tallies.clone(),
            };
            let worker = Worker {
                name: number,
                random: Random::new(seed, number + 1),
                customers,
                sender,
                book: Book::new(),
            };
            set.spawn(worker.work(stop.clone()));
        }
        Self { clients: set, stop, tally }
    }

    /// How it goes.
    pub fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Waits until so many more requests were answered.
    pub async fn progress(&mut self, more: u64) {
        let goal = self.tally().answered + more;
        self.wait_for("answers", |tally| tally.answered >= goal).await;
    }

    /// Waits until so many more were turned away.
    pub async fn refusals(&mut self, more: u64) {
        let refused = |tally: &Tally| tally.unavailable + tally.failed + tally.broken;
        let goal = refused(&self.tally()) + more;
        self.wait_for("refusals", |tally| refused(tally) >= goal).await;
    }

    async fn wait_for(&mut self, what: &str, reached: impl FnMut(&Tally) -> bool) {
        let waited = timeout(STAMINA, self.tally.wait_for(reached)).await.is_ok();
        // A client ends before it is told to only when it saw what must not be.
        if let Some(ended) = self.clients.try_join_next() {
            panic!("a client gave up: {:?}", ended.map(|book| book.len()));
        }
        assert!(waited, "the clients wait in vain for {what}: {:?}", self.tally());
    }

    /// Stops it, each request answered.
    pub async fn finish(self) -> (Book, Tally) {
        self.stop.store(true, Ordering::Relaxed);
        let mut book = Book::new();
        for of_client in self.clients.join_all().await {
            book.extend(of_client);
        }
        let tally = *self.tally.borrow();
        (book, tally)
    }
}

struct Worker {
    name: u64,
    random: Random,
    customers: u64,
    sender: Sender,
    book: Book,
}

impl Worker {
    async fn work(mut self, stop: Arc<AtomicBool>) -> Book {
        for step in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("{}-{step}", self.name);
            match self.random.below(10) {
                0..=5 => self.charge(&key).await,
                6 | 7 => self.batch(&key).await,
                _ => self.reservation(&key).await,
            }
        }
        self.book
    }

    fn customer(&mut self) -> String {
        let cold = self.random.below(2) == 0;
        customer(if cold { self.random.below(self.customers) } else { 0 })
    }

    fn tokens(&mut self) -> u64 {
        1 + self.random.below(50)
    }

    fn note(&mut self, customer: &str, key: &str, body: &Value, spent: u64) {
        let entry = body["entry"].as_u64().unwrap_or_else(|| panic!("no entry in {body}"));
        self.book.insert((customer.to_owned(), key.to_owned()), Line { entry, spent });
    }

    async fn charge(&mut self, key: &str) {
        let (customer, tokens) = (self.customer(), self.tokens());
        let body = json!({"feature": "chat", "quantities": {"input_tokens": tokens}}).to_string();
        let charged = self.sender.ask(&format!("/v1/customers/{customer}/charges"), key, &body).await;
        let charged = charged.expect(201);
        assert_eq!(thousandths(&charged["cost"]), tokens);
        self.note(&customer, key, &charged, tokens);
    }

    /// Several charges at once; those that failed are sent again, each as it was.
    async fn batch(&mut self, key: &str) {
        let mut open = Vec::new();
        for number in 0..2 + self.random.below(7) {
            let (customer, tokens, key) = (self.customer(), self.tokens(), format!("{key}-{number}"));
            let item = json!({
                "customer": customer, "idempotency_key": key,
                "feature": "chat", "quantities": {"input_tokens": tokens},
            });
            open.push((customer, key, tokens, item.to_string()));
        }
        let deadline = Instant::now() + STAMINA;
        while !open.is_empty() {
            let items: Vec<_> = open.iter().map(|(.., item)| item.as_str()).collect();
            let body = format!("[{}]", items.join(","));
            let results = self.sender.ask("/v1/charges/batch", key, &body).await.expect(200);
            assert_eq!(results.as_array().unwrap().len(), open.len());
            let mut failed = Vec::new();
            for (item, result) in open.into_iter().zip(results.as_array().unwrap()) {
                match result["status"].as_u64().unwrap() {
                    201 => self.note(&item.0, &item.1, &result["body"], item.2),
                    status if status >= 500 => {
                        self.sender.tally(|tally| tally.count(status));
                        assert!(Instant::now() < deadline, "{result}");
                        failed.push(item);
                    }
                    _ => panic!("{result}"),
                }
            }
            if !failed.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            open = failed;
        }
    }

    /// Reserves, then commits, releases, or forgets about it.
    async fn reservation(&mut self, key: &str) {
        let (customer, tokens, end) = (self.customer(), self.tokens(), self.random.below(5));
        let is_forgotten = end == 0;
        let ttl_seconds = if is_forgotten { 1 } else { 86_400 };
        let usage = json!({
            "feature": "chat", "quantities": {"input_tokens": tokens * 2}, "ttl_seconds": ttl_seconds,
        });
        let path = format!("/v1/customers/{customer}/reservations");
        let reserved = self.sender.ask(&path, key, &usage.to_string()).await.expect(201);
        self.note(&customer, key, &reserved, 0);
        let path = format!("{path}/{}", reserved["id"].as_str().unwrap());
        let key = format!("{key}-end");
        if is_forgotten {
            // Nobody ends it but its time.
        } else if end == 1 {
            let released = self.sender.ask(&format!("{path}/release"), &key, "{}").await.expect(200);
            assert_eq!(thousandths(&released["returned"]), tokens * 2);
            self.note(&customer, &key, &released, 0);
        } else {
            let actual = json!({"quantities": {"input_tokens": tokens}}).to_string();
            let committed = self.sender.ask(&format!("{path}/commit"), &key, &actual).await.expect(200);
            assert_eq!(thousandths(&committed["returned"]), tokens);
            self.note(&customer, &key, &committed, tokens);
        }
    }
}

/// Sends until it is answered: to some host first, as a balancer would have it, then to the next one.
struct Sender {
    fleet: Arc<Fleet>,
    /// One to each host.
    connections: Vec<Option<Client>>,
    random: Random,
    tallies: Arc<watch::Sender<Tally>>,
}

impl Tally {
    fn count(&mut self, status: u64) {
        if status == 503 {
            self.unavailable += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl Sender {
    async fn ask(&mut self, path: &str, key: &str, body: &str) -> Answer {
        let deadline = Instant::now() + STAMINA;
        let mut host = self.random.place(self.fleet.len());
        loop {
            let answer = timeout(PATIENCE, self.attempt(host, path, key, body)).await;
            let failure = match answer {
                Ok(Ok(answer)) if answer.status < 500 => {
                    self.tally(|tally| {
                        tally.answered += 1;
                        tally.replayed += u64::from(answer.replayed);
                    });
                    return answer;
                }
                Ok(Ok(answer)) => {
                    assert!(answer.status != 503 || answer.retry_after.is_some(), "{answer:?}");
                    self.tally(|tally| tally.count(u64::from(answer.status)));
                    answer.body.to_string()
                }
                Ok(Err(error)) => {
                    self.tally(|tally| tally.broken += 1);
                    error.to_string()
                }
                Err(_) => {
                    self.tally(|tally| tally.late += 1);
                    "no answer in time".to_owned()
                }
            };
            assert!(Instant::now() < deadline, "{path} {key}: {failure}{}", self.fleet.last_words());
            self.connections[host] = None;
            host = (host + 1) % self.fleet.len();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(
        &mut self,
        host: usize,
        path: &str,
        key: &str,
        body: &str,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let connection = match &mut self.connections[host] {
            Some(connection) => connection,
            none => none.insert(Client::connect(&self.fleet.address(host), ADMIN_KEY).await?),
        };
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        Ok(connection.send(hyper::Method::POST, path, &headers, body.to_owned()).await?)
    }

    fn tally(&self, change: impl FnOnce(&mut Tally)) {
        self.tallies.send_modify(change);
    }
}

/// An amount of the wire, in thousandths.
pub fn thousandths(amount: &Value) -> u64 {
    let amount = amount.as_str().unwrap_or_else(|| panic!("{amount} is no amount"));
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    assert!(fraction.len() <= 3, "{amount} is finer than a thousandth");
    format!("{whole}{fraction:0<3}").parse().unwrap()
}
