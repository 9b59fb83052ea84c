//! What every store promises, one promise a function.

use crate::{
    Factory,
    model::{CLAIM, Model, customer, entry, key, row, snapshot, time},
};
use proviso_ledger::{ids::Digest, time::Timestamp};
use proviso_store::{
    ApiKeyRow, Batch, Commit, LoadedCustomer, NewKey, PlanRow, PlanTermsRow, PolicyRow, PolicyVersionRow,
    Reference, ReferenceChange, Store, StoreError, StoredRequest,
};
use std::sync::Arc;

/// Commits to the store and to the model, which must agree.
async fn commit(store: &dyn Store, model: &mut Model, batch: Batch) -> Commit {
    let expected = model.commit(&batch);
    assert_eq!(store.commit(batch.clone()).await, Ok(expected), "{batch:?}");
    expected
}

fn entries(of: &str, seqs: std::ops::RangeInclusive<u64>) -> Batch {
    let entries = seqs.map(|seq| entry(&customer(of), seq, Some(key(&format!("{of}-{seq}"))))).collect();
    Batch { entries, ..Batch::default() }
}

pub async fn entries_are_read_back_in_pages(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    for last in [1, 2, 5, 9, 17, 33] {
        for name in ["acme", "b", "zoo"] {
            let batch = entries(name, model.head(&customer(name)) + 1..=last);
            commit(&*store, &mut model, batch).await;
        }
        model.check(&*store, &[customer("acme"), customer("zoo"), customer("unknown")]).await;
    }
}

pub async fn a_number_must_be_the_next(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    for (seqs, expected) in [
        (2..=2, Commit::Conflict),
        (0..=0, Commit::Conflict),
        (1..=3, Commit::Durable),
        (3..=3, Commit::Conflict),
        (3..=4, Commit::Conflict),
        (5..=5, Commit::Conflict),
        (4..=20, Commit::Durable),
        (1..=1, Commit::Conflict),
        (21..=21, Commit::Durable),
        (u64::MAX..=u64::MAX, Commit::Conflict),
    ] {
        let mut batch = entries("acme", seqs.clone());
        // Without a key, so that only the number can conflict.
        batch.entries.iter_mut().for_each(|entry| entry.key_hash = None);
        assert_eq!(commit(&*store, &mut model, batch).await, expected, "{seqs:?}");
    }
    model.check(&*store, &[customer("acme")]).await;
}

pub async fn a_key_is_taken_once(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let (acme, other) = (customer("acme"), customer("other"));
    let further = |of: &str, seq, name: &str| {
        let keys = vec![NewKey { customer: customer(of), key_hash: key(name), seq }];
        Batch { keys, ..Batch::default() }
    };
    let first = |of, name| Batch { entries: vec![entry(of, 1, Some(key(name)))], ..Batch::default() };
    commit(&*store, &mut model, first(&acme, "k1")).await;
    // One more of each step has been indexed meanwhile.
    for seq in 2..12 {
        commit(&*store, &mut model, entries("acme", seq..=seq)).await;
        for (batch, expected) in [
            (further("acme", 1, "k1"), Commit::Conflict),
            (
                Batch { entries: vec![entry(&acme, seq + 1, Some(key("k1")))], ..Batch::default() },
                Commit::Conflict,
            ),
            (further("acme", seq, &format!("further-{seq}")), Commit::Durable),
            (further("acme", 1, &format!("further-{seq}")), Commit::Conflict),
            (further("acme", seq + 1, "of the future"), Commit::Conflict),
            (further("acme", 0, "of nothing"), Commit::Conflict),
            (further("nobody", 1, "of nobody"), Commit::Conflict),
        ] {
            assert_eq!(commit(&*store, &mut model, batch.clone()).await, expected, "{batch:?}");
        }
    }
    // That a key was free once is no promise.
    for seq in 12..20 {
        let late = (acme.clone(), key(&format!("late-{seq}")));
        assert_eq!(store.find_keys(std::slice::from_ref(&late)).await, Ok(vec![None]));
        for at in [seq, seq + 1] {
            let batch = Batch { entries: vec![entry(&acme, at, Some(late.1))], ..Batch::default() };
            let expected = if at == seq { Commit::Durable } else { Commit::Conflict };
            assert_eq!(commit(&*store, &mut model, batch).await, expected);
            // Enough others to have it indexed, or partly.
            let head = model.head(&customer("filler"));
            commit(&*store, &mut model, entries("filler", head + 1..=head + seq % 5)).await;
        }
    }
    // Another customer's keys are its own.
    assert_eq!(commit(&*store, &mut model, first(&other, "k1")).await, Commit::Durable);
    // Twice in one batch.
    let mut twice = entries("other", 2..=3);
    twice.entries[1].key_hash = twice.entries[0].key_hash;
    assert_eq!(commit(&*store, &mut model, twice).await, Commit::Conflict);
    model.check(&*store, &[acme, other]).await;
}

