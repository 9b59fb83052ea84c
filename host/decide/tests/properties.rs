//! What holds whatever commands, clocks and policies come. After each request the support module folds the new entries again and
//! compares; here credits are followed from where they were issued. A failure prints the smallest case and keeps its seed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod issued;
mod random;
mod support;

use issued::Issued;
use proptest::{collection::vec, prelude::*, test_runner::FileFailurePersistence};
use proviso_decide::catalog::Plans;
use proviso_ledger::{
    journal::{Entry, Event},
    model::{answers::Allowance, terms::Owner},
};
use proviso_reference::run::number;
use random::{Op, Player, ops, plan};
use support::{World, catalog::draft};

/// So many cases, or as many as `PROPERTY_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let cases = number("PROPERTY_CASES").map_or(cases, |more| more.try_into().unwrap());
    let seeds = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(160))]

    /// No command of any client and no answer of any policy is a defect, and the journal says all there is to know.
    #[test]
    fn any_policy_and_any_command_leave_a_journal_that_folds(
        plans in vec(plan(true), 4), ops in vec(ops(true), 1..60),
    ) {
        let mut player = Player::new(&plans);
        for op in &ops {
            player.run(op);
        }
        // All holds end in time, and then counters hold nothing.
        player.run(&Op::Close);
        player.run(&Op::Wait(20 * 365 * 86_400));
        player.run(&Op::Read);
        prop_assert!(player.world.state.reservations.is_empty());
    }

    /// Credits come from grants, from top-ups, and from allowances: at most one cycle's largest in a cycle, and its share for the time
    /// by which a boundary made that longer. Late usage draws no more, either.
    #[test]
    fn a_cycle_gives_no_more_than_its_largest_allowance(
        plans in vec(plan(false), 4), ops in vec(ops(false), 1..80),
    ) {
        let mut player = Player::new(&plans);
        let mut issued = Issued::default();
        for op in &ops {
            let before = player.world.entries.len();
            player.run(op);
            for written in &player.world.entries[before..] {
                issued.take(&written.entry, gives_in_proportion(&player.world, &written.entry));
            }
        }
    }
}

/// Whether an entry begins a period with allowances in proportion, as the change of plan or the terms ask.
fn gives_in_proportion(world: &World, entry: &Entry) -> bool {
    let Event::PeriodOpened(opened) = &entry.event else { return false };
    let of_policy = opened.decision.as_ref().is_some_and(|decision| {
        let terms = match &decision.terms.owner {
            Owner::Plan(plan) => world.catalog.terms_of(plan),
            Owner::Customer => &world.state.terms,
        };
        let found = terms.iter().find(|terms| terms.key == decision.terms);
        // Terms that are over may be forgotten.
        found.is_none_or(|terms| terms.settings.as_str().contains("prorate"))
    });
    opened.allowance == Allowance::Prorate || of_policy
}

/// One case, written out, that the properties can be tried on by hand.
#[test]
fn a_random_player_does_something() {
    let settings = r#"{"allowances": [{"amount": "100"}], "overage": {"allow": "50"}}"#.to_owned();
    draft(&settings);
    let plans = vec![(settings, r#"{"grants": [{"key": "k", "amount": "5"}]}"#.to_owned()); 4];
    let mut player = Player::new(&plans);
    player.run(&Op::Charge { n: 30, image: false, entity: false, age: 0 });
    player.run(&Op::Wait(40 * 86_400));
    player.run(&Op::Read);
    assert!(player.world.state.periods > 1 && player.world.entries.len() > 4);
}
