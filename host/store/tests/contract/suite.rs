//! What every store promises, one promise a function.

use crate::{
    Factory,
    model::{CLAIM, FORMAT, Model, OTHER_FORMAT, customer, entry, key, row, snapshot, time},
};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Name},
    terms::TermsKey,
    time::Timestamp,
};
use proviso_store::{
    Anchor, ApiKeyRow, Batch, CatalogChange, CatalogRows, CatalogStamp, CheckpointRow, Commit, CustomerRow,
    JournalEnd, JournalRow, LoadedCustomer, NewKey, NewSnapshot, PlanRow, PlanTermsRow, PlanVersionRow,
    PolicyRow, PolicyVersionRow, ProductKind, ProductRow, RollupCursor, RollupId, RollupRow, RollupSpan,
    RollupUpdate, Store, StoreError, StoredAnswer,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use crate::redemptions::redemptions_stay_within_their_limit;

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
    // An older one changes nothing, another of the same entry replaces it.
    let mut again = snapshot(&acme, 24);
    again.state = "{}".to_owned();
    let batch = Batch { snapshots: vec![snapshot(&acme, 3), again], ..Batch::default() };
    commit(&*store, &mut model, batch).await;
    model.check(&*store, &[acme]).await;
}

pub async fn snapshots_of_other_formats_are_ignored(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    let acme = customer("acme");
    let in_format = |format, seq| NewSnapshot { format, ..snapshot(&acme, seq) };
    commit(&*store, &mut model, entries("acme", 1..=9)).await;
    // Hosts of two versions, whose snapshots are of the same entry, or of an older or a newer one.
    for (format, seq) in [(OTHER_FORMAT, 5), (FORMAT, 3), (FORMAT, 5), (OTHER_FORMAT, 9), (FORMAT, 7)] {
        let batch = Batch { snapshots: vec![in_format(format, seq)], ..Batch::default() };
        assert_eq!(commit(&*store, &mut model, batch).await, Commit::Durable);
        model.check(&*store, std::slice::from_ref(&acme)).await;
    }
    // Both in one batch.
    let snapshots = vec![in_format(FORMAT, 9), in_format(OTHER_FORMAT, 8)];
    commit(&*store, &mut model, Batch { snapshots, ..Batch::default() }).await;
    model.check(&*store, std::slice::from_ref(&acme)).await;
    // A host of a third version folds from the first entry.
    let loaded = store.load(&[(acme.clone(), 0)], 3).await.unwrap();
    assert_eq!((loaded[0].snapshot.clone(), loaded[0].tail.len()), (None, 9));
    assert_eq!(store.snapshot_before(&acme, 9, 3).await, Ok(None));
}