pub async fn a_batch_is_written_whole_or_not_at_all(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let (acme, zoo) = (customer("acme"), customer("zoo"));
    let mut whole = entries("acme", 1..=2);
    whole.entries.push(entry(&zoo, 1, None));
    whole.keys.push(NewKey { customer: zoo.clone(), key_hash: key("more"), seq: 1 });
    whole.snapshots.push(snapshot(&acme, 2));
    whole.customers.extend([row(&acme, Some(5)), row(&zoo, None)]);
    whole.due.push((zoo.clone(), Some(Timestamp(7))));
    assert_eq!(commit(&*store, &mut model, whole.clone()).await, Commit::Durable);
    // Everything in it is new but one thing at its end.
    let mut broken = entries("acme", 3..=4);
    broken.entries.push(entry(&zoo, 2, None));
    broken.customers.push(row(&acme, Some(50)));
    broken.due.push((zoo.clone(), None));
    for spoil in [
        Batch { entries: vec![entry(&zoo, 4, None)], ..Batch::default() },
        Batch {
            keys: vec![NewKey { customer: zoo.clone(), key_hash: key("more"), seq: 1 }],
            ..Batch::default()
        },
        Batch { snapshots: vec![snapshot(&zoo, 9)], ..Batch::default() },
    ] {
        let mut batch = broken.clone();
        batch.entries.extend(spoil.entries);
        batch.keys.extend(spoil.keys);
        batch.snapshots.extend(spoil.snapshots);
        assert_eq!(commit(&*store, &mut model, batch).await, Commit::Conflict);
        model.check(&*store, &[acme.clone(), zoo.clone()]).await;
    }
    assert_eq!(commit(&*store, &mut model, broken).await, Commit::Durable);
    assert_eq!(commit(&*store, &mut model, Batch::default()).await, Commit::Durable);
    model.check(&*store, &[acme, zoo]).await;
}

pub async fn of_those_who_race_for_a_number_one_wins(factory: &dyn Factory) {
    let store = factory.open().await;
    let acme = customer("acme");
    for seq in 1..=30 {
        let racers: Vec<_> = (0..6)
            .map(|racer| {
                let store = Arc::clone(&store);
                let mut new = entry(&acme, seq, Some(key(&format!("{seq}-{racer}"))));
                new.body = format!("{racer}");
                tokio::spawn(
                    async move { store.commit(Batch { entries: vec![new], ..Batch::default() }).await },
                )
            })
            .collect();
        let mut winners = Vec::new();
        for (racer, task) in racers.into_iter().enumerate() {
            if task.await.unwrap().unwrap() == Commit::Durable {
                winners.push(racer.to_string());
            }
        }
        let bodies: Vec<_> =
            store.entries(&acme, seq - 1, 9).await.unwrap().into_iter().map(|e| e.body).collect();
        assert_eq!(winners, bodies, "entry {seq}");
        assert_eq!(winners.len(), 1, "entry {seq}");
    }
}

pub async fn a_load_starts_at_the_newest_snapshot(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let acme = customer("acme");
    for seq in 1..=25 {
        let mut batch = entries("acme", seq..=seq);
        batch.snapshots = if seq % 4 == 0 { vec![snapshot(&acme, seq)] } else { vec![] };
        commit(&*store, &mut model, batch).await;
        model.check(&*store, &[customer("zoo"), acme.clone(), acme.clone()]).await;
    }
    // An older one beside it changes nothing, the same one again replaces it.
    let mut again = snapshot(&acme, 24);
    again.state = "{}".to_owned();
    let batch = Batch { snapshots: vec![snapshot(&acme, 3), again], ..Batch::default() };
    commit(&*store, &mut model, batch).await;
    model.check(&*store, &[acme]).await;
}

