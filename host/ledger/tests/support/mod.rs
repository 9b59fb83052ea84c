//! What scenarios and properties share: names, usages and decisions as a policy would give them.

use proviso_ledger::{
    charge::Decision,
    credits::Credits,
    decision::{Counter, Overage, Rating, Usage},
    ids::{Digest, GrantId, TermsId},
    journal::DecisionRecord,
    state::CustomerState,
    terms::{Owner, PolicyRef, TermsKey},
    time::Timestamp,
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
        occurred_at: at,
    }
}

pub fn policy() -> PolicyRef {
    PolicyRef { name: key("standard"), version: 1, digest: Digest::of(b"module") }
}

pub fn record() -> DecisionRecord {
    let terms = TermsKey { owner: Owner::Plan(key("pro")), id: TermsId { entry: 1, index: 0 } };
    DecisionRecord { terms, policy: policy(), fuel: 7, log: Vec::new(), fault: None, shadows: Vec::new() }
}

pub fn decision(
    credit: &str,
    cost: Credits,
    draw_order: Vec<GrantId>,
    overage: Option<Overage>,
    counters: Vec<Counter>,
) -> Decision {
    let rating = Rating { credit: key(credit), cost, lines: Vec::new(), draw_order };
    Decision { record: record(), rating, overage, counters }
}
