//! Entitlements say what a check of the smallest usage says. Of their pages only what is asked for is evaluated, and costly policies
//! make them shorter, never wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proptest::{collection::vec, option, prelude::*, test_runner::FileFailurePersistence};
use proviso_decide::{
    command::{BudgetChange, Change, Command, CustomerChange, Reply, Ttl, UsageRequest},
    precondition::Expected,
};
use proviso_ledger::{
    model::{
        amounts::{Credits, Decimal, Quantity},
        counter::Window,
        entitlement::Entitlement,
        grant::Category,
        ids::Key,
        time::Timestamp,
        view::Expiry,
    },
    rules::grants::GrantRequest,
    state::Origin,
};
use support::{World, catalog::draft, key, policy::FUEL, script::check};

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

#[test]
fn included_units_open_a_feature_without_any_credits() {
    check(
        r#"plan pro month metered=chat {"included": "10", "counters": [{"measure": "n", "window": "cycle"}]}
         customer plan=pro
         access chat -> true ok in credits
         check 10 -> true ok cost=0 available=0
         charge 9
         access chat -> true ok in credits
         r: reserve 1
         access chat -> false insufficient_credits in credits
         check 1 -> false insufficient_credits cost=1 available=0
         release r
         access chat -> true ok in credits
         charge 1
         access chat -> false insufficient_credits in credits
         at +31d
         access chat -> true ok in credits"#,
    );
}

#[test]
fn a_used_up_budget_of_a_quantity_closes_a_feature() {
    check(
        r#"plan pro month metered=chat,image {}
         customer plan=pro
         grant 100
         budget all window=day limit=10 quantity=n
         budget other window=day limit=0 quantity=n scope=image
         access chat -> true ok in credits
         access image -> false budget_exceeded in credits
         charge 10
         access chat -> false budget_exceeded in credits
         check 1 -> false budget_exceeded cost=1 available=90
         at +1d
         access chat -> true ok in credits"#,
    );
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Charge(i64, bool),
    Reserve(i64),
    Grant(i64, bool),
    Budget { id: usize, quantity: bool, image: bool, limit: i64, hard: bool, window: usize },
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let budget = (0_usize..3, any::<bool>(), any::<bool>(), 0_i64..60, prop::bool::weighted(0.8), 0_usize..4);
    prop_oneof![
        3 => (0_i64..2_000_000).prop_map(Step::Wait),
        6 => (0_i64..30, any::<bool>()).prop_map(|(n, image)| Step::Charge(n, image)),
        3 => (0_i64..30).prop_map(Step::Reserve),
        2 => (1_i64..40, any::<bool>()).prop_map(|(amount, image)| Step::Grant(amount, image)),
        3 => budget.prop_map(|(id, quantity, image, limit, hard, window)| {
            Step::Budget { id, quantity, image, limit, hard, window }
        }),
        1 => prop::bool::weighted(0.05).prop_map(|closes| if closes { Step::Close } else { Step::Wait(1) }),
    ]
}

