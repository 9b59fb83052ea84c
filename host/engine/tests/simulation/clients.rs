//! What clients do and what they remember: they send through any host, wait a while, and send again under the same key
//! until they are answered. Their books are kept apart from the journals, which are compared with them at the end.

use crate::{CLIENTS, Host, World};
use proviso_decide::{catalog::Plans as _, policy::Policy as _};
use proviso_engine::{
    Change, EngineError, Expected, NewApiKey, PlanChange, StoreError,
    catalog::{Catalog, Policy, Scope, Version},
    command::{ActualUsage, Command, Reply, Request},
};
use proviso_fixtures::{
    host::{self, hang_up_after, input, key, reserve, settings},
    policies,
    store::simulated::Connection,
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        amounts::{Credits, Decimal, Quantity},
        grant::default_credit,
        ids::{Digest, IdempotencyKey, Key, Name, ReservationId, Seq},
        resources::ResourceClass,
        terms,
        time::Timestamp,
    },
    state::Origin,
};
use proviso_store::{CatalogChange, Commit, PolicyRow, PolicyVersionRow, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

const CUSTOMERS: u64 = 5;
const REQUESTS: u64 = 24;
/// A policy whose versions are deleted, one in each round of whoever administers.
const SPARE: &str = "spare";
const ROUNDS: u64 = 6;
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
        let hosts = self.hosts.borrow();
        hosts[self.dice.index(hosts.len())].clone()
    }

    /// Sends through one host after another until there is an answer that no retry can change, and hangs up now and then.
    async fn insist<T>(&self, send: impl AsyncFn(&Host) -> Result<T, EngineError>) -> Result<T, EngineError> {
        for _ in 0..500 {
            let host = self.some_host();
            // Most use cases have few awaits of their own; what they begin has more.
            let most = if self.dice.one_in(2) { 2 } else { 16 };
            let polls = if self.dice.one_in(3) { 1 + self.dice.below(most) } else { u64::MAX };
            match tokio::time::timeout(PATIENCE, hang_up_after(polls, send(&host))).await {
                Ok(Some(Err(error))) if may_retry(&error) => {}
                Ok(Some(answer)) => return answer,
                Ok(None) => self.hang_ups.set(self.hang_ups.get() + 1),
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
        let request = Request { customer: key(customer), command, origin: Origin { idempotency, by: None } };
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

/// The policies, before any host is started.
pub async fn install(world: &World) {
    let store = Connection::new(world.database.clone());
    assert_eq!(store.change_catalog(None, POLICY.clone(), None).await, Ok(Commit::Durable));
}

/// A plan on a policy, and customers on the plan.
pub async fn prepare(world: &World) {
    let host = world.first_host();
    host.put_plan(settings("0.001", "1000")).await;
    world.books.borrow_mut().terms_answered = 1;
    for number in 0..CUSTOMERS {
        host.customer(&name(number), Some("pro")).await;
    }
}

/// What an upload of the policy writes; made once, and without an upload's threads, which no virtual time knows.
pub static POLICY: LazyLock<Vec<CatalogChange>> = LazyLock::new(|| {
    let bytes = policies::STANDARD.clone();
    let admitted = policies::runtime().admit(&bytes).unwrap();
    let (policy, digest): (Name, _) = (key("standard"), Digest::of(&bytes));
    let kept = Policy {
        policy: policy.clone(),
        description: String::new(),
        class: ResourceClass::Default,
        created_at: Timestamp(0),
    };
    let version = Version {
        policy: policy.clone(),
        version: 1,
        digest,
        size_bytes: bytes.len() as u64,
        manifest: admitted.module.manifest().clone(),
        compile_ms: 0,
        created_at: Timestamp(0),
        signed_by: None,
        deleted: false,
    };
    let mut changes = vec![
        CatalogChange::PutPolicy(PolicyRow { policy: policy.clone(), body: json(&kept) }),
        CatalogChange::PutModule { digest, bytes },
        added(&version),
    ];
    let spare = Policy { policy: key(SPARE), ..kept };
    changes.push(CatalogChange::PutPolicy(PolicyRow { policy: key(SPARE), body: json(&spare) }));
    changes.extend((1..=ROUNDS).map(|round| {
        let number = u32::try_from(round).unwrap();
        added(&Version { policy: key(SPARE), version: number, ..version.clone() })
    }));
    changes
});

fn added(version: &Version) -> CatalogChange {
    CatalogChange::AddPolicyVersion(PolicyVersionRow {
        policy: version.policy.clone(),
        version: version.version,
        digest: version.digest,
        deleted: false,
        body: json(version),
    })
}

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
                let quantities = vec![("input_tokens".to_owned(), Quantity::from_whole(tokens(request)))];
                Command::Commit(id, Box::new(ActualUsage { quantities, attributes: None }))
            } else {
                Command::Release(id)
            };
            world.record(&customer, outcome, &format!("{text}-outcome")).await
        } else {
            world.record(&customer, host::charge(tokens(request)), &text).await
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
                let once = (text.clone(), Digest::of(text.as_str().as_bytes()));
                let input = input(settings(&format!("0.00{round}"), "1000"));
                host.engine.bind_plan_terms(key("pro"), input, Expected::Anything, Some(once)).await
            })
            .await;
        let number = bound.unwrap().value.key.id.entry;
        assert_eq!(number, round, "terms are bound once");
        world.books.borrow_mut().terms_answered = number;
    }
}

