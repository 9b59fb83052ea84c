//! What holds of every journal, whatever commands, clocks and policies come: random sequences, hostile answers included.
//! A failure prints the smallest case found and keeps its seed beside this file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod sim;
mod support;

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::FileFailurePersistence};
use proviso_ledger::{
    journal::{ChainHash, Entry, Event},
    state::CustomerState,
};
use sim::{Op, Sim, ops, plans};
use std::collections::BTreeMap;
use support::customer;

fn config(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

/// Folds stored entries, as text and hash, with all checks.
fn fold(mut state: CustomerState, entries: &[(u64, String, ChainHash)]) -> Result<CustomerState, String> {
    for (seq, body, hash) in entries {
        state.fold_verified(*seq, body, hash).map_err(|error| error.to_string())?;
    }
    Ok(state)
}

fn stored(sim: &Sim) -> Vec<(u64, String, ChainHash)> {
    sim.sealed.iter().map(|sealed| (sealed.entry.seq, sealed.body.clone(), sealed.hash)).collect()
}

proptest! {
    #![proptest_config(config(256))]

    /// `Sim` itself checks after each entry that the books balance, that none is below zero, that overage stays within
    /// what was allowed, that draws follow the order, and that time never goes back.
    #[test]
    fn state_is_a_fold_over_the_journal(ops in vec(ops(), 1..40), plans in plans(), cut in any::<Index>()) {
        let mut sim = Sim::new(plans);
        let cut = cut.index(ops.len());
        let mut snapshot = (0, String::new());
        for (n, op) in ops.iter().enumerate() {
            if n == cut {
                snapshot = (sim.sealed.len(), serde_json::to_string(&sim.state).unwrap());
            }
            sim.run(op);
        }
        let entries = stored(&sim);
        prop_assert_eq!(&fold(customer(), &entries).unwrap(), &sim.state);
        // A snapshot in the middle and the tail behind it give the same.
        let (place, text) = snapshot;
        let restored: CustomerState = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&fold(restored, &entries[place..]).unwrap(), &sim.state);
        for sealed in &sim.sealed {
            prop_assert_eq!(&Entry::parse(&sealed.body).unwrap(), &sealed.entry);
        }
    }

    #[test]
    fn each_reservation_ends_exactly_once(ops in vec(ops(), 1..40), plans in plans()) {
        let mut sim = Sim::new(plans);
        ops.iter().for_each(|op| sim.run(op));
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        // Only time itself, not years of periods.
        sim.run(&Op::Close);
        sim.pass(20 * 365 * 86_400);
        sim.catch_up();
        prop_assert!(sim.state.reservations.is_empty());
        for sealed in &sim.sealed {
            let ended = match &sealed.entry.event {
                Event::Reserved(_) => {
                    ends.insert(format!("res_{}", sealed.entry.seq), 0);
                    continue;
                }
                Event::Committed(committed) => committed.reservation,
                Event::Released { reservation } | Event::ReservationExpired { reservation } => *reservation,
                _ => continue,
            };
            *ends.get_mut(&ended.to_string()).unwrap() += 1;
        }
        prop_assert!(ends.values().all(|times| *times == 1), "{ends:?}");
    }

    #[test]
    fn what_is_due_late_and_in_one_go_is_what_is_due_on_time(
        ops in vec(ops(), 1..40), plans in plans(), steps in 2_i64..9,
    ) {
        let (mut late, mut on_time) = (Sim::new(plans.clone()), Sim::new(plans));
        for op in &ops {
            late.run(op);
            if let Op::Wait(seconds) = op {
                (0..steps).for_each(|_| {
                    on_time.pass(seconds / steps);
                    on_time.catch_up();
                });
                on_time.pass(seconds - seconds / steps * steps);
            } else {
                on_time.run(op);
            }
        }
        late.catch_up();
        on_time.catch_up();
        prop_assert_eq!(stored(&late), stored(&on_time));
    }

    #[test]
    fn tampering_is_found(
        ops in vec(ops(), 4..20), plans in plans(), entry in any::<Index>(), byte in any::<Index>(),
        new in 0x20_u8..0x7f, kind in 0..5,
    ) {
        let mut sim = Sim::new(plans);
        ops.iter().for_each(|op| sim.run(op));
        let mut entries = stored(&sim);
        let last = entries.len() - 1;
        let place = entry.index(entries.len());
        match kind {
            0 => {
                let mut bytes = entries[place].1.clone().into_bytes();
                let at = byte.index(bytes.len());
                prop_assume!(bytes[at] != new && bytes[at].is_ascii());
                bytes[at] = new;
                prop_assume!(std::str::from_utf8(&bytes).is_ok());
                entries[place].1 = String::from_utf8(bytes).unwrap();
            }
            1 => entries[place].2[byte.index(32)] ^= 1,
            2 => {
                prop_assume!(place < last);
                entries.swap(place, place + 1);
            }
            3 => {
                prop_assume!(place < last);
                entries.remove(place);
            }
            _ => {
                let twice = entries[place].clone();
                entries.insert(place, twice);
            }
        }
        prop_assert!(fold(customer(), &entries).is_err());
        // Nor does a journal fit another customer.
        let other = CustomerState::new(support::key("other"));
        prop_assert!(fold(other, &stored(&sim)).is_err());
    }
}