/// Settings with and without prices, units that are included, caps and overage; without counters, too.
fn settings() -> impl Strategy<Value = String> {
    let window = prop_oneof![Just("day"), Just("period"), Just("cycle"), Just("month")];
    let counter = (window, option::weighted(0.4, 0_i64..80), option::weighted(0.6, 0_i64..40));
    let overage = prop_oneof![
        4 => Just("\"deny\"".to_owned()),
        2 => (0_i64..30).prop_map(|limit| format!(r#"{{"allow": "{limit}"}}"#)),
        1 => (1_i64..40).prop_map(|pack| format!(r#"{{"top_up": "{pack}"}}"#)),
        1 => Just("\"purchase\"".to_owned()),
        1 => (0_i64..20).prop_map(|n| format!(r#"{{"reduce": "{n}"}}"#)),
    ];
    let credits = prop_oneof![Just("[]"), Just(r#"[["image", "gpu"]]"#)];
    let faults = prop_oneof![9 => Just("[]"), 1 => Just(r#"["rate"]"#), 1 => Just(r#"["overage"]"#)];
    (1_i64..4, option::weighted(0.8, counter), overage, credits, option::weighted(0.5, 1_i64..60), faults).prop_map(
        |(price, counter, overage, credits, allowance, faults)| {
            let text = |amount: Option<i64>| amount.map_or("null".to_owned(), |amount| format!("\"{amount}\""));
            let (counters, included) = counter.map_or(("[]".to_owned(), "null".to_owned()), |(window, cap, included)| {
                let cap = text(cap);
                (format!(r#"[{{"window": "{window}", "measure": "n", "cap": {cap}}}]"#), text(included))
            });
            let allowance = allowance.map(|amount| format!(r#"{{"amount": "{amount}"}}"#)).unwrap_or_default();
            format!(
                r#"{{"price": "{price}", "included": {included}, "counters": {counters}, "overage": {overage}, "credits": {credits}, "allowances": [{allowance}], "faults": {faults}}}"#
            )
        },
    )
}

/// As little of it as can be.
fn smallest(feature: &str) -> Box<UsageRequest> {
    uses(feature, Quantity::new(Decimal::from_units(1)))
}

fn uses(feature: &str, n: Quantity) -> Box<UsageRequest> {
    Box::new(UsageRequest {
        feature: key(feature),
        quantities: vec![("n".to_owned(), n)],
        attributes: Vec::new(),
        entity: None,
        occurred_at: None,
    })
}

fn play(world: &mut World, step: &Step) {
    let command = match step {
        Step::Wait(seconds) => {
            world.now = world.now.plus_micros(seconds * Timestamp::SECOND);
            return;
        }
        Step::Charge(n, image) => {
            let feature = if *image { "image" } else { "chat" };
            Command::Charge(uses(feature, Quantity::from_whole(*n)))
        }
        Step::Reserve(n) => {
            Command::Reserve(uses("chat", Quantity::from_whole(*n)), Ttl::new(86_400).unwrap())
        }
        Step::Grant(amount, image) => Command::Grant(Box::new(GrantRequest {
            credit: key(if *image { "gpu" } else { "credits" }),
            amount: Credits::from_whole(*amount),
            category: Category::Prepaid,
            priority: 0,
            effective_at: None,
            expires: Expiry::default(),
            features: Vec::new(),
            cost_basis: None,
            metadata: Vec::new(),
        })),
        Step::Budget { id, quantity, image, limit, hard, window } => {
            let window = [Window::Day, Window::Month, Window::Cycle, Window::Hours(5)][*window];
            Command::SetBudget(Box::new(BudgetChange {
                id: key(["a", "b", "c"][*id]),
                entity: Change::Keep,
                attribute: Change::Keep,
                features: if *image { Change::Set(vec![key("image")]) } else { Change::Clear },
                window: Some(window),
                limit: Some(Decimal::from_whole(*limit)),
                quantity: if *quantity { Change::Set("n".to_owned()) } else { Change::Clear },
                credit: Change::Keep,
                hard: Change::Set(*hard),
                warn_at: Change::Keep,
                expected: Expected::Anything,
            }))
        }
        Step::Close => Command::Close(Expected::Anything),
    };
    // Refused or not: what comes of it is a state.
    let _ = world.decide(command, Origin::default());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))),
        ..ProptestConfig::default()
    })]

    /// An entitlement says what a check of the smallest usage says, and why: over credits, units that are included, caps, and budgets
    /// of credits and of quantities.
    #[test]
    fn entitlements_and_checks_agree(
        settings in settings(), plan_settings in settings(), falls_back in any::<bool>(), steps in vec(step(), 1..40),
    ) {
        let mut world = World::new("acme", "2026-01-15T10:00:00Z".parse().unwrap());
        let (plan, now) = ("pro".parse().unwrap(), world.now);
        let interval = Some(proviso_ledger::model::period::Interval::new(
            proviso_ledger::model::period::IntervalUnit::Month, 1,
        ).unwrap());
        let entitlements = &mut world.catalog.put(&plan, interval, now).entitlements;
        for feature in ["chat", "image"] {
            entitlements.insert(key(feature), Entitlement::Metered {});
        }
        world.catalog.bind(&plan, draft(&plan_settings), now);
        let change = CustomerChange { plan: Change::Set(plan), ..CustomerChange::default() };
        world.decide(Command::Configure(Box::new(change)), Origin::default()).unwrap();
        if falls_back {
            let mut own = draft(&settings);
            own.on_fault = proviso_ledger::model::terms::OnFault::Plan;
            world.decide(Command::BindTerms(Box::new(own)), Origin::default()).unwrap();
        }
        for one in &steps {
            play(&mut world, one);
            for feature in ["chat", "image"] {
                let (allowed, reason) = match world.decide(Command::Check(smallest(feature)), Origin::default()) {
                    Ok(Reply::Check(outcome)) => (outcome.allowed, outcome.reason.clone()),
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => (false, "closed".to_owned()),
                };
                let access = world.with_decider(|decider| decider.access(&world.state, &key(feature)).unwrap());
                prop_assert_eq!(
                    (access.has_access, access.reason.as_str()), (allowed, reason.as_str()), "{} after {:?}", feature, one
                );
            }
        }
    }
}