/// Whoever makes all other changes meanwhile: none is made in part, and none twice.
pub async fn administer(world: Rc<World>) {
    let once = |what: &str, round: u64| -> (IdempotencyKey, Digest) {
        let text = format!("{what}-{round}");
        (text.parse().unwrap(), Digest::of(text.as_bytes()))
    };
    for round in 1..=ROUNDS {
        tokio::time::sleep(world.dice.millis(50..400)).await;
        let name = format!("as of round {round}");
        let change = PlanChange::replacing(name, None, BTreeMap::default(), None);
        let side: Name = key("side");
        world
            .insist(async |host: &Host| host.engine.put_plan(side.clone(), change.clone()).await)
            .await
            .unwrap();
        let terms = input(settings("0.001", &round.to_string()));
        let bind = once("bind", round);
        let bound = world
            .insist(async |host: &Host| {
                host.engine
                    .bind_plan_terms(side.clone(), terms.clone(), Expected::Anything, Some(bind.clone()))
                    .await
            })
            .await
            .unwrap();
        let id = bound.value.key.id;
        assert_eq!(id.entry, round, "terms are bound once");
        let end = once("end", round);
        let ended = world
            .insist(async |host: &Host| {
                host.engine
                    .end_plan_terms(side.clone(), id, None, Expected::Anything, Some(end.clone()))
                    .await
            })
            .await
            .unwrap();
        assert_eq!(ended.value.key.id, id);
        let policy: Name = key(&format!("policy-{round}"));
        world
            .insist(async |host: &Host| {
                host.engine
                    .put_policy(
                        policy.clone(),
                        Change::Set("later".to_owned()),
                        Change::Keep,
                        Expected::Anything,
                    )
                    .await
            })
            .await
            .unwrap();
        let number = u32::try_from(round).unwrap();
        match world
            .insist(async |host: &Host| {
                host.engine.delete_version(key(SPARE), number, Expected::Anything).await
            })
            .await
        {
            // It was deleted when the client had hung up.
            Ok(()) | Err(EngineError::VersionNotFound(..)) => {}
            Err(error) => panic!("{error}"),
        }
        let (new, make) = (new_api_key(round), once("api key", round));
        let added = world
            .insist(async |host: &Host| {
                // A secret is drawn anew whenever it is asked for one.
                let secret = format!("secret {round} {}", world.dice.below(u64::MAX));
                host.engine.add_api_key(&secret, new.clone(), Some(make.clone())).await
            })
            .await
            .unwrap();
        let id = &added.value.id;
        assert_eq!(id.as_str(), format!("key_{round}"), "a key is made once");
        world.insist(async |host: &Host| host.engine.revoke_api_key(id.clone()).await).await.unwrap();
    }
}

fn new_api_key(round: u64) -> NewApiKey {
    let (name, scopes) = (format!("key {round}"), BTreeSet::from([Scope::Read]));
    NewApiKey { name, scopes, ..NewApiKey::default() }
}

/// What whoever administers was answered is in force, on every host.
fn check_catalog(catalog: &Catalog, stored: u64) {
    assert_eq!(catalog.revision, stored);
    assert_eq!(catalog.plans[&key("side")].name, format!("as of round {ROUNDS}"));
    let terms = catalog.terms_of(&key("side"));
    assert_eq!(terms.len() as u64, ROUNDS);
    assert!(terms.iter().all(|terms| terms.ends_at.is_some()));
    assert!((1..=ROUNDS).all(|round| catalog.policies.contains_key(&key(&format!("policy-{round}")))));
    assert!(catalog.versions[&key(SPARE)].iter().all(|version| version.deleted));
    assert_eq!(catalog.api_keys.len() as u64, ROUNDS);
    assert!(catalog.api_keys.values().all(|key| key.revoked_at.is_some()));
}

/// Compares journals, states and books.
pub async fn check(world: &World) {
    let hosts = world.hosts.borrow().clone();
    let plan_terms = {
        let store = Connection::new(world.database.clone());
        let reference = store.catalog(0).await.unwrap();
        let catalog = Catalog::default().updated(reference).unwrap();
        for host in &hosts {
            check_catalog(&host.engine.catalog(), catalog.revision);
        }
        let verification =
            proviso_engine::verify(&store, proviso_engine::Against::default(), |_| {}).await.unwrap();
        assert_eq!(verification.differences, []);
        catalog.terms_of(&key("pro")).to_vec()
    };
    let books = world.books.take();
    let model = world.database.model();
    let mut found = BTreeSet::new();
    for number in 0..CUSTOMERS {
        let customer = key(&name(number));
        let mut used = Credits::ZERO;
        for stored in model.entries(&customer) {
            let entry = Entry::parse(&stored.body).unwrap();
            used = used.saturating_add(match &entry.event {
                Event::Charged(charged) => charged.rated.cost,
                Event::Committed(committed) => committed.rated.cost,
                _ => Credits::ZERO,
            });
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
            let thousandths = i128::from(decision.terms.id.entry) * Decimal::SCALE / 1_000;
            let cost = Credits::from_units(i128::from(tokens(request)) * thousandths);
            assert_eq!(rated.cost, cost, "{text}");
        }
        // All hosts, whatever they remember, agree with the journal.
        for host in &hosts {
            let state = host.engine.state(&customer).await.unwrap();
            assert_eq!(state.seq, model.head(&customer), "{customer}");
            assert_eq!(state.balance(&default_credit(), world.now()).used, used, "{customer}");
        }
    }
    let sent: BTreeSet<_> = books.answers.keys().cloned().collect();
    assert_eq!(found, sent);
    assert!(sent.len() as u64 >= CLIENTS / 2 * REQUESTS, "only {} requests", sent.len());
}
