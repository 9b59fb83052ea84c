//! The same random steps on both databases: every answer and everything that is stored in the end must be equal, and
//! equal to its copies.

use crate::{
    Factory, SqliteFile,
    model::{CLAIM, FORMAT, Model, OTHER_FORMAT, key, row, time},
    postgres::PostgresDatabase,
    random::{Step, batch, everyone, step},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use proviso_ledger::model::{
    ids::{Digest, Name},
    time::Timestamp,
};
use proviso_store::{
    ApiKeyRow, AuditQuery, AuditRow, Batch, CatalogChange, CatalogRows, Commit, Copied, PlanRow,
    PlanTermsRow, PolicyRow, PolicyVersionRow, Store, StoreError, StoredAnswer, copy,
};

const SEEDS: u8 = 16;

#[derive(Debug, Clone)]
enum Act {
    /// A step of a random walk, and how far its revision is off; None: without one.
    Journal(Step, Option<u64>),
    /// Changes, and the name of the answer that is stored with them.
    Catalog(Vec<CatalogChange>, Option<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let off = proptest::option::of(prop_oneof![8 => Just(0_u64), 1 => Just(1_u64)]);
    prop_oneof![
        6 => (step(), off).prop_map(|(step, off)| Act::Journal(step, off)),
        1 => (proptest::collection::vec(change(), 0..3), proptest::option::of(0..12_u8))
            .prop_map(|(changes, answer)| Act::Catalog(changes, answer)),
    ]
}

/// Of few names, so that changes find rows that exist.
fn change() -> impl Strategy<Value = CatalogChange> {
    (0..10_u8, 0..3_u8, 0..3_u8, any::<bool>(), any::<u16>()).prop_map(|(kind, name, number, flag, body)| {
        let (name, body): (Name, _) =
            (["a", "B", "c"][usize::from(name)].parse().unwrap(), format!("{{\"n\":{body}}}"));
        let module = [number];
        let terms = PlanTermsRow { plan: name.clone(), number: number.into(), body: body.clone() };
        let version = PolicyVersionRow {
            policy: name.clone(),
            version: number.into(),
            digest: Digest::of(&module),
            deleted: flag,
            body: body.clone(),
        };
        let secret_hash = Digest::of(&[number, flag.into()]).0;
        let api_key = ApiKeyRow { id: name.clone(), secret_hash, body: body.clone() };
        match kind {
            0 => CatalogChange::PutPlan(PlanRow { plan: name, body }),
            1 => CatalogChange::AddPlanTerms(terms),
            2 => CatalogChange::SetPlanTerms(terms),
            3 => CatalogChange::PutPolicy(PolicyRow { policy: name, body }),
            4 => CatalogChange::PutModule { digest: Digest::of(&module), bytes: module.to_vec() },
            5 => CatalogChange::AddPolicyVersion(version),
            6 => CatalogChange::SetPolicyVersion(version),
            7 => CatalogChange::AddApiKey(api_key),
            8 => CatalogChange::AddAudit(AuditRow {
                at: time(number.into()),
                actor: if flag { "key_1".to_owned() } else { String::new() },
                kind: format!("kind_{number}"),
                subject: format!("plan/{name}"),
                body,
            }),
            _ => CatalogChange::SetApiKey(api_key),
        }
    })
}

fn answer(name: u8) -> StoredAnswer {
    StoredAnswer {
        key_hash: key(&name.to_string()),
        request_hash: Digest::of(&[name]).0,
        at: time(name.into()),
        answer: format!("{{\"n\":{name}}}"),
    }
}

async fn walk(acts: &[Act]) -> Result<(), TestCaseError> {
    let (file, database) = (SqliteFile::with_small_limits(), PostgresDatabase::fresh());
    let mut stores = [file.open().await, database.open().await];
    let mut model = Model::default();
    for act in acts {
        match act {
            Act::Journal(step, off) => match batch(&model, step) {
                Some(mut batch) => {
                    // Nothing at all was decided with no revision.
                    let off = off.filter(|_| !batch.is_empty());
                    batch.revision = off.map(|off| model.revision + off);
                    let [one, other] =
                        [stores[0].commit(batch.clone()).await, stores[1].commit(batch.clone()).await];
                    prop_assert_eq!(&one, &other, "{:?}", batch);
                    prop_assert_eq!(one, Ok(model.commit(&batch)));
                }
                None if matches!(step, Step::Reopen) => {
                    stores[0].close().await;
                    stores[1].close().await;
                    stores = [file.open().await, database.open().await];
                }
                None => compare(&model, &*stores[0], &*stores[1]).await?,
            },
            Act::Catalog(changes, name) => {
                let name = name.map(answer);
                let one = stores[0].change_catalog(None, changes.clone(), name.clone()).await;
                let other = stores[1].change_catalog(None, changes.clone(), name).await;
                prop_assert_eq!(&one, &other, "{:?}", changes);
                model.revision += u64::from(one == Ok(Commit::Durable));
            }
        }
    }
    compare(&model, &*stores[0], &*stores[1]).await?;
    copy_there_and_back(&model, &*stores[0]).await
}

/// The same answers from two stores.
macro_rules! same {
    ($one:ident, $other:ident, $($question:tt)*) => {
        prop_assert_eq!($one.$($question)*.await.unwrap(), $other.$($question)*.await.unwrap())
    };
}

/// Asks both for everything. The model only knows what there is to ask for.
async fn compare(model: &Model, one: &dyn Store, other: &dyn Store) -> Result<(), TestCaseError> {
    compare_copy(model, one, other).await?;
    for name in &everyone() {
        for seq in 0..=model.head(name) + 1 {
            same!(one, other, snapshot_before(name, seq, FORMAT));
            same!(one, other, snapshot_before(name, seq, OTHER_FORMAT));
        }
    }
    for at in 0..10 {
        same!(one, other, due(Timestamp(at), 1000, CLAIM));
    }
    same!(one, other, catalog_revision());
    for number in 0..12 {
        same!(one, other, module(&Digest::of(&[number])));
    }
    Ok(())
}

/// Asks both for everything that a copy must have: that leaves out claims, the number of changes, snapshots that are older
/// or of another format, and modules that no version runs.
async fn compare_copy(model: &Model, one: &dyn Store, other: &dyn Store) -> Result<(), TestCaseError> {
    let everyone = everyone();
    for back in [u64::MAX, 3, 0] {
        let known = |name: &_| (Clone::clone(name), model.head(name).saturating_sub(back));
        let known: Vec<_> = everyone.iter().map(known).collect();
        same!(one, other, load(&known, FORMAT));
    }
    let keys: Vec<_> = (0..=u8::MAX).map(|number| key(&number.to_string())).collect();
    let keys: Vec<_> = everyone.iter().flat_map(|name| keys.iter().map(|key| (name.clone(), *key))).collect();
    same!(one, other, find_keys(&keys));
    for name in &everyone {
        same!(one, other, keys(name, None, 10_000));
        same!(one, other, keys(name, Some(key("7")), 3));
        same!(one, other, entries(name, 0, 10_000));
        same!(one, other, entries_before(name, None, 10_000));
        for seq in 0..=model.head(name) + 1 {
            same!(one, other, seq_at(name, Timestamp(time(seq).0 + 5)));
        }
    }
    same!(one, other, customers(None, 1000));
    let plan = "plan".parse().unwrap();
    same!(one, other, plan_customers(&plan));
    same!(one, other, customers_of_plan(&plan, 2, None, 1000));
    let [this, that] = [one.catalog(0).await.unwrap(), other.catalog(0).await.unwrap()];
    for version in &this.policy_versions {
        same!(one, other, module(&version.digest));
    }
    prop_assert_eq!(CatalogRows { revision: 0, ..this }, CatalogRows { revision: 0, ..that });
    same!(one, other, answers(None, 1000));
    same!(one, other, answers(Some(key("7")), 3));
    let all = AuditQuery::default();
    for query in [
        all.clone(),
        AuditQuery { oldest_first: true, after: 2, limit: 3, ..all.clone() },
        AuditQuery { actor: Some("key_1".to_owned()), before: 9, ..all.clone() },
        AuditQuery { kind: Some("kind_1".to_owned()), ..all.clone() },
        AuditQuery { from: time(1), to: time(2), ..all },
    ] {
        same!(one, other, audit(&query));
    }
    for number in 0..12 {
        same!(one, other, answer(key(&number.to_string())));
    }
    Ok(())
}

/// From a file to a server, some of whose old entries are archived, and back to a file.
async fn copy_there_and_back(model: &Model, one: &dyn Store) -> Result<(), TestCaseError> {
    let rows = everyone().iter().map(|name| row(name, Some(7))).collect();
    // Every customer with a journal has a row, as with an engine.
    prop_assert_eq!(one.commit(Batch { customers: rows, ..Batch::default() }).await, Ok(Commit::Durable));
    let (database, file) = (PostgresDatabase::fresh(), SqliteFile::with_small_limits());
    let (server, back) = (database.open().await, file.open().await);
    let copied = copy(one, &*server, FORMAT, |_| ()).await;
    let entries = everyone().iter().map(|name| model.head(name)).sum();
    prop_assert_eq!(&copied, &Ok(Copied { customers: everyone().len() as u64, entries }));
    compare_copy(model, one, &*server).await?;
    for name in everyone() {
        server.archive(&name, model.head(&name) / 2).await.unwrap();
    }
    prop_assert_eq!(copy(&*server, &*back, FORMAT, |_| ()).await, copied);
    compare_copy(model, one, &*back).await?;
    let refused = copy(one, &*back, FORMAT, |_| ()).await;
    prop_assert!(matches!(refused, Err(StoreError::NotEmpty { .. })), "{:?}", refused);
    Ok(())
}

#[test]
fn both_databases_answer_alike() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for seed in 0..SEEDS {
        let config =
            Config { cases: 1, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let acts = proptest::collection::vec(act(), 40..160);
        let walked = TestRunner::new_with_rng(config, rng).run(&acts, |acts| runtime.block_on(walk(&acts)));
        if let Err(error) = walked {
            panic!("seed {seed}: {error}");
        }
    }
}