pub async fn times_find_their_entry(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    for last in [1, 2, 3, 7, 8, 64] {
        let batch = entries("acme", model.head(&customer("acme")) + 1..=last);
        commit(&*store, &mut model, batch).await;
        model.check(&*store, &[customer("acme")]).await;
    }
}

pub async fn customers_are_listed_and_come_due(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let names = ["a", "B", "a.b", "a-b", "a:b", "a_b", "10", "9"].map(customer);
    let rows = names.iter().zip([Some(30), None, Some(10), Some(20), Some(20), None, Some(5), Some(40)]);
    let customers: Vec<_> = rows.map(|(name, due_at)| row(name, due_at)).collect();
    commit(&*store, &mut model, Batch { customers, ..Batch::default() }).await;
    model.check(&*store, &names).await;

    let at = |micros| Some(Timestamp(micros));
    let due = vec![
        (customer("a"), at(1)),
        (customer("B"), at(2)),
        (customer("9"), None),
        (customer("nobody"), at(1)),
    ];
    commit(&*store, &mut model, Batch { due, ..Batch::default() }).await;
    // The last word on a customer counts, in one batch and over several at once.
    let due = vec![(customer("a"), at(90)), (customer("a"), at(3))];
    commit(
        &*store,
        &mut model,
        Batch { due, customers: vec![row(&customer("a"), Some(70))], ..Batch::default() },
    )
    .await;
    model.check(&*store, &names).await;

    let mut listed = Vec::new();
    loop {
        let page = store.customers(listed.last(), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|row| row.customer));
    }
    assert_eq!(listed, model.customers.keys().cloned().collect::<Vec<_>>());
    let first: Vec<_> = store.due(Timestamp(1000), 2, CLAIM).await.unwrap();
    assert_eq!(first, [customer("B"), customer("a")]);
}

pub async fn an_empty_store_knows_nothing(factory: &dyn Factory) {
    let store = factory.open().await;
    Model::default().check(&*store, &[customer("acme")]).await;
    assert_eq!(store.load(&[]).await, Ok(vec![]));
    assert_eq!(store.find_keys(&[]).await, Ok(vec![]));
    assert_eq!(store.load(&[(customer("acme"), 0)]).await, Ok(vec![LoadedCustomer::default()]));
    assert_eq!(store.reference(0).await, Ok(Reference::default()));
    assert_eq!(store.module(&Digest::of(b"")).await, Ok(None));
    assert_eq!(store.request(key("k")).await, Ok(None));
    assert_eq!(store.ping().await, Ok(()));
}

fn plan(name: &str, body: &str) -> PlanRow {
    PlanRow { plan: name.parse().unwrap(), body: body.to_owned() }
}

fn terms(plan: &str, number: u64, body: &str) -> PlanTermsRow {
    PlanTermsRow { plan: plan.parse().unwrap(), number, body: body.to_owned() }
}

fn policy(name: &str, body: &str) -> PolicyRow {
    PolicyRow { policy: name.parse().unwrap(), body: body.to_owned() }
}

fn version(policy: &str, version: u32, module: &[u8], deleted: bool) -> PolicyVersionRow {
    let digest = Digest::of(module);
    PolicyVersionRow { policy: policy.parse().unwrap(), version, digest, deleted, body: "{}".to_owned() }
}

fn api_key(id: &str, secret: &str, body: &str) -> ApiKeyRow {
    ApiKeyRow { id: id.parse().unwrap(), secret_hash: Digest::of(secret.as_bytes()).0, body: body.to_owned() }
}

fn module(bytes: &[u8]) -> ReferenceChange {
    ReferenceChange::PutModule { digest: Digest::of(bytes), bytes: bytes.to_vec() }
}

