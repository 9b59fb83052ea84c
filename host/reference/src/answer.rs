//! What host and model are asked and what both answer, in plain numbers, so that they can be compared.

use crate::{
    commands::Command,
    settings::{Amount, CounterSpec, PlanSpec, Window},
};
use std::collections::BTreeMap;

/// The entry that made a thing, and the thing's place in it.
pub type Id = (u64, u32);

/// A command at its time, with the grant, reservation or terms that it names.
#[derive(Debug, Clone)]
pub struct Order {
    pub now: i64,
    pub command: Command,
    pub target: Option<Id>,
    /// What a commit reports.
    pub units: Amount,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What happened, or the code of the refusal or the error.
    pub what: String,
    pub cost: Option<Amount>,
    pub overage: Amount,
    pub exceeded: Amount,
    pub returned: Amount,
    pub draws: BTreeMap<Id, Amount>,
    pub top_up: Option<Amount>,
    pub late: Option<u32>,
    pub available: Option<Amount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Live,
    Expired,
    Voided,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GrantSnap {
    pub credit: String,
    pub amount: Amount,
    pub category: String,
    pub priority: i32,
    pub effective: i64,
    pub expires_at: Option<i64>,
    pub with_period: Option<u32>,
    pub features: Vec<String>,
    pub paid: Option<Amount>,
    pub status: Status,
    pub remaining: Amount,
    pub held: Amount,
    pub spent: Amount,
    pub expired: Amount,
    pub ends_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReservationSnap {
    pub credit: String,
    pub holds: Vec<(Id, Amount)>,
    pub overage: Amount,
    pub expires_at: i64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct BalanceSnap {
    pub granted: Amount,
    pub used: Amount,
    pub reserved: Amount,
    pub available: Amount,
    pub overage: Amount,
    pub held_overage: Amount,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Books {
    pub issued: Amount,
    pub spent: Amount,
    pub expired: Amount,
    pub voided: Amount,
    /// What reservations hold of it included.
    pub overage: Amount,
}

/// What is counted, in which window, for whom.
pub type CounterAt = (CounterSpec, i64, String);

/// The entry, the amount and the status.
pub type TopUpSnap = (u64, Amount, String);

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// How many entries the journal has.
    pub entries: u64,
    pub closed: bool,
    pub plan: Option<String>,
    /// When the plan changes next.
    pub pending: Option<i64>,
    /// Number, start and end.
    pub period: Option<(u32, i64, Option<i64>)>,
    /// From when usage counts in the cycle of the last period.
    pub cycle: i64,
    pub balances: BTreeMap<String, BalanceSnap>,
    /// Whether there are so many grants that the host may forget what is used up of them before the model does.
    pub crowded: bool,
    pub books: BTreeMap<String, Books>,
    pub grants: BTreeMap<Id, GrantSnap>,
    pub reservations: BTreeMap<Id, ReservationSnap>,
    /// Failures in a row, and what was asked for: its entry, amount and status.
    pub top_ups: BTreeMap<String, (u32, Vec<TopUpSnap>)>,
    /// Used and held.
    pub counters: BTreeMap<CounterAt, (Amount, Amount)>,
    /// Used and held, by budget and window.
    pub budgets: BTreeMap<(String, Window, i64), (Amount, Amount)>,
}

/// Something that carries a history's commands out.
pub trait Host {
    /// A host with these plans and one customer that is not created yet.
    fn begin(start: i64, plans: &[PlanSpec]) -> Self
    where
        Self: Sized;

    fn execute(&mut self, order: &Order) -> Answer;

    fn state(&self) -> Snapshot;
}