pub async fn announced_formats_bound_what_is_written(factory: &dyn Factory) {
    let age = Duration::from_secs(60);
    let store = factory.open().await;
    assert_eq!(store.oldest_live_format(age).await, Ok(None));
    // The newest announcement of a host counts.
    for format in [1, 3, 2, u32::MAX] {
        assert_eq!(store.announce(format).await, Ok(()));
        assert_eq!(store.oldest_live_format(age).await, Ok(Some(format)));
    }
    // A host that has ended, and its successor before it announces itself.
    store.close().await;
    assert_eq!(store.announce(1).await, Err(StoreError::Closed));
    let store = factory.open().await;
    assert_eq!(store.oldest_live_format(age).await, Ok(None));
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

pub async fn customers_are_found_by_their_plan(factory: &dyn Factory) {
    let store = factory.open().await;
    let pro: Name = "pro".parse().unwrap();
    let on = |name: &str, plan: Option<(&str, u32)>, closed: bool| CustomerRow {
        plan: plan.map(|(plan, version)| (plan.parse().unwrap(), version)),
        closed,
        ..row(&customer(name), None)
    };
    let customers = vec![
        on("b", Some(("pro", 1)), false),
        on("a", Some(("pro", 1)), false),
        on("c", Some(("pro", 1)), true),
        on("d", Some(("pro", 2)), false),
        on("e", Some(("other", 1)), false),
        on("f", None, false),
    ];
    assert_eq!(
        store.commit(Batch { customers: customers.clone(), ..Batch::default() }).await,
        Ok(Commit::Durable)
    );
    assert_eq!(store.plan_customers(&pro).await, Ok(vec![(1, 2), (2, 1)]));
    let first = store.customers_of_plan(&pro, 1, None, 1).await.unwrap();
    assert_eq!(first, [customers[1].clone()]);
    let second = store.customers_of_plan(&pro, 1, Some(&customer("a")), 5).await.unwrap();
    assert_eq!(second, [customers[0].clone()]);
    // Who is moved is found there.
    let moved = vec![on("a", Some(("pro", 2)), false), on("b", None, false)];
    assert_eq!(store.commit(Batch { customers: moved, ..Batch::default() }).await, Ok(Commit::Durable));
    assert_eq!(store.plan_customers(&pro).await, Ok(vec![(2, 2)]));
    assert_eq!(store.customers_of_plan(&pro, 1, None, 5).await, Ok(vec![]));
    assert_eq!(store.plan_customers(&"nobody".parse().unwrap()).await, Ok(vec![]));
}

pub async fn customers_that_await_a_payment_are_found(factory: &dyn Factory) {
    let store = factory.open().await;
    let with =
        |name: &str, awaits_payment: bool| CustomerRow { awaits_payment, ..row(&customer(name), None) };
    let found = async |after: Option<&str>, limit: u32| {
        let after = after.map(customer);
        let rows = store.customers_awaiting_payment(after.as_ref(), limit).await.unwrap();
        rows.into_iter().map(|row| row.customer.to_string()).collect::<Vec<_>>()
    };
    let customers = vec![with("b", true), with("a", true), with("c", false), with("d", true)];
    assert_eq!(store.commit(Batch { customers, ..Batch::default() }).await, Ok(Commit::Durable));
    assert_eq!(found(None, 9).await, ["a", "b", "d"]);
    assert_eq!(found(Some("a"), 1).await, ["b"]);
    // Who was answered is not listed any more.
    let answered = vec![with("b", false), with("c", true)];
    assert_eq!(store.commit(Batch { customers: answered, ..Batch::default() }).await, Ok(Commit::Durable));
    assert_eq!(found(None, 9).await, ["a", "c", "d"]);
}

pub async fn an_empty_store_knows_nothing(factory: &dyn Factory) {
    let store = factory.open().await;
    Model::default().check(&*store, &[customer("acme")]).await;
    assert_eq!(store.load(&[], FORMAT).await, Ok(vec![]));
    assert_eq!(store.find_keys(&[]).await, Ok(vec![]));
    assert_eq!(store.load(&[(customer("acme"), 0)], FORMAT).await, Ok(vec![LoadedCustomer::default()]));
    assert_eq!(store.catalog(0).await, Ok(CatalogRows::default()));
    assert_eq!(store.module(&Digest::of(b"")).await, Ok(None));
    assert_eq!(store.answer(key("k")).await, Ok(None));
    assert_eq!(store.ping().await, Ok(()));
}

fn plan(name: &str, body: &str) -> PlanRow {
    PlanRow { plan: name.parse().unwrap(), body: body.to_owned() }
}

fn plan_version(plan: &str, version: u32, body: &str) -> PlanVersionRow {
    PlanVersionRow { plan: plan.parse().unwrap(), version, body: body.to_owned() }
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

pub fn product(kind: ProductKind, name: &str, body: &str) -> ProductRow {
    ProductRow { kind, product: name.parse().unwrap(), body: body.to_owned() }
}

fn module(bytes: &[u8]) -> CatalogChange {
    CatalogChange::PutModule { digest: Digest::of(bytes), bytes: bytes.to_vec() }
}

pub async fn catalog_changes_are_made_together(factory: &dyn Factory) {
    use CatalogChange::{
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
        (vec![CatalogChange::AddPlanVersion(plan_version("pro", 1, "1"))], Commit::Durable),
        (vec![CatalogChange::AddPlanVersion(plan_version("pro", 1, "2"))], Commit::Conflict),
        (vec![CatalogChange::AddPlanVersion(plan_version("unknown", 1, "1"))], Commit::Conflict),
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
        (vec![CatalogChange::PutProduct(product(ProductKind::Bundle, "small", "1"))], Commit::Durable),
        (vec![CatalogChange::PutProduct(product(ProductKind::Bundle, "small", "2"))], Commit::Durable),
    ] {
        let before = store.catalog(0).await.unwrap();
        assert_eq!(store.change_catalog(None, changes.clone(), None).await, Ok(expected), "{changes:?}");
        revision += u64::from(expected == Commit::Durable);
        assert_eq!(store.catalog_revision().await, Ok(revision));
        if expected == Commit::Conflict {
            assert_eq!(store.catalog(0).await.unwrap(), before, "{changes:?}");
        }
    }
    let expected = CatalogRows {
        revision,
        plans: vec![plan("pro", "2")],
        plan_versions: vec![plan_version("pro", 1, "1")],
        plan_terms: vec![terms("pro", 1, "2")],
        policies: vec![policy("standard", "1")],
        policy_versions: vec![version("standard", 1, b"one", true)],
        api_keys: vec![api_key("key-1", "secret", "2")],
        products: vec![(product(ProductKind::Bundle, "small", "2"), revision)],
    };
    assert_eq!(store.catalog(0).await, Ok(expected));
    assert_eq!(store.module(&Digest::of(b"one")).await, Ok(Some(b"one".to_vec())));
}

pub async fn a_batch_is_of_the_newest_revision(factory: &dyn Factory) {
    let store = factory.open().await;
    let mut model = Model::default();
    for round in 0..4 {
        assert_eq!(store.change_catalog(None, vec![], None).await, Ok(Commit::Durable));
        let refused = vec![CatalogChange::SetPlanTerms(terms("pro", 1, "1"))];
        assert_eq!(store.change_catalog(None, refused, None).await, Ok(Commit::Conflict));
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

pub async fn the_catalog_is_read_since_a_revision(factory: &dyn Factory) {
    use CatalogChange::{
        AddPlanTerms, AddPlanVersion, AddPolicyVersion, PutPlan, PutPolicy, SetPlanTerms, SetPolicyVersion,
    };
    let store = factory.open().await;
    let changes = [
        vec![PutPlan(plan("a", "1")), PutPlan(plan("b", "1")), AddPlanTerms(terms("a", 1, "1"))],
        vec![
            PutPlan(plan("b", "2")),
            AddPlanVersion(plan_version("b", 1, "2")),
            AddPlanTerms(terms("a", 2, "1")),
        ],
        vec![PutPolicy(policy("p", "1")), module(b"one"), AddPolicyVersion(version("p", 1, b"one", false))],
        vec![SetPlanTerms(terms("a", 1, "2")), SetPolicyVersion(version("p", 1, b"one", true))],
        vec![CatalogChange::AddApiKey(api_key("k", "secret", "1"))],
    ];
    for (base, changes) in (0..).zip(changes) {
        for other in [base + 1, base + 9] {
            assert_eq!(store.change_catalog(Some(other), changes.clone(), None).await, Ok(Commit::Conflict));
        }
        assert_eq!(store.change_catalog(Some(base), changes, None).await, Ok(Commit::Durable));
        let nothing = CatalogRows { revision: base + 1, ..CatalogRows::default() };
        assert_eq!(store.catalog(base + 1).await, Ok(nothing));
    }
    let all = store.catalog(0).await.unwrap();
    assert_eq!((all.revision, all.plans.len(), all.plan_terms.len()), (5, 2, 2));
    let since = store.catalog(1).await.unwrap();
    assert_eq!(since.plans, [plan("b", "2")]);
    assert_eq!(since.plan_versions, [plan_version("b", 1, "2")]);
    // A version is never replaced.
    let again = vec![AddPlanVersion(plan_version("b", 1, "3"))];
    assert_eq!(store.change_catalog(Some(5), again, None).await, Ok(Commit::Conflict));
    assert_eq!(since.plan_terms, [terms("a", 1, "2"), terms("a", 2, "1")]);
    assert_eq!(since.policy_versions, [version("p", 1, b"one", true)]);
    let since = store.catalog(3).await.unwrap();
    assert_eq!((since.plans.len(), since.policies.len()), (0, 0));
    assert_eq!(since.plan_terms, [terms("a", 1, "2")]);
    assert_eq!(since.api_keys, [api_key("k", "secret", "1")]);
}

pub async fn an_answer_is_stored_with_its_changes(factory: &dyn Factory) {
    let store = factory.open().await;
    let answer = |name: &str, answer: &str| StoredAnswer {
        key_hash: key(name),
        request_hash: Digest::of(name.as_bytes()).0,
        at: time(1),
        answer: answer.to_owned(),
    };
    let put = |name: &str| vec![CatalogChange::PutPlan(plan(name, "1"))];
    let change = |changes, answer| store.change_catalog(None, changes, Some(answer));
    assert_eq!(change(put("pro"), answer("k1", "[1]")).await, Ok(Commit::Durable));
    assert_eq!(change(put("other"), answer("k1", "[2]")).await, Ok(Commit::Conflict));
    let refused = vec![CatalogChange::SetPlanTerms(terms("pro", 7, "1"))];
    assert_eq!(change(refused, answer("k2", "[1]")).await, Ok(Commit::Conflict));
    assert_eq!(change(vec![], answer("k3", "[3]")).await, Ok(Commit::Durable));
    assert_eq!(store.answer(key("k1")).await, Ok(Some(answer("k1", "[1]"))));
    assert_eq!(store.answer(key("k2")).await, Ok(None));
    assert_eq!(store.answer(key("k3")).await, Ok(Some(answer("k3", "[3]"))));
    assert_eq!(store.catalog(0).await.unwrap().plans, [plan("pro", "1")]);
}

pub async fn what_was_committed_survives_a_reopening(factory: &dyn Factory) {
    let mut model = Model::default();
    for round in 0..6 {
        let store = factory.open().await;
        model.check(&*store, &[customer("acme"), customer("zoo")]).await;
        assert_eq!(store.catalog_revision().await, Ok(round));
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
        store.change_catalog(None, vec![], None).await.unwrap();
        store.close().await;
    }
}

pub async fn a_closed_store_refuses(factory: &dyn Factory) {
    let store = factory.open().await;
    store.close().await;
    store.close().await;
    assert_eq!(store.commit(entries("acme", 1..=1)).await, Err(StoreError::Closed));
    assert_eq!(store.ping().await, Err(StoreError::Closed));
    assert_eq!(store.change_catalog(None, vec![], None).await, Err(StoreError::Closed));
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

fn checkpoint(number: u64) -> CheckpointRow {
    CheckpointRow {
        number,
        at: Timestamp(i64::try_from(number).unwrap()),
        statement: format!("statement {number}"),
        catalog: "[]".to_owned(),
        signature: vec![7; 64],
        public_key: [9; 32],
    }
}

pub async fn checkpoints_are_stored_with_the_ends_that_they_name(factory: &dyn Factory) {
    let opened = factory.open().await;
    let store = opened.checkpoint_store().unwrap();
    let mut model = Model::default();
    let names = ["a", "B", "a b", "é"].map(customer);
    let customers = names.iter().map(|name| row(name, None)).collect();
    commit(&*opened, &mut model, Batch { customers, ..Batch::default() }).await;
    for (name, last) in names.iter().zip([1, 3, 9]) {
        commit(&*opened, &mut model, entries(name.as_str(), 1..=last)).await;
    }
    let mut sorted = names.to_vec();
    sorted.sort();
    let end = |model: &Model, name: &CustomerId| {
        let last = model.journals.get(name).and_then(|entries| entries.last());
        last.map_or(JournalEnd::GONE, |last| JournalEnd { seq: last.seq, hash: last.hash })
    };
    let expected = |model: &Model, anchored: &dyn Fn(&CustomerId) -> Option<JournalEnd>| {
        let row = |name: &CustomerId| JournalRow {
            customer: name.clone(),
            end: end(model, name),
            anchored: anchored(name),
        };
        sorted.iter().map(row).collect::<Vec<_>>()
    };
    let all = expected(&model, &|_| None);
    assert_eq!(store.journal_ends(None, 10).await.unwrap(), all);
    // In pages.
    assert_eq!(store.journal_ends(None, 3).await.unwrap(), all[..3]);
    assert_eq!(store.journal_ends(Some(&sorted[2]), 3).await.unwrap(), all[3..]);
    assert_eq!(store.newest_checkpoint().await, Ok(None));

    // Only the next number, and with it all that it names.
    let ends: Vec<_> = sorted.iter().map(|name| (name.clone(), end(&model, name))).collect();
    assert_eq!(store.add_checkpoint(checkpoint(2), ends.clone()).await, Ok(Commit::Conflict));
    assert_eq!(store.anchors(None, 10).await, Ok(Vec::new()));
    assert!(store.claim_checkpoint(Duration::from_secs(60)).await.unwrap());
    assert_eq!(store.add_checkpoint(checkpoint(1), ends.clone()).await, Ok(Commit::Durable));
    assert_eq!(store.add_checkpoint(checkpoint(1), ends.clone()).await, Ok(Commit::Conflict));
    // The claim ended with it.
    assert!(store.claim_checkpoint(Duration::from_secs(60)).await.unwrap());
    // Or when whoever had it found nothing to do.
    store.release_checkpoint().await.unwrap();
    assert!(store.claim_checkpoint(Duration::from_secs(60)).await.unwrap());

    let first = all.clone();
    commit(&*opened, &mut model, entries("a", 2..=2)).await;
    let before = |name: &CustomerId| first.iter().find(|row| row.customer == *name).map(|row| row.end);
    assert_eq!(store.journal_ends(None, 10).await.unwrap(), expected(&model, &before));
    // Also of who is gone, or never was.
    let nobody = customer("nobody");
    let changed = vec![
        (names[0].clone(), end(&model, &names[0])),
        (nobody.clone(), JournalEnd { seq: 5, hash: [5; 32] }),
    ];
    assert_eq!(store.add_checkpoint(checkpoint(2), changed.clone()).await, Ok(Commit::Durable));
    let found = store.journal_ends(None, 10).await.unwrap();
    let row = found.iter().find(|row| row.customer == nobody).unwrap();
    assert_eq!((row.end, row.anchored), (JournalEnd::GONE, Some(changed[1].1)));
    assert_eq!(found.len(), 5);

    opened.close().await;
    let opened = factory.open().await;
    let store = opened.checkpoint_store().unwrap();
    assert_eq!(store.checkpoints(0, 10).await, Ok(vec![checkpoint(1), checkpoint(2)]));
    assert_eq!(store.checkpoints(1, 10).await, Ok(vec![checkpoint(2)]));
    assert_eq!(store.checkpoints(0, 1).await, Ok(vec![checkpoint(1)]));
    assert_eq!(store.newest_checkpoint().await, Ok(Some(checkpoint(2))));
    let of = |number: u64| {
        move |(customer, end): &(CustomerId, JournalEnd)| Anchor {
            customer: customer.clone(),
            checkpoint: number,
            end: *end,
        }
    };
    let mut anchors: Vec<_> = ends.iter().map(of(1)).chain(changed.iter().map(of(2))).collect();
    anchors.sort_by(|a, b| (&a.customer, a.checkpoint).cmp(&(&b.customer, b.checkpoint)));
    assert_eq!(store.anchors(None, 10).await.as_ref(), Ok(&anchors));
    let mut read = Vec::new();
    while let Ok([next]) = <[Anchor; 1]>::try_from(
        store.anchors(read.last().map(|last: &Anchor| (&last.customer, last.checkpoint)), 1).await.unwrap(),
    ) {
        read.push(next);
    }
    assert_eq!(read, anchors);
}

pub async fn the_catalog_is_stamped_row_by_row(factory: &dyn Factory) {
    let store = factory.open().await;
    let plan = |body: &str| PlanRow { plan: "p".parse().unwrap(), body: body.to_owned() };
    let terms =
        |number, body: &str| PlanTermsRow { plan: "p".parse().unwrap(), number, body: body.to_owned() };
    let stamps = async || {
        let (revision, stamps) = store.checkpoint_store().unwrap().catalog_stamps().await.unwrap();
        let rows = stamps.into_iter().map(|stamp| {
            let CatalogStamp { table, key, number, revision, digest } = stamp;
            ((table, key, number), (revision, digest))
        });
        (revision, rows.collect::<BTreeMap<_, _>>())
    };
    assert_eq!(stamps().await, (0, BTreeMap::new()));
    let first = vec![CatalogChange::PutPlan(plan("1")), CatalogChange::AddPlanTerms(terms(1, "1"))];
    assert_eq!(store.change_catalog(Some(0), first, None).await, Ok(Commit::Durable));
    let second = vec![
        CatalogChange::AddPlanTerms(terms(2, "1")),
        CatalogChange::AddPlanVersion(plan_version("p", 1, "1")),
        CatalogChange::AddApiKey(ApiKeyRow {
            id: "k".parse().unwrap(),
            secret_hash: [1; 32],
            body: "1".to_owned(),
        }),
        CatalogChange::PutProduct(product(ProductKind::AddOn, "p", "1")),
    ];
    assert_eq!(store.change_catalog(Some(1), second, None).await, Ok(Commit::Durable));
    let (revision, before) = stamps().await;
    let of = |table, key: &str, number| (table, key.to_owned(), number);
    assert_eq!((revision, before.len()), (2, 6));
    let revisions = [
        (of("plans", "p", 0), 1),
        (of("plan_terms", "p", 1), 1),
        (of("plan_terms", "p", 2), 2),
        (of("plan_versions", "p", 1), 2),
        (of("api_keys", "k", 0), 2),
        (of("products", "add_on/p", 0), 2),
    ];
    for (row, revision) in revisions {
        assert_eq!(before[&row].0, revision, "{row:?}");
    }
    // Only what is changed has another digest.
    let change = vec![CatalogChange::SetPlanTerms(terms(1, "2"))];
    assert_eq!(store.change_catalog(Some(2), change, None).await, Ok(Commit::Durable));
    let (revision, mut after) = stamps().await;
    let row = of("plan_terms", "p", 1);
    assert_eq!((revision, after[&row].0), (3, 3));
    assert_ne!(after[&row].1, before[&row].1);
    after.insert(row.clone(), before[&row]);
    assert_eq!(after, before);
}

pub async fn each_opening_counts_of_a_rollout_by_itself(factory: &dyn Factory) {
    let (one, other): (TermsKey, TermsKey) =
        ("plan/pro/terms_2".parse().unwrap(), "plan/pro/terms_20".parse().unwrap());
    let store = factory.open().await;
    assert_eq!(store.rollout_counts(&one).await, Ok(Vec::new()));
    for body in ["1", "2"] {
        store.put_rollout_counts(&one, body).await.unwrap();
        assert_eq!(store.rollout_counts(&one).await, Ok(vec![body.to_owned()]));
    }
    store.put_rollout_counts(&other, "3").await.unwrap();
    store.close().await;
    let store = factory.open().await;
    store.put_rollout_counts(&one, "4").await.unwrap();
    let mut all = store.rollout_counts(&one).await.unwrap();
    all.sort_unstable();
    assert_eq!(all, ["2", "4"]);
    assert_eq!(store.rollout_counts(&other).await, Ok(vec!["3".to_owned()]));
    store.close().await;
}

pub async fn usage_totals_move_with_their_cursor(factory: &dyn Factory) {
    let opened = factory.open().await;
    let store = opened.rollup_store().unwrap();
    let (acme, other) = (customer("acme"), customer("other"));
    let id = |kind: u8, slot: i64, place: u8| RollupId { grain: 0, kind, slot, key: [place; 16] };
    let total =
        |kind, slot, place, body: &str| RollupRow { id: id(kind, slot, place), body: body.to_owned() };
    let at = |through, format| RollupCursor { through, format };
    let nothing = at(0, 0);
    let update = |of: &CustomerId, from, to, rows| RollupUpdate { customer: of.clone(), from, to, rows };
    let span = |kind: u8, slots: std::ops::Range<i64>| RollupSpan { grain: 0, kind, slots };
    let all = [span(0, i64::MIN..i64::MAX), span(1, i64::MIN..i64::MAX)];
    assert_eq!(store.rollups(&acme, &all).await, Ok((nothing, vec![])));

    let first = vec![total(0, -5, 2, "a"), total(0, 3, 1, "b"), total(0, 3, 2, "c"), total(1, 3, 1, "d")];
    let begun = vec![update(&acme, nothing, at(7, 1), first.clone())];
    assert_eq!(store.put_rollups(begun.clone()).await, Ok(Commit::Durable));
    assert_eq!(store.put_rollups(begun).await, Ok(Commit::Conflict), "the cursor has moved");
    assert_eq!(store.rollups(&acme, &all).await, Ok((at(7, 1), first.clone())));
    assert_eq!(store.rollups(&acme, &[span(0, 3..4)]).await, Ok((at(7, 1), first[1..3].to_vec())));
    assert_eq!(store.rollups(&acme, &[span(0, 4..9)]).await, Ok((at(7, 1), vec![])));
    assert_eq!(store.rollups(&acme, &[]).await, Ok((at(7, 1), vec![])));
    assert_eq!(store.rollups(&other, &all).await, Ok((nothing, vec![])));
    let asked = [id(0, 3, 2), id(0, 3, 9), id(1, 3, 1)];
    let expected = vec![first[2].clone(), first[3].clone()];
    assert_eq!(store.rollups_at(&acme, &asked).await, Ok((at(7, 1), expected)));

    // All customers of a call, or none.
    let new =
        |of: &CustomerId, from| update(of, from, at(9, 1), vec![total(0, 3, 2, "e"), total(0, 8, 1, "f")]);
    let half = vec![new(&other, nothing), new(&acme, at(6, 1))];
    assert_eq!(store.put_rollups(half).await, Ok(Commit::Conflict));
    assert_eq!(store.rollups(&other, &all).await, Ok((nothing, vec![])));
    let both = vec![new(&other, nothing), new(&acme, at(7, 1))];
    assert_eq!(store.put_rollups(both).await, Ok(Commit::Durable));
    let mut second = first.clone();
    second[2].body = "e".to_owned();
    second.insert(3, total(0, 8, 1, "f"));
    assert_eq!(store.rollups(&acme, &all).await, Ok((at(9, 1), second)));
    assert_eq!(store.rollups(&other, &all).await.unwrap().1.len(), 2);

    // Another format begins anew. A cursor may move alone.
    let again = vec![update(&acme, at(9, 1), at(2, 2), vec![total(1, 1, 1, "g")])];
    assert_eq!(store.put_rollups(again).await, Ok(Commit::Durable));
    assert_eq!(store.put_rollups(vec![update(&acme, at(2, 2), at(4, 2), vec![])]).await, Ok(Commit::Durable));
    opened.close().await;
    let opened = factory.open().await;
    let store = opened.rollup_store().unwrap();
    assert_eq!(store.rollups(&acme, &all).await, Ok((at(4, 2), vec![total(1, 1, 1, "g")])));
    assert_eq!(store.rollups(&other, &all).await.unwrap().1.len(), 2);
}