pub async fn reference_data_changes_as_one(factory: &dyn Factory) {
    use ReferenceChange::{
        AddApiKey, AddPlanTerms, AddPolicyVersion, PutPlan, PutPolicy, SetApiKey, SetPlanTerms,
        SetPolicyVersion,
    };
    let store = factory.open().await;
    let mut revision = 0;
    for (changes, expected) in [
        (vec![PutPlan(plan("pro", "1")), AddPlanTerms(terms("pro", 1, "1"))], Commit::Durable),
        (vec![PutPlan(plan("free", "1")), AddPlanTerms(terms("pro", 1, "2"))], Commit::Conflict),
        (vec![AddPlanTerms(terms("unknown", 1, "1"))], Commit::Conflict),
        (vec![SetPlanTerms(terms("pro", 2, "2"))], Commit::Conflict),
        (vec![SetPlanTerms(terms("pro", 1, "2")), PutPlan(plan("pro", "2"))], Commit::Durable),
        (vec![PutPolicy(policy("standard", "1")), module(b"one")], Commit::Durable),
        (vec![module(b"one"), AddPolicyVersion(version("standard", 1, b"one", false))], Commit::Durable),
        (vec![AddPolicyVersion(version("standard", 1, b"one", false))], Commit::Conflict),
        (vec![AddPolicyVersion(version("standard", 2, b"never put", false))], Commit::Conflict),
        (vec![AddPolicyVersion(version("unknown", 1, b"one", false))], Commit::Conflict),
        (vec![SetPolicyVersion(version("standard", 1, b"one", true))], Commit::Durable),
        (vec![SetPolicyVersion(version("standard", 2, b"one", true))], Commit::Conflict),
        (vec![AddApiKey(api_key("key-1", "secret", "1"))], Commit::Durable),
        (vec![AddApiKey(api_key("key-1", "another", "1"))], Commit::Conflict),
        (vec![AddApiKey(api_key("key-2", "secret", "1"))], Commit::Conflict),
        (vec![SetApiKey(api_key("key-1", "secret", "2"))], Commit::Durable),
        (vec![SetApiKey(api_key("key-2", "secret", "2"))], Commit::Conflict),
    ] {
        let before = store.reference(0).await.unwrap();
        assert_eq!(store.change_reference(None, changes.clone(), None).await, Ok(expected), "{changes:?}");
        revision += u64::from(expected == Commit::Durable);
        assert_eq!(store.reference_revision().await, Ok(revision));
        if expected == Commit::Conflict {
            assert_eq!(store.reference(0).await.unwrap(), before, "{changes:?}");
        }
    }
    let expected = Reference {
        revision,
        plans: vec![plan("pro", "2")],
        plan_terms: vec![terms("pro", 1, "2")],
        policies: vec![policy("standard", "1")],
        policy_versions: vec![version("standard", 1, b"one", true)],
        api_keys: vec![api_key("key-1", "secret", "2")],
    };
    assert_eq!(store.reference(0).await, Ok(expected));
    assert_eq!(store.module(&Digest::of(b"one")).await, Ok(Some(b"one".to_vec())));
}

pub async fn a_batch_is_of_the_newest_revision(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    for round in 0..4 {
        assert_eq!(store.change_reference(None, vec![], None).await, Ok(Commit::Durable));
        let refused = vec![ReferenceChange::SetPlanTerms(terms("pro", 1, "1"))];
        assert_eq!(store.change_reference(None, refused, None).await, Ok(Commit::Conflict));
        model.revision += 1;
        for (revision, expected) in [
            (Some(round), Commit::Conflict),
            (Some(round + 2), Commit::Conflict),
            (Some(round + 1), Commit::Durable),
            (None, Commit::Durable),
        ] {
            let next = model.head(&customer("acme")) + 1;
            let batch = Batch { revision, ..entries("acme", next..=next) };
            assert_eq!(commit(&*store, &mut model, batch).await, expected, "{revision:?} in round {round}");
        }
    }
    model.check(&*store, &[customer("acme")]).await;
}

pub async fn reference_data_is_read_since_a_revision(factory: &dyn Factory) {
    use ReferenceChange::{
        AddPlanTerms, AddPolicyVersion, PutPlan, PutPolicy, SetPlanTerms, SetPolicyVersion,
    };
    let store = factory.open().await;
    let changes = [
        vec![PutPlan(plan("a", "1")), PutPlan(plan("b", "1")), AddPlanTerms(terms("a", 1, "1"))],
        vec![PutPlan(plan("b", "2")), AddPlanTerms(terms("a", 2, "1"))],
        vec![PutPolicy(policy("p", "1")), module(b"one"), AddPolicyVersion(version("p", 1, b"one", false))],
        vec![SetPlanTerms(terms("a", 1, "2")), SetPolicyVersion(version("p", 1, b"one", true))],
        vec![ReferenceChange::AddApiKey(api_key("k", "secret", "1"))],
    ];
    for (base, changes) in (0..).zip(changes) {
        for other in [base + 1, base + 9] {
            assert_eq!(
                store.change_reference(Some(other), changes.clone(), None).await,
                Ok(Commit::Conflict)
            );
        }
        assert_eq!(store.change_reference(Some(base), changes, None).await, Ok(Commit::Durable));
        let nothing = Reference { revision: base + 1, ..Reference::default() };
        assert_eq!(store.reference(base + 1).await, Ok(nothing));
    }
    let all = store.reference(0).await.unwrap();
    assert_eq!((all.revision, all.plans.len(), all.plan_terms.len()), (5, 2, 2));
    let since = store.reference(1).await.unwrap();
    assert_eq!(since.plans, [plan("b", "2")]);
    assert_eq!(since.plan_terms, [terms("a", 1, "2"), terms("a", 2, "1")]);
    assert_eq!(since.policy_versions, [version("p", 1, b"one", true)]);
    let since = store.reference(3).await.unwrap();
    assert_eq!((since.plans.len(), since.policies.len()), (0, 0));
    assert_eq!(since.plan_terms, [terms("a", 1, "2")]);
    assert_eq!(since.api_keys, [api_key("k", "secret", "1")]);
}

