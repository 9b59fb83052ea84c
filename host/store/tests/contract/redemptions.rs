//! What every store promises of promotions' redemptions.

use crate::{
    Factory,
    model::{customer, time},
    suite::product,
};
use proviso_ledger::model::ids::Name;
use proviso_store::{CatalogChange, Claimed, Commit, ProductKind, RedemptionClaim, RedemptionRow};
use std::collections::{BTreeMap, BTreeSet};

/// However many ask at once, a promotion is redeemed no more often than its limit, and each customer has one number.
pub async fn redemptions_stay_within_their_limit(factory: &dyn Factory) {
    let opened = factory.open().await;
    for (name, body) in [("spring", "1"), ("other", "1"), ("spring", "2")] {
        let put = vec![CatalogChange::PutProduct(product(ProductKind::Promotion, name, body))];
        assert_eq!(opened.change_catalog(None, put, None).await, Ok(Commit::Durable));
    }
    let name = |name: &str| -> Name { name.parse().unwrap() };
    let claim = |promotion: &str, of: &str, most, revision| RedemptionClaim {
        promotion: name(promotion),
        customer: customer(of),
        at: time(7),
        most,
        revision,
    };
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..24 {
        // Each asks twice.
        let (store, claim) = (opened.clone(), claim("spring", &format!("c{}", client / 2), Some(5), 3));
        clients.spawn(async move {
            let claimed = store.redemption_store().unwrap().claim_redemption(claim.clone()).await.unwrap();
            (claim.customer, claimed)
        });
    }
    let (mut taken, mut exhausted) = (BTreeMap::new(), BTreeSet::new());
    while let Some(done) = clients.join_next().await {
        match done.unwrap() {
            (of, Claimed::Taken(number)) => assert_eq!(*taken.entry(of).or_insert(number), number),
            (of, Claimed::Exhausted) => drop(exhausted.insert(of)),
            (_, Claimed::Changed) => panic!("nothing was changed"),
        }
    }
    let numbers: BTreeSet<u64> = taken.values().copied().collect();
    assert_eq!((numbers, exhausted.len()), ((1..=5).collect(), 7));
    let store = opened.redemption_store().unwrap();
    let rows = store.redemptions(&name("spring"), 0, 10).await.unwrap();
    let by_customer: BTreeMap<_, _> = rows.iter().map(|row| (row.customer.clone(), row.number)).collect();
    assert_eq!(by_customer, taken);
    assert_eq!(store.redemptions(&name("spring"), 2, 2).await.unwrap(), rows[2..4]);
    assert_eq!(store.redemption_count(&name("spring")).await, Ok(5));
    assert_eq!(store.redemption_count(&name("other")).await, Ok(0));
    // Who has one keeps it, whatever is asked with; others must know the promotion as it is.
    let first = &rows[0].customer;
    assert_eq!(store.redemption_of(&name("spring"), first).await, Ok(Some(1)));
    assert_eq!(store.redemption_of(&name("other"), first).await, Ok(None));
    let ask = |claim| store.claim_redemption(claim);
    assert_eq!(ask(claim("spring", first.as_str(), Some(0), 1)).await, Ok(Claimed::Taken(1)));
    for revision in [1, 4] {
        assert_eq!(ask(claim("spring", "new", None, revision)).await, Ok(Claimed::Changed));
    }
    assert_eq!(ask(claim("unknown", "new", None, 3)).await, Ok(Claimed::Changed));
    assert_eq!(ask(claim("spring", "new", Some(5), 3)).await, Ok(Claimed::Exhausted));
    assert_eq!(ask(claim("spring", "new", None, 3)).await, Ok(Claimed::Taken(6)));
    assert_eq!(ask(claim("other", "new", Some(1), 2)).await, Ok(Claimed::Taken(1)));
    // As a copy adds them.
    let again = store.add_redemptions(&name("spring"), vec![rows[1].clone()]).await;
    assert_eq!(again, Ok(Commit::Conflict));
    let moved = RedemptionRow { number: 7, customer: customer("moved"), at: time(9) };
    assert_eq!(store.add_redemptions(&name("spring"), vec![moved.clone()]).await, Ok(Commit::Durable));
    assert_eq!(store.redemptions(&name("spring"), 6, 10).await, Ok(vec![moved]));
}
