//! Refusals that come again are counted and not recorded each: whatever else happens between them, every answer and every book is
//! the same as if each had been recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proptest::{collection::vec, prelude::*, test_runner::FileFailurePersistence};
use proviso_decide::{
    Journal, Stop,
    command::{Command, Reply, Request, Ttl, UsageRequest},
};
use proviso_ledger::{
    journal::{Entry, Event, RefusalsRepeated, Refused},
    model::{
        grant::{Category, default_credit},
        ids::{Digest, Seq},
        time::Timestamp,
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        repeat::{Standing, WINDOW},
    },
    state::{CustomerState, Origin},
};
use std::{collections::BTreeMap, sync::Arc};
use support::{
    World, key,
    script::{START, play},
};

/// A plan whose allowance is soon used up, with a cap for each day that refuses by the policy.
const PLAY: &str = r#"
    plan pro month {"allowances": [{"amount": "20"}], "overage": "deny", "counters": [{"measure": "n", "window": "day", "cap": "90"}]}
    customer plan=pro
"#;

#[derive(Debug, Clone)]
enum Op {
    Charge { n: i64, by: u8 },
    Reserve { n: i64 },
    Grant(u32),
    Wait(i64),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (prop::sample::select(vec![1, 30, 30, 500, -1]), 0..2_u8).prop_map(|(n, by)| Op::Charge { n, by }),
        2 => prop::sample::select(vec![1, 40]).prop_map(|n| Op::Reserve { n }),
        1 => (1..15_u32).prop_map(Op::Grant),
        3 => prop::sample::select(vec![0, 1, 20, 59, 60, 61, 90_000]).prop_map(Op::Wait),
    ]
}

fn command(op: &Op) -> Option<Command> {
    let usage = |n: i64| {
        Box::new(UsageRequest {
            feature: key("chat"),
            quantities: vec![("n".to_owned(), n.to_string().parse().unwrap())],
            attributes: Vec::new(),
            entity: None,
            occurred_at: None,
        })
    };
    Some(match op {
        Op::Charge { n, .. } => Command::Charge(usage(*n)),
        Op::Reserve { n } => Command::Reserve(usage(*n), Ttl::DEFAULT),
        Op::Grant(amount) => Command::Grant(Box::new(GrantRequest {
            credit: default_credit(),
            amount: amount.to_string().parse().unwrap(),
            category: Category::Prepaid,
            priority: 0,
            effective_at: None,
            expires: Expiry::default(),
            features: Vec::new(),
            cost_basis: None,
            metadata: Vec::new(),
        })),
        Op::Wait(_) => return None,
    })
}

/// A customer whose repeated refusals are counted, or recorded each.
struct Customer {
    world: World,
    state: CustomerState,
    counts: bool,
    standing: Vec<Standing>,
    repeats: BTreeMap<Seq, RefusalsRepeated>,
    entries: BTreeMap<Seq, Arc<Entry>>,
}

