//! What clients do and what they remember: they send through any host, wait a while, and send again under the same key
//! until they are answered. Their books are kept apart from the journals, which are compared with them at the end.

use crate::{
    CLIENTS, HOSTS, Host, World,
    database::Connection,
    support::{self, input, key, reserve, settings},
};
use proviso_engine::{
    Changed, EngineError, Once, StoreError,
    catalog::{Catalog, Policy, Version},
    command::{ActualUsage, Command, Reply, Request},
};
use proviso_ledger::{
    credits::{Credits, Quantity},
    grant::default_credit,
    ids::{Digest, IdempotencyKey, Key, Name, ReservationId, Seq},
    journal::{Entry, Event},
    terms,
    time::Timestamp,
};
use proviso_store::{Commit, PolicyRow, PolicyVersionRow, ReferenceChange, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

const CUSTOMERS: u64 = 5;
const REQUESTS: u64 = 24;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What clients were answered.
#[derive(Default)]
pub struct Books {
    /// By key: whose, and the entry that answered.
    answers: BTreeMap<String, (Key, Arc<Entry>)>,
    /// By key: how many of the plan's terms had been answered to whoever bound them, when the key was first sent.
    terms_known: BTreeMap<String, u64>,
    terms_answered: u64,
}

fn name(number: u64) -> String {
    format!("c{number}")
}

/// Whether trying again is what the error asks for.
pub fn may_retry(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Store(StoreError::Unavailable { .. })
            | EngineError::Contention
            | EngineError::Overloaded
            | EngineError::ShuttingDown
    )
}

impl World {
    fn some_host(&self) -> Rc<Host> {
        self.hosts.borrow()[self.dice.index(HOSTS)].clone()
    }

    /// Sends through one host after another until there is an answer that no retry can change.
    async fn insist<T>(&self, send: impl AsyncFn(&Host) -> Result<T, EngineError>) -> Result<T, EngineError> {
        for _ in 0..500 {
            let host = self.some_host();
            match tokio::time::timeout(PATIENCE, send(&host)).await {
                Ok(Err(error)) if may_retry(&error) => {}
                Ok(answer) => return answer,
                Err(_) => {}
            }
            tokio::time::sleep(self.dice.millis(1..200)).await;
        }
        panic!("nobody answers any more");
    }

    /// Sends a command that an entry answers, and enters that into the books.
    async fn record(&self, customer: &str, command: Command, text: &str) -> Arc<Entry> {
        let known = self.books.borrow().terms_answered;
        self.books.borrow_mut().terms_known.entry(text.to_owned()).or_insert(known);
        let idempotency = Some((text.parse().unwrap(), Digest::of(text.as_bytes())));
        let request = Request { customer: key(customer), command, idempotency };
        let reply = self.insist(async |host: &Host| host.engine.execute(request.clone()).await).await;
        let Ok(Reply::Entry(outcome)) = reply else { panic!("{text} is answered with {reply:?}") };
        let mut books = self.books.borrow_mut();
        let first = books.answers.entry(text.to_owned()).or_insert((key(customer), outcome.entry.clone()));
        assert_eq!(first.1.seq, outcome.entry.seq, "{text} is answered by two entries");
        outcome.entry
    }

    /// Whatever a client was answered, every host knows.
    async fn look(&self, customer: &str, answered: Seq) {
        let state = self.insist(async |host: &Host| host.engine.state(&key(customer)).await).await.unwrap();
        assert!(state.seq >= answered, "{customer} is shown as of {} after {answered}", state.seq);
    }
}

/// A policy, a plan on it, and customers on the plan.
pub async fn prepare(world: &World) {
    let engine = &world.hosts.borrow()[0].engine.clone();
    let store = Connection::new(world.database.clone());
    assert_eq!(store.change_reference(None, POLICY.clone(), None).await, Ok(Commit::Durable));
    let host = support::Host {
        engine: engine.clone(),
        clock: engine.clock().clone(),
        dir: Arc::new(tempfile::tempdir().unwrap()),
    };
    host.put_plan(settings("0.001", "1000")).await;
    world.books.borrow_mut().terms_answered = 1;
    for number in 0..CUSTOMERS {
        host.customer(&name(number), Some("pro")).await;
    }
}

/// What an upload of the policy writes; made once, and without an upload's threads, which no virtual time knows.
pub static POLICY: LazyLock<Vec<ReferenceChange>> = LazyLock::new(|| {
    let bytes = support::STANDARD.clone();
    let admitted = support::runtime().admit(&bytes).unwrap();
    let (policy, digest): (Name, _) = (key("standard"), Digest::of(&bytes));
    let kept = Policy { policy: policy.clone(), description: String::new(), created_at: Timestamp(0) };
    let version = Version {
        policy: policy.clone(),
        version: 1,
        digest,
        size_bytes: bytes.len() as u64,
        manifest: admitted.module.manifest().clone(),
        compile_ms: 0,
        created_at: Timestamp(0),
        deleted: false,
    };
    vec![
        ReferenceChange::PutPolicy(PolicyRow { policy: policy.clone(), body: json(&kept) }),
        ReferenceChange::PutModule { digest, bytes },
        ReferenceChange::AddPolicyVersion(PolicyVersionRow {
            policy,
            version: 1,
            digest,
            deleted: false,
            body: json(&version),
        }),
    ]
});

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn tokens(request: u64) -> i64 {
    i64::try_from(request % 13 + 1).unwrap()
}