pub async fn a_request_is_kept_with_its_changes(factory: &dyn Factory) {
    let store = factory.open().await;
    let request = |name: &str, status| StoredRequest {
        key_hash: key(name),
        request_hash: Digest::of(name.as_bytes()).0,
        at: time(1),
        status,
        body: "{\"answer\":true}".to_owned(),
    };
    let put = |name: &str| vec![ReferenceChange::PutPlan(plan(name, "1"))];
    let change = |changes, request| store.change_reference(None, changes, Some(request));
    assert_eq!(change(put("pro"), request("k1", 201)).await, Ok(Commit::Durable));
    assert_eq!(change(put("other"), request("k1", 422)).await, Ok(Commit::Conflict));
    let refused = vec![ReferenceChange::SetPlanTerms(terms("pro", 7, "1"))];
    assert_eq!(change(refused, request("k2", 201)).await, Ok(Commit::Conflict));
    assert_eq!(change(vec![], request("k3", 404)).await, Ok(Commit::Durable));
    assert_eq!(store.request(key("k1")).await, Ok(Some(request("k1", 201))));
    assert_eq!(store.request(key("k2")).await, Ok(None));
    assert_eq!(store.request(key("k3")).await, Ok(Some(request("k3", 404))));
    assert_eq!(store.reference(0).await.unwrap().plans, [plan("pro", "1")]);
}

pub async fn what_was_committed_survives_a_reopening(factory: &dyn Factory) {
    let mut model = Model::default();
    for round in 0..6 {
        let store = factory.open().await;
        model.check(&*store, &[customer("acme"), customer("zoo")]).await;
        assert_eq!(store.reference_revision().await, Ok(round));
        for name in ["acme", "zoo"] {
            let head = model.head(&customer(name));
            let mut batch = entries(name, head + 1..=head + 1 + round);
            batch.customers.push(row(&customer(name), Some(7)));
            batch.keys.push(NewKey {
                customer: customer(name),
                key_hash: key(&format!("further-{round}")),
                seq: 1,
            });
            commit(&*store, &mut model, batch).await;
        }
        store.change_reference(None, vec![], None).await.unwrap();
        store.close().await;
    }
}

pub async fn a_closed_store_refuses(factory: &dyn Factory) {
    let store = factory.open().await;
    store.close().await;
    store.close().await;
    assert_eq!(store.commit(entries("acme", 1..=1)).await, Err(StoreError::Closed));
    assert_eq!(store.ping().await, Err(StoreError::Closed));
    assert_eq!(store.change_reference(None, vec![], None).await, Err(StoreError::Closed));
}

pub async fn large_batches_go_through(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let names: Vec<_> = (0..700).map(|n| customer(&format!("customer-{n}"))).collect();
    let mut batch = entries("acme", 1..=2500);
    batch.customers = names.iter().map(|name| row(name, Some(3))).collect();
    commit(&*store, &mut model, batch).await;
    let mut batch =
        Batch { due: names.iter().map(|name| (name.clone(), None)).collect(), ..Batch::default() };
    batch.entries = names.iter().map(|name| entry(name, 1, None)).collect();
    batch.snapshots = names.iter().map(|name| snapshot(name, 1)).collect();
    commit(&*store, &mut model, batch).await;
    model.check(&*store, &[customer("acme"), names[699].clone()]).await;
}
