//! Pages of entitlements: only what is asked for is evaluated, and costly policies make them shorter, never wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proviso_decide::command::{Change, Command, CustomerChange};
use proviso_ledger::{
    model::{entitlement::Entitlement, ids::Key},
    state::Origin,
};
use support::{World, catalog::draft, policy::FUEL};

/// A customer on a plan of ten metered features that nothing but a policy decides about, and one that is switched off.
fn world() -> World {
    let mut world = World::new("acme", "2026-01-15T10:00:00Z".parse().unwrap());
    let (plan, now) = ("pro".parse().unwrap(), world.now);
    let entitlements = &mut world.catalog.put(&plan, None, now).entitlements;
    for number in 0..10 {
        entitlements.insert(format!("metered{number}").parse().unwrap(), Entitlement::Metered {});
    }
    entitlements.insert("export".parse().unwrap(), Entitlement::Boolean { value: false });
    world.catalog.bind(&plan, draft(r#"{"overage": {"allow": "5"}}"#), now);
    let change = CustomerChange { plan: Change::Set(plan), ..CustomerChange::default() };
    world.decide(Command::Configure(Box::new(change)), Origin::default()).unwrap();
    world
}

/// Each row: items that are asked for, fuel that a page may burn, and the sizes of the pages. Each metered feature asks the
/// policy twice, for its price and for what lacks.
#[test]
fn pages_end_by_number_and_by_fuel() {
    let world = world();
    for (limit, most_fuel, sizes) in [
        (1_000, u64::MAX, vec![11]),
        (11, u64::MAX, vec![11]),
        (10, u64::MAX, vec![10, 1]),
        (4, u64::MAX, vec![4, 4, 3]),
        // The one that is switched off comes first and costs nothing.
        (1_000, 2 * FUEL, vec![2, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (1_000, 6 * FUEL, vec![4, 3, 3, 1]),
        (2, 6 * FUEL, vec![2, 2, 2, 2, 2, 1]),
        // However costly, a page has something.
        (1_000, 1, vec![2, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ] {
        let (mut found, mut after, mut seen): (_, Option<Key>, _) = (Vec::new(), None, Vec::new());
        loop {
            let page = |decider: &proviso_decide::Decider<'_>| {
                decider.access_page(&world.state, after.as_ref(), limit, most_fuel).unwrap()
            };
            let (page, has_more) = world.with_decider(page);
            seen.push(page.len());
            after = page.last().map(|last| last.feature.clone());
            found.extend(page);
            if !has_more {
                break;
            }
        }
        assert_eq!(seen, sizes, "{limit} items, {most_fuel} fuel");
        let burnt: u64 = found.iter().map(|access| access.fuel).sum();
        assert_eq!((found.len(), burnt), (11, 20 * FUEL));
        let open = found.iter().filter(|access| access.has_access && access.reason == "ok");
        assert_eq!(open.count(), 10);
    }
}