/// A client that charges and reserves. Clients come in pairs that send the same requests.
pub async fn charge(world: Rc<World>, number: u64) {
    let pair = number / 2;
    for request in 0..REQUESTS {
        // Every other request is for one hot customer.
        let customer = name(if request % 2 == 0 { 0 } else { (pair + request) % CUSTOMERS });
        let text = format!("{pair}-{request}");
        let entry = if request % 5 == 4 {
            let held = world.record(&customer, reserve(tokens(request), 3_600), &text).await;
            let Event::Reserved(_) = &held.event else { panic!("{:?}", held.event) };
            let id = ReservationId { entry: held.seq, index: 0 };
            let outcome = if request % 2 == 0 {
                let quantities = vec![("input_tokens".to_owned(), Quantity(tokens(request) * 1_000_000))];
                Command::Commit(id, Box::new(ActualUsage { quantities, attributes: None }))
            } else {
                Command::Release(id)
            };
            world.record(&customer, outcome, &format!("{text}-outcome")).await
        } else {
            world.record(&customer, support::charge(tokens(request)), &text).await
        };
        if world.dice.one_in(3) {
            world.look(&customer, entry.seq).await;
        }
        tokio::time::sleep(world.dice.millis(0..60)).await;
    }
}

/// Whoever changes prices meanwhile.
pub async fn manage(world: Rc<World>) {
    for round in 2..10_u64 {
        tokio::time::sleep(world.dice.millis(50..400)).await;
        let text: IdempotencyKey = format!("terms-{round}").parse().unwrap();
        let bound = world
            .insist(async |host: &Host| {
                let once = Once {
                    key: text.clone(),
                    request: Digest::of(text.as_str().as_bytes()),
                    render: &|terms: &Arc<terms::Terms>| (201, terms.key.id.entry.to_string()),
                };
                let input = input(settings(&format!("0.00{round}"), "1000"));
                host.engine.bind_plan_terms(key("pro"), input, Some(once)).await
            })
            .await;
        let number = match bound.unwrap() {
            Changed::Made(terms) => terms.key.id.entry,
            Changed::Replayed(stored) => stored.body.parse().unwrap(),
        };
        assert_eq!(number, round, "terms are bound once");
        world.books.borrow_mut().terms_answered = number;
    }
}

/// Compares journals, states and books.
pub async fn check(world: &World) {
    let hosts = world.hosts.borrow().clone();
    let plan_terms = {
        let store = Connection::new(world.database.clone());
        let reference = store.reference(0).await.unwrap();
        let catalog = Catalog::default().updated(reference).unwrap();
        let verification = proviso_engine::verify(&store, |_| {}).await.unwrap();
        assert_eq!(verification.differences, []);
        catalog.terms_of(Some(&key("pro"))).to_vec()
    };
    let books = world.books.take();
    let model = world.database.model();
    let mut found = BTreeSet::new();
    for number in 0..CUSTOMERS {
        let customer = key(&name(number));
        let mut used = 0;
        for stored in model.entries(&customer) {
            let entry = Entry::parse(stored.seq, &stored.body).unwrap();
            used += match &entry.event {
                Event::Charged(charged) => charged.rated.cost.0,
                Event::Committed(committed) => committed.rated.cost.0,
                _ => 0,
            };
            let Some(text) = entry.key.as_ref().map(ToString::to_string) else { continue };
            assert!(found.insert(text.clone()), "{text} is written twice");
            let (whose, answer) = books.answers.get(&text).expect("only what was sent is written");
            assert_eq!((whose, answer.seq), (&customer, entry.seq), "{text}");
            let (rated, decision) = match &entry.event {
                Event::Charged(charged) => (&charged.rated, &charged.decision),
                Event::Reserved(reserved) => (&reserved.rated, &reserved.decision),
                _ => continue,
            };
            // On terms that were in force at its time, of those that it could know of; none may be forgotten that had
            // been answered before the request was sent.
            let known = usize::try_from(books.terms_known[&text]).unwrap();
            let possible: Vec<_> = (known..=plan_terms.len())
                .map(|known| terms::in_force(&plan_terms[..known], entry.at).unwrap().key.clone())
                .collect();
            assert!(possible.contains(&decision.terms), "{text} ran on {}", decision.terms);
            let request: u64 = text.rsplit('-').next().unwrap().parse().unwrap();
            let price = i64::try_from(decision.terms.id.entry).unwrap() * 1_000;
            assert_eq!(rated.cost, Credits(tokens(request) * price), "{text}");
        }
        // All hosts, whatever they remember, agree with the journal.
        for host in &hosts {
            let state = host.engine.state(&customer).await.unwrap();
            assert_eq!(state.seq, model.head(&customer), "{customer}");
            assert_eq!(state.balance(&default_credit(), world.now()).used.0, used, "{customer}");
        }
    }
    let sent: BTreeSet<_> = books.answers.keys().cloned().collect();
    assert_eq!(found, sent);
    assert!(sent.len() as u64 >= CLIENTS / 2 * REQUESTS, "only {} requests", sent.len());
}
