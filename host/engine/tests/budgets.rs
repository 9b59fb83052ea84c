//! Many clients at once under a tree of budgets six levels deep: no hard one is ever passed, and nothing is counted twice or lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Change, Expected,
    command::{ActualUsage, BudgetChange, Command, EntityChange, UsageRequest},
};
use proviso_fixtures::host::{Host, key, usage};
use proviso_ledger::{
    journal::Event,
    model::{
        amounts::{Decimal, Quantity},
        counter::Window,
        ids::ReservationId,
    },
    state::CustomerState,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;

/// From the root down.
const LEVELS: [&str; 6] = ["company", "division", "department", "team", "user", "key"];

fn entity(id: &str, parent: Option<&str>) -> Command {
    Command::SetEntity(Box::new(EntityChange {
        id: key(id),
        parent: parent.map_or(Change::Clear, |parent| Change::Set(key(parent))),
        attributes: Change::Keep,
        expected: Expected::Anything,
    }))
}

fn budget(id: &str, of: &str, limit: &str) -> Command {
    Command::SetBudget(Box::new(BudgetChange {
        id: key(id),
        entity: Change::Set(key(of)),
        attribute: Change::Keep,
        features: Change::Keep,
        window: Some(Window::Month),
        limit: Some(limit.parse().unwrap()),
        quantity: Change::Keep,
        credit: Change::Keep,
        hard: Change::Keep,
        warn_at: Change::Keep,
        expected: Expected::Anything,
    }))
}

fn by(entity: &str, tokens: i64) -> Box<UsageRequest> {
    Box::new(UsageRequest { entity: Some(key(entity)), ..*usage(tokens) })
}

/// What a budget has used and held this month.
fn counted(state: &CustomerState, id: &str) -> (Decimal, Decimal) {
    let total = state.budgets.get(&key(id)).unwrap();
    let total = total.total(state.budget_window(&total.budget, state.at));
    (total.used, total.held)
}

async fn with_tree() -> Arc<Host> {
    let host = Host::start().await.with_plan().await;
    host.customer("acme", Some("pro")).await;
    for (place, level) in LEVELS.iter().enumerate() {
        let parent = place.checked_sub(1).map(|above| LEVELS[above]);
        host.execute("acme", entity(level, parent), None).await.unwrap();
    }
    // Wider above: the key's own budget is the first to fill up.
    for (level, limit) in LEVELS.iter().zip(["15", "14", "13", "12", "11", "10"]) {
        host.execute("acme", budget(level, level, limit), None).await.unwrap();
    }
    Arc::new(host)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_race_passes_a_hard_budget() {
    let host = with_tree().await;
    let mut clients = JoinSet::new();
    for client in 0..120_usize {
        let host = host.clone();
        clients.spawn(async move {
            // Of every level, so that budgets fill up from below and from above.
            let who = LEVELS[client % LEVELS.len()];
            for turn in 0..3 {
                let name = format!("{client}-{turn}");
                if client % 4 == 0 {
                    let hold = Command::Reserve(by(who, 400), proviso_engine::command::Ttl::DEFAULT);
                    let made = host.entry("acme", hold, Some(&name)).await.unwrap();
                    if !matches!(made.entry.event, Event::Reserved(_)) {
                        continue;
                    }
                    let id = ReservationId { entry: made.entry.seq, index: 0 };
                    let quantities = vec![("input_tokens".to_owned(), Quantity::from_whole(300))];
                    let end = match client % 3 {
                        0 => Command::Release(id),
                        _ => Command::Commit(id, Box::new(ActualUsage { quantities, attributes: None })),
                    };
                    host.entry("acme", end, Some(&format!("{name}-end"))).await.unwrap();
                } else {
                    host.entry("acme", Command::Charge(by(who, 100)), Some(&name)).await.unwrap();
                }
            }
        });
    }
    clients.join_all().await;
    let state = host.state("acme").await;
    assert!(state.reservations.is_empty());
    for (level, limit) in LEVELS.iter().zip([15, 14, 13, 12, 11, 10]) {
        let (used, held) = counted(&state, level);
        assert!(used <= Decimal::from_whole(limit) && held.is_zero(), "{level}: {used} + {held} of {limit}");
    }
    // The race was one: the tree is full, so that not the least charge passes.
    let (root, _) = counted(&state, "company");
    assert!(root > "14.9".parse().unwrap(), "{root}");
    // What the journal says was used is what each level counted, and no entry left a level above its limit.
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    let mut refused = 0;
    for (entry, _) in host.journal("acme").await {
        refused += usize::from(matches!(&entry.event, Event::Refused(one) if one.code == "budget_exceeded"));
        let Some((usage, rated)) = entry.charged_usage() else { continue };
        for level in LEVELS {
            if usage.entities().any(|one| one.as_str() == level) {
                let sum = sums.entry(level).or_default();
                *sum = sum.saturating_add(rated.cost.decimal());
            }
        }
    }
    assert!(refused > 0);
    for level in LEVELS {
        assert_eq!(sums.get(level).copied().unwrap_or_default(), counted(&state, level).0, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_within_the_tree_lose_nothing() {
    let host = with_tree().await;
    for command in [entity("other", Some("company")), budget("other", "other", "5")] {
        host.execute("acme", command, None).await.unwrap();
    }
    let mut clients = JoinSet::new();
    for client in 0..40 {
        let host = host.clone();
        clients.spawn(async move {
            if client % 10 == 0 {
                let to = if client % 20 == 0 { "other" } else { "user" };
                host.execute("acme", entity("key", Some(to)), None).await.unwrap();
            }
            let hold = Command::Reserve(by("key", 200), proviso_engine::command::Ttl::DEFAULT);
            let made = host.entry("acme", hold, Some(&format!("{client}"))).await.unwrap();
            if matches!(made.entry.event, Event::Reserved(_)) {
                let id = ReservationId { entry: made.entry.seq, index: 0 };
                let quantities = vec![("input_tokens".to_owned(), Quantity::from_whole(150))];
                let commit = Command::Commit(id, Box::new(ActualUsage { quantities, attributes: None }));
                host.entry("acme", commit, Some(&format!("{client}-end"))).await.unwrap();
            }
        });
    }
    clients.join_all().await;
    let state = host.state("acme").await;
    // The two branches meet in the company.
    let [company, division, other, own] =
        ["company", "division", "other", "key"].map(|level| counted(&state, level).0);
    assert_eq!(company, division.saturating_add(other));
    assert_eq!(company, own);
    assert!(["company", "division", "other", "key"].iter().all(|level| counted(&state, level).1.is_zero()));
    // Another host folds the same.
    let host = Arc::into_inner(host).unwrap().restart().await;
    let folded = host.state("acme").await;
    assert_eq!((&folded.budgets, &folded.entities), (&state.budgets, &state.entities));
}