impl Customer {
    fn new(counts: bool) -> Self {
        let world = play(START, PLAY).world;
        let state = world.state.clone();
        Self {
            world,
            state,
            counts,
            standing: Vec::new(),
            repeats: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Decides, and says what was answered with.
    fn decide(&mut self, command: Command, origin: Origin) -> Arc<Entry> {
        match self.carry_out(command, origin) {
            Ok(Reply::Entry(outcome)) => outcome.entry,
            Ok(Reply::Repeat { of, at }) => {
                let first = RefusalsRepeated { of, times: 0, first_at: at, last_at: at };
                let counted = self.repeats.entry(of).or_insert(first);
                (counted.times, counted.last_at) = (counted.times + 1, at);
                self.entries[&of].clone()
            }
            Err(Stop::Error(error)) => panic!("{error}"),
            other => panic!("{other:?}"),
        }
    }

    /// Decides, and folds what was written.
    fn carry_out(&mut self, command: Command, origin: Origin) -> Result<Reply, Stop> {
        let request = Request { customer: self.state.customer.clone(), command, origin };
        let standing = if self.counts { self.standing.clone() } else { Vec::new() };
        let (mut journal, mut folded) = (Journal::default().after_refusals(standing), self.state.clone());
        let state = &mut self.state;
        let reply = self.world.with_decider(|decider| decider.decide(state, &request, &mut journal));
        for written in &journal.written {
            folded.fold_verified(written.entry.seq, &written.body, &written.hash).unwrap();
            self.standing.extend(Standing::of(&written.entry));
            self.entries.insert(written.entry.seq, written.entry.clone());
        }
        assert_eq!(folded, *state);
        reply
    }

    /// Writes how often refusals came again.
    fn count(&mut self) {
        for (_, repeats) in std::mem::take(&mut self.repeats) {
            self.decide(Command::CountRepeats(repeats), Origin::default());
        }
    }

    fn refused(&self) -> u64 {
        let of = |entry: &Arc<Entry>| match &entry.event {
            Event::Refused(_) => 1,
            Event::RefusalsRepeated(repeated) => repeated.times,
            _ => 0,
        };
        self.entries.values().map(of).sum()
    }

    /// All that does not number entries.
    fn books(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let state = &self.state;
        let balance = state.balance(&default_credit(), state.at);
        let counters: Vec<String> = state.counters.iter().map(|counter| format!("{counter:?}")).collect();
        (balance, counters, state.accounts.clone(), state.reservations.len(), state.grants.iter().count())
    }
}

/// What an answer shows of a refusal; of anything else, that it is none.
fn shown(entry: &Entry) -> Option<Refused> {
    let Event::Refused(refused) = &entry.event else { return None };
    let mut refused = (**refused).clone();
    refused.usage.occurred_at = Timestamp(0);
    if let Some(decision) = &mut refused.decision {
        decision.fuel = 0;
    }
    Some(refused)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn counting_repeats_changes_no_answer_and_no_book(ops in vec(ops(), 1..80)) {
        let (mut each, mut counted) = (Customer::new(false), Customer::new(true));
        for (number, op) in ops.iter().enumerate() {
            if let Op::Wait(seconds) = op {
                for customer in [&mut each, &mut counted] {
                    customer.world.now = customer.world.now.plus_micros(seconds * Timestamp::SECOND);
                }
                continue;
            }
            let command = command(op).unwrap();
            let request = Digest::of(format!("{command:?}").as_bytes());
            let by = match op {
                Op::Charge { by, .. } => Some(key(&format!("key{by}"))),
                _ => None,
            };
            let origin = Origin { idempotency: Some((key(&format!("k{number}")), request)), by };
            let answers =
                [&mut each, &mut counted].map(|customer| customer.decide(command.clone(), origin.clone()));
            prop_assert_eq!(shown(&answers[0]), shown(&answers[1]));
            prop_assert_eq!(&answers[1].request, &Some(request), "a key is answered for its own request");
            prop_assert_eq!(&answers[1].by, &origin.by);
            let age = counted.state.at.0.max(counted.world.now.0) - answers[1].at.0;
            prop_assert!(age < WINDOW, "a refusal stands for {} µs", age);
            prop_assert_eq!(each.books(), counted.books());
            if number % 7 == 6 {
                counted.count();
            }
        }
        counted.count();
        // Counting let what was due by then happen.
        each.carry_out(Command::Sweep, Origin::default()).unwrap();
        counted.carry_out(Command::Sweep, Origin::default()).unwrap();
        prop_assert_eq!(each.refused(), counted.refused());
        prop_assert_eq!(each.books(), counted.books());
        prop_assert!(counted.state.seq <= each.state.seq + (ops.len() as u64).div_ceil(7) * 8);
    }
}

/// The same refusal, and what makes it another one.
#[test]
fn what_differs_is_recorded() {
    let charge = |n: i64| command(&Op::Charge { n, by: 0 }).unwrap();
    let origin = |key_text: &str, body: &str, by: &str| Origin {
        idempotency: Some((key(key_text), Digest::of(body.as_bytes()))),
        by: Some(key(by)),
    };
    let mut customer = Customer::new(true);
    let first = customer.decide(charge(50), origin("a", "x", "one"));
    let same = |customer: &mut Customer, command: Command, origin: Origin| {
        customer.decide(command, origin).seq == first.seq
    };
    assert!(same(&mut customer, charge(50), origin("b", "x", "one")));
    for (name, command, origin) in [
        ("another usage", charge(51), origin("c", "y", "one")),
        ("another body", charge(50), origin("d", "z", "one")),
        ("another API key", charge(50), origin("e", "x", "other")),
    ] {
        assert!(!same(&mut customer, command, origin), "{name}");
    }
    let written = customer.state.seq;
    assert!(same(&mut customer, charge(50), origin("f", "x", "one")), "whatever came between");
    assert_eq!(customer.state.seq, written);
    // Other credits are available, and the answer says how many.
    customer.decide(command(&Op::Grant(1)).unwrap(), Origin::default());
    assert!(!same(&mut customer, charge(50), origin("g", "x", "one")));
    // Without a key there is nothing that a repeat could be known by.
    let before = customer.state.seq;
    for _ in 0..2 {
        customer.decide(charge(50), Origin::default());
    }
    assert_eq!(customer.state.seq, before + 2);
    // A minute later it is recorded once more.
    customer.world.now = customer.world.now.plus_micros(WINDOW);
    assert!(!same(&mut customer, charge(50), origin("h", "x", "one")));
    assert_eq!(
        customer.repeats.values().map(|one| (one.of, one.times)).collect::<Vec<_>>(),
        [(first.seq, 2)]
    );
}
