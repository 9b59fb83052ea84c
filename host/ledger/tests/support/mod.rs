//! What scenarios and properties share: names, usages and decisions as a policy would give them.
#![allow(dead_code, reason = "each test file uses its part")]

use proviso_ledger::{
    journal::DecisionRecord,
    model::{
        amounts::Credits,
        answers::{Overage, Rating, SettleFrom},
        counter::Counter,
        ids::{Digest, GrantId, TermsId},
        terms::{Owner, PolicyRef, TermsKey},
        time::{Timestamp, Zone},
        usage::Usage,
    },
    rules::charge::Decision,
    state::CustomerState,
};

pub fn key<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn customer() -> CustomerState {
    CustomerState::new(key("acme"))
}

pub fn usage(feature: &str, at: Timestamp) -> Usage {
    Usage {
        feature: key(feature),
        quantities: Vec::new(),
        attributes: Vec::new(),
        entity: None,
        ancestors: Vec::new(),
        occurred_at: at,
    }
}

pub fn policy() -> PolicyRef {
    PolicyRef { name: key("standard"), version: 1, digest: Digest::of(b"module") }
}

pub fn record() -> DecisionRecord {
    DecisionRecord {
        terms: TermsKey { owner: Owner::Plan(key("pro")), id: TermsId { entry: 1, index: 0 } },
        digest: Digest::of(b"terms"),
        policy: policy(),
        fuel: 7,
        log: Vec::new(),
        fault: None,
        shadows: Vec::new(),
    }
}

pub fn decision(
    credit: &str,
    cost: Credits,
    draw_order: Vec<GrantId>,
    overage: Option<Overage>,
    counters: Vec<(Counter, Option<Zone>)>,
) -> Decision {
    let rating = Rating { credit: key(credit), cost, lines: Vec::new(), draw_order };
    Decision {
        record: record(),
        rating,
        overage,
        counters,
        settle_from: SettleFrom::Purchases,
        unrated: None,
    }
}
