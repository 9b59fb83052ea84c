//! The same random steps on both databases: every answer and everything that is stored in the end must be equal.

use crate::{
    Factory, SqliteFile,
    model::{CLAIM, Model, customer, key, time},
    postgres::PostgresDatabase,
    random::{Step, batch, everyone, step},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use proviso_ledger::{ids::Digest, time::Timestamp};
use proviso_store::{
    ApiKeyRow, Commit, PlanRow, PlanTermsRow, PolicyRow, PolicyVersionRow, ReferenceChange, Store,
    StoredRequest,
};

const SEEDS: u8 = 16;

#[derive(Debug, Clone)]
enum Act {
    /// A step of the walks, with how far its revision is off; none: without one.
    Journal(Step, Option<u64>),
    /// Changes, and the name of the request that asked for them.
    Reference(Vec<ReferenceChange>, Option<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let off = proptest::option::of(prop_oneof![8 => Just(0_u64), 1 => Just(1_u64)]);
    prop_oneof![
        6 => (step(), off).prop_map(|(step, off)| Act::Journal(step, off)),
        1 => (proptest::collection::vec(change(), 0..3), proptest::option::of(0..12_u8))
            .prop_map(|(changes, request)| Act::Reference(changes, request)),
    ]
}

/// Few names, so that changes meet rows that exist.
fn change() -> impl Strategy<Value = ReferenceChange> {
    (0..9_u8, 0..3_u8, 0..3_u8, any::<bool>(), any::<u16>()).prop_map(|(kind, name, number, flag, body)| {
        let (name, body) = (customer(["a", "B", "c"][usize::from(name)]), format!("{{\"n\":{body}}}"));
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
            0 => ReferenceChange::PutPlan(PlanRow { plan: name, body }),
            1 => ReferenceChange::AddPlanTerms(terms),
            2 => ReferenceChange::SetPlanTerms(terms),
            3 => ReferenceChange::PutPolicy(PolicyRow { policy: name, body }),
            4 => ReferenceChange::PutModule { digest: Digest::of(&module), bytes: module.to_vec() },
            5 => ReferenceChange::AddPolicyVersion(version),
            6 => ReferenceChange::SetPolicyVersion(version),
            7 => ReferenceChange::AddApiKey(api_key),
            _ => ReferenceChange::SetApiKey(api_key),
        }
    })
}

fn request(name: u8) -> StoredRequest {
    StoredRequest {
        key_hash: key(&name.to_string()),
        request_hash: Digest::of(&[name]).0,
        at: time(name.into()),
        status: 200 + u16::from(name),
        body: "{}".to_owned(),
    }
}

async fn walk(acts: &[Act]) -> Result<(), TestCaseError> {
    let (file, database) = (SqliteFile::restless(), PostgresDatabase::fresh());
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
            Act::Reference(changes, name) => {
                let name = name.map(request);
                let one = stores[0].change_reference(changes.clone(), name.clone()).await;
                let other = stores[1].change_reference(changes.clone(), name).await;
                prop_assert_eq!(&one, &other, "{:?}", changes);
                model.revision += u64::from(one == Ok(Commit::Durable));
            }
        }
    }
    compare(&model, &*stores[0], &*stores[1]).await
}

/// Asks both for everything. The model only knows what there is to ask for.
async fn compare(model: &Model, one: &dyn Store, other: &dyn Store) -> Result<(), TestCaseError> {
    macro_rules! same {
        ($($question:tt)*) => {
            prop_assert_eq!(one.$($question)*.await.unwrap(), other.$($question)*.await.unwrap())
        };
    }
    let everyone = everyone();
    for back in [u64::MAX, 3, 0] {
        let known = |name: &_| (Clone::clone(name), model.head(name).saturating_sub(back));
        let known: Vec<_> = everyone.iter().map(known).collect();
        same!(load(&known));
    }
    let keys: Vec<_> = (0..=u8::MAX).map(|number| key(&number.to_string())).collect();
    let keys: Vec<_> = everyone.iter().flat_map(|name| keys.iter().map(|key| (name.clone(), *key))).collect();
    same!(find_keys(&keys));
    for name in &everyone {
        same!(entries(name, 0, 10_000));
        same!(entries_before(name, None, 10_000));
        same!(customer(name));
        for seq in 0..=model.head(name) + 1 {
            same!(snapshot_before(name, seq));
            same!(seq_at(name, Timestamp(time(seq).0 + 5)));
        }
    }
    same!(customers(None, 1000));
    for at in 0..10 {
        same!(due(Timestamp(at), 1000, CLAIM));
    }
    same!(reference());
    same!(reference_revision());
    for number in 0..12 {
        same!(module(&Digest::of(&[number])));
        same!(request(key(&number.to_string())));
    }
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
