//! Random commits, valid and conflicting ones, with reopenings, compared with the model.

use crate::{
    Factory,
    model::{FORMAT, Model, OTHER_FORMAT, customer, entry, key, row, snapshot},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use proviso_ledger::model::{ids::CustomerId, time::Timestamp};
use proviso_store::{Batch, NewKey, NewSnapshot};

const SEEDS: u8 = 24;
const CUSTOMERS: usize = 5;

/// An entry for a customer, some steps away from the right number, under one of a few keys.
#[derive(Debug, Clone)]
pub struct Entry {
    customer: usize,
    off: i8,
    key: Option<u8>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Commit {
        /// Whether it asks for the keys first, as an engine does.
        asks: bool,
        entries: Vec<Entry>,
        /// Customer, key, how far below the head.
        keys: Vec<(usize, u8, u64)>,
        /// Customer, format, how far below the head.
        snapshots: Vec<(usize, u32, u64)>,
        /// Customer, how far below the head.
        unchanged: Vec<(usize, u64)>,
        customers: Vec<(usize, Option<i64>)>,
        due: Vec<(usize, Option<i64>)>,
    },
    Check,
    Reopen,
}

pub fn step() -> impl Strategy<Value = Step> {
    let who = 0..CUSTOMERS;
    // Mostly valid, or nothing would ever be written.
    let off = prop_oneof![30 => Just(0_i8), 1 => Just(1_i8), 1 => Just(-1_i8)];
    let key = prop_oneof![3 => Just(None), 5 => any::<u8>().prop_map(Some)];
    let entry = (who.clone(), off, key).prop_map(|(customer, off, key)| Entry { customer, off, key });
    let below = prop_oneof![20 => 0..4_u64, 1 => Just(1000_u64)];
    let due = proptest::option::of(0..9_i64);
    let commit = (
        any::<bool>(),
        proptest::collection::vec(entry, 0..6),
        proptest::collection::vec((who.clone(), any::<u8>(), below.clone()), 0..2),
        proptest::collection::vec((who.clone(), FORMAT..=OTHER_FORMAT, below), 0..2),
        proptest::collection::vec((who.clone(), prop_oneof![9 => Just(0_u64), 1 => Just(1_u64)]), 0..2),
        proptest::collection::vec((who.clone(), due.clone()), 0..2),
        proptest::collection::vec((who, due), 0..2),
    )
        .prop_map(|(asks, entries, keys, snapshots, unchanged, customers, due)| Step::Commit {
            asks,
            entries,
            keys,
            snapshots,
            unchanged,
            customers,
            due,
        });
    prop_oneof![16 => commit, 2 => Just(Step::Check), 1 => Just(Step::Reopen)]
}

fn name(index: usize) -> CustomerId {
    customer(["acme", "b", "b.c", "long-name-with-many-characters", "zoo"][index])
}

pub fn everyone() -> Vec<CustomerId> {
    (0..CUSTOMERS).map(name).collect()
}

/// The batch of a step, numbered from the ends of the model's journals; None when it commits nothing.
pub fn batch(model: &Model, step: &Step) -> Option<Batch> {
    let Step::Commit { entries, keys, snapshots, unchanged, customers, due, .. } = step else { return None };
    let mut heads: Vec<u64> = (0..CUSTOMERS).map(|index| model.head(&name(index))).collect();
    let mut batch = Batch::default();
    for Entry { customer, off, key: number } in entries {
        heads[*customer] += 1;
        let seq = heads[*customer].saturating_add_signed(i64::from(*off));
        batch.entries.push(entry(&name(*customer), seq, number.map(|number| key(&number.to_string()))));
    }
    for (who, number, below) in keys {
        let seq = heads[*who].saturating_sub(*below);
        batch.keys.push(NewKey { customer: name(*who), key_hash: key(&number.to_string()), seq });
    }
    for (who, below) in unchanged {
        // One with entries contradicts itself, and nothing else of the batch would ever be tried.
        if entries.iter().all(|entry| entry.customer != *who) {
            batch.unchanged.push((name(*who), heads[*who].saturating_sub(*below)));
        }
    }
    let state = |(who, format, below): &(usize, u32, u64)| {
        let snapshot = snapshot(&name(*who), heads[*who].saturating_sub(*below));
        NewSnapshot { format: *format, ..snapshot }
    };
    batch.snapshots = snapshots.iter().map(state).collect();
    batch.customers = customers.iter().map(|(who, due_at)| row(&name(*who), *due_at)).collect();
    batch.due = due.iter().map(|(who, due_at)| (name(*who), due_at.map(Timestamp))).collect();
    if batch.is_empty() {
        // Where nothing is written, nothing need hold.
        batch.unchanged.clear();
    }
    Some(batch)
}

async fn walk(factory: &dyn Factory, steps: &[Step]) -> Result<(), TestCaseError> {
    let everyone = everyone();
    let mut model = Model::default();
    let mut store = factory.open().await;
    for step in steps {
        match (batch(&model, step), step) {
            (Some(batch), step) => {
                if matches!(step, Step::Commit { asks: true, .. }) {
                    let own = batch
                        .entries
                        .iter()
                        .filter_map(|entry| Some((entry.customer.clone(), entry.key_hash?)));
                    let further = batch.keys.iter().map(|key| (key.customer.clone(), key.key_hash));
                    let keys: Vec<_> = own.chain(further).collect();
                    let expected: Vec<_> = keys.iter().map(|key| model.keys.get(key).copied()).collect();
                    prop_assert_eq!(store.find_keys(&keys).await, Ok(expected));
                }
                let expected = model.commit(&batch);
                prop_assert_eq!(store.commit(batch).await, Ok(expected));
            }
            (None, Step::Reopen) => {
                store.close().await;
                store = factory.open().await;
            }
            (None, _) => model.check(&*store, &everyone).await,
        }
    }
    model.check(&*store, &everyone).await;
    store.close().await;
    Ok(())
}

/// Walks through random steps. A failure names its seed and the shortest steps that fail.
pub fn matches_the_model<F: Factory>(make: impl Fn() -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for seed in 0..SEEDS {
        let config =
            Config { cases: 1, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let steps = proptest::collection::vec(step(), 20..120);
        let walked = TestRunner::new_with_rng(config, rng)
            .run(&steps, |steps| runtime.block_on(walk(&make(), &steps)));
        if let Err(error) = walked {
            panic!("seed {seed}: {error}");
        }
    }
}
